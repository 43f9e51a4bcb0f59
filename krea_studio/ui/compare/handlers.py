"""What happens on the tab Compare.

The pictures that are compared are ids that the page remembers; `put` is the one way in for all who have some to show,
and gives the whole update of the tab. Another roll is a run for each picture, which the page watches by a timer; what
it draws is a picture as any other, so nothing is lost where the page is left.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import gradio as gr

from krea_studio.errors import InvalidRequest, StudioError
from krea_studio.library.pictures.metadata import read_recipe
from krea_studio.library.records import Record
from krea_studio.people import Person
from krea_studio.recipe.request import SEED_LIMIT, SLIDERS, GenerationRequest
from krea_studio.runs.run import Run
from krea_studio.services import Services
from krea_studio.studio import draw_seed
from krea_studio.ui.compare import fragments
from krea_studio.ui.create.recent import RECENT_PICTURES
from krea_studio.ui.create.results import picture_at
from krea_studio.ui.fragments import label_of
from krea_studio.ui.notices import guarded, note, problem, visible
from krea_studio.ui.presenter import Update
from krea_studio.ui.visitors import Visitors
from krea_studio.validation import shown as quoted

MOST = 4
NOTICE = "compare_notice"
PUT = ("compared", "compare_view", "compare_table", "compare_again", NOTICE)
"""What `put` writes."""
ROLLING = ("rolls", "compare_timer", "compare_stop")
NOT_HERE = "Picture {} is not here: it was deleted, or is somebody else's"
NOT_KEPT = "{} is not among your pictures here — drop one that this library has, unchanged"
SAME_SLIDERS = "All have the same values of the sliders, so there is nothing to exchange"


def joined(before: Sequence[str], ids: Sequence[str]) -> list[str]:
    """These pictures beside those before, each once; of too many the last ones."""
    return list(dict.fromkeys([*(each for each in before if each not in ids), *ids]))[-MOST:]


class CompareHandlers:
    """The tab's behaviour, over one set of services."""

    def __init__(self, services: Services, visitors: Visitors) -> None:
        self._services, self._visitors = services, visitors
        self._runs, self._library = services.runs, services.library

    def put(self, person: Person, ids: Sequence[str]) -> Update:
        """Compare the pictures with these ids, of which those stay that the person sees; the others are named."""
        return {**note("", NOTICE), **self._shown(person, ids)}

    def open(self, visitor: gr.Request, browser: str, compared: list[str]) -> Update:
        """The tab was opened: its pictures, and the recent ones."""
        person = self._visitors.person(visitor, browser)
        return guarded(lambda: {**self._recent(person), **self._shown(person, compared)}, _noticed)

    def open_page(self, visitor: gr.Request, browser: str, compared: list[str]) -> Update:
        """The page was opened: where its address names pictures to compare, they are shown."""
        asked = visitor.query_params
        if asked.get("tab") != "compare":
            return {}
        named = [each for each in asked.get("pictures", "").split(",") if each]
        return {"tabs": gr.Tabs(selected="compare"), **self.open(visitor, browser, joined(compared, named))}

    def add_results(
        self, visitor: gr.Request, browser: str, shown_ids: list[str], selected: int, compared: list[str]
    ) -> Update:
        """Compare was pressed on Create: the pictures of a batch, or the one there beside those before."""
        person = self._visitors.person(visitor, browser)

        def added() -> Update:
            chosen = picture_at(self._library, person, shown_ids, selected).id
            ids = joined([], shown_ids) if 1 < len(shown_ids) <= MOST else joined(compared, [chosen])
            return {"tabs": gr.Tabs(selected="compare"), **self._recent(person), **self.put(person, ids)}

        return guarded(added)

    def add_picked(self, visitor: gr.Request, browser: str, picked: list[str], compared: list[str]) -> Update:
        """Compare was pressed on History: several pictures together, or one beside those before."""
        person = self._visitors.person(visitor, browser)
        ids = joined(compared if len(picked) == 1 else [], picked)
        return guarded(
            lambda: {"tabs": gr.Tabs(selected="compare"), **self._recent(person), **self.put(person, ids)}, _noticed
        )

    def add_cell(self, visitor: gr.Request, browser: str, sweep_cell: str, compared: list[str]) -> Update:
        """Add to Compare was pressed at the cell of a sweep, which stays open."""
        person = self._visitors.person(visitor, browser)

        def added() -> Update:
            update = self.put(person, joined(compared, [sweep_cell]))
            count = len(update["compared"])
            told = "1 picture is in Compare; open another cell to add it." if count == 1 else ""
            return {**update, **note(told or f"{count} pictures are in Compare.", "sweep_notice")}

        return guarded(added, lambda message: problem(message, "sweep_notice"))

    def add_recent(
        self,
        choice: gr.SelectData,
        visitor: gr.Request,
        browser: str,
        compare_recent_ids: list[str],
        compared: list[str],
    ) -> Update:
        """A recent picture was pressed: it comes beside the others."""
        person = self._visitors.person(visitor, browser)

        def added() -> Update:
            return self.put(
                person, joined(compared, [picture_at(self._library, person, compare_recent_ids, choice.index).id])
            )

        return guarded(added, _noticed)

    def drop(self, visitor: gr.Request, browser: str, dropped: list[str] | None, compared: list[str]) -> Update:
        """Pictures of this library were dropped, told by the recipes inside them."""
        person = self._visitors.person(visitor, browser)

        def added() -> Update:
            return self.put(person, joined(compared, [self._kept(file, person).id for file in dropped or []]))

        return {"compare_file": None, **(guarded(added, _noticed) if dropped else {})}

    def remove(self, choice: gr.EventData, visitor: gr.Request, browser: str, compared: list[str]) -> Update:
        """A picture was taken out."""
        removed, person = str(getattr(choice, "picture", "")), self._visitors.person(visitor, browser)
        return guarded(lambda: self.put(person, [each for each in compared if each != removed]), _noticed)

    def roll(self, visitor: gr.Request, browser: str, compared: list[str]) -> Update:
        """Every picture is drawn again with one new seed; those in which nothing else differs count on from it."""
        seed = draw_seed()

        def rolled(records: Sequence[Record]) -> list[GenerationRequest]:
            requests: list[GenerationRequest] = []
            for record in records:
                request = record.recipe.request().model_copy(update={"seed": seed})
                while request in requests:
                    request = request.model_copy(update={"seed": ((request.seed or 0) + 1) % SEED_LIMIT})
                requests.append(request)
            return requests

        return self._draw(visitor, browser, compared, rolled)

    def exchange(self, visitor: gr.Request, browser: str, compared: list[str]) -> Update:
        """Every picture is drawn again with its own seed, and the sliders of the next one."""

        def exchanged(records: Sequence[Record]) -> list[GenerationRequest]:
            if len({tuple(record.recipe.slider_values.items()) for record in records}) < 2:
                raise InvalidRequest(SAME_SLIDERS)
            others = [*records[1:], records[0]]
            return [
                record.recipe.request().model_copy(update={slider: getattr(other.recipe, slider) for slider in SLIDERS})
                for record, other in zip(records, others, strict=True)
            ]

        return self._draw(visitor, browser, compared, exchanged)

    def follow(self, visitor: gr.Request, browser: str, rolls: list[str], compared: list[str]) -> Update:
        """How far the pictures that are drawn again are; when all are there, they are compared."""
        person = self._visitors.person(visitor, browser)
        runs = self._rolled(rolls, person)
        going_on = next((run for run in runs if not run.state.ended), None)
        drawn = [record.id for run in runs for record in run.finished]
        if going_on:
            return note(f"{len(drawn)} of {len(rolls)} drawn · {label_of(going_on)}", NOTICE)

        def shown() -> Update:
            told = next((run.failure for run in runs if run.failure), "")
            update = self.put(person, drawn or compared)
            kept = {"before": compared, "compare_back": visible(True)} if drawn else {}
            return {**self._recent(person), **update, **kept, **(problem(told, NOTICE) if told else {})}

        rest = {"rolls": [], "compare_timer": gr.update(active=False), "compare_stop": visible(False)}
        return {**guarded(shown, _noticed), **rest}

    def stop(self, visitor: gr.Request, browser: str, rolls: list[str]) -> Update:
        """Stop was pressed: what is not drawn yet is left."""
        person = self._visitors.person(visitor, browser)
        for run in self._rolled(rolls, person):
            with suppress(InvalidRequest):  # it has ended meanwhile
                self._runs.stop(run.id, person)
        return note("Stopping…", NOTICE)

    def go_back(self, visitor: gr.Request, browser: str, before: list[str]) -> Update:
        """The pictures from before the last roll are shown again."""
        person = self._visitors.person(visitor, browser)
        return guarded(lambda: {**self.put(person, before), "before": [], "compare_back": visible(False)}, _noticed)

    def _shown(self, person: Person, ids: Sequence[str]) -> Update:
        """The pictures with these ids; a notice only where some of them are not here."""
        found = {each: self._library.get(each, person) for each in ids[:MOST]}
        records = [record for record in found.values() if record]
        gone = [NOT_HERE.format(quoted(each)) for each, record in found.items() if record is None]
        return {
            "compared": [record.id for record in records],
            "compare_view": fragments.view(records),
            "compare_table": fragments.table([record.recipe for record in records]),
            "compare_again": visible(bool(records)),
            **(problem(". ".join(gone), NOTICE) if gone else {}),
        }

    def _draw(
        self,
        visitor: gr.Request,
        browser: str,
        compared: Sequence[str],
        requests: Callable[[Sequence[Record]], list[GenerationRequest]],
    ) -> Update:
        person = self._visitors.person(visitor, browser)

        def begun() -> Update:
            records = [record for each in compared if (record := self._library.get(each, person))]
            if len(records) < len(compared):
                return self.put(person, compared)
            ids: list[str] = []
            try:
                for request in requests(records):
                    ids.append(self._runs.submit(request, person))
            except StudioError:
                for run_id in ids:
                    self._runs.stop(run_id, person)
                raise
            return {
                "rolls": ids,
                "compare_timer": gr.update(active=True),
                "compare_stop": visible(True),
                **note(f"0 of {len(ids)} drawn", NOTICE),
            }

        return guarded(begun, _noticed)

    def _rolled(self, rolls: Sequence[str], person: Person) -> list[Run]:
        runs = []
        for run_id in rolls:
            with suppress(InvalidRequest):  # another server knows nothing of one that had ended
                runs.append(self._runs.watch(run_id, person))
        return runs

    def _recent(self, person: Person) -> Update:
        records = self._library.recent(RECENT_PICTURES, person)
        return {
            "compare_recent": gr.update(value=[str(record.thumbnail) for record in records], visible=bool(records)),
            "compare_recent_ids": [record.id for record in records],
        }

    def _kept(self, file: str, person: Person) -> Record:
        """The picture of the library that a file is a copy of."""
        recipe = read_recipe(file, Path(file).name)
        record = next(self._library.drawn(recipe, person), None)
        if record is None:
            raise InvalidRequest(NOT_KEPT.format(Path(file).name))
        return record


def _noticed(message: str) -> Update:
    return problem(message, NOTICE)
