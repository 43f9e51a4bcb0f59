"""The command line: results on standard output, one line for every refusal, and the same pictures every time."""

import io
import json
import os
import shlex
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from krea_studio.cli import generate
from krea_studio.cli import main as cli
from krea_studio.engine.base import Step
from krea_studio.engine.local.engine import LocalEngine
from krea_studio.errors import Stopped, StorageError, StudioError, Unavailable
from krea_studio.library.store import Library
from krea_studio.recipe.request import GenerationRequest, help_text
from krea_studio.services import Services, services_over
from krea_studio.settings import Settings
from tests.doubles import REFUSED_SEED, ScriptedEngine, drawn
from tests.library.pictures.test_metadata import recipe_of
from tests.library.test_store import save, shot_of

ROOT = Path(__file__).parents[2]


def use(monkeypatch: pytest.MonkeyPatch, engine: LocalEngine | ScriptedEngine) -> None:
    """Let the command line build its studio over `engine`."""

    def build_services(settings: Settings, pictures: Path | None = None) -> Services:
        return services_over(settings, Library(pictures or settings.library, settings.library), engine, engine)

    monkeypatch.setattr(generate, "build_services", build_services)


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    engine = ScriptedEngine()
    use(monkeypatch, engine)
    return engine


def run(capsys: pytest.CaptureFixture[str], command: str) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and the lines on standard error."""
    code = cli.main(shlex.split(command))
    captured = capsys.readouterr()
    return code, captured.out, captured.err.splitlines()


def pixels(line: str) -> bytes:
    with Image.open(json.loads(line)["path"]) as image:
        return image.tobytes()


class TestWithTheRealEngine:
    QUICK = "--resolution 512 --steps 2 --json"

    def test_the_same_command_gives_the_same_pictures(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, engine: LocalEngine
    ) -> None:
        use(monkeypatch, engine)
        code, out, errors = run(capsys, f"generate 'a fox' --seed 7 --count 2 --aspect-ratio 16:9 {self.QUICK}")
        assert (code, errors) == (0, [])
        first, second = out.splitlines()
        told = json.loads(first)
        assert list(told) == [
            *("path", "seed", "width", "height", "variant", "checkpoint", "prompt", "seconds", "recipe")
        ]
        assert (told["seed"], told["width"], told["height"], told["variant"]) == (7, 672, 384, "turbo")
        assert Path(told["path"]).parts[-3:-2] == ("outputs",)

        _, again, _ = run(capsys, f"generate 'a fox' --seed 8 --aspect-ratio 16:9 {self.QUICK}")
        assert pixels(again) == pixels(second) != pixels(first)

        code, replayed, errors = run(capsys, f"generate --from {told['path']} --json --out elsewhere")
        assert (code, errors) == (0, [])
        assert pixels(replayed) == pixels(first)
        assert json.loads(replayed)["recipe"] == told["recipe"]
        assert Path(json.loads(replayed)["path"]).is_relative_to(Path("elsewhere").absolute())


def test_a_line_per_picture_for_people(capsys: pytest.CaptureFixture[str], double: ScriptedEngine) -> None:
    code, out, errors = run(capsys, "generate 'a fox' --seed 7 --count 2 --resolution 512")
    assert (code, errors) == (0, [])
    lines = out.splitlines()
    assert len(lines) == 2
    assert "seed 8, 512 × 512, turbo (mini-turbo), 0.5 s" in lines[1]
    assert Path(lines[1].split("  ")[0]).is_file()


def test_flags_reach_the_request(capsys: pytest.CaptureFixture[str], double: ScriptedEngine) -> None:
    run(
        capsys,
        "generate 'a fox' --variant medium --aspect-ratio 4:5 --resolution 512 --seed 1 --steps 3 --guidance-scale 2.5 "
        "--negative-prompt rain --creativity raw --intensity 0 --complexity 0 --movement -0",
    )
    (planned,) = double.plans
    assert planned.asked == GenerationRequest(
        prompt="a fox",
        variant="medium",
        aspect_ratio="4:5",
        resolution="512",
        seed=1,
        steps=3,
        guidance_scale=2.5,
        negative_prompt="rain",
    )


def test_random_mode_draws_each_picture_and_records_it(
    capsys: pytest.CaptureFixture[str], double: ScriptedEngine
) -> None:
    command = "generate a --count 4 --seed 1 --random --lock movement --movement 10 --exploration-seed 5 --json"
    _, out, errors = run(capsys, command)
    recipes = [json.loads(line)["recipe"] for line in out.splitlines()]
    assert errors == []
    assert len({recipe["intensity"] for recipe in recipes}) == 4
    assert {recipe["movement"] for recipe in recipes} == {10}
    assert [recipe["exploration"]["number"] for recipe in recipes] == [0, 1, 2, 3]
    assert {recipe["exploration"]["seed"] for recipe in recipes} == {5}
    _, again, _ = run(capsys, command)
    assert [json.loads(line)["recipe"] for line in again.splitlines()] == recipes


def test_a_line_tells_the_slider_values(capsys: pytest.CaptureFixture[str], double: ScriptedEngine) -> None:
    _, out, _ = run(capsys, "generate a --intensity 60 --movement -20 --resolution 512")
    assert out.rstrip().endswith("intensity +60, complexity 0, movement −20")


BAD = {
    "generate": "PROMPT is missing — give a text of 1 to 10,000 characters",
    "generate ' '": "PROMPT is empty — give a text of 1 to 10,000 characters",
    f"generate {'x' * 20_000}": "PROMPT has 20,000 characters — give a text of 1 to 10,000 characters",
    "generate 'a \udcff'": "PROMPT is not valid Unicode",
    "generate a --aspect-ratio 5:3": "--aspect-ratio is '5:3' — choose one of 1:1, 4:3, 3:2, 16:9, 2.35:1, 4:5, 2:3",
    "generate a --variant huge": "--variant is 'huge' — choose one of medium, large, turbo",
    "generate a --seed -1": "--seed is -1 — give a whole number from 0 to 4294967295",
    "generate a --seed 4294967296": "--seed is 4294967296 — give a whole number from 0 to 4294967295",
    "generate a --seed seven": "--seed is 'seven' — give a whole number from 0 to 4294967295",
    "generate a --seed ''": "--seed is '' — give a whole number",
    "generate a --count 0": "--count is 0 — give a whole number from 1 to 4",
    "generate a --steps 2.5": "--steps is '2.5' — give a whole number from 1 to 100",
    "generate a --guidance-scale nan": "--guidance-scale is nan — give a number from 0 to 20",
    "generate a --guidance-scale inf": "--guidance-scale is inf — give a number from 0 to 20",
    "generate a --resolution 4K": "--resolution is '4K' — choose one of 1K, 512",
    "generate a --intensity 101": "--intensity is 101 — give a whole number from -100 to 100",
    "generate a --intensity 1.5": "--intensity is '1.5' — give a whole number from -100 to 100",
    "generate a --random --lock colour": "--lock, number 1 is 'colour' — choose one of intensity, complexity, movement",
    "generate a --random --lock intensity,complexity,movement": "Random mode has nothing to vary",
    "generate a --random --spread 0": "--spread is 0 — give a whole number from 1 to 200",
    "generate a --lock movement": "--lock 'movement' works in random mode only — add --random",
    "generate a --spread 20": "--spread '20' works in random mode only — add --random",
    "generate a --exploration-seed 3": "--exploration-seed '3' works in random mode only — add --random",
    "generate a --out file/inside": "--out is 'file/inside' (Not a directory) — name a folder that can be made",
    "generate a --out file": "--out is 'file' (File exists) — name a folder that can be made",
    "generate a --from missing.png": "missing.png does not exist — give a PNG that this studio made",
    "generate a --from file": "file is not a PNG, or a damaged one",
    "generate a --colour blue": "'--colour blue' is not known here — usage: python -m krea_studio generate",
    "generate a --aspect 1:1": "'--aspect 1:1' is not known here — usage:",
    "generate a --seed": "argument --seed: expected one argument — usage:",
    "generate a b": "'b' is not known here — usage:",
    "inspect missing.png": "missing.png does not exist",
    "inspect": "the following arguments are required: FILE.png — usage:",
    "serve --port 0": "--port is '0' — give a whole number from 1 to 65535",
    "measure weight": "argument measure: invalid choice: 'weight'",
    "paint": "argument COMMAND: invalid choice: 'paint'",
    "": "the following arguments are required: COMMAND",
}


@pytest.mark.parametrize("command", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(
    capsys: pytest.CaptureFixture[str], double: ScriptedEngine, command: str
) -> None:
    Path("file").touch()
    code, out, errors = run(capsys, command)
    assert (code, out, len(errors)) == (2, "", 1)
    assert errors[0].startswith(f"error: {BAD[command]}")
    assert os.listdir() == ["file"]
    assert double.plans == []


def test_a_bad_option_in_the_environment_is_one_line(
    capsys: pytest.CaptureFixture[str], double: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KREA_STUDIO_PORT", "http")
    code, _, errors = run(capsys, "generate a")
    assert (code, errors) == (2, ["error: KREA_STUDIO_PORT is 'http' — give a whole number from 1 to 65535"])
    assert os.listdir() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission_is_bad_input(capsys: pytest.CaptureFixture[str], double: ScriptedEngine) -> None:
    Path("closed").mkdir(mode=0o500)
    code, _, errors = run(capsys, "generate a --out closed")
    assert code == 2 and "'closed', which you may not write" in errors[0]


def test_an_unusable_library_is_told(
    capsys: pytest.CaptureFixture[str], double: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file").touch()
    monkeypatch.setenv("KREA_STUDIO_LIBRARY", "file/library")
    code, out, errors = run(capsys, "generate a")
    assert (code, out, len(errors)) == (4, "", 1)
    assert "cannot be written (Not a directory)" in errors[0]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("no weights — download them"), 3),
        (StorageError("full — free space"), 4),
        (Stopped("too slow — ask for less"), 130),
        (StudioError("failed\nbadly — try again"), 1),
    ],
)
def test_a_failed_run_keeps_its_pictures_and_tells_why(
    capsys: pytest.CaptureFixture[str], double: ScriptedEngine, error: StudioError, code: int
) -> None:
    double.scripts = [drawn(shot_of()), [Step(0, 0, 8), error]]
    exit_code, out, errors = run(capsys, "generate a --count 2 --seed 7 --json --resolution 512")
    assert exit_code == code
    assert errors == ["error: " + error.message.replace("\n", " ")]
    assert [json.loads(line)["seed"] for line in out.splitlines()] == [7]


def test_interrupting_stops_cleanly(capsys: pytest.CaptureFixture[str], double: ScriptedEngine) -> None:
    double.scripts = [drawn(shot_of()), [Step(0, 0, 8), Step(0, 1, 8), KeyboardInterrupt()]]
    code, out, errors = run(capsys, "generate a --count 2 --resolution 512")
    assert (code, errors) == (130, ["error: Stopped — pictures that were finished are kept"])
    assert double.ended == 2
    assert len(out.splitlines()) == 1
    assert len(Library("outputs").recent(9)) == 1


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "gb2312"])
@pytest.mark.parametrize(
    "command",
    ["generate «föx» --count 2 --steps 1 --creativity raw", "generate --help", "inspect-style $STYLE", "styles --help"],
)
def test_a_terminal_that_cannot_show_a_character_gets_an_escape_and_every_result(
    double: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, command: str, encoding: str
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    words = shlex.split(command.replace("$STYLE", str(ROOT / "assets" / "styles" / "woodcut.safetensors")))
    try:
        code = cli.main(words)
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    assert code == 0 and written.getvalue().decode(encoding)
    if "--count" in words:
        assert len(written.getvalue().splitlines()) == len(list(Path("outputs").rglob("*-s*.png"))) == 2


def test_inspect_prints_the_recipe(capsys: pytest.CaptureFixture[str], library: Library) -> None:
    record = save(library, shot_of(prompt="a fox 🦊"))
    code, out, errors = run(capsys, f"inspect {record.path}")
    assert (code, errors) == (0, [])
    assert json.loads(out) == record.recipe.as_json()
    assert record.recipe == recipe_of(prompt="a fox 🦊", resolution="512")


def test_inspect_tells_of_other_weights_beside_the_recipe(capsys: pytest.CaptureFixture[str], library: Library) -> None:
    record = save(library, shot_of(), weights="0123456789abcdef")
    code, out, errors = run(capsys, f"inspect {record.path}")
    assert code == 0 and json.loads(out) == record.recipe.as_json()
    assert len(errors) == 1 and errors[0].startswith("note: Another Mini Turbo (weights 01234567) drew this picture")


class TestReferences:
    @pytest.fixture
    def look(self, tmp_path: Path) -> Path:
        path = tmp_path / "a look: blue.png"
        Image.new("RGB", (64, 64), "blue").save(path)
        return path

    def test_pictures_are_kept_and_strengths_reach_the_request(
        self, capsys: pytest.CaptureFixture[str], double: ScriptedEngine, look: Path
    ) -> None:
        other = look.with_name("other.png")
        Image.new("RGB", (32, 64), "red").save(other)
        code, out, errors = run(
            capsys, f"generate fox --resolution 512 --reference '{look}' --reference {other}:-0.4 --json"
        )
        assert (code, errors) == (0, [])
        recipe = json.loads(out)["recipe"]
        assert [each["strength"] for each in recipe["style_references"]] == [0.5, -0.4]
        look.unlink(), other.unlink()
        code, out, _ = run(capsys, f"generate --from {json.loads(out)['path']} --json")
        assert code == 0 and json.loads(out)["recipe"]["style_references"] == recipe["style_references"]
        assert double.files[0] == double.files[1]

    def test_a_line_tells_the_references(
        self, capsys: pytest.CaptureFixture[str], double: ScriptedEngine, look: Path
    ) -> None:
        _, out, _ = run(capsys, f"generate fox --resolution 512 --reference '{look}:0.8'")
        assert out.rstrip().endswith("style reference at 80 %")

    @pytest.mark.parametrize(
        ("flags", "words"),
        [
            ("--reference LOOK:3", "--reference, number 1, strength is 3.0 — give a number from -2 to 2"),
            ("--reference LOOK " * 5, "--reference has 5 entries — give a list of at most 4"),
            ("--reference nowhere.png", "nowhere.png"),
            ("--reference TEXT", "is not a PNG, JPEG, WebP, AVIF or HEIC picture"),
            ("--moodboard Dusk", "Dusk"),
            ("--moodboard Dusk:2", "--moodboard, strength is 2.0 — give a number from -0.5 to 1.5"),
        ],
    )
    def test_bad_references_are_one_line_and_nothing_is_drawn(
        self, capsys: pytest.CaptureFixture[str], double: ScriptedEngine, look: Path, flags: str, words: str
    ) -> None:
        text = look.with_name("text.png")
        text.write_text("no picture")
        flags = flags.replace("LOOK", f"'{look}'").replace("TEXT", str(text)).replace(f"'{look}':3", f"'{look}:3'")
        code, out, errors = run(capsys, f"generate fox --resolution 512 {flags}")
        assert (code, out, len(errors)) == (2, "", 1)
        assert words in errors[0]
        assert double.plans == []

    def test_a_board_s_name_may_look_like_a_strength(
        self, capsys: pytest.CaptureFixture[str], double: ScriptedEngine, look: Path
    ) -> None:
        with closing(Library("outputs")) as library:
            for name in ("Scene 10:30", "Scene 10"):
                library.moodboards.create(name)
                library.moodboards.add(name, [look])
            studio = services_over(Settings(library=library.folder), library, double, double).studio
            studio.analyze("Scene 10:30")
            studio.analyze("Scene 10")
        for flag, name, strength in (
            ("Scene 10:30", "Scene 10:30", 0.35),
            ("scene 10:30:0.5", "scene 10:30", 0.5),
            ("Scene 10:0.5", "Scene 10", 0.5),
        ):
            code, out, errors = run(capsys, f"generate fox --resolution 512 --moodboard '{flag}' --json")
            assert (code, errors) == (0, [])
            chosen = json.loads(out)["recipe"]["moodboard"]
            assert (chosen["name"], chosen["strength"]) == (name, strength)


class TestFrom:
    @pytest.fixture
    def source(self, library: Library) -> Path:
        return save(library, shot_of(variant="medium", steps=5, negative_prompt="rain")).path

    def test_flags_replace_parts_of_the_recipe(
        self, capsys: pytest.CaptureFixture[str], double: ScriptedEngine, source: Path
    ) -> None:
        run(capsys, f"generate 'a wolf' --from {source} --seed 9 --count 2")
        wanted = recipe_of(variant="medium", steps=5, negative_prompt="rain").request()
        changes = {"prompt": "a wolf", "seed": 9, "batch": 2, "resolution": "512"}
        assert double.plans[0].asked == wanted.model_copy(update=changes)

    def test_another_variant_brings_its_own_steps_and_guidance(
        self, capsys: pytest.CaptureFixture[str], double: ScriptedEngine, source: Path
    ) -> None:
        run(capsys, f"generate --from {source} --variant large")
        (shot,) = double.plans[0].shots
        assert (shot.steps, shot.guidance_scale, shot.negative_prompt) == (28, 4.5, "rain")

    def test_a_negative_prompt_that_a_variant_cannot_use_is_refused_at_once(
        self, capsys: pytest.CaptureFixture[str], double: ScriptedEngine, source: Path
    ) -> None:
        code, _, errors = run(capsys, f"generate --from {source} --variant turbo")
        assert code == 2 and errors[0].startswith("error: The negative prompt needs a guidance scale above 0 — raise")
        assert double.plans == [] and not Path("outputs").exists()

    def test_another_checkpoint_is_told(
        self, capsys: pytest.CaptureFixture[str], double: ScriptedEngine, source: Path
    ) -> None:
        code, out, errors = run(capsys, f"generate --from {source}")
        assert code == 0 and out
        assert errors == [
            "note: 'mini-turbo' drew this picture, 'mini-medium' runs medium here — "
            "expect a different picture, or set KREA_STUDIO_CHECKPOINT_MEDIUM."
        ]

    def test_other_weights_are_told_before_anything_is_drawn(
        self, capsys: pytest.CaptureFixture[str], double: ScriptedEngine, library: Library
    ) -> None:
        path = save(library, shot_of(), weights="0123456789abcdef").path
        double.identities["turbo"] = "0123456789abcdef"
        assert run(capsys, f"generate --from {path}")[::2] == (0, [])
        double.identities["turbo"] = "fedcba9876543210"
        double.scripts = [[lambda: print("drawing", file=sys.stderr), *drawn(shot_of())]]
        code, out, (note, drawing) = run(capsys, f"generate --from {path}")
        assert code == 0 and out and drawing == "drawing"
        assert note.startswith("note: Another Mini turbo (weights 01234567) drew this picture")

    def test_a_recipe_that_was_tampered_with_is_refused(
        self, capsys: pytest.CaptureFixture[str], double: ScriptedEngine, library: Library
    ) -> None:
        tampered = shot_of().model_copy(update={"steps": 10**6}).recipe("mini-turbo")
        path = library.save(tampered, Image.new("RGB", (8, 8)), 1.0).path
        code, _, errors = run(capsys, f"generate --from {path}")
        told = f"error: {path}: Steps is 1000000 — give a whole number from 1 to 100, or leave it empty"
        assert (code, errors) == (2, [told])
        assert not Path("outputs").exists()


def test_the_bar_is_drawn_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], double: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, out, errors = run(capsys, "generate a --count 2 --resolution 512 --json")
    assert code == 0 and len(out.splitlines()) == 2
    assert "16/16" in "".join(errors)


def test_the_bar_tells_of_a_prompt_that_takes_long_to_expand(
    capsys: pytest.CaptureFixture[str], double: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(double, "count_tokens", lambda variant, text: time.sleep(1.0) or (len(text.split()), 507))
    code, _, errors = run(capsys, "generate a --resolution 512 --creativity low")
    assert code == 0 and "expanding prompt 1" in "".join(errors)


class TestExpansions:
    def test_what_was_drawn_and_why_it_is_the_prompt_are_told(
        self, capsys: pytest.CaptureFixture[str], double: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = "generate 'a fox' --resolution 512 --creativity high --seed 5"
        recipe = json.loads(run(capsys, f"{text} --json")[1])["recipe"]
        code, out, errors = run(capsys, text)
        assert (code, errors) == (0, []) and out.rstrip().endswith(f"drawn as «{recipe['expansion']['text']}»")
        monkeypatch.setenv("KREA_STUDIO_EXPANDER", "endpoint")
        monkeypatch.setenv("KREA_STUDIO_EXPANDER_URL", "http://127.0.0.1:9/v1")
        monkeypatch.setenv("KREA_STUDIO_EXPANDER_MODEL", "any")
        code, out, errors = run(capsys, text)
        assert code == 0 and "drawn as" not in out
        assert len(errors) == 1 and errors[0].startswith("note: ") and "127.0.0.1:9" in errors[0]

    @pytest.mark.parametrize("changed", ["'a whale'", "--creativity high", "--creativity raw"])
    def test_an_expansion_is_not_that_of_another_prompt_or_level(
        self, capsys: pytest.CaptureFixture[str], double: ScriptedEngine, changed: str
    ) -> None:
        first = json.loads(run(capsys, "generate 'a fox' --resolution 512 --creativity medium --seed 5 --json")[1])
        same = json.loads(run(capsys, f"generate --from {first['path']} --json")[1])
        assert same["recipe"]["expansion"] == first["recipe"]["expansion"]
        code, out, _ = run(capsys, f"generate {changed} --from {first['path']} --json")
        other = json.loads(out)["recipe"]["expansion"]
        assert code == 0 and (
            other is None if "raw" in changed else other["text"] != same["recipe"]["expansion"]["text"]
        )


def test_help_is_made_from_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["generate", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for field, flag in cli.FLAGS.items():
        assert flag in text
        assert help_text(field).split(";")[0] in text


@pytest.mark.parametrize(
    ("line", "module", "own"),
    [
        ("measure speed --pairs 3", "measures.speed", ["--pairs", "3"]),
        ("train-slider intensity --steps 3", "training.slider", ["intensity", "--steps", "3"]),
        (
            "train-style --name Ink --trigger ink pictures",
            "training.style",
            ["--name", "Ink", "--trigger", "ink", "pictures"],
        ),
    ],
)
def test_commands_with_options_of_their_own_get_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str, module: str, own: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, f"krea_studio.{module}", SimpleNamespace(main=measured))
    assert run(capsys, line)[:2] == (5, f"{own}\n")


def measured(arguments: list[str]) -> int:
    print(arguments)
    return 5


def test_the_module_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "krea_studio", "generate", "a", "--variant", "huge"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --variant is 'huge'") and done.stderr.count("\n") == 1


def test_a_refused_picture_is_told_and_where_there_is_no_other_it_is_the_end(
    capsys: pytest.CaptureFixture[str], double: ScriptedEngine
) -> None:
    code, out, errors = run(capsys, f"generate fox --count 2 --seed {REFUSED_SEED - 1}")
    assert code == 0 and len(out.splitlines()) == 1
    assert [line for line in errors if "content filter" in line] == errors and errors[0].startswith("note: ")
    code, out, errors = run(capsys, f"generate fox --seed {REFUSED_SEED}")
    assert (code, out) == (5, "") and errors[-1].startswith("error: The content filter did not pass")
