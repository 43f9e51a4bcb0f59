"""The command `sweep`: every combination once, a sheet that gives the sweep back, refusals of one line."""

import json
from pathlib import Path

import pytest
from PIL import Image

from krea_studio.cli import generate
from krea_studio.library.pictures.sheets import read_sweep
from krea_studio.library.store import Library
from krea_studio.services import Services, services_over
from krea_studio.settings import Settings
from tests.cli.test_main import run
from tests.doubles import ScriptedEngine

ASKED = "sweep 'a fox in the snow' --resolution 512 --steps 2 --seed 3"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    engine = ScriptedEngine()

    def build_services(settings: Settings, pictures: Path | None = None) -> Services:
        return services_over(settings, Library(pictures or settings.library, settings.library), engine, engine)

    monkeypatch.setattr(generate, "build_services", build_services)
    return engine


def test_every_combination_is_a_picture_and_the_sheet_has_all(
    capsys: pytest.CaptureFixture[str], engine: ScriptedEngine
) -> None:
    code, out, errors = run(capsys, f"{ASKED} --x intensity=-50:50:50 --y 'words=fox → owl' --json")
    *pictures, sheet = map(json.loads, out.splitlines())
    assert code == 0 and errors == ["note: 6 pictures"]
    assert [each["cell"] for each in pictures] == [[x, y] for x in range(3) for y in range(2)]
    for each in pictures:
        assert each["values"] == {
            "Intensity": ("−50", "0", "50")[each["cell"][0]], "Words: fox": ("fox", "owl")[each["cell"][1]],
        }  # fmt: skip
        assert each["recipe"]["intensity"] == (-50, 0, 50)[each["cell"][0]]
        assert each["prompt"] == f"a {each['values']['Words: fox']} in the snow" and each["seed"] == 3
    found = read_sweep(sheet["sheet"])
    assert found and found.size == 6 and found.request.seed == 3
    with Image.open(sheet["sheet"]) as drawn:
        assert drawn.width > 3 * 256


def test_a_sheet_gives_the_sweep_back(
    capsys: pytest.CaptureFixture[str], engine: ScriptedEngine, tmp_path: Path
) -> None:
    sheets = [tmp_path / "first.png", tmp_path / "second.png"]
    assert run(capsys, f"{ASKED} --x seed=1,2 --sheet {sheets[0]}")[0] == 0
    first = [plan.shots for plan in engine.plans]
    assert run(capsys, f"sweep --from {sheets[0]} --sheet {sheets[1]}")[0] == 0
    assert [plan.shots for plan in engine.plans[2:]] == first
    assert read_sweep(sheets[0]) == read_sweep(sheets[1])
    assert run(capsys, f"sweep 'an owl' --from {sheets[0]} --x steps=1,2 --json")[0] == 0
    assert {(plan.shots[0].prompt, plan.shots[0].seed) for plan in engine.plans[4:]} == {("an owl", 3)}


def test_a_picture_is_no_sheet_but_may_be_varied(capsys: pytest.CaptureFixture[str], engine: ScriptedEngine) -> None:
    code, out, _ = run(capsys, "generate 'a fox' --resolution 512 --steps 2 --seed 9 --json")
    path = json.loads(out)["path"]
    assert code == 0 and read_sweep(path) is None
    assert run(capsys, f"sweep --from {path} --y movement=-100,100 --json")[0] == 0
    assert [(plan.shots[0].movement, plan.shots[0].seed) for plan in engine.plans[1:]] == [(-100, 9), (100, 9)]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("", "The sweep has no axes — give one to 3"),
        ("--x seed=1:200", "The sweep has 200 pictures, of at most 100 — take fewer values, or allow as many"),
        ("--x seed=1,2 --y seed=3,4", "Seed is on two axes"),
        ("--x seed=1,2 --most 0", "--most is 0 — give a whole number above 0"),
        ("--x seed=1,2 --sheet out.jpg", "--sheet is 'out.jpg' — name a PNG"),
        ("--x intensity=0:10:0", "with step 0"),
        ("--x style=Nothing,none", "Nothing"),
        ("--x seed=1,2 --count 2", "--count"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_drawn(
    capsys: pytest.CaptureFixture[str], engine: ScriptedEngine, flags: str, told: str
) -> None:
    code, out, errors = run(capsys, f"{ASKED} {flags}")
    assert code == 2 and out == "" and engine.plans == []
    (line,) = errors
    assert line.startswith("error: ") and told in line


def test_more_where_somebody_means_it(capsys: pytest.CaptureFixture[str], engine: ScriptedEngine) -> None:
    assert run(capsys, f"{ASKED} --x seed=1:101 --most 101")[0] == 0
    assert len(engine.plans) == 101
