"""The one reader of safetensors headers: every field is checked before it is used, and the error names the file."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from layerlimits.errors import UserError
from layerlimits.models.safetensors_header import read_header


def _header(text: str, data: int = 0) -> bytes:
    return len(text.encode()).to_bytes(8, "little") + text.encode() + bytes(data)


_ENTRY = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a safetensors file"),
        (b"\x00" * 7, "is not a safetensors file"),
        ((1 << 62).to_bytes(8, "little") + b"{}", "is not a safetensors file"),
        ((50).to_bytes(8, "little") + b"{}", "is truncated: 10 bytes, expected at least 58"),
        (_header("[]"), "is not a safetensors file"),
        (_header("[" * 100_000), "is not a safetensors file"),
        (_header('{"a": 5}'), "is not a safetensors file"),
        (_header('{"__metadata__": [1]}'), "is not a safetensors file"),
        (_header('{"__metadata__": {"a": 1}}'), "is not a safetensors file"),
        (_header(f'{{"a": {_ENTRY}, "a": {_ENTRY}}}', 8), "is not a safetensors file"),
        (_header('{"a": ' + _ENTRY.replace("[2]", "[-2]") + "}", 8), "is not a safetensors file"),
        (_header('{"a": ' + _ENTRY.replace("[2]", "[2.5]") + "}", 8), "is not a safetensors file"),
        (_header('{"a": ' + _ENTRY.replace("[0,8]", "[0,8,9]") + "}", 8), "is not a safetensors file"),
        (_header('{"a": ' + _ENTRY.replace('"F32"', "null") + "}", 8), "is not a safetensors file"),
        (_header('{"a": ' + _ENTRY.replace("[2]", "[3]") + "}", 8), r"a has 8 bytes, but F32 of shape \(3,\) needs 12"),
        (_header('{"a": ' + _ENTRY.replace("[0,8]", "[8,0]") + "}", 8), "is damaged: a is at bytes 8 to 0"),
        (_header('{"a": ' + _ENTRY + "}", 7), "is truncated: 70 bytes, expected 71"),
        (_header('{"a": ' + _ENTRY + "}", 9), "is damaged: 72 bytes, expected 71"),
    ],
)
def test_a_header_is_checked_before_use(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "some.safetensors"
    file.write_bytes(content)
    with pytest.raises(UserError, match=f"some.safetensors.* {words}|some.safetensors {words}"):
        read_header(file)


def test_a_weight_file_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*: it is a folder"):
        read_header(tmp_path)


def test_the_header_says_what_the_library_reads(tiny: Path) -> None:
    header = read_header(tiny / "model.safetensors")
    stored = load_file(tiny / "model.safetensors")
    assert {tensor.name: tensor.shape for tensor in header.tensors} == {k: tuple(v.shape) for k, v in stored.items()}
    assert sum(tensor.elements for tensor in header.tensors) == sum(tensor.numel() for tensor in stored.values())
