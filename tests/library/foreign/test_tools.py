"""A picture file of any tool is read without a decoder, and whatever is wrong with one ends in one line."""

import json
import os
import struct
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from krea_studio.errors import InvalidRequest, StorageError
from krea_studio.library.foreign.texts import CARRIERS, ENDINGS, MAX_TEXT_BYTES
from krea_studio.library.foreign.tools import TOOLS, ForeignPicture, read_picture
from krea_studio.library.pictures.containers import MAX_RIFF_CHUNKS
from krea_studio.library.pictures.metadata import png_bytes
from krea_studio.recipe.plan import plan
from krea_studio.recipe.recipe import Recipe
from krea_studio.recipe.request import parse_request
from tests.library.foreign.builders import (
    ASCII,
    MAKE,
    MAKER_NOTE,
    MODEL,
    UNDEFINED,
    USER_COMMENT,
    comfyui,
    exif,
    graph,
    png,
    user_comment,
    with_exif,
)
from tests.library.foreign.test_comfyui_graph import workflow
from tests.library.foreign.test_infotext import LINE
from tests.library.foreign.test_objects import FOOOCUS, WRITTEN

INFOTEXT = f"a fox, 狐狸 🦊\nNegative prompt: rain\n{LINE}, Version: v1.10.1"


def foreign(path: Path) -> ForeignPicture:
    found = read_picture(path)
    assert isinstance(found, ForeignPicture)
    return found


def refusal(path: Path, name: str | None = "mine.png") -> str:
    with pytest.raises(InvalidRequest) as caught:
        read_picture(path, name)
    message = caught.value.message
    assert len(message.splitlines()) == 1 and len(message) < 400 and message.isprintable()
    return message


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(path: Path, *chunks: bytes) -> Path:
    content = png(path).read_bytes()
    path.write_bytes(content[:33] + b"".join(chunks) + content[33:])
    return path


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_the_text_of_a_png_is_read_as_pillow_writes_it(tmp_path: Path, packed: bool) -> None:
    for text in (INFOTEXT, INFOTEXT.replace("狐狸 🦊", "é")):  # one becomes iTXt, the other tEXt or zTXt
        found = foreign(png(tmp_path / "a.png", packed, parameters=text))
        assert found.tool == "AUTOMATIC1111's web UI"
        assert found.translation.fields["prompt"] == text.partition("\n")[0]
        assert found.translation.fields["seed"] == 965400086


@pytest.mark.parametrize("text", ["a café, 狐狸", "a café", "plain", "naïve Ã"])
def test_utf_8_where_a_png_has_latin_1_is_read_as_it_was_meant(tmp_path: Path, text: str) -> None:
    path = with_chunks(tmp_path / "a.png", chunk(b"tEXt", b"parameters\0" + f"{text}\n{LINE}".encode()))
    assert foreign(path).translation.fields["prompt"] == text
    path = png(tmp_path / "a.png", parameters=f"{text}\n{LINE}")
    assert foreign(path).translation.fields["prompt"] == text


@pytest.mark.parametrize("ending", [".jpg", ".webp"])
@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_comment_of_jpeg_and_webp_is_read_in_every_byte_order(
    tmp_path: Path, ending: str, encoding: str, order: str
) -> None:
    found = foreign(with_exif(tmp_path / f"a{ending}", user_comment(INFOTEXT, encoding, order)))
    assert found.translation.fields["prompt"] == "a fox, 狐狸 🦊"
    assert found.translation.fields["negative_prompt"] == "rain"


def test_exif_data_of_a_png_are_read_where_it_has_no_text(tmp_path: Path) -> None:
    path = with_chunks(tmp_path / "a.png", chunk(b"eXIf", user_comment(INFOTEXT)))
    assert foreign(path).translation.fields["seed"] == 965400086
    text = chunk(b"tEXt", b"parameters\0" + INFOTEXT.replace("965400086", "3").encode("ascii", "replace"))
    assert foreign(with_chunks(path, chunk(b"eXIf", user_comment(INFOTEXT)), text)).translation.fields["seed"] == 3


@pytest.mark.parametrize("tool", WRITTEN)
def test_the_texts_of_every_tool_are_read_from_a_png(tmp_path: Path, tool: str) -> None:
    texts = {key.replace("-", "__"): text for key, text in WRITTEN[tool].items()}
    assert foreign(png(tmp_path / "a.png", **texts)).tool == tool


@pytest.mark.parametrize("ending", [".jpg", ".webp"])
def test_comments_as_json_are_read_with_their_scheme(tmp_path: Path, ending: str) -> None:
    entries = {
        USER_COMMENT: (ASCII, json.dumps(FOOOCUS).encode() + b"\0"),
        MAKER_NOTE: (ASCII, b"fooocus\0"),
    }
    assert foreign(with_exif(tmp_path / f"a{ending}", exif(entries))).tool == "Fooocus"
    swarm = {USER_COMMENT: (UNDEFINED, b"UNICODE\0" + WRITTEN["SwarmUI"]["parameters"].encode("utf-16-le"))}
    assert foreign(with_exif(tmp_path / f"a{ending}", exif({}, swarm))).tool == "SwarmUI"


@pytest.mark.parametrize("form", ["prompt:{}", "Prompt: {}", "prompt :{}"])
def test_graphs_in_webp_are_read(tmp_path: Path, form: str) -> None:
    ran, edited = json.dumps(graph()), json.dumps(workflow())
    entries = {
        MODEL: (ASCII, form.replace("{}", ran).encode() + b"\0"),
        MAKE: (ASCII, f"workflow:{edited}".encode() + b"\0"),
    }
    assert foreign(with_exif(tmp_path / "a.webp", exif(entries))).translation.fields["prompt"] == "a fox in the snow"
    del entries[MODEL]
    assert foreign(with_exif(tmp_path / "a.webp", exif(entries))).translation.fields["prompt"] == "a fox"


def test_a_recipe_of_the_studio_comes_first(tmp_path: Path) -> None:
    recipe = plan(parse_request({"prompt": "a whale"}), 7).shots[0].recipe("mini-turbo")
    content = png_bytes(Image.new("RGB", (8, 8)), recipe)
    others = chunk(b"tEXt", b"prompt\0" + json.dumps(graph()).encode()) + chunk(
        b"tEXt", b"parameters\0" + LINE.encode()
    )
    path = tmp_path / "a.png"
    path.write_bytes(content[:33] + others + content[33:])
    assert read_picture(path) == recipe
    path.write_bytes(path.read_bytes().replace(b"a whale", b"a snail"))
    assert "a damaged one — give a PNG, JPEG or WebP" in refusal(path), (
        "a damaged one is not passed over for another tool's"
    )


def test_what_a_node_wrote_outright_comes_before_the_graph(tmp_path: Path) -> None:
    path = comfyui(tmp_path / "a.png", graph(), parameters=f"a whale\n{LINE}, Version: ComfyUI")
    assert foreign(path).translation.fields["prompt"] == "a whale"
    assert foreign(comfyui(path, graph(), parameters="a whale")).translation.fields["prompt"] == "a fox in the snow"


def test_a_large_workflow_is_no_obstacle(tmp_path: Path) -> None:
    large = json.dumps({"nodes": [{"id": 1, "type": "Note", "widgets_values": ["x" * 5_000_000]}]})
    packed = chunk(b"zTXt", b"workflow\0\0" + zlib.compress(large.encode()))
    plain = chunk(b"tEXt", b"workflow\0" + large.encode())
    ran = chunk(b"tEXt", b"prompt\0" + json.dumps(graph()).encode())
    for other in (packed, plain):
        assert foreign(with_chunks(tmp_path / "a.png", other, ran)).tool == "ComfyUI"


@pytest.mark.parametrize(
    ("kind", "head"), [(b"zTXt", b"prompt\0\0"), (b"iTXt", b"prompt\0\1\0\0\0")], ids=["zTXt", "iTXt"]
)
def test_a_text_that_unpacks_without_end_is_refused_within_bounds(tmp_path: Path, kind: bytes, head: bytes) -> None:
    stream = zlib.compressobj(9)
    packed = b"".join(stream.compress(bytes(2**24)) for _ in range(32)) + stream.flush()
    path = with_chunks(tmp_path / "bomb.png", chunk(kind, head + packed))
    tracemalloc.start()
    try:
        assert "bytes" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_TEXT_BYTES
    finally:
        tracemalloc.stop()


def test_a_text_that_is_too_long_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = with_chunks(tmp_path / "long.png", chunk(b"tEXt", b"prompt\0" + b"x" * (MAX_TEXT_BYTES + 1)))
    assert f"more than {MAX_TEXT_BYTES:,} bytes" in refusal(path)
    begun = png(tmp_path / "begun.png").read_bytes()[:33] + struct.pack(">I4s", 200_000_000, b"tEXt") + b"prompt\0"
    path.write_bytes(begun)
    os.truncate(path, 33 + 12 + 200_000_000)  # which takes no room on the disk
    with path.open("ab") as file:
        file.write(chunk(b"IEND", b""))
    tracemalloc.start()
    try:
        assert f"more than {MAX_TEXT_BYTES:,} bytes" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"a":' * 200_000,
        "{",
        '{"1": {"class_type": "KSampler", "inputs": {"seed": ' + "9" * 5000 + "}}}",
    ],
    ids=["lists", "objects", "cut", "digits"],
)
def test_json_that_is_none_is_told_by_its_name(tmp_path: Path, text: str) -> None:
    for key in ("prompt", "workflow", "invokeai_metadata", "Comment"):
        message = refusal(png(tmp_path / "a.png", **{key: text}))
        assert message.startswith("mine.png holds")
        assert not text.startswith("{") or f"a text {key!r} that is not valid JSON" in message


def test_wide_json_takes_no_time(tmp_path: Path) -> None:
    nodes = {str(n): {"class_type": "X", "inputs": {"a": [str(n + 1), 0]}} for n in range(100_000)}
    path = comfyui(tmp_path / "a.png", nodes)
    assert path.stat().st_size < MAX_TEXT_BYTES
    begun = time.thread_time()
    refusal(path)
    assert time.thread_time() - begun < 10


def test_files_that_hold_nothing_are_told(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.jpg")
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.webp")
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.gif")
    png(tmp_path / "plain.png", Comment="hello", Software="GIMP")
    cut = png(tmp_path / "cut.png", parameters=INFOTEXT).read_bytes()
    (tmp_path / "cut.png").write_bytes(cut[:-20])
    (tmp_path / "riff.webp").write_bytes(b"RIFF\0\0\0\0WEBP" + b"JUNK\0\0\0\0" * (MAX_RIFF_CHUNKS + 1))
    damaged = png(tmp_path / "damaged.png", parameters=INFOTEXT.replace("狐狸 🦊", ""))
    damaged.write_bytes(damaged.read_bytes().replace(b"a fox", b"a box"))
    os.mkfifo(tmp_path / "pipe.png")
    for name, words in {
        "missing.png": "does not exist",
        "text.png/inside.png": "does not exist",
        "a\0b.png": "does not exist",
        ".": "is a folder",
        "pipe.png": "is not a plain file",
        "text.png": "is no PNG, JPEG or WebP",
        "empty.png": "is no PNG, JPEG or WebP",
        "picture.gif": "is no PNG, JPEG or WebP",
        "plain.png": "holds no settings that are known here",
        "plain.jpg": "holds no settings that are known here",
        "plain.webp": "holds no settings that are known here",
        "cut.png": "is not a PNG, or a damaged one",
        "damaged.png": "with a wrong check sum",
        "riff.webp": f"more than {MAX_RIFF_CHUNKS:,} chunks",
    }.items():
        message = refusal(tmp_path / name)
        assert words in message and message.startswith("mine.png"), name
        assert str(tmp_path) not in message, "a visitor is told where the server keeps files"


def test_a_jpeg_of_endless_segments_takes_no_time(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8" + b"\xff\xe2\0\2" * 4_000_000)
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8" + b"\xff" * 16_000_000)
    for name in ("a.jpg", "b.jpg"):
        begun = time.thread_time()
        assert "holds no settings that are known here" in refusal(tmp_path / name)
        assert time.thread_time() - begun < 3


def test_a_graph_of_which_nothing_can_be_known_is_told(tmp_path: Path) -> None:
    message = refusal(comfyui(tmp_path / "a.png", graph(n7=None)))
    assert (
        message
        == "mine.png was made by ComfyUI, but nothing of use can be read: No sampler that is known leads to its picture"
    )


def test_what_a_file_is_its_content_says(tmp_path: Path) -> None:
    path = with_exif(tmp_path / "a.jpg", user_comment(INFOTEXT))
    assert foreign(path.rename(tmp_path / "a.png")).translation.fields["seed"] == 965400086


def test_the_tables_name_what_they_read() -> None:
    assert len({tool.name for tool in TOOLS}) == len(TOOLS)
    assert ENDINGS == (".png", ".jpg", ".jpeg", ".webp") and [each.name for each in CARRIERS] == ["PNG", "JPEG", "WebP"]


ORIGINALS: dict[str, Any] = {
    "png": lambda path: png(path, parameters=INFOTEXT, prompt=json.dumps(graph())),
    "jpg": lambda path: with_exif(path, user_comment(INFOTEXT)),
    "webp": lambda path: with_exif(path, exif({MODEL: (ASCII, f"prompt:{json.dumps(graph())}".encode())})),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.data(), st.sampled_from(list(ORIGINALS)))
def test_damaged_files_end_in_one_line(tmp_path: Path, data: st.DataObject, kind: str) -> None:
    content = bytearray(ORIGINALS[kind](tmp_path / f"whole.{kind}").read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"damaged.{kind}"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        found = read_picture(path)
        assert isinstance(found, ForeignPicture | Recipe)
    except (InvalidRequest, StorageError) as error:
        assert path.name in error.message and len(error.message.splitlines()) == 1
