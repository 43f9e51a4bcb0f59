"""Files that are not what they say, by every way on which files come in.

Each is made here and harms nothing: broken, cut off, mistyped, of sizes that it does not have, or another kind of file.
"""

import io
import json
import random
import struct
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from krea_studio.engine.checkpoints.formats import model_file
from krea_studio.errors import StudioError
from krea_studio.library.folder_import import import_files
from krea_studio.library.foreign.tools import read_picture
from krea_studio.services import Services

SEED = 18
MOST_CHARACTERS = 700  # of a refusal, which may name what there is instead
TAKEN, REFUSED, UNCLEAR = "taken", "refused in a line", "refused unclearly"
MORE_PIXELS = struct.pack(">II", 60_000, 60_000)


@dataclass(frozen=True)
class Unclear:
    """A file that did not get a clear answer: its kind, by which way it came, and what was said."""

    kind: str
    way: str
    said: str


def hostile_files(folder: Path) -> dict[str, Path]:
    """Write every kind of file below `folder`: by kind."""
    folder.mkdir(parents=True)
    found = {}
    for kind, ending, content in _kinds():
        found[kind] = folder / f"{kind.replace(' ', '-')}{ending}"
        found[kind].write_bytes(content)
    found["folder"] = folder / "folder.png"
    found["folder"].mkdir()
    found["nothing there"] = folder / "nothing.png"
    found["name too long"] = folder / ("x" * 300 + ".png")
    found["broken link"] = folder / "link.png"
    found["broken link"].symlink_to(folder / "gone.png")
    return found


def bring_in(files: dict[str, Path], services: Services) -> tuple[dict[str, Counter[str]], list[Unclear]]:
    """What comes of each file by each way, and which were not told clearly what is wrong with them."""
    counts, unclear = dict[str, Counter[str]](), list[Unclear]()
    for way, take in _ways(services).items():
        counts[way] = Counter()
        for kind, path in files.items():
            answer, said = _answer(take, path)
            counts[way][answer] += 1
            if answer == UNCLEAR:
                unclear.append(Unclear(kind, way, said))
    return counts, unclear


def _answer(take: Callable[[Path], Any], path: Path) -> tuple[str, str]:
    try:
        said = take(path)
    except StudioError as error:
        said = error.message
    except Exception as error:
        return UNCLEAR, f"{type(error).__name__}: {error}"
    if not isinstance(said, str) or not said:
        return TAKEN, ""
    is_clear = " — " in said and "\n" not in said and len(said) <= MOST_CHARACTERS
    return (REFUSED, "") if is_clear else (UNCLEAR, said)


def _ways(services: Services) -> dict[str, Callable[[Path], Any]]:
    """By what files come in: each takes one, and where it does not raise an error, may return why it was refused."""
    library = services.library
    board = library.moodboards.create("Board").name
    return {
        "reference": lambda path: library.references.path(library.references.add(path)),
        "picture of a moodboard": lambda path: library.moodboards.add(board, [path]),
        "moodboard": library.moodboards.import_,
        "style": services.intake.import_file,
        "settings": read_picture,
        "picture of the history": lambda path: next(
            (each.reason for each in import_files(library, [path]) if each.kind == "left out"), None
        ),
        "weights": lambda path: model_file.report(path)["refused"],
    }


def _kinds() -> Iterator[tuple[str, str, bytes]]:
    """Name, ending and content of each kind of file."""
    draw = random.Random(SEED)
    yield "empty", ".png", b""
    yield "one byte", ".png", b"\x89"
    yield "text", ".png", b"this is no picture\n" * 40
    yield "page", ".jpg", b"<!doctype html><title>404</title>" * 20
    yield "random bytes", ".webp", draw.randbytes(20_000)
    yield "zeros", ".safetensors", bytes(20_000)
    yield from _pictures(draw)
    yield from _archives(draw)
    yield from _weights(draw)


def _pictures(draw: random.Random) -> Iterator[tuple[str, str, bytes]]:
    picture = Image.frombytes("RGB", (96, 64), draw.randbytes(96 * 64 * 3))
    png, jpeg = _encoded(picture, "PNG"), _encoded(picture, "JPEG")
    for share in (0.1, 0.5, 0.95):
        yield f"PNG cut off at {share:.0%}", ".png", png[: int(len(png) * share)]
    yield "JPEG cut off", ".jpg", jpeg[: len(jpeg) // 2]
    yield "PNG of more pixels than it has", ".png", png[:16] + MORE_PIXELS + png[24:]
    yield "PNG without pixels", ".png", png[:33] + png[-12:]
    for number in range(3):
        at = draw.randrange(40, len(png) - 12)
        yield f"PNG with a wrong byte {number}", ".png", png[:at] + bytes([png[at] ^ 255]) + png[at + 1 :]
    yield "PNG with something after it", ".png", png + draw.randbytes(4_000)
    yield "picture of one pixel", ".png", _encoded(Image.new("RGB", (1, 1)), "PNG")
    yield "picture of one row", ".png", _encoded(Image.new("RGB", (9_000, 1)), "PNG")
    yield "PDF", ".pdf", _encoded(picture, "PDF")
    yield "BMP", ".png", _encoded(picture, "BMP")
    yield "GIF", ".gif", _encoded(picture, "GIF")
    for name, text in (
        ("recipe that is no JSON", "{"),
        ("recipe of a list", "[]"),
        ("recipe of nonsense", json.dumps({"prompt": 1, "seed": "x", "steps": -1})),
        ("recipe that goes deep", "[" * 5_000),
        ("recipe of much text", json.dumps({"prompt": "x" * 200_000})),
    ):
        info = PngImagePlugin.PngInfo()
        for key in ("krea_studio", "parameters", "prompt", "workflow"):
            info.add_text(key, text)
        file = io.BytesIO()
        picture.save(file, "PNG", pnginfo=info)
        yield name, ".png", file.getvalue()


def _archives(draw: random.Random) -> Iterator[tuple[str, str, bytes]]:
    sound = json.dumps({"name": "Board", "images": []}).encode()
    whole = _zip({"board.json": sound})
    yield "archive cut off", ".zip", whole[: len(whole) // 2]
    yield "archive of nothing", ".zip", _zip({})
    yield "archive with a wrong byte", ".zip", whole[:34] + bytes([whole[34] ^ 255]) + whole[35:]
    yield "archive that leads out", ".zip", _zip({"../../outside.json": sound, "board.json": sound})
    yield "archive of zeros", ".zip", _zip({"board.json": bytes(4_000_000)})
    yield "archive of many", ".zip", _zip({f"{number}.png": b"x" for number in range(3_000)})
    yield "archive in an archive", ".zip", _zip({"board.zip": whole})
    yield "archive without a board", ".zip", _zip({"picture.png": draw.randbytes(500)})
    yield "archive of no JSON", ".zip", _zip({"board.json": b"{"})


def _weights(draw: random.Random) -> Iterator[tuple[str, str, bytes]]:
    two = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    sound = _safetensors({"a": two}, bytes(8))
    yield "weights of no model", ".safetensors", sound
    yield "weights cut off", ".safetensors", sound[:-4]
    yield "weights of a long header", ".safetensors", struct.pack("<Q", 2**40) + sound[8:]
    yield "weights of no JSON", ".safetensors", struct.pack("<Q", 4) + b"{{{{" + bytes(8)
    yield "weights of a list", ".safetensors", struct.pack("<Q", 2) + b"[]" + bytes(8)
    for name, entry in (
        ("weights that overlap", {"a": two, "b": two}),
        ("weights of an odd number", {"a": two | {"dtype": "F7"}}),
        ("weights of another shape", {"a": two | {"shape": [3]}}),
        ("weights of less than nothing", {"a": two | {"shape": [-2]}}),
        ("weights from the end", {"a": two | {"data_offsets": [8, 0]}}),
        ("weights without a shape", {"a": {"dtype": "F32"}}),
        ("weights of text", {"a": "x"}),
    ):
        yield name, ".safetensors", _safetensors(entry, bytes(8))
    yield "GGUF of nothing", ".gguf", b"GGUF"
    yield "GGUF of many", ".gguf", b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60) + bytes(64)
    yield "GGUF of another age", ".gguf", b"GGUF" + struct.pack("<IQQ", 99, 0, 0)
    yield (
        "adapter of no numbers",
        ".safetensors",
        _safetensors(
            {f"x.lora_{side}.weight": {"dtype": "F32", "shape": [0, 4], "data_offsets": [0, 0]} for side in "AB"}, b""
        ),
    )
    yield (
        "adapter that is not a number",
        ".safetensors",
        _safetensors(
            {
                "transformer_blocks.0.attn.to_q.lora_A.weight": {
                    "dtype": "F32",
                    "shape": [1, 2],
                    "data_offsets": [0, 8],
                },
                "transformer_blocks.0.attn.to_q.lora_B.weight": {
                    "dtype": "F32",
                    "shape": [2, 1],
                    "data_offsets": [8, 16],
                },
            },
            struct.pack("<4f", *(4 * [float("nan")])),
        ),
    )


def _encoded(picture: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def _zip(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _safetensors(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data
