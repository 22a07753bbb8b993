"""Copying tensors from one safetensors file to another under new names, without reading them into memory.

Ours, because the safetensors library has no writer that streams: `save_file` wants every tensor in memory at once.
The format is described in `models.safetensors_header`, which reads it.
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

Tick = Callable[[int], None]

# One piece of a copy in the kernel, and one through a buffer of ours: it should stay in the processor's cache.
_KERNEL_PIECE = 64 << 20
_PIECE = 256 << 10


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
