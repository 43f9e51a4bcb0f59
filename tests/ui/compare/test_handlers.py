"""What happens on the tab Compare: which pictures come in, whose they are, and another roll from there."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from krea_studio.engine.base import Step
from krea_studio.errors import Unavailable
from krea_studio.library.records import Record
from krea_studio.library.store import Library
from krea_studio.recipe.request import SLIDERS
from krea_studio.services import Services
from krea_studio.ui.compare.handlers import CompareHandlers, joined
from krea_studio.ui.visitors import Visitors
from tests.ui.conftest import PageEngine
from tests.ui.create.driving import BROWSER, kept


class ComparePage:
    """One page: the pictures that it compares, and what is pressed on it."""

    def __init__(self, services: Services, visitor: SimpleNamespace, shared: bool = False, browser: str = "") -> None:
        self.services, self.visitor, self.browser = services, visitor, browser
        self.handlers = CompareHandlers(services, Visitors(shared))
        self.compared: list[str] = []
        self.before: list[str] = []
        self.rolls: list[str] = []

    def does(self, name: str, *given: Any, **reads: Any) -> dict[str, Any]:
        """Something happens, and its update arrives."""
        if name not in ("stop", "go_back"):
            reads["compared"] = self.compared
        update = getattr(self.handlers, name)(*given, self.visitor, self.browser, **reads)
        for part in ("compared", "before", "rolls"):
            setattr(self, part, update.get(part, getattr(self, part)))
        return update

    def follow_until_rest(self) -> dict[str, Any]:
        """The timer ticks until nothing is drawn any more."""
        update: dict[str, Any] = {}
        while self.rolls:
            for run_id in self.rolls:
                self.services.runs.watch(run_id, since=10**6, seconds=0.05)
            update = self.does("follow", rolls=self.rolls)
        return update


@pytest.fixture
def compare(services: Services, visitor: SimpleNamespace) -> ComparePage:
    return ComparePage(services, visitor)


def recipes(compare: ComparePage) -> list[Any]:
    return [compare.services.library.get(each).recipe for each in compare.compared]


def test_a_picture_is_there_once_and_of_too_many_the_last_ones() -> None:
    assert joined([], ["a", "b"]) == ["a", "b"] and joined(["a", "b"], ["a"]) == ["b", "a"]
    assert joined(["a", "b", "c", "d"], ["e", "e"]) == ["b", "c", "d", "e"] and joined([], list("abcdef")) == [*"cdef"]


def test_the_results_of_create_are_compared(compare: ComparePage, library: Library) -> None:
    batch = [kept(library, seed=seed) for seed in (1, 2, 3)]
    other = kept(library, seed=9, intensity=50)
    update = compare.does("add_results", shown_ids=[each.id for each in batch], selected=1)
    assert update["compared"] == [each.id for each in batch] and update["tabs"].selected == "compare"
    assert (
        update["compare_view"].count("data-file") == 3 and "Picture on the left of the wipe" in update["compare_view"]
    )
    assert "Seed" in update["compare_table"] and "Intensity" not in update["compare_table"]
    update = compare.does("add_results", shown_ids=[other.id], selected=0)
    assert update["compared"] == [*(each.id for each in batch), other.id] and "+50" in update["compare_table"]
    refused = compare.does("add_results", shown_ids=["gone"], selected=0)
    assert "not in the library any more" in refused["stage"]["value"] and "tabs" not in refused


def test_cells_recent_pictures_and_files_join(compare: ComparePage, library: Library, tmp_path: Path) -> None:
    first, second, third = (kept(library, seed=seed) for seed in (1, 2, 3))
    told = compare.does("add_cell", sweep_cell=first.id)["sweep_notice"]["value"]
    assert "1 picture is in Compare" in told
    compare.does("add_recent", SimpleNamespace(index=0), compare_recent_ids=[second.id])
    copy = tmp_path / "copy.png"
    copy.write_bytes(third.path.read_bytes())
    compare.does("drop", dropped=[str(copy)])
    assert compare.compared == [first.id, second.id, third.id]
    compare.does("remove", SimpleNamespace(picture=second.id))
    assert compare.compared == [first.id, third.id]
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "stranger.png")
    refused = compare.does("drop", dropped=[str(tmp_path / "stranger.png")])
    assert "stranger.png holds no recipe" in refused["compare_notice"]["value"] and compare.compared == [
        first.id,
        third.id,
    ]
    third.path.unlink()
    assert "not among your pictures" in compare.does("drop", dropped=[str(copy)])["compare_notice"]["value"]


def test_what_was_deleted_or_is_another_s_is_named_and_the_rest_shown(
    services: Services, visitor: SimpleNamespace, library: Library
) -> None:
    mine, deleted = (kept(library, owner=f"browser-{BROWSER}", seed=seed) for seed in (1, 2))
    theirs = kept(library, owner="browser-" + "f" * 32, seed=3)
    library.bin.delete(deleted.id)
    page = ComparePage(services, visitor, shared=True, browser=BROWSER)
    visitor.query_params = {"tab": "compare", "pictures": f"{mine.id},{theirs.id},{deleted.id},<b>"}
    update = page.does("open_page")
    assert page.compared == [mine.id] and update["tabs"].selected == "compare"
    for named in (theirs.id, deleted.id, "&lt;b&gt;"):
        assert named in update["compare_notice"]["value"]
    assert str(theirs.path) not in update["compare_view"]
    assert update["compare_recent_ids"] == [mine.id]
    assert "compare_notice" not in page.does("open"), "the tab, which is opened next, leaves the notice"
    visitor.query_params = {}
    assert page.does("open_page") == {}


def rolled(compare: ComparePage, name: str, *records: Record) -> dict[str, Any]:
    compare.compared = [record.id for record in records]
    update = compare.does(name)
    assert update["compare_timer"]["active"] and update["compare_stop"]["visible"]
    return compare.follow_until_rest()


def test_all_are_drawn_again_with_one_new_seed(compare: ComparePage, library: Library) -> None:
    first, second = kept(library, seed=1, intensity=30, steps=2), kept(library, seed=2, prompt="a whale", steps=2)
    update = rolled(compare, "roll", first, second)
    new = recipes(compare)
    assert [(each.prompt, each.intensity) for each in new] == [("a fox", 30), ("a whale", 0)]
    assert len({each.seed for each in new}) == 1 and new[0].seed not in (1, 2)
    assert not update["compare_timer"]["active"] and update["compare_back"]["visible"]
    compare.does("go_back", before=compare.before)
    assert compare.compared == [first.id, second.id]


def test_where_nothing_but_the_seed_differs_no_picture_is_drawn_twice(compare: ComparePage, library: Library) -> None:
    rolled(compare, "roll", *(kept(library, seed=seed, steps=2) for seed in (1, 2, 3)))
    first, *others = (each.seed for each in recipes(compare))
    assert others == [(first + 1) % 2**32, (first + 2) % 2**32]


def test_the_sliders_go_round_and_the_seeds_stay(compare: ComparePage, library: Library) -> None:
    values = ((10, 0, -5), (20, 30, 0), (0, 0, 0))
    records = [
        kept(library, seed=seed, steps=2, **dict(zip(SLIDERS, each, strict=True))) for seed, each in enumerate(values)
    ]
    rolled(compare, "exchange", *records)
    assert [each.seed for each in recipes(compare)] == [0, 1, 2]
    assert [tuple(each.slider_values.values()) for each in recipes(compare)] == [*values[1:], values[0]]
    compare.compared = [records[2].id]
    assert "nothing to exchange" in compare.does("exchange")["compare_notice"]["value"]


def test_a_roll_that_fails_says_why_and_loses_nothing(
    compare: ComparePage, library: Library, engine: PageEngine
) -> None:
    first, second = kept(library, seed=1, steps=2), kept(library, seed=2, steps=2)
    engine.scripts = [[Step(0, 0, 2), Unavailable("The weights are gone — get them")]]
    update = rolled(compare, "roll", first, second)
    assert "The weights are gone" in update["compare_notice"]["value"]
    assert len(compare.compared) == 1 and compare.before == [first.id, second.id]


def test_a_picture_that_is_gone_meanwhile_is_named_before_anything_is_drawn(
    compare: ComparePage, library: Library, engine: PageEngine
) -> None:
    first, second = kept(library, seed=1), kept(library, seed=2)
    compare.compared = [first.id, second.id]
    second.path.unlink()
    assert second.id in compare.does("roll")["compare_notice"]["value"]
    assert compare.compared == [first.id] and engine.plans == [] and compare.rolls == []
