"""What is pushed to a Space: whole, nothing more than it needs, and what a server starts with."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from krea_studio import space
from krea_studio.errors import InvalidRequest, StorageError, Unavailable
from krea_studio.library.pictures.metadata import read_recipe
from krea_studio.measures.spaces import picture, served_folder
from krea_studio.space import MAX_FILE_BYTES, TARGETS, requirements, write_space

LEFT_IN_THE_REPOSITORY = {"training", "measures", "tests", "docs", "findings", "spaces_config", "judges", "__pycache__"}


@pytest.fixture(scope="module", params=TARGETS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a target, in a folder of its name."""
    out = tmp_path_factory.mktemp("spaces") / request.param
    files = write_space(request.param, out)
    assert files == sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    return out


def test_a_folder_holds_what_its_readme_says(written: Path) -> None:
    told = re.search(r"\n## What is in it\n\n(.*?)\n\n", (written / "README.md").read_text("utf-8"), re.DOTALL)
    assert told
    assert {*re.findall(r"`([^`]+)`", told[1]), "README.md"} == {path.name for path in written.iterdir()}


def test_a_folder_holds_nothing_that_serves_nobody(written: Path) -> None:
    files = [path for path in written.rglob("*") if path.is_file()]
    names = {part for path in files for part in path.relative_to(written).parts}
    assert not names & LEFT_IN_THE_REPOSITORY
    assert [path for path in files if path.suffix == ".md"] == [written / "README.md"]
    assert max(path.stat().st_size for path in files) <= MAX_FILE_BYTES


def test_no_module_needs_one_that_was_left_out(tmp_path: Path) -> None:
    written = tmp_path / "out"
    write_space("team", written)
    for path in (written / "krea_studio").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("krea_studio"):
                place = written / str(node.module).replace(".", "/")
                assert place.is_dir() or place.with_suffix(".py").is_file(), f"{path} imports {node.module}"


def test_what_was_left_out_is_told_where_it_is_asked_for(tmp_path: Path) -> None:
    written = tmp_path / "out"
    write_space("team", written)
    command = [sys.executable, "-m", "krea_studio"]
    for arguments in (["measure", "speed"], ["space", "team", "--out", "again"]):
        done = subprocess.run([*command, *arguments], cwd=written, capture_output=True, text=True, timeout=60)
        assert done.returncode == 3 and "checkout of the" in done.stderr and "Traceback" not in done.stderr
    assert not (written / "again").exists()


def test_a_target_s_own_requirements_take_the_place_of_the_studio_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "requirements.txt").write_text("# why\nhuggingface-hub==2\nspaces>=0.51\n")
    (tmp_path / "requirements.txt").write_text("# all\ntorch>=2.8\nhuggingface_hub>=1.0\n")
    monkeypatch.setattr(space, "ROOT", tmp_path)
    monkeypatch.setattr(space, "CONFIGURATIONS", tmp_path)
    assert requirements("here") == ["torch>=2.8", "huggingface-hub==2", "spaces>=0.51"]


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InvalidRequest, match=f"'{tmp_path}' is not empty — give a folder that is empty"):
        write_space("cpu_demo", tmp_path)
    with pytest.raises(InvalidRequest, match=r"mine\.txt' is a file — give a folder"):
        write_space("cpu_demo", tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("out", ["file/out", "n" * 300, "circle/out"])
def test_a_folder_that_cannot_be_written_is_told(out: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(StorageError, match="The folder .* cannot be written"):
        write_space("cpu_demo", tmp_path / out)


@pytest.mark.parametrize("folder", ["krea_studio", "assets/styles", "spaces_config/gpu"])
def test_a_folder_is_not_written_into_what_the_next_is_made_of(folder: str) -> None:
    out = space.ROOT / folder / "written-by-a-test"
    with pytest.raises(InvalidRequest, match="is in a folder that a Space is made of, .* — give one elsewhere"):
        write_space("cpu_demo", out)
    assert not out.exists()


def test_tokens_libraries_and_locks_of_the_checkout_are_not_pushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("krea_studio", "assets", "spaces_config/gpu"):
        folder = tmp_path / place
        for private in (".env", ".env.local", ".cache/token", "outputs/licence.json", "__pycache__/a.pyc"):
            (folder / private).parent.mkdir(parents=True, exist_ok=True)
            (folder / private).write_text("HF_TOKEN=secret")
        (folder / ".#kept.txt").symlink_to("nobody@nowhere")  # as Emacs locks a file
        (folder / f"{folder.name}.txt").touch()
        (folder / ".dockerignore").touch()
    for name in ("LICENSE", "NOTICE", "app.py"):
        (tmp_path / name).touch()
    monkeypatch.setattr(space, "ROOT", tmp_path)
    monkeypatch.setattr(space, "CONFIGURATIONS", tmp_path / "spaces_config")
    served = {f"{name}/{file}" for name in ("assets", "krea_studio") for file in (f"{name}.txt", ".dockerignore")}
    assert {path.as_posix() for path in space.contents("gpu")} == {
        *("LICENSE", "NOTICE", "app.py", "gpu.txt", ".dockerignore"),
        *served,
    }


def test_a_file_that_is_too_large_stops_it_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "MAX_FILE_BYTES", 2_000_000)
    with pytest.raises(Unavailable, match=r"assets/checkpoints/.* has \d\.\d MB — a Space takes files of up to 10 MB"):
        write_space("cpu_demo", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_cpu_demo_starts_from_its_folder_alone_and_draws(tmp_path: Path) -> None:
    write_space("cpu_demo", tmp_path / "space")
    with served_folder(tmp_path / "space", tmp_path / "home", settings={}) as studio:
        (drawn,) = picture(studio.address, tmp_path)
    recipe = read_recipe(Path(drawn["image"]))
    assert (recipe.seed, recipe.checkpoint, drawn["seed"]) == (7, "mini-turbo", 7)
    with Image.open(drawn["image"]) as opened:
        assert opened.size == (512, 512) and len(opened.getcolors(2**20) or ()) > 100
