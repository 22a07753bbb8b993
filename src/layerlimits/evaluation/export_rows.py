"""The lines of the file that carries a run folder: written from a store, and validated when read.

The lines contain no text of a benchmark. Prompts, questions, targets and choices stay in the run folder; of the texts
that scorers derive from them (`Verdict.answer` and `Verdict.why`), those that could quote an item are left out, and a
resumed study scores these responses again. Cached values and details of rankings are left out if they contain text.
"""

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from math import isfinite
from pathlib import Path
from typing import IO, Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import CACHED, TYPES, Artifacts
from layerlimits.evaluation.schema import MIGRATED
from layerlimits.evaluation.schema import VERSION as TABLES
from layerlimits.evaluation.store import Key, Store
from layerlimits.types import Response, Verdict
from layerlimits.version import __version__

FORMAT: Literal["layerlimits run"] = "layerlimits run"
# Incremented when the lines change. A file also states the version of the store's tables.
VERSION = 1
# The fix of errors in a file's content.
COPY_AGAIN = "copy the file again, or export the run again"

_LONGEST_HEADER_BYTES = 1 << 16
# Keys of cached values, such as "angles"; longer ones could be texts.
_LONGEST_NAME = 60
# The scorer of a verdict that lacks `answer` and `why`: no task has this version, so it is scored again.
_INCOMPLETE = 0
_CACHED_NAME = re.compile(rf"{CACHED}[0-9a-f]{{16}}")
_ROW_CONFIG = ConfigDict(extra="forbid", frozen=True)


class Counts(BaseModel):
    """Number of lines of each kind."""

    model_config = _ROW_CONFIG

    models: Annotated[int, Field(ge=0)]
    artifacts: Annotated[int, Field(ge=0)]
    responses: Annotated[int, Field(ge=0)]


class Header(BaseModel):
    """The first line of a file; `sha256` is the hash of all other lines, uncompressed."""

    model_config = _ROW_CONFIG

    format: Literal["layerlimits run"]
    version: int
    tables: int
    made_by: Annotated[str, Field(max_length=100)]
    counts: Counts
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class ModelRow(BaseModel):
    """A model, by fingerprint."""

    model_config = _ROW_CONFIG

    kind: Literal["models"]
    fingerprint: str
    path: str
    removed: list[int]
    dtype: str
    layers: int


class ArtifactRow(BaseModel):
    """A JSON value, by name."""

    model_config = _ROW_CONFIG

    kind: Literal["artifacts"]
    name: str
    content: Any


class ResponseRow(BaseModel):
    """A response with its key, its verdict and the version of its scorer."""

    model_config = _ROW_CONFIG

    kind: Literal["responses"]
    key: Key
    response: Response
    verdict: Verdict
    scorer: Annotated[int, Field(ge=0, lt=1 << 31)]


Row = ModelRow | ArtifactRow | ResponseRow
_ROW: TypeAdapter[Row] = TypeAdapter(Annotated[Row, Field(discriminator="kind")])


def header_of(counts: dict[str, int], digest: str) -> Header:
    """The header of a file of this version.

    Args:
        counts: Number of rows of each kind.
        digest: SHA-256 of all rows.
    """
    made_by = f"layerlimits {__version__}"
    return Header(
        format=FORMAT, version=VERSION, tables=TABLES, made_by=made_by, counts=Counts(**counts), sha256=digest
    )


def rows(store: Store) -> Iterator[dict[str, Any]]:
    """What a file contains, row by row, without texts of items."""
    for fingerprint, content in sorted(store.models().items()):
        yield {"kind": "models", "fingerprint": fingerprint, **content}
    for name, content in Artifacts(store).contents():
        if name == "row_limits":
            # Of this machine, with its name.
            continue
        if name == "rankings":
            rankings = {method: _without_text(ranking) for method, ranking in content.items()}
            yield {"kind": "artifacts", "name": name, "content": rankings}
        elif name in TYPES or (_CACHED_NAME.fullmatch(name) and _is_numeric(content)):
            yield {"kind": "artifacts", "name": name, "content": content}
    for key, response, stored, scored_by in store.answered():
        verdict, scorer = _without_item_text(response, stored, scored_by)
        yield {
            "kind": "responses",
            "key": key._asdict(),
            "response": asdict(response),
            "verdict": {**vars(verdict), "measures": dict(verdict.measures)},
            "scorer": scorer,
        }


def _without_text(ranking: dict[str, Any]) -> dict[str, Any]:
    """A ranking without a `detail` that contains text. A resumed study computes it again."""
    return ranking if _is_numeric(ranking["detail"]) else {**ranking, "detail": {}}


def _is_numeric(value: Any) -> bool:
    """Whether a JSON value has numbers and short names only."""
    if isinstance(value, dict):
        return all(len(name) <= _LONGEST_NAME and _is_numeric(inner) for name, inner in value.items())
    if isinstance(value, list):
        return all(map(_is_numeric, value))
    return not isinstance(value, str)


def _without_item_text(response: Response, verdict: Verdict, scorer: int) -> tuple[Verdict, int]:
    """A verdict whose texts come from the response alone, and its scorer.

    The answer of a choice task is the text of a choice; the reasons can quote the target or a line of a test.
    """
    own = response.finish == "context" or (not verdict.why and verdict.answer in response.text)
    return (verdict, scorer) if own else (replace(verdict, answer="", why=""), _INCOMPLETE)


def first_line(file: Path, stream: IO[bytes]) -> dict[str, Any]:
    """The first line of a file, an object with "format"; its other values are not checked.

    Raises:
        UserError: The file is not an export.
    """
    try:
        header = json.loads(stream.readline(_LONGEST_HEADER_BYTES))
        if isinstance(header, dict) and header.get("format") == FORMAT:
            return header
    except (gzip.BadGzipFile, ValueError, RecursionError):
        pass
    raise UserError(f"{file} is not an export of layerlimits", "give a file that `layerlimits export` wrote")


def read_header(file: Path, stream: IO[bytes]) -> Header:
    """The first line of a file of this version.

    Raises:
        UserError: The file is not an export, or was written by another version.
    """
    first = first_line(file, stream)
    theirs, ours = (first.get("version"), first.get("tables")), (VERSION, TABLES)
    # What the rows contain has not changed since version 3 of the tables.
    if theirs[0] == VERSION and theirs[1] in (*MIGRATED, TABLES):
        try:
            return Header.model_validate_json(json.dumps(first), strict=True)
        except ValidationError as error:
            raise UserError(f"{file}, line 1: {_first_problem(error)}", COPY_AGAIN) from None
    made_by = str(first.get("made_by"))[:100]
    if not all(type(number) is int for number in theirs):
        raise UserError(f"{file}, line 1: version and tables are not integers", COPY_AGAIN)
    newer = cast(tuple[int, int], theirs) > ours
    schemas = f"schema {theirs[0]}.{theirs[1]}, expected {ours[0]}.{ours[1]}"
    fix = "update layerlimits to that version" if newer else "import it with that version"
    age = "a newer" if newer else "an older"
    raise UserError(f"{file} was written by {age} version of layerlimits, {made_by} ({schemas})", fix)


def parse_row(line: bytes, where: str) -> Row:
    """The row of a line, with every field checked.

    Args:
        line: The line, in UTF-8.
        where: File and line number, for errors.
    Raises:
        UserError: The line is not a row of a run folder.
    """
    try:
        row = _ROW.validate_json(line, strict=True)
        if isinstance(row, ArtifactRow):
            _check_artifact(row, where)
        if isinstance(row, ResponseRow):
            _check_response(row, where)
        return row
    except ValidationError as error:
        raise UserError(f"{where}: {_first_problem(error)}", COPY_AGAIN) from None


def _check_artifact(row: ArtifactRow, where: str) -> None:
    if row.name in TYPES:
        TypeAdapter(TYPES[row.name]).validate_python(row.content, strict=True)
    elif not _CACHED_NAME.fullmatch(row.name) or not _is_numeric(row.content):
        raise UserError(f"{where}: {row.name[:_LONGEST_NAME]!r} is not a value of a run folder", COPY_AGAIN)


def _check_response(row: ResponseRow, where: str) -> None:
    verdict = row.verdict
    values = [verdict.value, *verdict.measures.values(), *([] if verdict.strict is None else [verdict.strict])]
    if not all(map(isfinite, values)) or not 0 <= row.key.version < 1 << 31:
        raise UserError(f"{where}: a value of the verdict is not finite, or the version is out of range", COPY_AGAIN)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else problem["msg"]
