"""The command `styles` and `--style`: the whole life of a style, and one line for whatever is refused."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from krea_studio.accounts.accounts import Accounts
from krea_studio.cli import generate
from krea_studio.cli import main as cli
from krea_studio.direction.styles import OFFICIAL
from krea_studio.library import store
from krea_studio.services import services_over
from krea_studio.settings import Settings
from tests.doubles import PlainDoctor, ScriptedEngine, write_style
from tests.library.styles.test_styles import tree
from tests.test_architecture import MODEL_LIBRARIES, PAGE_LIBRARIES

ROOT = Path(__file__).parents[2]
SAID = {"name": "Fox prints", "trigger": "fox print", "trained_on": "mini-medium", "suggested_prompt": "a fox"}
LINE = "Fox prints  trigger «fox print», weight −2 to 2, for Mini Medium, Mini Turbo, 0.3 kB, file fox.safetensors"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The working directory: a style file, one for another model, a picture, and a doctor that believes."""
    monkeypatch.setattr("krea_studio.services.StyleDoctor", lambda settings, engine: PlainDoctor())
    write_style(tmp_path / "fox.safetensors", 1, **SAID)
    write_style(tmp_path / "sdxl.safetensors", 2, prefix="lora_unet_")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], command: str) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and the lines on standard error."""
    code = cli.main(shlex.split(command))
    captured = capsys.readouterr()
    return code, captured.out, captured.err.splitlines()


def done(capsys: pytest.CaptureFixture[str], command: str) -> list[str]:
    """The lines on standard output of `styles` with these arguments, which has to succeed in silence."""
    code, out, errors = run(capsys, f"styles {command}")
    assert (code, errors) == (0, [])
    return out.splitlines()


def own(lines: list[str]) -> list[str]:
    """The lines of a list without Krea's own styles that are not here."""
    return [line for line in lines if "not here yet" not in line]


def test_the_whole_life_of_a_style(capsys: pytest.CaptureFixture[str]) -> None:
    assert own(done(capsys, "")) == []
    assert run(capsys, "styles add fox.safetensors") == (0, f"{LINE}\n", ["note: a note of the doctor"])
    assert own(done(capsys, "")) == [LINE]
    assert done(capsys, "rename 'fox PRINTS' ' Foxes  a:3 '") == [LINE.replace("Fox prints", "Foxes a:3")]
    assert "trigger «ink», " in done(capsys, "edit 'foxes a:3' --trigger ink --prompt 'ink of a fox'")[0]
    assert "no trigger words, " in done(capsys, "edit 'foxes a:3' --trigger ''")[0]
    assert done(capsys, "favourite 'foxes a:3'")[0].endswith(", favourite")
    assert len(done(capsys, "--favourites")) == 1
    done(capsys, "cover 'foxes a:3' red.png")
    (style,) = [json.loads(line) for line in done(capsys, "--json --favourites")]
    assert Image.open(style["cover"]).size == (64, 64) and Path(style["path"]).is_file()
    assert {key: style[key] for key in ("name", "trigger", "suggested_prompt", "rank", "here", "weight")} == {
        "name": "Foxes a:3",
        "trigger": "",
        "suggested_prompt": "ink of a fox",
        "rank": "4 to 8, alpha 4",
        "here": True,
        "weight": {"least": -2, "most": 2, "default": 1},
    }
    assert not done(capsys, "favourite 'foxes a:3' --off")[0].endswith("favourite")
    assert done(capsys, "--favourites") == []
    assert done(capsys, "remove 'foxes a:3'") == [] and own(done(capsys, "")) == []


def test_kreas_own_are_listed_with_the_way_to_get_them(capsys: pytest.CaptureFixture[str]) -> None:
    lines = done(capsys, "")
    assert [line.split()[0] for line in lines] == list(OFFICIAL)
    assert lines[0] == (
        "darkbrush  trigger «monochrome ink wash style», weight −2 to 2, trained on Krea 2 Raw, made for Krea 2 Turbo, "
        "not here yet: python -m krea_studio styles add darkbrush"
    )
    (tarot,) = [json.loads(line) for line in done(capsys, "--json --search 'TAROT style'")]
    assert (tarot["name"], tarot["here"], tarot["source"]) == (
        "vintagetarot", False, "Hub krea/Krea-2-LoRA-vintagetarot"
    )  # fmt: skip


def test_a_list_can_be_searched(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "styles add fox.safetensors")
    assert done(capsys, "--search 'fox mini'") == [LINE]
    assert [line.split()[0] for line in done(capsys, "--search monochrome")] == ["darkbrush", "dotmatrix"]
    assert done(capsys, "--search 'fox monochrome'") == []


def test_what_lies_in_the_folder_is_taken_in_and_refusals_are_told(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KREA_STUDIO_STYLES", str(folder))
    for _ in range(2):
        code, out, errors = run(capsys, "styles")
        assert (code, own(out.splitlines())) == (0, [LINE])
        assert errors == [
            f"note: {folder}/sdxl.safetensors was left out: 'sdxl.safetensors' is refused: it is made for SDXL; "
            "its keys match nothing — use one for Krea 2"
        ]


def test_new_weights_of_a_style_are_told(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KREA_STUDIO_STYLES", str(folder))
    run(capsys, "styles")
    write_style(folder / "fox.safetensors", 5, **SAID)
    code, out, errors = run(capsys, "styles")
    assert (code, own(out.splitlines())) == (0, [LINE])
    assert errors[0] == "note: Fox prints has new weights: its file has changed"


def test_the_library_can_be_named_before_or_after_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "styles --library there add fox.safetensors")
    assert own(done(capsys, "--library there")) == [LINE] and own(done(capsys, "")) == []
    assert done(capsys, "favourite 'fox prints' --library there")
    assert not Path("outputs/styles").exists()


BAD = {
    "add none.safetensors": "does not exist",
    "add sdxl.safetensors": "'sdxl.safetensors' is refused: it is made for SDXL",
    "add red.png": "'red.png' is refused: it is no safetensors file",
    "add nothing": "FILE|REPO is 'nothing' — give a file that is there, owner/name on the Hub, or one of darkbrush,",
    "add a/b/c": "'a/b/c' names no repository — give owner/name",
    "add fox.safetensors --name ''": "The style's name is empty — give a text of 1 to 200 characters",
    "add fox.safetensors --name woodcut": "There is a style 'Woodcut' already — give this one another name, or rename",
    "add": "the following arguments are required: FILE|REPO",
    "remove none": "There is no style 'none' — choose one of 'Woodcut'",
    "remove darkbrush": "There is no style 'darkbrush' here yet; Krea publishes it — add it first",
    "remove woodcut": "Style 'Woodcut' ships with the studio and cannot be removed — simply do not choose it",
    "rename none other": "There is no style 'none'",
    "rename woodcut ''": "The style's name is empty",
    "edit woodcut": "There is nothing to edit — give --trigger, --prompt or --speed",
    "edit woodcut --prompt " + "x" * 2001: "The style's suggested prompt has 2,001 characters — give a text of 0 to",
    "cover woodcut fox.safetensors": "'fox.safetensors' is not a PNG, JPEG, WebP, AVIF or HEIC picture",
    "cover woodcut none.png": "'none.png' does not exist",
    "favourite": "the following arguments are required: NAME",
    "--search": "expected one argument",
    "sing": "invalid choice: 'sing'",
}


@pytest.mark.parametrize("command", BAD)
def test_bad_input_is_one_line_and_changes_nothing(
    capsys: pytest.CaptureFixture[str], command: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SHIPPED_STYLES_FOLDER", folder / "shipped")
    write_style(folder / "shipped" / "woodcut.safetensors", 9, name="Woodcut")
    before = tree(folder)
    code, out, errors = run(capsys, f"styles {command}")
    assert (code, out, len(errors)) == (2, "", 1)
    assert BAD[command] in errors[0]
    assert {path: content for path, content in tree(folder).items() if not path.startswith("outputs/rec")} == before


def test_no_network_is_not_available_here(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("add darkbrush", "add owner/name", "add darkbrush --name Ink"):
        code, out, errors = run(capsys, f"styles {command}")
        assert (code, out, len(errors)) == (3, "", 1)
        assert "cannot be downloaded (HF_HUB_OFFLINE is set) — unset it" in errors[0]


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The requests that reach the studio, which draws nothing of them."""
    asked: list[Any] = []

    def build_services(settings: Settings, pictures: Path | None = None) -> Any:
        library = store.Library(pictures or settings.library, settings.library)
        engine = ScriptedEngine()
        services = services_over(settings, library, engine, engine)

        def generate(request: Any, tell: Any) -> None:
            asked.append(request)

        services.studio.generate = generate
        return services

    monkeypatch.setattr(generate, "build_services", build_services)
    return asked


def test_styles_are_those_of_the_library_wherever_the_pictures_go(
    capsys: pytest.CaptureFixture[str], chosen: list[Any]
) -> None:
    run(capsys, "styles add fox.safetensors --name Ink")
    code, _, _ = run(capsys, "generate 'a fox' --style ink --out elsewhere")
    assert (code, chosen[-1].styles[0].name) == (0, "ink")
    assert not list(Path("elsewhere").rglob("*.safetensors"))


def test_styles_are_chosen_by_name_and_weight(capsys: pytest.CaptureFixture[str], chosen: list[Any]) -> None:
    run(capsys, "styles add fox.safetensors --name a:3")
    write_style(Path("styles/ink.safetensors"), 5)
    for text, name, weight in (
        ("a:3", "a:3", 1.0),
        ("A:3:0.5", "A:3", 0.5),
        ("ink:-1.5", "ink", -1.5),
        ("ink", "ink", 1.0),
        ("b:2", "b", 2.0),
    ):
        code, _, notes = run(capsys, f"generate 'a fox' --style {shlex.quote(text)}")
        # The double's checkpoints have labels of their own.
        assert code == 0 and all("Made for Mini Medium, Mini Turbo, not for Mini turbo" in note for note in notes)
        assert [(style.name, style.weight) for style in chosen.pop().styles] == [(name, weight)]
    assert run(capsys, "generate 'a fox' --style a:3 --style ink:0.25")[0] == 0
    assert [style.name for style in chosen.pop().styles] == ["a:3", "ink"]
    assert store.library_styles(Path("outputs")).names() == ["a:3", "ink"], "the folder's are there to be chosen"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--style ink:7", "--style, number 1, weight is 7.0 — give a number from -2 to 2"),
        ("--style ink:nan", "--style, number 1, weight is nan — give a number from -2 to 2"),
        ("--style ''", "--style, number 1, name is empty"),
        ("--style ink --style INK:0.5", "Style 'INK' is chosen more than once — choose it once, with one weight"),
        (" ".join(f"--style s{number}" for number in range(9)), "--style has 9 entries — give a list of at most 8"),
    ],
)
def test_a_choice_that_is_none_is_one_line_and_nothing_is_made(
    capsys: pytest.CaptureFixture[str], chosen: list[Any], flags: str, message: str
) -> None:
    code, out, errors = run(capsys, f"generate 'a fox' {flags}")
    assert (code, out, len(errors)) == (2, "", 1)
    assert message in errors[0]
    assert not chosen and not Path("outputs").exists()


def test_a_list_needs_no_model_code() -> None:
    code = (
        "import sys; from krea_studio.cli.main import main; main(['styles']); "
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
    assert not set(finished.stdout.split()) & {*MODEL_LIBRARIES, *PAGE_LIBRARIES}


def test_a_strangers_text_cannot_take_over_the_terminal(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    write_style(folder / "x.safetensors", 4, name="bad\x1b[2Jname", trigger="a\x07\nb")
    code, out, _ = run(capsys, "styles add x.safetensors")
    assert code == 0 and out.count("\n") == 1
    assert out.strip().isprintable()


def test_a_style_of_few_steps_is_told_changed_and_drawn_so_by_a_flag_only(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def over(settings: Settings, pictures: Path | None = None) -> Any:
        engine = ScriptedEngine()
        return services_over(settings, store.Library(pictures or settings.library, settings.library), engine, engine)

    monkeypatch.setattr(generate, "build_services", over)
    write_style(folder / "turbo_4step.safetensors", 5)
    (line,) = own(done_with_notes(capsys, "styles add turbo_4step.safetensors --name Four"))
    assert "made for 4 steps without guidance (guessed from its name)" in line

    command = "generate 'a fox' --resolution 512 --json --style Four"
    code, out, errors = run(capsys, command)
    assert code == 0 and "sigmas" not in json.loads(out)["recipe"] and json.loads(out)["recipe"]["steps"] == 8
    assert any("Four is made for 4 steps" in each and "--few-steps draws so" in each for each in errors)

    code, out, errors = run(capsys, f"{command} --few-steps --variant medium")
    recipe = json.loads(out)["recipe"]
    assert (recipe["steps"], recipe["guidance_scale"], len(recipe["sigmas"])) == (4, 0, 4)
    assert not any("--few-steps" in each for each in errors)
    path = json.loads(out)["path"]
    again = json.loads(run(capsys, f"generate --from {path} --json")[1])["recipe"]
    assert again == recipe
    assert json.loads(run(capsys, f"generate --from {path} --steps 6 --json")[1])["recipe"]["steps"] == 6

    assert "made for 2 steps without guidance, at sigmas 1, 0.5," in done(capsys, "edit Four --speed '1, 0.5, 0'")[0]
    recipe = json.loads(run(capsys, f"{command} --few-steps")[1])["recipe"]
    assert recipe["sigmas"] == [1.0, 0.5]
    assert "made for" not in done(capsys, "edit Four --speed ''")[0]
    code, _, errors = run(capsys, f"{command} --few-steps")
    assert code == 2 and "No chosen style is known to be made for few steps" in errors[-1]
    code, _, errors = run(capsys, "styles edit Four --speed often")
    assert code == 2 and "The style's few steps are 'often'" in errors[-1]


def done_with_notes(capsys: pytest.CaptureFixture[str], command: str) -> list[str]:
    """The lines on standard output of a command that has to succeed."""
    code, out, _ = run(capsys, command)
    assert code == 0
    return out.splitlines()


def test_a_style_of_an_account_is_listed_with_whose_it_is_and_named_by_its_owner(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KREA_STUDIO_LIBRARY", str(tmp_path / "library"))
    accounts = Accounts(tmp_path / "library")
    for name in ("ada", "ben"):
        accounts.add(name, "seven foxes in snow")
    run(capsys, "styles add fox.safetensors --owner ADA")
    assert own(done(capsys, "")) == [f"{LINE}, ada's"] == own(done(capsys, "--owner ada"))
    assert own(done(capsys, "--owner ben")) == []
    assert json.loads(own(done(capsys, "--json"))[0])["owner"] == "ada"
    code, _, (told, *_) = run(capsys, "styles remove 'Fox prints' --owner ben")
    assert code == 2 and "There is no style 'Fox prints'" in told
    code, _, (told, *_) = run(capsys, "styles --owner cleo")
    assert code == 2 and "There is no account 'cleo'" in told
    assert done(capsys, "remove 'Fox prints' --owner ada") == own(done(capsys, "")) == []
