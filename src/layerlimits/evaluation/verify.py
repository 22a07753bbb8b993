"""Whether the record of a run is intact: hashes of all rows, rows that belong together, and the files beside them.

A database with damaged pages is read as far as possible, from both ends of each table.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from layerlimits.errors import StorageError, UserError
from layerlimits.evaluation import schema
from layerlimits.evaluation.artifacts import CACHED, TYPES
from layerlimits.evaluation.database import inspect, reading
from layerlimits.models.locate import fingerprint
from layerlimits.paths import MANIFEST_FILE, RUN_FILE
from layerlimits.types import ModelRef

_FINISHES = ("stop", "length", "likelihood", "context")


class Row(NamedTuple):
    """A row as it is stored, without its digest; `problem` is None if it is sound."""

    table: str
    values: tuple[Any, ...]
    problem: str | None

    @property
    def named(self) -> dict[str, Any]:
        """The values by column."""
        return dict(zip(schema.columns(self.table), self.values, strict=True))

    @property
    def place(self) -> str:
        """Identifies the row in messages."""
        return ", ".join(str(value)[:40] for value in self.values[: schema.TABLES[self.table][1]])


@dataclass
class Findings:
    """What a verification has found.

    `sound` has the number of sound rows by table, `problems` the number of rows or files by (table, problem), and
    `examples` one of each. `notes` are not damages.
    """

    version: int = schema.VERSION
    sound: Counter[str] = field(default_factory=Counter)
    problems: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, table: str, problem: str, example: str = "", count: int = 1) -> None:
        """Count a problem."""
        self.problems[table, problem] += count
        self.examples.setdefault((table, problem), example)


class Record:
    """The rows of a run folder, damaged ones included. Use it as a context manager.

    Args:
        folder: The run folder, which is not changed.
    Raises:
        UserError: The database is of another program, or of another version of layerlimits.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / RUN_FILE
        self.findings = Findings()
        # Tables of which a part cannot be read.
        self._torn: set[str] = set()
        try:
            self.findings.version = inspect(self.file) or schema.VERSION
        except StorageError as error:
            self.findings.add("database", error.problem.partition(": ")[2])

    def rows(self, table: str) -> Iterator[Row]:
        """The rows of a table that can be read, in the order in which they were written."""
        with suppress(sqlite3.DatabaseError), reading(self.file) as database:
            database.text_factory = _text
            present = {column for _, column, *_ in database.execute(f"PRAGMA table_info({table})")}
            if not set(schema.columns(table)) <= present:
                return
            digest = schema.DIGEST if schema.DIGEST in present else "NULL"
            query = f"SELECT rowid, {digest}, {', '.join(schema.columns(table))} FROM {table}"
            for _, stored, *values in self._scanned(database, table, query):
                yield Row(table, tuple(values), self._problem(table, stored, tuple(values), sealed=digest != "NULL"))

    def _scanned(self, database: sqlite3.Connection, table: str, query: str) -> Iterator[Any]:
        last = -1
        try:
            for row in database.execute(f"{query} ORDER BY rowid"):
                yield row
                last = row[0]
            return
        except sqlite3.DatabaseError as error:
            if table not in self._torn:
                self._torn.add(table)
                self.findings.add(table, "pages are damaged, and rows cannot be read", str(error))
        with suppress(sqlite3.DatabaseError):
            for row in database.execute(f"{query} WHERE rowid > {last} ORDER BY rowid DESC"):
                yield row

    def _problem(self, table: str, stored: str | None, values: tuple[Any, ...], *, sealed: bool) -> str | None:
        if sealed and stored is None:
            return "foreign: written without a hash, by another program"
        if sealed and stored != schema.digest(table, values):
            return "altered: the content does not match its hash"
        try:
            if check := _CHECKS.get(table):
                check(dict(zip(schema.columns(table), values, strict=True)))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            return f"invalid: {str(error).splitlines()[0][:80]}"
        return None

    def artifacts(self) -> dict[str, Any]:
        """The sound values by name."""
        return {row.values[0]: json.loads(row.values[1]) for row in self.rows("artifacts") if row.problem is None}

    def manifest(self) -> dict[str, Any] | None:
        """The manifest, from its copy if that of the database is lost; None if there is neither."""
        content = self.artifacts().get("manifest") or self.copied_manifest()
        return content if isinstance(content, dict) else None

    def copied_manifest(self) -> Any:
        """The content of manifest.json; None if it is missing or damaged."""
        with suppress(OSError, ValueError, RecursionError):
            return json.loads((self.folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        return None


def _text(content: bytes) -> str:
    # Bytes that are no UTF-8 make the row's hash wrong, instead of the table unreadable.
    return content.decode("utf-8", "surrogateescape")


def _check_response(row: Mapping[str, Any]) -> None:
    tokens, logprobs = json.loads(row["tokens"]), json.loads(row["logprobs"])
    if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
        raise ValueError("tokens are not a list of integers")
    if not isinstance(logprobs, list) or not all(type(value) in (int, float) for value in logprobs):
        raise ValueError("log-probabilities are not a list of numbers")
    if row["finish"] not in _FINISHES or not isinstance(row["text"], str):
        raise ValueError(f"finish is {row['finish']!r}")


def _check_object(row: Mapping[str, Any]) -> None:
    if not isinstance(json.loads(row["content"]), dict):
        raise ValueError("the content is not an object")


def _check_verdict(row: Mapping[str, Any]) -> None:
    # The value of a document is its negative log-likelihood.
    most = inf if row["outcome"] == "measured" else 1
    if not isinstance(json.loads(row["measures"]), dict) or not 0 <= row["value"] <= most:
        raise ValueError(f"value {row['value']} or measures are out of range")


def _check_artifact(row: Mapping[str, Any]) -> None:
    content = json.loads(row["content"])
    if row["name"] in TYPES:
        try:
            TypeAdapter(TYPES[row["name"]]).validate_python(content)
        except ValidationError as error:
            mistake = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}") from None
    elif not row["name"].startswith(CACHED):
        raise ValueError(f"{row['name']!r} is not a value of a run folder")


_CHECKS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "responses": _check_response,
    "verdicts": _check_verdict,
    "samples": _check_object,
    "prompts": _check_object,
    "models": _check_object,
    "artifacts": _check_artifact,
}


def verify(folder: Path) -> Findings:
    """Verify the record of a run. Nothing is changed.

    Raises:
        UserError: The folder is not a run folder, or of another version of layerlimits.
    """
    record = Record(folder)
    findings = record.findings
    if findings.version != schema.VERSION:
        findings.notes.append(
            f"The folder has schema {findings.version}, without hashes; the next command that writes to it adds them."
        )
    _verify_rows(record)
    _verify_indices(record)
    _verify_files(record)
    return findings


def _verify_rows(record: Record) -> None:
    findings = record.findings
    known, keys = _known_models(record), dict[str, set[tuple[Any, ...]]]()
    for table in schema.TABLES:
        sound: set[tuple[Any, ...]] = set()
        for row in record.rows(table):
            problem = row.problem
            if problem is None and table in ("responses", "verdicts") and row.values[0] not in known:
                problem = "foreign: of a model that is not one of this run"
            if problem:
                findings.add(table, problem, row.place)
                continue
            findings.sound[table] += 1
            if table in ("responses", "verdicts"):
                sound.add(row.values[:7])
        keys[table] = sound
    for table, other in (("responses", "verdicts"), ("verdicts", "responses")):
        if alone := keys[table] - keys[other]:
            example = ", ".join(str(part)[:40] for part in min(alone, key=str))
            findings.add(table, f"torn: without a sound row in {other}", example, len(alone))
            findings.sound[table] -= len(alone)
    _verify_complete(record, keys["responses"])


def _known_models(record: Record) -> set[str]:
    """The fingerprints of the models of the run."""
    recovered = record.artifacts().get("recovered") or {}
    base = _base(record.manifest() or {})
    named = {row.values[0] for row in record.rows("models") if row.problem is None}
    return {*named, base, *(str(model.get("fingerprint")) for model in recovered.values())}


def _base(manifest: Mapping[str, Any]) -> str:
    """The key of the unpruned model in responses."""
    return ModelRef("", str(manifest.get("base_fingerprint")), None, (), str(manifest.get("dtype"))).fingerprint


def _verify_complete(record: Record, answered: set[tuple[Any, ...]]) -> None:
    """Rows that a finished study had, and that were lost without a trace, as with a lost write-ahead log."""
    values = record.artifacts()
    manifest, tasks = values.get("manifest"), values.get("tasks")
    if not values.get("finished") or not manifest or not tasks:
        return
    for task in tasks:
        head = (_base(manifest), task["name"], task["version"])
        expected = {
            (*head, item, task["prompts"][item], decoding, task["engine"])
            for item in task["ids"]
            for decoding in task["decodings"]
        }
        if lost := expected - answered:
            record.findings.add("responses", f"lost: answers of the unpruned model to {task['name']}", "", len(lost))


def _verify_indices(record: Record) -> None:
    """SQLite's own check of pages and indices."""
    try:
        with reading(record.file) as database:
            for (message,) in database.execute("PRAGMA integrity_check(20)"):
                if message != "ok":
                    record.findings.add("database", "SQLite's integrity check fails", message.splitlines()[-1])
    except sqlite3.DatabaseError as error:
        record.findings.add("database", "SQLite cannot read it", str(error))


def _verify_files(record: Record) -> None:
    """The files beside the database."""
    copy, values = record.copied_manifest(), record.artifacts()
    manifest = values.get("manifest")
    if copy is None and manifest is None:
        record.findings.add("database", "it contains no run", RUN_FILE)
    if copy is not None and manifest is None:
        record.findings.add("artifacts", "lost: the manifest, of which manifest.json is a copy", MANIFEST_FILE)
    elif manifest is not None and (record.folder / MANIFEST_FILE).exists() and copy != manifest:
        record.findings.add("files", "differs from the database, which counts", MANIFEST_FILE)
    if (record.folder / "results.json").exists() and not values.get("finished") and not values.get("base"):
        record.findings.add("artifacts", "lost: the study of which results.json has the results", "results.json")
    for name, model in (values.get("recovered") or {}).items():
        folder = record.folder / "models" / name
        if not folder.is_dir() or manifest is None:
            continue
        try:
            found = ModelRef(str(folder), fingerprint(folder), None, (), manifest["dtype"]).fingerprint
        except (UserError, OSError):
            found = ""
        if found != model["fingerprint"]:
            record.findings.add("files", "altered: not the finetuned model that was evaluated", f"models/{name}")
