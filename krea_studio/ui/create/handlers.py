"""What the Create tab does when something happens on it: each handler returns new values by the names of its parts.

Handlers know the services and the presenter, and no component; `create` maps the names to components. None of them
takes long: a run goes on by itself, and `news` shows what there is of it. User errors become one notice on the page;
anything else is logged and said to be the studio's own fault.
"""

import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from krea_studio.direction.sliders import StartingPoint, values_text
from krea_studio.errors import InvalidRequest, StorageError, StudioError
from krea_studio.library.metadata import read_recipe
from krea_studio.library.records import Record
from krea_studio.people import Person
from krea_studio.recipe.recipe import Recipe
from krea_studio.recipe.request import SLIDERS, parse_request
from krea_studio.recipe.variants import VARIANTS
from krea_studio.services import Services
from krea_studio.ui import fragments
from krea_studio.ui.controls import OPTIONAL_NUMBERS, lock_of, mechanism_of, number_text, percent, read_number
from krea_studio.ui.create import creativity, moodboard_choice, references, runs, style_choice
from krea_studio.ui.create.recall import control_values, remark
from krea_studio.ui.moodboards.fragments import pictures
from krea_studio.ui.notices import guarded
from krea_studio.ui.presenter import Update, pictures_of, shown
from krea_studio.ui.visitors import Visitors, is_browser

logger = logging.getLogger(__name__)

RECENT_PICTURES = 24
NEAR_SPREAD = 25  # how far from a picture's slider values "Around this" draws
# What the tab hands to a run beside fields of the request; both are made into fields.
NOT_FIELDS = (
    "references", *references.STRENGTHS, "moodboard_strength", "moodboard_content", *style_choice.CHOICE,
    "expanded_prompt",
)  # fmt: skip


class CreateHandlers:
    """The Create tab's behaviour, over one set of services."""

    def __init__(self, services: Services, visitors: Visitors) -> None:
        self.services = services
        self.visitors = visitors
        self.references = references.ReferenceHandlers(services)
        self.creativity = creativity.CreativityHandlers(services)
        self.boards = moodboard_choice.MoodboardChoiceHandlers(services)
        self.styles = style_choice.StyleChoiceHandlers(services)
        self.runs = runs.RunHandlers(services)

    def begin(
        self, visitor: gr.Request, browser: str, random_seed: bool, watched: runs.Watched, **controls: Any
    ) -> Update:
        """Begin a run of what the controls say; what becomes of it `news` shows."""
        try:
            numbers = {field: read_number(controls[field]) for field in OPTIONAL_NUMBERS}
            if random_seed:
                numbers["seed"] = None
            locks = {slider: controls.pop(lock_of(slider)) for slider in SLIDERS}
            locked = [slider for slider, on in locks.items() if on]
            wishes = {**controls, **numbers, "locked_sliders": locked, **_direction(controls)}
            request = parse_request({field: wishes[field] for field in wishes if field not in NOT_FIELDS})
            self.references.require(request.style_references)
            return self.runs.begun(request, self.visitors.person(visitor, browser), watched)
        except StudioError as error:
            return self.runs.refused(error.message, watched)
        except Exception:
            logger.exception("A run from the page failed")
            return self.runs.refused(fragments.DEFECT, watched)

    def news(self, visitor: gr.Request, browser: str, variant: str, watched: runs.Watched, drawn: runs.Drawn) -> Update:
        """What there is beyond the stage; where a run has begun or ended, recent pictures and the status line too."""
        update = guarded(lambda: self.runs.news(self.visitors.person(visitor, browser), watched, drawn))
        now = update.get("drawn", drawn)
        if (now["run"], now["ended"]) != (drawn["run"], drawn["ended"]):
            return {**self.recent(visitor, browser), **self.status(variant), **update}
        return update

    def stop(self, visitor: gr.Request, browser: str, watched: runs.Watched) -> Update:
        """Stop was pressed: the run that is shown is to end."""
        return guarded(lambda: self.runs.stopped(self.visitors.person(visitor, browser), watched))

    def cancel(
        self, choice: gr.EventData, visitor: gr.Request, browser: str, watched: runs.Watched, drawn: runs.Drawn
    ) -> Update:
        """Cancel was pressed beside a waiting run."""
        person, run_id = self.visitors.person(visitor, browser), str(choice.run)
        return guarded(lambda: self.runs.cancelled(run_id, person, watched, drawn))

    def opened(self, visitor: gr.Request, browser: str, watched: runs.Watched, drawn: runs.Drawn) -> Update:
        """The page was opened: recent pictures, and the runs of this person that go on."""
        recent = self.recent(visitor, browser)
        person = self.visitors.person(visitor, recent["browser"])
        return {**recent, **guarded(lambda: self.runs.news(person, watched, drawn))}

    def recent(self, visitor: gr.Request, browser: str) -> Update:
        """The strip of the newest pictures: the visitor's own, or all of them on a page that is not shared."""
        browser = browser if is_browser(browser) else secrets.token_hex(16)
        person = self.visitors.person(visitor, browser)
        return {"browser": browser, **guarded(lambda: self._strip(person))}

    def variants(self) -> list[tuple[str, str]]:
        """The variants as choices, label and name; those that cannot run here are marked."""
        suffixes = {
            name: " (unavailable)" if self.services.engine.abilities(name).unavailable else "" for name in VARIANTS
        }
        return [(row.label + suffixes[name], name) for name, row in VARIANTS.items()]

    def variant_chosen(self, variant: str) -> Update:
        """What goes with a variant: its description, defaults, the model's words and examples, the status line."""
        row, engine = VARIANTS[variant], self.services.engine
        checkpoint, abilities = engine.checkpoint_of(variant), engine.abilities(variant)
        vocabulary = checkpoint.vocabulary or {}
        examples = vocabulary.get(fragments.EXAMPLES, [])
        mechanisms = {mechanism_of(slider): fragments.mechanism(abilities.of(slider)) for slider in SLIDERS}
        return {
            "variant_text": fragments.variant_text(row, abilities.unavailable),
            "defaults": fragments.defaults_text(row),
            "world": gr.update(value=fragments.world_notice(checkpoint), visible=bool(vocabulary)),
            "words": fragments.words_by_group(vocabulary),
            "words_group": gr.update(visible=bool(vocabulary)),
            "examples": gr.Dataset(samples=[[prompt] for prompt in examples], visible=bool(examples)),
            **mechanisms,
            **self.status(variant),
        }

    def example_chosen(self, example: list[str]) -> Update:
        """An example was clicked: it is the prompt now."""
        return {"prompt": example[0]}

    def status(self, variant: str) -> Update:
        """The status line: what is loaded, where, how large."""
        engine = self.services.engine
        return {"status": fragments.status_text(engine.status(), engine.checkpoint_of(variant))}

    def size_chosen(self, aspect_ratio: str, resolution: str) -> Update:
        """The pixel size of the chosen aspect ratio and resolution."""
        return {"size_text": fragments.size_text(aspect_ratio, resolution)}

    def picture_chosen(self, choice: gr.SelectData, shown_ids: list[str]) -> Update:
        """A picture of the results was clicked: describe it, and let Reuse settings mean it."""
        return guarded(
            lambda: {
                "details": fragments.details(self._record(shown_ids, choice.index)),
                "selected": choice.index,
            }
        )

    def recent_chosen(self, choice: gr.SelectData, recent_ids: list[str]) -> Update:
        """A recent picture was clicked: show it in the place of the results."""
        return guarded(
            lambda: {
                **pictures_of([self._record(recent_ids, choice.index)]),
                "stage": gr.update(value="", visible=False),
            }
        )

    def reuse(self, shown_ids: list[str], selected: int) -> Update:
        """Write the settings of the looked-at picture into the controls."""
        return guarded(lambda: self._recalled(self._record(shown_ids, selected).recipe))

    def used_as_reference(self, shown_ids: list[str], selected: int, references: list[str], **places: Any) -> Update:
        """The looked-at picture becomes a style reference."""
        return guarded(
            lambda: self.references.added([str(self._record(shown_ids, selected).path)], references, **places)
        )

    def added_to_board(
        self, visitor: gr.Request, shown_ids: list[str], selected: int, moodboard: str, **described: Any
    ) -> Update:
        """The looked-at picture joins the chosen moodboard."""
        person = self.visitors.person(visitor)
        return guarded(
            lambda: self._added_to_board(person, [self._record(shown_ids, selected).path], moodboard, **described)
        )

    def dropped_on_board(self, visitor: gr.Request, files: str | None, moodboard: str, **described: Any) -> Update:
        """A picture was dragged to the chosen moodboard: it joins that."""
        person, paths = self.visitors.person(visitor), [Path(files)] if files else []
        added = guarded(lambda: self._added_to_board(person, paths, moodboard, **described))
        return {**added, "board_file": None}

    def pin(self, shown_ids: list[str], selected: int) -> Update:
        """Write the looked-at picture's slider values and seed into the controls, and end random mode."""

        def pinned() -> Update:
            recipe = self._record(shown_ids, selected).recipe
            note = f"Pinned: {values_text(recipe) or 'all sliders at 0'}, seed {recipe.seed}."
            return {
                **_random_mode(False, recipe.slider_values),
                "seed": number_text(recipe.seed),
                "random_seed": False,
                "stage": shown(fragments.notice(note, "quiet")),
            }

        return guarded(pinned)

    def around(self, shown_ids: list[str], selected: int) -> Update:
        """Set random mode to draw near the looked-at picture's values. Fails without it, so that no run follows."""
        try:
            recipe = self._record(shown_ids, selected).recipe
        except StudioError as error:
            raise gr.Error(error.message, print_exception=False) from None
        return {**_random_mode(True, recipe.slider_values), "spread": NEAR_SPREAD}

    def starting_point(self, point: StartingPoint) -> Update:
        """A starting point was chosen: its slider values, and random mode as it says."""
        return _random_mode(point.random_mode, point.values)

    def random_mode_switched(self, random_mode: bool) -> Update:
        """Show what random mode can be told while it is on."""
        return {"random_panel": gr.update(visible=random_mode)}

    def settings_dropped(self, picture: str | None) -> Update:
        """Write the settings inside an uploaded PNG into the controls."""
        if picture is None:
            return {"settings_file": None}
        return {**guarded(lambda: self._recalled(read_recipe(Path(picture)))), "settings_file": None}

    def _added_to_board(self, person: Person, paths: list[Path], moodboard: str, **described: Any) -> Update:
        if not moodboard:
            raise InvalidRequest("No moodboard is chosen — choose one under Direction, or make one under Moodboards")
        board = self.services.library.moodboards_for(person).add(moodboard, paths)
        note = f"«{board.name}» has {pictures(len(board.images))} now; analyze it again to let them steer."
        return {"stage": shown(fragments.notice(note, "quiet")), **self.boards.described(moodboard, **described)}

    def _strip(self, person: Person) -> Update:
        records = self.services.library.recent(RECENT_PICTURES, person)
        return {
            "recent": gr.update(value=[str(record.thumbnail) for record in records], visible=bool(records)),
            "recent_ids": [record.id for record in records],
        }

    def _recalled(self, recipe: Recipe) -> Update:
        request = recipe.request()
        strengths = [percent(reference.strength) for reference in request.style_references]
        wide = any(not 0 <= strength <= 100 for strength in strengths)
        filled = self.references.filled([each.image for each in request.style_references], strengths, wide)
        lost = self.references.lost(request.style_references)
        styles, missing_styles = self.styles.recalled(request)
        told = remark(recipe, self.services.engine, lost)
        note = fragments.notice(f"{told} {missing_styles}".strip(), "quiet")
        return {
            **control_values(request),
            **filled,
            **self.boards.recalled(request),
            **styles,
            **self.creativity.recalled(request),
            "wide_strengths": wide,
            "stage": shown(note),
        }

    def _record(self, ids: list[str], index: int) -> Record:
        record = self.services.library.get(ids[index]) if 0 <= index < len(ids) else None
        if record is None:
            raise StorageError("The picture is not in the library any more — reload the page")
        return record


def _direction(controls: dict[str, Any]) -> dict[str, Any]:
    """References, moodboard, styles and expanded prompt as a request has them."""
    chosen = (controls[name] for name in moodboard_choice.CHOICE)
    return {
        "style_references": references.wished(
            controls["references"], [controls[name] for name in references.STRENGTHS]
        ),
        "moodboard": moodboard_choice.wished(*chosen),
        "styles": style_choice.wished(controls["chosen_styles"], controls),
        "expansion": creativity.wished(*(controls[name] for name in creativity.READ)),
    }


def _random_mode(on: bool, values: Mapping[str, int]) -> Update:
    """Slider values, with random mode on or off."""
    return {**values, "random_mode": on, "random_panel": gr.update(visible=on)}
