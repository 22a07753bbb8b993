"""The file that carries a run folder to another machine: gzip-compressed JSON Lines, described in docs/export.md."""

import gzip
import json
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from shutil import copyfileobj
from typing import IO, cast

from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import Artifacts
from layerlimits.evaluation.export_rows import (
    COPY_AGAIN,
    Counts,
    Header,
    ModelRow,
    ResponseRow,
    first_line,
    header_of,
    parse_row,
    read_header,
    rows,
)
from layerlimits.evaluation.store import Key, Store
from layerlimits.paths import check_output_file, given_path, unfinished
from layerlimits.types import Response, Verdict

SUFFIX = ".layerlimits.gz"
# A response of 100,000 tokens has less than 1 MiB.
LONGEST_LINE_BYTES = 1 << 26
# Responses per transaction.
_BATCH = 2000


def check_export_file(out: Path) -> Path:
    """Check that writing an export overwrites nothing but an older export.

    Returns:
        The path with links resolved.
    Raises:
        UserError: The path is a folder, a file that is not an export, a file of a run, or not a valid path.
    """
    fix = f"choose another --out, such as study{SUFFIX}"
    return check_output_file(out, "--out", ("an export of layerlimits", "an export"), ".gz", fix, _is_export)


def _is_export(file: Path) -> bool:
    try:
        with _opened(file) as stream:
            first_line(file, stream)
            return True
    except UserError:
        return False


def write_export(store: Store, out: Path) -> Header:
    """Write the contents of a run folder to a file, atomically. The same contents give the same bytes.

    Raises:
        UserError: See `check_export_file`; also if the file cannot be written.
    """
    file = check_export_file(out)
    partial = unfinished(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=file.parent) as content, partial.open("wb") as stream:
            header = _write_content(store, content)
            content.seek(0)
            # The hash is known at the end only, so the first line is compressed by itself.
            stream.write(gzip.compress(header.model_dump_json().encode() + b"\n", mtime=0))
            copyfileobj(content, stream)
        partial.replace(file)
        return header
    except OSError as error:
        raise UserError(f"failed to write {out}: {error}", "choose another --out") from None
    finally:
        partial.unlink(missing_ok=True)


def _write_content(store: Store, stream: IO[bytes]) -> Header:
    counts = {"models": 0, "artifacts": 0, "responses": 0}
    digest = sha256()
    with store.snapshot(), gzip.GzipFile("", "wb", 6, stream, mtime=0) as packed:
        for row in rows(store):
            line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
            packed.write(line)
            digest.update(line)
            counts[row["kind"]] += 1
    return header_of(counts, digest.hexdigest())


def read_export(file: Path, store: Store) -> Header:
    """Read an export into the store of a new run folder, row by row.

    Raises:
        UserError: The file is not an export, or is truncated, altered, or of another version. The store may then
            contain a part of it.
    """
    with _opened(file) as stream:
        header = read_header(file, stream)
        digest, counts, waiting = sha256(), dict.fromkeys(Counts.model_fields, 0), list[ResponseRow]()
        for number, line in _lines(file, stream):
            digest.update(line)
            row = parse_row(line, f"{file}, line {number}")
            counts[row.kind] += 1
            if isinstance(row, ResponseRow):
                waiting.append(row)
            elif isinstance(row, ModelRow):
                store.put_models({row.fingerprint: row.model_dump(exclude={"kind", "fingerprint"})})
            else:
                Artifacts(store).restore(row.name, row.content)
            if len(waiting) == _BATCH:
                _store(waiting, store)
        _store(waiting, store)
    read, expected = sum(counts.values()), sum(header.counts.model_dump().values())
    if read < expected:
        raise UserError(f"{file} is truncated: it has {read:,} of {expected:,} rows", COPY_AGAIN)
    if digest.hexdigest() != header.sha256 or counts != header.counts.model_dump():
        problem = f"its content has the SHA-256 {digest.hexdigest()[:12]}..., not {header.sha256[:12]}..."
        raise UserError(f"{file} was altered: {problem}", COPY_AGAIN)
    return header


def _lines(file: Path, stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines after the first, with their numbers."""
    number = 2
    while line := stream.readline(LONGEST_LINE_BYTES + 1):
        if len(line) > LONGEST_LINE_BYTES:
            raise UserError(f"{file}, line {number} is longer than {LONGEST_LINE_BYTES >> 20} MiB", COPY_AGAIN)
        yield number, line
        number += 1


def _store(waiting: list[ResponseRow], store: Store) -> None:
    """Store responses, by version of their scorer, and empty the list."""
    by_scorer: dict[int, list[tuple[Key, Response, Verdict]]] = {}
    for row in waiting:
        by_scorer.setdefault(row.scorer, []).append((row.key, row.response, row.verdict))
    for scorer, answered in by_scorer.items():
        store.add(answered, scorer)
    waiting.clear()


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    """The uncompressed stream of a file. Errors of reading it are raised as `UserError`."""
    path = given_path(file, "the export")
    if not path.is_file():
        what = "is not a regular file" if path.exists() else "does not exist"
        raise UserError(f"{file} {what}", "give a file that `layerlimits export` wrote")
    try:
        with gzip.open(path, "rb") as stream:
            yield cast(IO[bytes], stream)
    except EOFError:
        raise UserError(f"{file} is truncated", COPY_AGAIN) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{file} is damaged: {error}", COPY_AGAIN) from None
    except OSError as error:
        raise UserError(f"failed to read {file}: {error.strerror or error}", "give another file") from None
