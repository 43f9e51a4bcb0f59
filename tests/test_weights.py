"""A header is read as others wrote it, up to the tensors; anything else is a ValueError."""

import contextlib
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from krea_studio.weights import read_header


def test_a_file_of_safetensors_is_read_up_to_its_tensors() -> None:
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(4, np.int8)}
    file = io.BytesIO(save(tensors, {"name": "Ink"}))
    header = read_header(file)
    assert {name: tensor["shape"] for name, tensor in header.tensors.items()} == {"a": [2, 3], "b": [4]}
    assert header.metadata == {"name": "Ink"} and file.tell() == header.start
    start, end = header.tensors["a"]["data_offsets"]
    assert file.getvalue()[header.start :][start:end] == tensors["a"].tobytes()


def test_a_file_that_says_nothing_of_itself_is_one_too() -> None:
    assert read_header(io.BytesIO(save({"a": np.zeros(1)}))).metadata == {}


@pytest.mark.parametrize(
    "content", [b"", b"\x02", b"{}", bytes(8), (9).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"[]"]
)
def test_what_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        read_header(io.BytesIO(content))


def test_a_header_beyond_the_limit_is_not_even_read() -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            assert size == 8, "only the length is read"
            return (10**9).to_bytes(8, "little")

    with pytest.raises(ValueError, match="1,000,000,000 bytes"):
        read_header(Endless())


anything = st.recursive(
    st.none() | st.integers(), lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each)
)


@given(st.binary(max_size=64) | anything.map(json.dumps).map(str.encode))
def test_any_bytes_are_a_header_or_a_value_error(text: bytes) -> None:
    with contextlib.suppress(ValueError):
        read_header(io.BytesIO(len(text).to_bytes(8, "little") + text))
