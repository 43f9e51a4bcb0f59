"""Imports point one way, as docs/architecture.md says, and what must open at once does not load heavy libraries."""

import ast
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

from krea_studio.cli.main import MEASURES, TRAINING

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "krea_studio"

OWN = "krea_studio."
EVERYWHERE = {"pydantic", "numpy", "PIL"}
MODEL_LIBRARIES = {"torch", "diffusers", "transformers", "peft", "accelerate", "safetensors"}
PAGE_LIBRARIES = {"gradio", "gradio_client", "starlette", "fastapi"}


@dataclass(frozen=True)
class Room:
    """A row of the table in docs/architecture.md."""

    names: tuple[str, ...]
    imports: tuple[str, ...]
    libraries: tuple[str, ...]

    def holds(self, module: str) -> bool:
        """Whether `engine.base`, or just `engine`, is in this room."""
        return any(fnmatch(module.split(".")[0], name) for name in self.names)


def rooms() -> list[Room]:
    table = re.search(
        r"\n\| room .*?\n\|[-|]+\n(.*?)\n\n", (ROOT / "docs/architecture.md").read_text("utf-8"), re.DOTALL
    )
    assert table, "docs/architecture.md has its table of rooms"
    rows = [row.strip("|").split("|") for row in table[1].split("\n")]
    return [Room(*(tuple(re.findall(r"`([^`]+)`", row[column])) for column in (0, 2, 3))) for row in rows]


ROOMS = rooms()


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> Room:
    (room,) = (room for room in ROOMS if room.holds(module))
    return room


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that a file imports, at its top or inside a function; `engine` and `engine.base` for our own."""
    known: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            known.update(alias.name.removeprefix(OWN) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relative to itself; name the module in full"
            found = [f"{node.module}.{alias.name}" for alias in node.names]
            inside = [name for name in found if is_module(name)]
            known.update(name.removeprefix(OWN) for name in inside or [node.module])
    return frozenset(known)


@cache
def is_module(name: str) -> bool:
    place = ROOT / Path(*name.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


@cache
def own(path: Path) -> set[str]:
    """What a file imports of the project, beside the package itself (for its version)."""
    return {name for name in imports(path) if is_module(OWN + name)}


@cache
def libraries(path: Path) -> set[str]:
    outside = {name.split(".")[0] for name in imports(path) if not is_module(OWN + name)}
    return outside - set(sys.stdlib_module_names) - {"krea_studio"} - EVERYWHERE


def allows(entry: str, module: str) -> bool:
    return module == entry or module.startswith(entry + ".")


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_room_reaches_only_for_what_its_row_names(path: Path) -> None:
    room = room_of(name_of(path))
    for module in own(path):
        assert room.holds(module) or any(allows(entry, module) for entry in room.imports), f"not in its row: {module}"
    assert libraries(path) <= set(room.libraries)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.names[0])
def test_a_row_names_no_more_than_its_room_needs(room: Room) -> None:
    files = [path for path in modules() if room.holds(name_of(path))]
    assert files, "the room exists"
    reached = {module for path in files for module in own(path)}
    used = {name for path in files for name in libraries(path)}
    assert set(room.libraries) == used
    assert all(any(allows(entry, module) for module in reached) for entry in room.imports)


def test_rows_import_from_rows_above() -> None:
    for number, room in enumerate(ROOMS):
        for entry in room.imports:
            assert any(above.holds(entry) for above in ROOMS[:number]), f"{room.names[0]} imports {entry}"


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import krea_studio", {*MODEL_LIBRARIES, *PAGE_LIBRARIES, "pydantic"}),
        ("import krea_studio.engine.base", {*MODEL_LIBRARIES, *PAGE_LIBRARIES}),
        ("import krea_studio.cli.main", {*MODEL_LIBRARIES, *PAGE_LIBRARIES}),
        ("import krea_studio.ui.server.launch, krea_studio.ui.page", MODEL_LIBRARIES),
        (
            "import tempfile; from krea_studio import services, settings; "
            "built = services.build_services(settings.Settings(library=tempfile.mkdtemp())); "
            "[(built.engine.abilities(v), built.engine.checkpoint_of(v)) for v in ('medium', 'large', 'turbo')]; "
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


COMMANDS = [
    *("generate", "inspect", "history", "history delete", "moodboard", "styles", "inspect-style", "serve"),
    *("accept-licence", "space"),
    *TRAINING,
    *(f"measure {name}" for name in MEASURES),
]
# Each in a process of its own, which begins where the command line has been imported.
HELPING = """
import contextlib, io, json, os, sys
from krea_studio.cli.main import main

for command in sys.argv[1:]:
    if os.fork() == 0:
        with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as told:
            main([*command.split(), "--help"])
        loaded = sorted({name.split(".")[0] for name in sys.modules})
        print(json.dumps([command, told.getvalue(), loaded]), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, command
"""


@pytest.fixture(scope="module")
def helped() -> dict[str, tuple[str, set[str]]]:
    """What the help of every command tells, and what is loaded then."""
    code = [sys.executable, "-c", HELPING, *COMMANDS]
    done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return {command: (told, set(loaded)) for command, told, loaded in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_neither_models_nor_page_nor_pictures(helped: dict[str, tuple[str, set[str]]], command: str) -> None:
    told, loaded = helped[command]
    assert told.startswith("usage: ") and "krea_studio" in loaded
    assert not loaded & {*MODEL_LIBRARIES, *PAGE_LIBRARIES, "numpy", "PIL", "httpx"}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_every_module_says_what_it_is(path: Path) -> None:
    text = path.read_text("utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert text.count("\n") <= 450, "does it still have one subject?"
