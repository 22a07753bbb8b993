"""Reading the header of a safetensors file, for checking, counting, copying and pruning.

The format: the length of the header in 8 bytes, little-endian; the header in JSON, with the dtype, shape, start and end
of each tensor in bytes from the end of the header; then the data, without gaps.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError
from layerlimits.foreign import DOWNLOAD_AGAIN, check_file, unreadable

# The library has the same limit.
_MAX_HEADER_BYTES = 100_000_000
# torch has the same limit.
_MAX_DIMENSIONS = 64
# Bits per element. For types that are not listed, the size is not checked against the shape.
_BITS = {"BOOL": 8} | {
    f"{kind}{bits}": bits for kind, sizes in {"F": (16, 32, 64), "I": (8, 16, 32, 64)}.items() for bits in sizes
}
_BITS |= {"BF16": 16, "U8": 8, "U16": 16, "U32": 32, "U64": 64, "F8_E4M3": 8, "F8_E5M2": 8}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor of a file: `start` and `end` are bytes, counted from the end of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.end - self.start

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """The header of a safetensors file: its tensors in the order of their data, which starts at byte `data`."""

    file: Path
    tensors: tuple[StoredTensor, ...]
    metadata: dict[str, str] | None
    data: int


def read_header(file: Path) -> Header:
    """Read the header of a safetensors file, and check it against the size of the file.

    Raises:
        UserError: the file cannot be read, is not a safetensors file or is truncated; or tensors overlap, leave gaps,
            or have a size that does not match their shape and type. Names the file.
    """
    text, size = _header_text(file)
    begin = 8 + len(text)
    try:
        entries = json.loads(text, object_pairs_hook=_distinct)
        if not isinstance(entries, dict):
            raise ValueError("its header is not a JSON object")
        metadata = entries.pop("__metadata__", None)
        tensors = sorted(map(_stored, entries.items()), key=lambda tensor: (tensor.start, tensor.end))
    # A deeply nested header raises RecursionError.
    except UnicodeDecodeError:
        raise _not_safetensors(file, "its header is not UTF-8") from None
    except RecursionError:
        raise _not_safetensors(file, "its header is nested too deeply") from None
    except ValueError as error:
        raise _not_safetensors(file, str(error)) from None
    if metadata is not None and not _is_metadata(metadata):
        raise _not_safetensors(file, "its metadata are not texts")
    _check_bytes(file, tensors, size, begin)
    return Header(file, tuple(tensors), metadata, begin)


def read_headers(files: Iterable[Path]) -> list[Header]:
    """The headers of the files of a checkpoint, in order.

    Raises:
        UserError: see `read_header`.
    """
    return [read_header(file) for file in files]


def _header_text(file: Path) -> tuple[bytes, int]:
    """The bytes of the header, and the size of the whole file."""
    size = check_file(file, None, DOWNLOAD_AGAIN)
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8:
                raise _not_safetensors(file, f"it has {size} bytes")
            if length > _MAX_HEADER_BYTES:
                raise _not_safetensors(file, f"its header would have {length:,} bytes")
            if size < 8 + length:
                raise UserError(
                    f"{file} is truncated: {size:,} bytes, expected at least {8 + length:,}", DOWNLOAD_AGAIN
                )
            return stream.read(length), size
    except OSError as error:
        raise unreadable(file, error) from None


def _not_safetensors(file: Path, why: str) -> UserError:
    return UserError(f"{file} is not a safetensors file: {why}", DOWNLOAD_AGAIN)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without repeated keys: two tensors with the same name would be ambiguous."""
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("its header has a name twice")
    return entries


def _is_metadata(metadata: Any) -> bool:
    return isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())


def _stored(entry: tuple[str, Any]) -> StoredTensor:
    name, about = entry
    try:
        start, end = map(_count, about["data_offsets"])
        if not isinstance(about["dtype"], str) or len(about["shape"]) > _MAX_DIMENSIONS:
            raise TypeError("dtype or shape")
        return StoredTensor(name, about["dtype"], tuple(map(_count, about["shape"])), start, end)
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"the dtype, shape or offsets of {name!r:.100} are invalid") from None


def _count(value: Any) -> int:
    # The format has 64 bits for each; larger numbers would take long to multiply.
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise ValueError("not a count")
    return value


def _check_bytes(file: Path, tensors: list[StoredTensor], size: int, begin: int) -> None:
    """Check that the tensors fill the file from `begin` to its end without gaps, each with the right size."""
    filled = 0
    for tensor in tensors:
        if tensor.start != filled or tensor.end < filled:
            raise UserError(
                f"{file} is damaged: {tensor.name} is at bytes {tensor.start:,} to {tensor.end:,}, "
                f"but the tensor before it ends at {filled:,}",
                DOWNLOAD_AGAIN,
            )
        needed = -(-tensor.elements * _BITS.get(tensor.dtype, 0) // 8)
        if needed and tensor.size != needed:
            raise UserError(
                f"{file} is damaged: {tensor.name} has {tensor.size:,} bytes, but {tensor.dtype} of shape "
                f"{tensor.shape} needs {needed:,}",
                DOWNLOAD_AGAIN,
            )
        filled = tensor.end
    if begin + filled != size:
        what = "truncated" if size < begin + filled else "damaged"
        raise UserError(f"{file} is {what}: {size:,} bytes, expected {begin + filled:,}", DOWNLOAD_AGAIN)
