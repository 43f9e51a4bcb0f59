"""Pictures that strangers bring in are judged: imports, references, pictures of moodboards, covers of styles."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from krea_studio.errors import Refused, Unavailable
from krea_studio.library.folder_import import import_files
from krea_studio.library.moodboards import Moodboards
from krea_studio.library.store import EXAMPLES_FOLDER, Library
from krea_studio.safety.content_filter import ContentFilter
from krea_studio.services import Services
from krea_studio.ui.gradio_api import reference_function
from krea_studio.ui.server.launch import build_demo, discard_upload
from krea_studio.ui.visitors import Visitors
from tests.doubles import REFUSED_SEED, JudgedByColour, colour_of
from tests.library.styles.test_styles import taken_in
from tests.library.test_folder_import import own

SEEDS = {"good": 7, "refused": REFUSED_SEED}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A picture that may come in, and one that may not."""
    found = {name: tmp_path / f"{name}.png" for name in SEEDS}
    for name, path in found.items():
        Image.new("RGB", (640, 640), colour_of(SEEDS[name])).save(path)
    return found


@pytest.fixture
def judging(library: Library) -> Library:
    library.judge_what_comes_in(ContentFilter(JudgedByColour(), on=False).admit)
    return library


def add_reference(library: Library, file: Path) -> None:
    library.references.add(file)


def add_picture(library: Library, file: Path) -> None:
    with Image.open(file) as picture:
        library.references.add_picture(picture)


def add_to_board(library: Library, file: Path) -> None:
    library.moodboards.add(library.moodboards.create(file.stem).name, [file])


def bring(library: Library, file: Path) -> None:
    assert list(import_files(library, [file]))


def set_cover(library: Library, file: Path) -> None:
    library.styles.set_cover(taken_in(library.styles, file.stem, len(library.styles.names())).name, file)


WAYS = [add_reference, add_picture, add_to_board, set_cover]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_refused_is_not_kept(
    judging: Library, files: dict[str, Path], way: Callable[[Library, Path], None]
) -> None:
    with pytest.raises(Refused, match="did not pass a picture that was given, so it is not kept — give another one"):
        way(judging, files["refused"])
    assert not list(judging.folder.rglob("*.png"))
    assert all(not judging.moodboards.get(name).images for name in judging.moodboards.names())


@pytest.mark.parametrize("way", WAYS)
def test_what_passes_comes_in(judging: Library, files: dict[str, Path], way: Callable[[Library, Path], None]) -> None:
    way(judging, files["good"])
    assert len(list(judging.folder.rglob("*.png"))) == 1


def test_an_import_leaves_out_what_is_refused(judging: Library, tmp_path: Path) -> None:
    files = [own(tmp_path / f"{name}.png", seed=seed) for name, seed in SEEDS.items()]
    good, refused = import_files(judging, files)
    assert good.kind == "taken in" and refused.kind == "left out" and "did not pass" in refused.reason
    assert [record.recipe.seed for record in judging.recent(9)] == [SEEDS["good"]]


@pytest.mark.parametrize("way", [add_reference, add_to_board, set_cover, bring])
def test_the_file_of_what_is_refused_is_discarded(
    library: Library, tmp_path: Path, way: Callable[[Library, Path], object]
) -> None:
    discarded: list[Path] = []
    library.judge_what_comes_in(ContentFilter(JudgedByColour()).admit, discarded.append)
    for name, seed in SEEDS.items():
        file = own(tmp_path / f"{name}.png", seed=seed)
        with nullcontext() if name == "good" or way is bring else pytest.raises(Refused):
            way(library, file)
        assert discarded == ([] if name == "good" else [file])


def test_an_upload_is_removed_and_nothing_else(tmp_path: Path, files: dict[str, Path]) -> None:
    uploaded = Path(get_upload_folder()) / "some" / "picture.png"
    uploaded.parent.mkdir(parents=True)
    uploaded.write_bytes(b"")
    link = uploaded.with_name("link.png")
    link.symlink_to(files["good"])
    for file in (uploaded, uploaded, link, files["refused"], tmp_path / "none.png"):
        discard_upload(file)
    assert not uploaded.exists() and files["good"].is_file() and files["refused"].is_file()


def test_the_examples_that_ship_are_not_judged(judging: Library) -> None:
    def untold(image: Image.Image) -> None:
        raise Unavailable("no filter — install it")

    judging.judge_what_comes_in(untold)
    boards = Moodboards(judging.folder / "boards", judging.references, EXAMPLES_FOLDER)
    assert len(boards.names()) == len(list(EXAMPLES_FOLDER.glob("*.zip"))) > 0


def test_where_it_cannot_be_judged_it_does_not_come_in(library: Library, files: dict[str, Path]) -> None:
    def untold(image: Image.Image) -> None:
        raise Unavailable("no filter — install it")

    library.judge_what_comes_in(untold)
    with pytest.raises(Unavailable):
        library.references.add(files["good"])
    assert not list(library.folder.rglob("*.png"))


@pytest.mark.parametrize("shared", [False, True])
def test_it_is_so_where_a_page_is_shared(
    services: Services, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0" if shared else "127.0.0.1")
    build_demo(services)
    add = partial(reference_function(services, Visitors(shared)), SimpleNamespace(username=None))
    if shared:
        with pytest.raises(gr.Error, match="did not pass a picture"):
            add(str(files["refused"]))
    else:
        assert add(str(files["refused"]))
    assert add(str(files["good"]))
