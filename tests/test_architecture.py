"""Imports point one way, heavy libraries stay in their rooms, and what must open at once does not load them."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "krea_studio"

# A room may import from rooms further up, and from itself; `safety` and `api` are places for later ones.
LEVELS = [
    {"errors"},
    {"validation"},
    {"settings", "recipe"},
    {"direction"},
    {"engine", "library", "safety"},
    {"expanders", "redrawing", "style_intake"},
    {"studio"},
    {"services"},
    {"ui", "api", "training"},
    {"measures"},
    {"cli_parts"},
    {"cli_moodboards", "cli_style_doctor", "cli_styles"},
    {"cli"},
    {"__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}

MODEL_LIBRARIES = {"torch", "diffusers", "transformers", "peft", "accelerate", "safetensors"}
MODEL_ROOMS = {"engine", "training", "measures"}
PAGE_LIBRARIES = {"gradio", "gradio_client", "starlette", "fastapi"}
PAGE_ROOMS = {"ui", "api"}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relative to itself; name the module in full"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_one_way(path: Path) -> None:
    room = room_of(path)
    assert room in LEVEL, f"say in LEVELS where the room {room} stands"
    reached = {name.split(".")[1] for name in imports(path) if name.startswith("krea_studio.")}
    own_names = {"__version__"}
    for other in reached - {room} - own_names:
        assert LEVEL[other] < LEVEL[room], f"{room} may not import {other}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_heavy_libraries_stay_in_their_rooms(path: Path) -> None:
    reached = {name.split(".")[0] for name in imports(path)}
    if room_of(path) not in MODEL_ROOMS:
        assert not reached & MODEL_LIBRARIES
    if room_of(path) not in PAGE_ROOMS:
        assert not reached & PAGE_LIBRARIES


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import krea_studio", {*MODEL_LIBRARIES, *PAGE_LIBRARIES, "pydantic"}),
        ("import krea_studio.engine.base", {*MODEL_LIBRARIES, *PAGE_LIBRARIES}),
        ("import krea_studio.cli", {*MODEL_LIBRARIES, *PAGE_LIBRARIES}),
        ("import krea_studio.ui.launch, krea_studio.ui.page", MODEL_LIBRARIES),
        (
            "import tempfile; from krea_studio import services, settings; "
            "built = services.build_services(settings.Settings(library=tempfile.mkdtemp())); "
            "[(built.engine.availability(v), built.engine.checkpoint_of(v)) for v in ('medium', 'large', 'turbo')]; "
            "built.engine.status()",
            {*MODEL_LIBRARIES, *PAGE_LIBRARIES},
        ),
    ],
    ids=["package", "engine protocol", "command line", "page", "services"],
)
def test_what_opens_at_once_does_not_load_the_model_code(statement: str, absent: set[str]) -> None:
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & absent


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_every_module_says_what_it_is(path: Path) -> None:
    text = path.read_text("utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert text.count("\n") <= 450, "does it still have one subject?"
