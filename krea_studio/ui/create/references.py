"""Style references on the Create tab: four places for pictures, each with its strength.

Pictures come by drop, paste or choice of files, or from the results; all go through the library's loader, and the page
holds only the ids that it gives out. Places are filled from the first on, so that a request lists them as they stand.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr
from PIL import Image

from krea_studio.errors import InvalidRequest
from krea_studio.library.loader import load_picture
from krea_studio.library.references import Reference, References
from krea_studio.recipe.request import StyleReference, bounds, default, help_text, label
from krea_studio.services import Services
from krea_studio.ui import fragments
from krea_studio.ui.controls import percent, strength_of
from krea_studio.ui.notices import guarded
from krea_studio.ui.presenter import Update, shown

PLACES = int(bounds("style_references")[1])
USUAL_RANGE = (0, 100)
WIDE_RANGE = tuple(round(percent(limit)) for limit in bounds("strength", StyleReference))
USUAL_STRENGTH = percent(default("strength", StyleReference))
STRENGTHS = tuple(f"reference_{place}_strength" for place in range(PLACES))
CARDS = tuple(f"reference_{place}_card" for place in range(PLACES))
PICTURES = tuple(f"reference_{place}_picture" for place in range(PLACES))
REMOVES = tuple(f"reference_{place}_remove" for place in range(PLACES))
NOTHING_CAME = "Nothing arrived — drop the picture again"
# What handlers here write to, beside the stage.
REFERENCES = ("references", *STRENGTHS, *CARDS, *PICTURES)


def build_references(parts: dict[str, Any]) -> None:
    """Lay out the drop zone and the places, which show when they are filled."""
    parts["references"] = gr.State([])
    parts["reference_file"] = gr.File(
        label=label("style_references"),
        file_types=["image"],
        file_count="multiple",
        height=92,
        elem_id="reference-file",
        elem_classes="drop-line",
    )
    gr.HTML(fragments.hint(f"{help_text('style_references')}."), elem_classes="beneath")
    for place in range(PLACES):
        with gr.Row(visible=False, elem_classes="reference-card") as parts[CARDS[place]]:
            parts[PICTURES[place]] = gr.Image(
                label=f"Reference {place + 1}",
                show_label=False,
                interactive=False,
                buttons=[],
                height=64,
                elem_classes="reference-picture",
                min_width=0,
                scale=0,
            )
            parts[STRENGTHS[place]] = gr.Slider(
                *USUAL_RANGE,
                value=USUAL_STRENGTH,
                step=1,
                label=f"Reference {place + 1}, strength in %",
                buttons=[],
                elem_id=f"reference-{place + 1}-strength",
                min_width=0,
            )
            parts[REMOVES[place]] = gr.Button(
                "Remove", size="sm", min_width=0, scale=0, elem_id=f"reference-{place + 1}-remove"
            )


def build_range_switch(parts: dict[str, Any]) -> None:
    """The switch between the usual range of strengths and all of it."""
    low, high = WIDE_RANGE
    parts["wide_strengths"] = gr.Checkbox(
        False,
        label=f"Strengths of references from −{-low} to {high} %",
        info=help_text("strength", StyleReference),
        elem_id="wide-strengths",
    )


def wished(references: Sequence[str], strengths: Sequence[float]) -> list[dict[str, Any]]:
    """The places as a request has them; strengths in %."""
    return [
        {"image": image, "strength": strength_of(strength)}
        for image, strength in zip(references, strengths, strict=False)
    ]


def kept_picture(references: References, image: str) -> str | Image.Image:
    """Where a picture is; a grey one in its place, which can still be removed, where its file is gone."""
    try:
        return str(references.path(image))
    except InvalidRequest:
        return Image.new("RGB", (64, 64), "grey")


def gone(place: int) -> str:
    """What to tell of a place, from 1, whose picture is not kept any more."""
    return f"Reference {place} is not in the library any more — remove it or add the picture again"


class ReferenceHandlers:
    """The behaviour of the places, over one library."""

    def __init__(self, services: Services) -> None:
        self._references = services.library.references

    def added(self, files: Sequence[str] | None, references: list[str], **places: Any) -> Update:
        """Pictures were dropped, pasted or chosen: they take the next free places."""
        files = [files] if isinstance(files, str) else list(files or ())
        return guarded(lambda: self._with(files, references, places))

    def dropped(self, files: Sequence[str] | None, references: list[str], **places: Any) -> Iterator[Update]:
        """`added` for the drop zone, which is emptied first, and only then: what is dropped meanwhile stays."""
        yield {"reference_file": None}
        # The page can still empty it between a drop and its event.
        yield self.added(files, references, **places) if files else {"stage": shown(fragments.notice(NOTHING_CAME))}

    def removed(self, place: int, references: list[str], **places: Any) -> Update:
        """A place was emptied: those after it move up."""
        kept = [other for other in range(len(references)) if other != place]
        strengths = _strengths(places)
        return guarded(
            lambda: self.filled([references[k] for k in kept], [strengths[k] for k in kept], places["wide_strengths"])
        )

    def range_switched(self, wide_strengths: bool, **places: Any) -> Update:
        """The range of all strengths, with their values brought into it."""
        low, high = WIDE_RANGE if wide_strengths else USUAL_RANGE
        values = (min(max(value, low), high) for value in _strengths(places))
        return {
            name: gr.update(minimum=low, maximum=high, value=value)
            for name, value in zip(STRENGTHS, values, strict=True)
        }

    def lost(self, references: Sequence[StyleReference]) -> list[int]:
        """The places, from 1, of those that would steer and are not kept any more."""
        return [
            place
            for place, reference in enumerate(references, start=1)
            if reference.strength and not isinstance(kept_picture(self._references, reference.image), str)
        ]

    def require(self, references: Sequence[StyleReference]) -> None:
        """Raise InvalidRequest for the first of those that are lost, which it calls by its place."""
        for place in self.lost(references):
            raise InvalidRequest(gone(place))

    def filled(self, references: Sequence[str], strengths: Sequence[float], wide: bool) -> Update:
        """The places with these pictures and strengths in %; grey is one that is not kept any more."""
        pictures = [kept_picture(self._references, image) for image in references]
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

    def _with(self, files: Sequence[str], references: list[str], places: dict[str, Any]) -> Update:
        free = PLACES - len(references)
        if len(files) > free:
            raise InvalidRequest(
                f"There are places for {PLACES} style references and {len(references)} are taken, so {len(files)} more "
                "do not fit — remove one first"
                if references
                else f"There are places for {PLACES} style references, so {len(files)} do not fit — "
                f"give at most {PLACES}"
            )
        read = [Reference.of(load_picture(file)) for file in files]  # all, before the first one is kept
        for reference in read:
            self._references.keep(reference)
        found = [reference.id for reference in read]
        strengths = [*_strengths(places)[: len(references)], *[USUAL_STRENGTH] * len(found)]
        return self.filled([*references, *found], strengths, places["wide_strengths"])


def _strengths(places: dict[str, Any]) -> list[float]:
    return [places[name] for name in STRENGTHS]
