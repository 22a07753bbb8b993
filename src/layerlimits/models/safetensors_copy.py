"""Copying tensors from one safetensors file to another under new names, without reading them into memory.

Ours, because the safetensors library has no writer that streams: `save_file` wants every tensor in memory at once.
The format: the header's length in 8 bytes, little-endian; the header in JSON, for each tensor its dtype, shape and
first and last byte counted from the end of the header; then the bytes, with no gap.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError

Tick = Callable[[int], None]

# The library refuses longer headers, too.
_LONGEST_HEADER = 100_000_000
# One piece of a copy in the kernel, and one through a buffer of ours: it should stay in the processor's cache.
_KERNEL_PIECE = 64 << 20
_PIECE = 256 << 10


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
        """In bytes."""
        return self.end - self.start


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself: its tensors, in the order of their bytes, which begin at `data`."""

    file: Path
    tensors: tuple[StoredTensor, ...]
    metadata: dict[str, str] | None
    data: int


def read_header(file: Path) -> Header:
    """The header of a safetensors file, which must fit the file to the byte.

    Raises:
        UserError: no safetensors file, one that is cut off, or one whose tensors overlap or leave gaps.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > _LONGEST_HEADER:
            raise UserError(f"{file} is not a safetensors file", "download the model again")
        text = stream.read(length)
    if size < 8 + length:
        raise UserError(f"{file} is truncated: {size:,} bytes of {8 + length:,} or more", "download the model again")
    try:
        entries = json.loads(text)
        metadata = entries.pop("__metadata__", None)
        tensors = sorted(map(_stored, entries.items()), key=lambda tensor: (tensor.start, tensor.end))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{file} is not a safetensors file", "download the model again") from None
    _check_bytes(file, tensors, size - 8 - length)
    return Header(file, tuple(tensors), metadata, 8 + length)


def _stored(entry: tuple[str, Any]) -> StoredTensor:
    name, about = entry
    start, end = map(int, about["data_offsets"])
    return StoredTensor(name, str(about["dtype"]), tuple(map(int, about["shape"])), start, end)


def _check_bytes(file: Path, tensors: list[StoredTensor], size: int) -> None:
    """The tensors must fill the data, one after the other."""
    filled = 0
    for tensor in tensors:
        if tensor.start != filled or tensor.end < filled:
            raise UserError(
                f"{file} is damaged: {tensor.name} lies at bytes {tensor.start:,} to {tensor.end:,}, "
                f"but the tensor before it ends at {filled:,}",
                "download the model again",
            )
        filled = tensor.end
    if filled != size:
        what = "truncated" if size < filled else "damaged"
        raise UserError(
            f"{file} is {what}: {size:,} bytes of tensors instead of {filled:,}", "download the model again"
        )


def copy_tensors(source: Header, names: Mapping[str, str], target: Path, tick: Tick | None = None) -> None:
    """Write the tensors of a file that `names` maps to their new names, every byte as it was.

    They stay in their order: where wider types came first, as in every file the library wrote, all stay aligned.

    Args:
        source: the file to copy from; it is read piece by piece.
        names: new names by old ones.
        target: the file to write.
        tick: called with the number of bytes after every piece.
    Raises:
        UserError: the source ends early: it was changed meanwhile.
    """
    kept = [tensor for tensor in source.tensors if tensor.name in names]
    with source.file.open("rb", buffering=0) as reader, target.open("wb", buffering=0) as writer:
        _write(writer, memoryview(_header_bytes(kept, names, source.metadata)))
        for start, end in _runs(kept):
            reader.seek(source.data + start)
            _copy(reader, writer, end - start, tick)


def _header_bytes(kept: list[StoredTensor], names: Mapping[str, str], metadata: dict[str, str] | None) -> bytes:
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    end = 0
    for tensor in kept:
        offsets = [end, end := end + tensor.size]
        header[names[tensor.name]] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    # Padded as the library does it, for the data to begin at a multiple of 8.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _runs(kept: list[StoredTensor]) -> list[tuple[int, int]]:
    """Neighbouring tensors as one range of bytes: fewer, longer copies."""
    runs: list[tuple[int, int]] = []
    for tensor in kept:
        start = runs.pop()[0] if runs and runs[-1][1] == tensor.start else tensor.start
        runs.append((start, tensor.end))
    return runs


def _copy(reader: FileIO, writer: FileIO, size: int, tick: Tick | None) -> None:
    buffer = memoryview(bytearray(_PIECE))
    while size:
        got = _in_kernel(reader, writer, min(size, _KERNEL_PIECE)) or _through(buffer[:size], reader, writer)
        if not got:
            raise UserError(f"{reader.name} ends {size:,} bytes early: it was changed meanwhile", "run this again")
        size -= got
        if tick:
            tick(got)


def _in_kernel(reader: FileIO, writer: FileIO, size: int) -> int:
    """Linux copies a third quicker without a way through our memory, and some file systems only note the sharing.

    Returns 0 where it cannot, for instance between two file systems; an error of the disk comes again without it.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            return os.copy_file_range(reader.fileno(), writer.fileno(), size)
    return 0


def _through(buffer: memoryview, reader: FileIO, writer: FileIO) -> int:
    got = reader.readinto(buffer)
    _write(writer, buffer[:got])
    return got


def _write(writer: FileIO, left: memoryview) -> None:
    # The system may take a part only.
    while left:
        left = left[writer.write(left) :]
