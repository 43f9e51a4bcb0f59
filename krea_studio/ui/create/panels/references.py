"""Style references on the Create tab: four places for pictures, each with its strength.

Pictures come by drop, paste or choice of files, or from the results; all go through the library's loader, and the page
holds only the ids that it gives out. Places are filled from the first on, so that a request lists them as they stand.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
from PIL import Image

from krea_studio.errors import InvalidRequest
from krea_studio.files import without_clutter
from krea_studio.library.pictures.formats import ENDINGS
from krea_studio.library.references import Reference, References
from krea_studio.people import LOCAL, Person
from krea_studio.recipe.request import GenerationRequest, StyleReference, bounds, default, help_text, label
from krea_studio.runs.shares import Thing
from krea_studio.services import Services
from krea_studio.ui import controls, fragments
from krea_studio.ui.controls import mechanism_of, percent, strength_of
from krea_studio.ui.create.panels import cards
from krea_studio.ui.notices import guarded, problem, remarks
from krea_studio.ui.presenter import Update
from krea_studio.ui.remembered import remembered
from krea_studio.ui.visitors import Visitors
from krea_studio.ui.wiring import Parts, Wiring

PLACES = int(bounds("style_references")[1])
USUAL_RANGE = (0, 100)
WIDE_RANGE = tuple(round(percent(limit)) for limit in bounds("strength", StyleReference))
USUAL_STRENGTH = percent(default("strength", StyleReference))
CARDS, PICTURES, STRENGTHS, REMOVES = (
    cards.names("reference", part, PLACES) for part in ("card", "picture", "strength", "remove")
)
NOTHING_CAME = "Nothing arrived — drop the picture again"
# What handlers here read, and write to beside the stage.
PLACED = ("references", *STRENGTHS, "wide_strengths")
REFERENCES = ("references", *STRENGTHS, *CARDS, *PICTURES)


GREY = Image.new("RGB", (64, 64), "grey")


def kept_picture(references: References, image: str) -> str | Image.Image:
    """Where a picture is; a grey one in its place, which can still be removed, where its file is gone."""
    try:
        return str(references.path(image))
    except InvalidRequest:
        return GREY


def loss(place: int) -> str:
    """What to tell of a place, from 1, whose picture is not kept any more."""
    return f"Reference {place} is not in the library any more — remove it or add the picture again"


class ReferencesPanel:
    """The places, over one set of services and the page's visitors."""

    reads, writes = ("references", *STRENGTHS), (*REFERENCES, "wide_strengths")
    parts_by_field: Mapping[str, tuple[str, ...]] = {"style_references": ("reference_file", *STRENGTHS)}

    def __init__(self, services: Services, visitors: Visitors) -> None:
        self._library, self._references = services.library, services.library.references
        self._shares, self._visitors = services.shares, visitors

    def build(self, parts: Parts) -> None:
        """Lay out the drop zone and the places, which show when they are filled."""
        parts["references"] = remembered([], list[str])
        parts["reference_file"] = gr.File(
            label=label("style_references"),
            file_types=["image", *ENDINGS],
            file_count="multiple",
            height=92,
            elem_id="reference-file",
            elem_classes="drop-line",
        )
        gr.HTML(fragments.hint(f"{help_text('style_references')}."), elem_classes="beneath")
        parts[mechanism_of("style_references")] = controls.mechanism("style_references")
        for place in range(PLACES):
            with gr.Row(visible=False, elem_classes="reference-card") as parts[CARDS[place]]:
                cards.build_card(
                    parts,
                    "reference",
                    place,
                    "strength",
                    USUAL_RANGE,
                    USUAL_STRENGTH,
                    height=64,
                    elem_classes="reference-picture",
                )

    def build_range_switch(self, parts: Parts) -> None:
        """Lay out the switch between the usual range of strengths and all of it."""
        low, high = WIDE_RANGE
        parts["wide_strengths"] = gr.Checkbox(
            False,
            label=f"Strengths of references from −{-low} to {high} %",
            info=help_text("strength", StyleReference),
            elem_id="wide-strengths",
        )

    def wire(self, wiring: Wiring) -> None:
        """Connect the drop zone, the buttons of the places and the switch."""
        parts, at_once = wiring.parts, wiring.at_once
        filled = (*REFERENCES, "stage")
        # One after another, also where a second one is dropped while the first is read.
        wiring.on(
            parts["reference_file"].upload,
            self.drop,
            reads={"files": "reference_file", **{name: name for name in PLACED}},
            writes=(*filled, "reference_file"),
            trigger_mode="multiple",
            concurrency_id="references",
            concurrency_limit=1,
        )
        for place, name in enumerate(REMOVES):
            at_once(parts[name].click, functools.partial(self.remove, place), reads=PLACED, writes=filled)
        at_once(
            parts["wide_strengths"].input,
            self.switch_range,
            reads=("wide_strengths", *STRENGTHS),
            writes=STRENGTHS,
        )

    def fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The places as a request has them. Raises InvalidRequest for the first that would steer and is lost."""
        chosen = [
            {"image": image, "strength": strength_of(strength)}
            for image, strength in zip(values["references"], _strengths(values), strict=False)
        ]
        # What is another's is refused when the run is planned, by who asks.
        for place in self._lost_places(((each["image"], each["strength"]) for each in chosen), LOCAL):
            raise InvalidRequest(loss(place))
        return {"style_references": chosen}

    def recall(self, request: GenerationRequest, person: Person) -> tuple[Update, list[str]]:
        """The places as a request has them, and which of their pictures are lost."""
        chosen = request.style_references
        strengths = [percent(each.strength) for each in chosen]
        wide = not all(USUAL_RANGE[0] <= strength <= USUAL_RANGE[1] for strength in strengths)
        lost = self._lost_places(((each.image, each.strength) for each in chosen), person)
        filled = self._fill([each.image for each in chosen], strengths, wide, person)
        return {**filled, "wide_strengths": wide}, [f"{loss(place)}." for place in lost]

    def add(self, person: Person, files: Sequence[str] | None, references: list[str], **places: Any) -> Update:
        """Pictures were dropped, pasted or chosen: they take the next free places."""
        files = without_clutter([files] if isinstance(files, str) else files or ())
        return guarded(lambda: self._with(person, files, references, places))

    def drop(
        self, visitor: gr.Request, files: Sequence[str] | None, references: list[str], **places: Any
    ) -> Iterator[Update]:
        """`add` for the drop zone, which is emptied first, and only then: what is dropped meanwhile stays."""
        yield {"reference_file": None}
        # The page can still empty it between a drop and its event.
        yield self._brought(visitor, files, references, places) if files else problem(NOTHING_CAME, "stage")

    def remove(self, place: int, visitor: gr.Request, references: list[str], **places: Any) -> Update:
        """A place was emptied: those after it move up."""
        person = self._visitors.person(visitor)
        kept = [other for other in range(len(references)) if other != place]
        strengths, wide = _strengths(places), places["wide_strengths"]
        return guarded(lambda: self._fill([references[k] for k in kept], [strengths[k] for k in kept], wide, person))

    def switch_range(self, wide_strengths: bool, **places: Any) -> Update:
        """The range of all strengths, with their values brought into it."""
        low, high = WIDE_RANGE if wide_strengths else USUAL_RANGE
        values = (min(max(value, low), high) for value in _strengths(places))
        return {
            name: gr.update(minimum=low, maximum=high, value=value)
            for name, value in zip(STRENGTHS, values, strict=True)
        }

    def _brought(
        self, visitor: gr.Request, files: Sequence[str], references: list[str], places: dict[str, Any]
    ) -> Update:
        """`add` for what comes from outside, and out of the visitor's share."""
        files = without_clutter([files] if isinstance(files, str) else files)

        def added() -> Update:
            with self._shares.taking(self._visitors.payer(visitor), Thing.REFERENCES, len(files)):
                return self._with(self._visitors.person(visitor), files, references, places)

        return guarded(added)

    def _fill(self, references: Sequence[str], strengths: Sequence[float], wide: bool, person: Person) -> Update:
        """The places with these pictures and strengths in %; grey is one that is not there for the person."""
        pictures = [self._picture(image, person) for image in references]
        wide = wide or any(not USUAL_RANGE[0] <= strength <= USUAL_RANGE[1] for strength in strengths)
        low, high = WIDE_RANGE if wide else USUAL_RANGE
        update: Update = {"references": list(references)}
        for place in range(PLACES):
            full = place < len(pictures)
            value = strengths[place] if full else USUAL_STRENGTH
            update |= {
                CARDS[place]: gr.update(visible=full),
                PICTURES[place]: pictures[place] if full else None,
                STRENGTHS[place]: gr.update(minimum=low, maximum=high, value=value),
            }
        return update

    def _picture(self, image: str, person: Person) -> str | Image.Image:
        """`kept_picture` for a person: another's, which a recipe may name, is as one that is gone."""
        found = kept_picture(self._references, image)
        return found if isinstance(found, Image.Image) or self._library.moodboards.of(person).shows(image) else GREY

    def _lost_places(self, chosen: Iterable[tuple[str, float]], person: Person) -> list[int]:
        """The places, from 1, of those pictures that would steer at their strength and are not there for a person."""
        return [
            place
            for place, (image, strength) in enumerate(chosen, start=1)
            if strength and not isinstance(self._picture(image, person), str)
        ]

    def _with(self, person: Person, files: Sequence[str], references: list[str], places: dict[str, Any]) -> Update:
        free = PLACES - len(references)
        if len(files) > free:
            raise InvalidRequest(
                f"There are places for {PLACES} style references and {len(references)} are taken, so {len(files)} more "
                "do not fit — remove one first"
                if references
                else f"There are places for {PLACES} style references, so {len(files)} do not fit — "
                f"give at most {PLACES}"
            )
        told: list[str] = []
        read = [Reference.read(file, told.append) for file in files]  # all, before the first one is kept
        for reference in read:
            self._references.keep(reference, person=person)
        found = [reference.id for reference in read]
        strengths = [*_strengths(places)[: len(references)], *[USUAL_STRENGTH] * len(found)]
        filled = self._fill([*references, *found], strengths, places["wide_strengths"], person)
        return {**filled, **remarks(told, "stage")}


def _strengths(places: Mapping[str, Any]) -> list[float]:
    return [places[name] for name in STRENGTHS]
