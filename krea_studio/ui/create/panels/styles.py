"""Styles on the Create tab: a list to add from, and a place for each that is chosen, with its weight and its words.

Styles are taken in on the tab Styles. Places are filled from the first on. A style's trigger words stand on a chip: on,
they are added to what the model reads; the prompt itself stays as it is. A style that will not work here says so.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from pydantic import BaseModel

from krea_studio.direction.speed import Speed, preset_of
from krea_studio.direction.styles import StyleCard, chosen_card, made_for_another
from krea_studio.errors import InvalidRequest, StudioError
from krea_studio.people import LOCAL, Person
from krea_studio.recipe.request import GenerationRequest, StyleChoice, bounds, default
from krea_studio.recipe.sigmas import sigmas_text
from krea_studio.services import Services
from krea_studio.ui import controls, fragments
from krea_studio.ui.controls import mechanism_of, number_text, percent, strength_of
from krea_studio.ui.create.panels import cards
from krea_studio.ui.notices import guarded, note
from krea_studio.ui.presenter import Update
from krea_studio.ui.remembered import remembered
from krea_studio.ui.styles.pictures import cover_or_tile
from krea_studio.ui.visitors import UNKNOWN, Visitors
from krea_studio.ui.wiring import Parts, Wiring, any_of

PLACES = int(bounds("styles")[1])
RANGE = tuple(round(percent(limit)) for limit in bounds("weight", StyleChoice))
USUAL_WEIGHT = percent(default("weight", StyleChoice))
CARDS, PICTURES, WEIGHTS, REMOVES, TRIGGERS, PROMPTS, SPEEDS, NOTES = (
    cards.names("style", part, PLACES)
    for part in ("card", "picture", "weight", "remove", "trigger", "prompt", "speed", "note")
)
# What a request is made from, what handlers here write to beside the stage, and what they read.
CHOICE = ("chosen_styles", *WEIGHTS, *TRIGGERS)
STYLES = (*CHOICE, *CARDS, *PICTURES, *NOTES, *PROMPTS, *SPEEDS)
PLACED = (*CHOICE, "variant")

Chosen = dict[str, Any]


class ChosenStyle(BaseModel):
    """A place's style, as the page remembers it: `words` is what its chip says, `own` whether they are its own."""

    identity: str
    name: str
    words: str
    own: bool


class StylesPanel:
    """List and places, over one library and one engine."""

    reads, writes = CHOICE, STYLES
    parts_by_field: Mapping[str, tuple[str, ...]] = {"styles": ("add_style", *WEIGHTS, *TRIGGERS)}

    def __init__(self, services: Services, visitors: Visitors) -> None:
        self._styles = services.library.styles
        self._engine, self._visitors = services.engine, visitors

    def build(self, parts: Parts) -> None:
        """Lay out the list of styles and the places, which show when they are filled."""
        parts["chosen_styles"] = remembered([], list[ChosenStyle])
        parts["add_style"] = gr.Dropdown(
            self.names(UNKNOWN if self._visitors.shared else LOCAL),
            value=None,
            label="Add a style",
            interactive=True,
            elem_id="add-style",
            min_width=0,
        )
        parts[mechanism_of("styles")] = controls.mechanism("styles")
        for place in range(PLACES):
            element = f"style-{place + 1}"
            with gr.Row(visible=False, elem_classes="style-place", elem_id=element) as parts[CARDS[place]]:
                cards.build_card(
                    parts, "style", place, "weight", RANGE, USUAL_WEIGHT, height=48, elem_classes="style-cover"
                )
                with gr.Row(elem_classes="style-words"):
                    parts[TRIGGERS[place]] = gr.Checkbox(
                        True,
                        label="Trigger words",
                        visible=False,
                        interactive=True,
                        elem_classes="chip",
                        elem_id=f"{element}-trigger",
                        min_width=0,
                    )
                    parts[PROMPTS[place]] = gr.Button(
                        "Try its prompt", size="sm", min_width=0, visible=False, elem_id=f"{element}-prompt"
                    )
                    parts[SPEEDS[place]] = gr.Button(
                        "Use its steps", size="sm", min_width=0, visible=False, elem_id=f"{element}-speed"
                    )
                    parts[NOTES[place]] = gr.HTML(visible=False, elem_id=f"{element}-note", elem_classes="style-note")

    def wire(self, wiring: Wiring) -> None:
        """Connect the list and the places, and let what is told of a style follow variant, weight and library."""
        parts, at_once = wiring.parts, wiring.at_once
        at_once(
            parts["add_style"].input,
            self.add,
            reads=("add_style", *PLACED),
            writes=("add_style", *STYLES, "stage"),
        )
        for place in range(PLACES):
            at_once(parts[REMOVES[place]].click, functools.partial(self.remove, place), reads=PLACED, writes=STYLES)
            at_once(
                parts[PROMPTS[place]].click,
                functools.partial(self.try_prompt, place),
                reads=("chosen_styles",),
                writes=("prompt", "stage"),
            )
            at_once(
                parts[SPEEDS[place]].click,
                functools.partial(self.use_speed, place),
                reads=("chosen_styles",),
                writes=("steps", "guidance_scale", "sigmas", "stage"),
            )
        at_once(
            any_of(parts["variant"].change, *(parts[weight].release for weight in WEIGHTS)),
            self.note,
            reads=PLACED,
            writes=NOTES,
        )
        # Another tab or page may have changed the library meanwhile.
        at_once(
            any_of(gr.context.Context.root_block.load, parts["tabs"].change),
            self.refresh,
            reads=PLACED,
            writes=("add_style", *STYLES),
        )

    def fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The places as a request has them."""
        chosen = [
            {
                "name": each["name"],
                "identity": each["identity"],
                "weight": strength_of(values[weight]),
                "trigger": "" if not values[trigger] else None if each["own"] else each["words"],
            }
            for each, weight, trigger in zip(values["chosen_styles"], WEIGHTS, TRIGGERS, strict=False)
        ]
        return {"styles": chosen}

    def names(self, person: Person) -> list[str]:
        """The styles that are there for a person; none where they cannot be read, which the tab Styles then tells."""
        try:
            return self._styles.of(person).names()
        except StudioError:
            return []

    def add(
        self, visitor: gr.Request, add_style: str | None, chosen_styles: list[Chosen], variant: str, **places: Any
    ) -> Update:
        """A style was picked from the list: it takes the next free place, and the list is ready for another one."""
        person = self._visitors.person(visitor)
        ready = {"add_style": gr.update(choices=self.names(person), value=None)}
        if not add_style:
            return ready
        return {**ready, **guarded(lambda: self._with(person, add_style, chosen_styles, variant, places))}

    def remove(
        self, place: int, visitor: gr.Request, chosen_styles: list[Chosen], variant: str, **places: Any
    ) -> Update:
        """A place was emptied: those after it move up."""
        kept = [other for other in range(len(chosen_styles)) if other != place]
        values = [_value(places, k) for k in kept]
        return self._fill(self._visitors.person(visitor), [chosen_styles[k] for k in kept], values, variant)

    def refresh(self, visitor: gr.Request, chosen_styles: list[Chosen], variant: str, **places: Any) -> Update:
        """List and places as the library has the styles now; weights and chips stay, also those set meanwhile."""
        person = self._visitors.person(visitor)
        cards = self._by_identity(person)
        chosen = []
        for each in chosen_styles:
            card = cards.get(each["identity"])
            own = {"words": card.trigger} if card and each["own"] else {}
            chosen.append({**each, "name": card.name, **own} if card else each)
        values = [_value(places, place) for place in range(len(chosen))]
        filled = self._fill(person, chosen, values, variant)
        for name in (*WEIGHTS, *TRIGGERS):
            filled[name].pop("value")
        return {"add_style": gr.update(choices=self.names(person)), **filled}

    def note(self, visitor: gr.Request, chosen_styles: list[Chosen], variant: str, **places: Any) -> Update:
        """What to know of each style before a run, with this variant and these weights."""
        cards = self._by_identity(self._visitors.person(visitor))
        return {
            name: self._note(cards.get(chosen_styles[place]["identity"]), places[WEIGHTS[place]], variant)
            if place < len(chosen_styles)
            else _remark([])
            for place, name in enumerate(NOTES)
        }

    def try_prompt(self, place: int, visitor: gr.Request, chosen_styles: list[Chosen]) -> Update:
        """A style's suggested prompt becomes the prompt."""
        return guarded(lambda: {"prompt": self._card_at(visitor, place, chosen_styles).suggested_prompt})

    def use_speed(self, place: int, visitor: gr.Request, chosen_styles: list[Chosen]) -> Update:
        """Steps, guidance and sigmas become those that a style was made for."""

        def used() -> Update:
            card = self._card_at(visitor, place, chosen_styles)
            preset = preset_of({card.name: card.speed} if card.speed else {})
            numbers = {field: number_text(preset[field]) for field in ("steps", "guidance_scale")}
            told = f"«{card.name}»: {preset['steps']} steps without guidance are set under Advanced."
            return {**numbers, "sigmas": sigmas_text(preset["sigmas"]), **note(told, "stage")}

        return guarded(used)

    def _card_at(self, visitor: gr.Request, place: int, chosen_styles: list[Chosen]) -> StyleCard:
        """The card of the style at a place. Raises InvalidRequest where there is none."""
        if place >= len(chosen_styles):
            raise InvalidRequest(f"No style is at place {place + 1} — reload the page and try again")
        return self._styles.of(self._visitors.person(visitor)).by_identity(chosen_styles[place]["identity"])

    def recall(self, request: GenerationRequest, person: Person) -> tuple[Update, list[str]]:
        """The places as a recipe has them, and what a person should know of styles that are not here as they were."""
        cards = self._cards(person)
        chosen, values, told = [], [], []
        for each in request.styles:
            card = chosen_card(each, cards)
            if card is None:
                told.append(_absence(each, cards, person))
                continue
            if card.name != each.name:
                told.append(f"Style «{each.name}» is called «{card.name}» here.")
            own = each.trigger in (None, "", card.trigger)
            chosen.append({**_place_of(card), "own": own} | ({} if own else {"words": each.trigger}))
            values.append((percent(each.weight), each.trigger != "" or not card.trigger))
        return self._fill(person, chosen, values, request.variant), told

    def _fill(
        self, person: Person, chosen: Sequence[Chosen], values: Sequence[tuple[float, bool]], variant: str
    ) -> Update:
        """The places with these styles; each value is a weight in % and whether the chip is on."""
        cards = self._by_identity(person)
        update: Update = {"chosen_styles": list(chosen)}
        for place in range(PLACES):
            if place >= len(chosen):
                update |= {
                    CARDS[place]: gr.update(visible=False),
                    PICTURES[place]: None,
                    WEIGHTS[place]: gr.update(value=USUAL_WEIGHT, label=f"Style {place + 1}, weight in %"),
                    TRIGGERS[place]: gr.update(value=True, visible=False),
                    PROMPTS[place]: gr.update(visible=False),
                    SPEEDS[place]: gr.update(visible=False),
                    NOTES[place]: _remark([]),
                }
                continue
            name, words = chosen[place]["name"], chosen[place]["words"]
            (weight, on), card = values[place], cards.get(chosen[place]["identity"])
            update |= {
                CARDS[place]: gr.update(visible=True),
                PICTURES[place]: cover_or_tile(self._styles.cover(card) if card else None, name),
                WEIGHTS[place]: gr.update(value=weight, label=f"{name}, weight in\u00a0%"),
                TRIGGERS[place]: gr.update(value=on, label=words or "Trigger words", visible=bool(words)),
                PROMPTS[place]: gr.update(visible=bool(card and card.suggested_prompt)),
                SPEEDS[place]: _speed_button(card.speed if card else None),
                NOTES[place]: self._note(card, weight, variant),
            }
        return update

    def _with(self, person: Person, name: str, chosen: list[Chosen], variant: str, places: Mapping[str, Any]) -> Update:
        card = self._styles.of(person).get(name)
        if card.identity in (each["identity"] for each in chosen):
            raise InvalidRequest(f"Style «{card.name}» is chosen already — change its weight instead")
        if len(chosen) == PLACES:
            raise InvalidRequest(f"{PLACES} styles are chosen, which is as many as there may be — remove one first")
        values = [*(_value(places, place) for place in range(len(chosen))), (USUAL_WEIGHT, True)]
        return self._fill(person, [*chosen, _place_of(card)], values, variant)

    def _note(self, card: StyleCard | None, weight: float, variant: str) -> Any:
        told = []
        if card is None:
            told.append("Not in the library any more: remove it, or import it again.")
        elif other := made_for_another(card, variant, self._engine.checkpoint_of(variant).label):
            told.append(other)
        elif card.trigger and weight <= 0:
            told.append("Its words are added only at weights above 0.")
        if card is not None and card.speed:
            told.append(f"{card.speed.words[:1].upper()}{card.speed.words[1:]}.")
        return _remark(told)

    def _by_identity(self, person: Person) -> dict[str, StyleCard]:
        return {card.identity: card for card in self._cards(person)}

    def _cards(self, person: Person) -> list[StyleCard]:
        try:
            return self._styles.of(person).cards()
        except StudioError:
            return []


def _remark(sentences: Sequence[str]) -> Any:
    return gr.update(value=fragments.reason(sentences) if sentences else "", visible=bool(sentences))


def _speed_button(speed: Speed | None) -> Any:
    if speed is None:
        return gr.update(visible=False)
    return gr.update(value=f"Use its {speed.steps} steps" if speed.steps > 1 else "Use its one step", visible=True)


def _place_of(card: StyleCard) -> Chosen:
    return {"identity": card.identity, "name": card.name, "words": card.trigger, "own": True}


def _value(places: Mapping[str, Any], place: int) -> tuple[float, bool]:
    return places[WEIGHTS[place]], places[TRIGGERS[place]]


def _absence(choice: StyleChoice, cards: Sequence[StyleCard], person: Person) -> str:
    if choice.name.casefold() in (card.name.casefold() for card in cards):
        return f"Style «{choice.name}» is another file here than the one that drew it, and is left out."
    if person.has_own:
        return (
            f"Style «{choice.name}» is not among your styles, or those shared with the team, and is left out: import "
            "it, or ask who has it to share it."
        )
    return f"Style «{choice.name}» is not in the library any more, and is left out."
