"""Headers of safetensors and GGUF files: read alike, and refused where they contradict themselves."""

import json
import struct
from pathlib import Path

import pytest
import torch

from krea_studio.engine.checkpoints.formats.containers import open_container
from krea_studio.errors import Stopped, Unavailable
from tests.model_files import write, write_gguf

STATE = {"a.weight": torch.arange(64.0).view(2, 32), "b.bias": torch.ones(3)}


def _gguf(path: Path) -> Path:
    return write_gguf(path, STATE, lambda name, tensor: "Q8_0" if tensor.dim() == 2 else "F32", note="ein Wort")


def test_both_containers_state_the_same_shapes_and_give_the_bytes(tmp_path: Path) -> None:
    plain, ggml = open_container(write(tmp_path / "a.safetensors", STATE)), open_container(_gguf(tmp_path / "a.gguf"))
    assert {name: stored.shape for name, stored in plain.tensors.items()} == {"a.weight": (2, 32), "b.bias": (3,)}
    assert {name: (stored.shape, stored.kind) for name, stored in ggml.tensors.items()} == {
        "a.weight": ((2, 32), "Q8_0"),
        "b.bias": ((3,), "F32"),
    }
    assert ggml.metadata == {"general.architecture": "krea2", "note": "ein Wort"}
    assert plain.read("b.bias") == ggml.read("b.bias") == STATE["b.bias"].numpy().tobytes()
    assert len(ggml.read("a.weight")) == 2 * 34


@pytest.mark.parametrize("name", ["a.safetensors", "a.gguf"])
@pytest.mark.parametrize("kept", [0, 3, 20, 60, -24])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, name: str, kept: int) -> None:
    path = _gguf(tmp_path / name) if name.endswith("gguf") else write(tmp_path / name, STATE)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(Unavailable, match="damaged or only half there"):
        open_container(path)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"PK\x03\x04" + bytes(60), "pickles"),
        (b"\x80\x02}q\x00." + bytes(60), "pickle"),
        (b"<!DOCTYPE html><html>" + bytes(60), "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS"),
        (b'{"a": 1}', "JSON"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**40, 0), "of at most"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**40), "a text of"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 0, 2**50), "an array of"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 99), "unknown type"),
    ],
)
def test_what_is_no_file_of_tensors_is_told_by_its_first_bytes(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(Unavailable, match=word):
        open_container(path)


@pytest.mark.parametrize(
    "stated",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0]},
        {"dtype": "F32", "shape": None, "data_offsets": [0, 8]},
        {"shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 8000]},
        "F32",
    ],
)
def test_a_tensor_that_contradicts_itself_is_refused(tmp_path: Path, stated: object) -> None:
    header = json.dumps({"a": stated}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(Unavailable, match="damaged"):
        open_container(path)


def test_a_large_tensor_is_read_in_pieces_between_which_it_can_be_given_up(tmp_path: Path) -> None:
    size = 3 * 2**24 + 5
    header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)
    pieces = []
    open_container(path).read_into("a", memoryview(bytearray(size)), lambda: pieces.append(1))
    assert len(pieces) == 4

    def stop() -> None:
        raise Stopped("enough")

    with pytest.raises(Stopped):
        open_container(path).read_into("a", memoryview(bytearray(size)), stop)


def test_a_name_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="names of 200,007 characters"):
        open_container(write(tmp_path / "a.safetensors", {"a." * 100_000 + ".weight": torch.ones(1)}))


def test_what_cannot_be_read_is_told_with_its_path(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(Unavailable, match=str(path)):
            open_container(path)
