"""What is written into a PNG can be read by this studio and by others; what is read is treated as hostile."""

import json
import os
import re
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from krea_studio.errors import InvalidRequest, StorageError
from krea_studio.library.pictures.metadata import MAX_RECIPE_CHARACTERS, parameters_text, png_bytes, read_recipe
from krea_studio.recipe.plan import plan
from krea_studio.recipe.recipe import Recipe
from krea_studio.recipe.request import parse_request
from tests.strategies import ready_data, seeds


def recipe_of(checkpoint: str = "mini-turbo", weights: str | None = None, **fields: Any) -> Recipe:
    return plan(parse_request({"prompt": "a fox", **fields}), 7).shots[0].recipe(checkpoint, weights=weights)


def png(path: Path, **texts: str) -> Path:
    info = PngInfo()
    for key, text in texts.items():
        info.add_itxt(key, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ready_data, seeds)
def test_a_recipe_is_read_as_it_was_written(tmp_path: Path, data: dict[str, Any], seed: int) -> None:
    recipe = plan(parse_request(data), seed, seed).shots[0].recipe("mini-turbo")
    path = tmp_path / "picture.png"
    path.write_bytes(png_bytes(Image.new("RGB", (8, 8)), recipe))
    assert read_recipe(path) == recipe


def test_pixels_are_kept_and_foreign_texts_are_not() -> None:
    image = Image.effect_noise((64, 32), 90).convert("RGB")
    image.info["gps"] = "somewhere private"
    data = png_bytes(image, recipe_of())
    assert b"private" not in data
    path = Path("picture.png")
    path.write_bytes(data)
    with Image.open(path) as read:
        assert read.tobytes() == image.tobytes()
        assert set(read.info) - {"xmp"} == {"parameters", "krea_studio", "XML:com.adobe.xmp"}


def test_the_mark_of_generated_media_is_valid_xmp() -> None:
    path = Path("picture.png")
    path.write_bytes(png_bytes(Image.new("RGB", (8, 8)), recipe_of()))
    with Image.open(path) as picture:
        packet = picture.info["XML:com.adobe.xmp"]
    description = next(ElementTree.fromstring(packet).iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"))
    assert description.attrib["{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"].endswith(
        "/digitalsourcetype/trainedAlgorithmicMedia"
    )


def read_as_others_do(text: str) -> tuple[str, str, dict[str, str]]:
    """Prompt, negative prompt and pairs, found the way in which AUTOMATIC1111's web UI finds them."""
    *lines, last = text.strip().split("\n")
    pairs = re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', last)
    assert len(pairs) >= 3
    values = {name: json.loads(value) if value.startswith('"') else value for name, value in pairs}
    prompt, _, negative = "\n".join(lines).partition("\nNegative prompt: ")
    return prompt, negative, values


def test_other_tools_can_read_the_settings() -> None:
    fields = {"variant": "medium", "negative_prompt": "rain, fog", "aspect_ratio": "16:9", "prompt": "a fox:\n2, red"}
    text = parameters_text(recipe_of('folder "a": b, c', **fields))
    prompt, negative, values = read_as_others_do(text)
    assert (prompt, negative) == ("a fox:\n2, red", "rain, fog")
    assert values["Size"] == "1376x768"
    assert values["Seed"] == "7"
    assert values["Steps"] == "28"
    assert values["Sampler"] == "Euler"
    assert values["Model"] == 'folder "a": b, c'


@pytest.mark.parametrize(("guidance_scale", "cfg"), [(0, "1"), (4.5, "5.5"), (3, "4")])
def test_guidance_is_written_in_the_usual_convention(guidance_scale: float, cfg: str) -> None:
    _, _, values = read_as_others_do(parameters_text(recipe_of(guidance_scale=guidance_scale)))
    assert values["CFG scale"] == cfg


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ('{"schema_version": 1, "steps": NaN}', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"seed": ' + "9" * 5000 + "}", "not valid JSON"),
        ("[]", "holds [] instead of a recipe"),
        ("{}", "schema version None"),
        ('{"schema_version": 99}', "schema version 99, this studio reads 1 to"),
        ('{"schema_version": true}', "schema version True"),
        (" " * (MAX_RECIPE_CHARACTERS + 1), "characters — this studio reads at most"),
    ],
)
def test_a_broken_recipe_is_told(text: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_recipe(png(Path("picture.png"), krea_studio=text))
    assert words in caught.value.message
    assert len(caught.value.message) < 300


def test_files_that_hold_no_recipe_are_told(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    Image.new("RGB", (8, 8)).save(tmp_path / "photograph.jpg")
    plain = png(tmp_path / "plain.png")
    (tmp_path / "cut.png").write_bytes(plain.read_bytes()[:30])
    for name, words in {
        "missing.png": "does not exist",
        "text.png/inside.png": "does not exist",
        ".": "is a folder",
        "text.png": "is not a PNG",
        "empty.png": "is not a PNG",
        "photograph.jpg": "is not a PNG",
        "cut.png": "is not a PNG",
        "plain.png": "holds no recipe",
    }.items():
        with pytest.raises(InvalidRequest) as caught:
            read_recipe(tmp_path / name)
        assert words in caught.value.message and str(tmp_path / name) in caught.value.message, name
        with pytest.raises(InvalidRequest) as caught:
            read_recipe(tmp_path / name, "mine.png")
        assert words in caught.value.message and "mine.png" in caught.value.message, name
        assert str(tmp_path) not in caught.value.message, "a visitor is told where the server keeps files"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InvalidRequest, match="is not a plain file"):
        read_recipe(tmp_path / "pipe.png")


def test_a_compressed_bomb_of_text_is_refused() -> None:
    bomb = b"krea_studio\0\1\0\0\0" + zlib.compress(bytes(64 * 2**20))
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path = Path("bomb.png")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"iTXt", bomb) + chunk(b"IDAT", b""))
    with pytest.raises(InvalidRequest):
        read_recipe(path)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


LARGE = b"private" * 2**18


@pytest.mark.parametrize(
    "beside",
    [
        chunk(b"zTXt", b"workflow\0\0" + zlib.compress(LARGE)),
        chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(LARGE)),
        chunk(b"iCCP", b"printer\0\0" + zlib.compress(LARGE)),
        chunk(b"tEXt", b"workflow\0" + LARGE) * 3,
        chunk(b"tEXt", b"Comment\0hello").replace(b"hello", b"jello"),
        chunk(b"tEXt", b"krea_studio_notes\0hello"),
        chunk(b"caBX", LARGE),
    ],
    ids=["zTXt", "iTXt", "profile", "texts", "check sum", "another key", "signature"],
)
@pytest.mark.parametrize("moved", [False, True], ids=["before the pixels", "behind them"])
def test_a_recipe_is_found_beside_what_other_tools_add(tmp_path: Path, beside: bytes, moved: bool) -> None:
    recipe, path = recipe_of(), tmp_path / "picture.png"
    content = png_bytes(Image.new("RGB", (8, 8)), recipe)
    start = content.index(b"krea_studio\0") - 8
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    mine, rest = content[start:end], content[:start] + content[end:]
    path.write_bytes(rest[:-12] + beside + mine + rest[-12:] if moved else rest[:33] + beside + mine + rest[33:])
    assert read_recipe(path) == recipe


def test_a_recipe_that_other_tools_packed_is_read(tmp_path: Path) -> None:
    recipe, path = recipe_of(prompt="a café"), tmp_path / "picture.png"
    text = json.dumps(recipe.as_json(), ensure_ascii=False)
    plain = png(tmp_path / "plain.png").read_bytes()
    for packed in (
        chunk(b"iTXt", b"krea_studio\0\1\0\0\0" + zlib.compress(text.encode())),
        chunk(b"zTXt", b"krea_studio\0\0" + zlib.compress(text.encode("latin-1"))),
        chunk(b"tEXt", b"krea_studio\0" + json.dumps(recipe.as_json()).encode()),
    ):
        path.write_bytes(plain[:33] + packed + plain[33:])
        assert read_recipe(path) == recipe


def test_a_recipe_with_a_wrong_check_sum_is_told(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(png_bytes(Image.new("RGB", (8, 8)), recipe_of()).replace(b"a fox", b"a box"))
    with pytest.raises(InvalidRequest, match="a damaged one — give a PNG that this studio made"):
        read_recipe(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.data())
def test_damaged_files_end_in_one_line(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(png_bytes(Image.new("RGB", (8, 8)), recipe_of()))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.png"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert isinstance(read_recipe(path), Recipe)
    except (InvalidRequest, StorageError) as error:
        assert path.name in error.message and len(error.message.splitlines()) == 1
