"""Copying tensors from one safetensors file to another under new names, without reading them into memory.

The safetensors library has no streaming writer: `save_file` needs all tensors in memory. `models.safetensors_header`
describes the format.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError
from layerlimits.models.safetensors_header import Header, StoredTensor

Progress = Callable[[int], None]

# Bytes per call of a copy in the kernel, and of a copy through a buffer, which should fit into the processor's cache.
_KERNEL_PIECE = 64 << 20
_PIECE = 256 << 10


def copy_tensors(source: Header, names: Mapping[str, str], target: Path, on_progress: Progress | None = None) -> None:
    """Copy the tensors that `names` lists to a new file, under their new names.

    The order is kept. If wider types come first, as in all files written by the library, tensors stay aligned.

    Args:
        source: the header of the file to copy from, which is read in pieces.
        names: maps old names to new names.
        target: the file to write.
        on_progress: called with the number of bytes of each piece copied.
    Raises:
        UserError: the source ends early, because it was changed in the meantime.
    """
    tensors = [tensor for tensor in source.tensors if tensor.name in names]
    with source.file.open("rb", buffering=0) as reader, target.open("wb", buffering=0) as writer:
        _write(writer, memoryview(_header_bytes(tensors, names, source.metadata)))
        for start, end in _runs(tensors):
            reader.seek(source.data + start)
            _copy(reader, writer, end - start, on_progress)


def _header_bytes(tensors: list[StoredTensor], names: Mapping[str, str], metadata: dict[str, str] | None) -> bytes:
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    end = 0
    for tensor in tensors:
        offsets = [end, end := end + tensor.size]
        header[names[tensor.name]] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    # Padded like the library does, so that the data starts at a multiple of 8.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _runs(tensors: list[StoredTensor]) -> list[tuple[int, int]]:
    """Byte ranges, with adjacent tensors joined, for fewer and longer copies."""
    runs: list[tuple[int, int]] = []
    for tensor in tensors:
        start = runs.pop()[0] if runs and runs[-1][1] == tensor.start else tensor.start
        runs.append((start, tensor.end))
    return runs


def _copy(reader: FileIO, writer: FileIO, size: int, on_progress: Progress | None) -> None:
    buffer = memoryview(bytearray(_PIECE))
    while size:
        copied = _in_kernel(reader, writer, min(size, _KERNEL_PIECE)) or _through(buffer[:size], reader, writer)
        if not copied:
            raise UserError(
                f"{reader.name} ends {size:,} bytes early: it changed during the copy", "run the command again"
            )
        size -= copied
        if on_progress:
            on_progress(copied)


def _in_kernel(reader: FileIO, writer: FileIO, size: int) -> int:
    """Copy inside the Linux kernel, which is a third faster; some file systems only record a reference.

    Returns 0 if it is not possible, for instance between two file systems. Disk errors recur in the normal copy.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            return os.copy_file_range(reader.fileno(), writer.fileno(), size)
    return 0


def _through(buffer: memoryview, reader: FileIO, writer: FileIO) -> int:
    size = reader.readinto(buffer)
    _write(writer, buffer[:size])
    return size


def _write(writer: FileIO, left: memoryview) -> None:
    # The system may write only a part.
    while left:
        left = left[writer.write(left) :]
