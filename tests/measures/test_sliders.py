"""The measurement itself: promises are checked against what is written down, and nothing is drawn twice."""

import csv
from pathlib import Path

import pytest

from krea_studio.direction.sliders import SLIDER_LORA, TEXT_DIRECTION
from krea_studio.measures import sliders as measure
from krea_studio.measures.sliders import PICTURE_COLUMNS, Scope
from krea_studio.recipe.request import SLIDERS
from krea_studio.settings import Settings

VALUES = (-100, -60, -30, 0, 30, 60, 100)
GOOD = {"intensity": 40.0, "complexity": 0.2, "movement": 0.2}


def written(path: Path, **changes: dict) -> Path:
    """A table of pictures in which every slider doubles its own measure and moves nothing else, with changes by slider.

    `leak` is added to the others' measures at 100, in their own units; other changes replace columns.
    """
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, PICTURE_COLUMNS)
        table.writeheader()
        for slider in SLIDERS:
            for value in VALUES:
                change = changes.get(slider, {})
                row = {name: middle for name, middle in GOOD.items()} | dict.fromkeys(measure.SECONDARY, 1.0)
                for other in set(SLIDERS) - {slider}:
                    row[other] += change.get("leak", 0) * GOOD[other] * value / 100
                row[slider] *= 2 ** (change.get("power", 1) * value / 100)
                row |= {"layout": change.get("layout", 0.9), "subject_right": change.get("subject_right", 1)}
                table.writerow(
                    {
                        "checkpoint": "c",
                        "mechanism": "m",
                        "slider": slider,
                        "value": value,
                        "prompt": 0,
                        "seed": 0,
                        **row,
                    }
                )
    return path


def broken(path: Path) -> set[tuple[str, str]]:
    found = measure.all_checks(measure.curves(path))
    return {(key[2], check.what) for key, promises in found.items() for check in promises if not check.holds}


def test_good_sliders_keep_every_promise(tmp_path: Path) -> None:
    assert broken(written(tmp_path / "p.csv")) == set()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"power": -1}, "rises (Spearman)"),
        ({"power": 0.2}, "ends, upper / lower"),
        ({"leak": 0.6}, "moves movement's measure"),
        ({"layout": 0.3}, "layout kept at ±30"),
        ({"subject_right": 0}, "subject right at ±60"),
    ],
)
def test_each_promise_can_be_broken(tmp_path: Path, change: dict, what: str) -> None:
    assert ("complexity", what) in broken(written(tmp_path / "p.csv", complexity=change))


def test_the_report_says_what_holds_and_what_does_not(tmp_path: Path) -> None:
    found = measure.curves(written(tmp_path / "p.csv", complexity={"layout": 0.3}))
    measure.write_report(found, tmp_path)
    page = (tmp_path / "sliders.md").read_text("utf-8")
    assert measure.COMMAND in page
    assert page.count("not ≥ 0.4**") == page.count("**0.3, not") == 1
    with (tmp_path / "sliders.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(SLIDERS) * len(VALUES)
    assert (tmp_path / "sliders.png").stat().st_size > 10_000


def test_pictures_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(cache=tmp_path / "cache")
    scope = Scope(("turbo",), (TEXT_DIRECTION,), ("intensity",), (-100, 0, 100), prompts=1, seeds=1)
    path = tmp_path / "pictures.csv"
    measure.draw_and_measure(scope, settings, path, lambda line: None)
    first = path.read_text()
    (curve,) = measure.curves(path)
    assert curve.values == [-100, 0, 100]
    assert curve.means[0]["layout"] == pytest.approx(1)
    monkeypatch.setattr(measure.Painter, "picture", lambda *args: pytest.fail("drawn again"))
    measure.draw_and_measure(scope, settings, path, lambda line: None)
    assert path.read_text() == first


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The measurement itself, small: mini-turbo with its slider LoRAs, seven values, three prompts, one seed."""
    folder = tmp_path_factory.mktemp("measured")
    scope = Scope(("turbo",), (SLIDER_LORA,), values=VALUES, prompts=3, seeds=1)
    measure.draw_and_measure(scope, Settings(cache=folder / "cache"), folder / "pictures.csv", lambda line: None)
    return folder / "pictures.csv"


def test_the_shipped_sliders_keep_every_promise(pictures: Path) -> None:
    promises = measure.all_checks(measure.curves(pictures))
    assert {key[2]: len(found) for key, found in promises.items()} == dict.fromkeys(SLIDERS, 6)
    assert [(*key, check) for key, found in promises.items() for check in found if not check.holds] == []
