"""The database of a run folder: every response with its key, written once and never computed again.

A group of responses is one transaction, so that `kill -9` leaves it either complete or absent. The
tokens of responses that are still being generated are kept as well, until the response is stored.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from layerlimits.evaluation.database import open_to_read, open_to_write
from layerlimits.evaluation.schema import columns, primary_key, sealed
from layerlimits.types import FinishReason, ModelRef, Outcome, Response, Sample, Task, Verdict


class Key(NamedTuple):
    """Everything that determines a response: fingerprint of the model (including removed layers and number type), task
    and version, item, hash of the prompt's tokens, decoding, and the engine class that computes it.
    """

    model: str
    task: str
    version: int
    sample: str
    prompt: str
    decoding: str
    engine: str


_KEY = ", ".join(Key._fields)

# Decimal places of a log-probability in nats. Smaller differences are rounding, and would show in an export.
LOGPROB_DIGITS = 5

# Keys per query. They are bound as one JSON value, because SQLite limits the number of variables.
_CHUNK = 5000
# What is stored of `Sample.meta`: the part of the benchmark, and the meaning of a probe's rows.
_STORED_META = ("set", "probe")
_WANTED = (
    "(SELECT key AS place, "
    + ", ".join(f"json_extract(value, '$[{place}]') AS {name}" for place, name in enumerate(Key._fields))
    + " FROM json_each(?)) w"
)
_RESPONSE = "r.text, r.tokens, r.finish, r.logprobs"
_VERDICT = "v.outcome, v.value, v.answer, v.why, v.strict, v.measures"


class Store:
    """The database `run.sqlite` of a run folder.

    Args:
        folder: The run folder, which is created if necessary.
        read_only: Change nothing; the folder must contain a run, and need not be writable.
    Raises:
        UserError: The database is of another program or another version of layerlimits.
        StorageError: The database is damaged, or cannot be written; so do all methods.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.folder = folder
        self._db = open_to_read(folder) if read_only else open_to_write(folder)

    def close(self) -> None:
        """Close the database, and merge its write-ahead log."""
        self._db.close()

    def checkpoint(self) -> None:
        """Merge the write-ahead log into the database, so that a lost log does not cost what was finished."""
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def _write(self, table: str, rows: Iterable[Sequence[object]], *, replace: bool = False) -> None:
        """Write rows with their digests; rows that exist are kept unless they are to be replaced."""
        verb = "REPLACE" if replace else "IGNORE"
        marks = _marks(len(columns(table)) + 1)
        self._db.executemany(f"INSERT OR {verb} INTO {table} VALUES ({marks})", sealed(table, rows))

    def add_rows(self, table: str, rows: Iterable[Sequence[object]]) -> int:
        """Add rows as they are stored in another run folder, in one transaction; rows that exist are kept.

        Args:
            table: The table.
            rows: The values of `schema.columns(table)`.
        Returns:
            Number of rows that were added.
        """
        before = self._db.total_changes
        with self._db:
            self._write(table, rows)
        return self._db.total_changes - before

    def differing(self, rows: Sequence[Sequence[object]]) -> int:
        """How many rows of `responses` are stored with another text or other tokens."""
        keys = [Key(*row[:7]) for row in rows]  # type: ignore[arg-type]  # rows of another store
        stored = self.responses(keys)
        return sum(
            key in stored and (stored[key].text, json.dumps(stored[key].tokens)) != tuple(row[7:9])
            for key, row in zip(keys, rows, strict=True)
        )

    def rows(self, table: str) -> Iterator[tuple[Any, ...]]:
        """All rows of a table with the values of `schema.columns(table)`, ordered by key."""
        names = ", ".join(columns(table))
        with closing(self._db.execute(f"SELECT {names} FROM {table} ORDER BY {', '.join(primary_key(table))}")) as rows:
            yield from rows

    def count(self, table: str) -> int:
        """Number of rows of a table."""
        return int(self._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def drop_begun(self) -> None:
        """Remove what was begun of responses that are stored."""
        with self._db:
            self._db.execute(f"DELETE FROM begun WHERE ({_KEY}) IN (SELECT {_KEY} FROM responses)")

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def add_models(self, refs: Iterable[ModelRef], about: dict[str, Any]) -> None:
        """Store the models by fingerprint."""
        contents = {
            ref.fingerprint: {"path": ref.path, "removed": list(ref.removed), "dtype": ref.dtype, **about}
            for ref in refs
        }
        self.put_models(contents)

    def put_models(self, contents: Mapping[str, dict[str, Any]]) -> None:
        """Store descriptions of models by fingerprint, in the form of `models`."""
        rows = [(fingerprint, json.dumps(content)) for fingerprint, content in contents.items()]
        with self._db:
            self._write("models", rows, replace=True)

    def add_samples(self, task: Task, samples: Iterable[Sample]) -> None:
        """Store the items, so that a report needs only the run folder."""
        rows = [(task.name, task.version, sample.id, _sample_json(sample)) for sample in samples]
        with self._db:
            self._write("samples", rows)

    def add_prompts(self, prompts: Mapping[str, dict[str, Any]]) -> None:
        """Store prompts by the hash in the keys of responses: text, hash of the template, protocol, shots."""
        rows = [(name, json.dumps(content, ensure_ascii=False)) for name, content in prompts.items()]
        with self._db:
            self._write("prompts", rows)

    def prompt(self, name: str) -> dict[str, Any] | None:
        """The stored prompt with this hash."""
        row = self._db.execute("SELECT content FROM prompts WHERE hash=?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def add(self, answered: Iterable[tuple[Key, Response, Verdict]], scorer: int = 1) -> None:
        """Write responses with their verdicts in one transaction. Stored responses are not changed; their verdicts are
        replaced. What was begun of them is removed.
        """
        with self._db:
            for key, response, verdict in answered:
                logprobs = json.dumps([round(value, LOGPROB_DIGITS) for value in response.logprobs])
                row = (*key, response.text, json.dumps(response.tokens), response.finish, logprobs)
                self._write("responses", [row])
                judgement = (verdict.outcome, verdict.value, verdict.answer, verdict.why, verdict.strict)
                values = (*key, *judgement, json.dumps(dict(verdict.measures)), scorer)
                self._write("verdicts", [values], replace=True)
                self._db.execute(f"DELETE FROM begun WHERE ({_KEY}) = ({_marks(7)})", key)

    def add_begun(self, tokens: Mapping[Key, Sequence[int]]) -> None:
        """Keep the first tokens of unfinished responses; they replace what was begun of the same responses."""
        rows = [(*key, json.dumps(list(first))) for key, first in tokens.items()]
        with self._db:
            self._write("begun", rows, replace=True)

    def begun(self, keys: Sequence[Key]) -> dict[Key, list[int]]:
        """The first tokens of unfinished responses; keys without any are omitted."""
        rows = self._look_up(keys, ", b.tokens", "CROSS JOIN begun b", "")
        return {key: json.loads(tokens) for key, (tokens,) in rows}

    def missing(self, keys: Sequence[Key], scorer: int | None = None) -> list[Key]:
        """The keys without a stored response, in order; with `scorer`, the keys without a verdict of this version
        of the scorer.
        """
        if scorer is None:
            return [key for key, _ in self._look_up(keys, "", "LEFT JOIN responses r", "WHERE r.model IS NULL")]
        unjudged = self._look_up(keys, "", "LEFT JOIN verdicts r", "WHERE r.scorer IS NOT ?", scorer)
        return [key for key, _ in unjudged]

    def verdicts(self, keys: Sequence[Key], scorer: int = 1) -> dict[Key, Verdict]:
        """The verdicts of this version of the scorer; keys without one are omitted."""
        rows = self._look_up(keys, f", {_VERDICT}", "CROSS JOIN verdicts v", "WHERE v.scorer = ?", scorer)
        return {key: _verdict(*row) for key, row in rows}

    def responses(self, keys: Sequence[Key]) -> dict[Key, Response]:
        """The stored responses; keys without one are omitted."""
        rows = self._look_up(keys, f", {_RESPONSE}", "CROSS JOIN responses r", "")
        return {key: _response(*row) for key, row in rows}

    def lengths(self, task: Task) -> list[tuple[int, FinishReason]]:
        """Number of tokens and finish reason of every generated response to a task, of any model."""
        query = "SELECT json_array_length(tokens), finish FROM responses WHERE task=? AND version=?"
        rows = self._db.execute(f"{query} AND finish IN ('stop', 'length')", (task.name, task.version))
        return list(rows)

    def _look_up(
        self, keys: Sequence[Key], columns: str, join: str, where: str, *values: object
    ) -> Iterator[tuple[Key, tuple[Any, ...]]]:
        """The rows of a table with these keys, one query per chunk of keys."""
        table = join.rpartition(" ")[2]
        same = " AND ".join(f"{table}.{name} = w.{name}" for name in Key._fields)
        query = f"SELECT w.place{columns} FROM {_WANTED} {join} ON {same} {where} ORDER BY w.place"
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            for place, *row in self._db.execute(query, (json.dumps(chunk), *values)):
                yield chunk[place], tuple(row)

    def put(self, name: str, content: Any) -> None:
        """Store a JSON value under a name, such as rankings, timings or plans."""
        with self._db:
            self._write("artifacts", [(name, json.dumps(content))], replace=True)

    def get(self, name: str) -> Any | None:
        """The JSON value stored under a name, or None."""
        row = self._db.execute("SELECT content FROM artifacts WHERE name=?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def names(self) -> list[str]:
        """The names of the stored JSON values."""
        return [name for (name,) in self._db.execute("SELECT name FROM artifacts ORDER BY name")]

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads inside see the same state of the database, even if another process writes to it."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.rollback()

    def answered(self) -> Iterator[tuple[Key, Response, Verdict, int]]:
        """Every response with its key, its verdict and the version of its scorer, ordered by key."""
        keys = ", ".join(f"r.{name}" for name in Key._fields)
        query = f"SELECT {keys}, {_RESPONSE}, {_VERDICT}, v.scorer FROM responses r JOIN verdicts v USING ({_KEY})"
        with closing(self._db.execute(f"{query} ORDER BY {keys}")) as rows:
            for row in rows:
                yield Key(*row[:7]), _response(*row[7:11]), _verdict(*row[11:17]), row[17]

    def export(self) -> Iterator[dict[str, Any]]:
        """Every response with its verdict, ordered by key: two runs with the same results give equal exports."""
        joined = f"responses r JOIN verdicts v USING ({_KEY})"
        query = f"SELECT {_KEY}, {_RESPONSE}, {_VERDICT} FROM {joined} ORDER BY {_KEY}"
        with closing(self._db.execute(query)) as rows:
            names = [column[0] for column in rows.description]
            for row in rows:
                yield dict(zip(names, row, strict=True))

    def answers(self, model: str, task: Mapping[str, Any], decoding: str) -> dict[str, tuple[Response, Verdict]]:
        """A model's responses to a task with their verdicts, by sample id. Responses to other prompts of the same
        items, or by another engine, are not read.

        Args:
            model: fingerprint of the model.
            task: the record of `Evaluator.described`; "prompts" has the hash of the prompt of each sample.
            decoding: one entry of its "decodings".
        """
        query = (
            f"SELECT r.sample, {_RESPONSE}, {_VERDICT} FROM json_each(?) w "
            f"CROSS JOIN responses r ON r.sample = w.key AND r.prompt = w.value JOIN verdicts v USING ({_KEY}) "
            "WHERE r.model=? AND r.task=? AND r.version=? AND r.decoding=? AND r.engine=?"
        )
        asked = (json.dumps(task["prompts"]), model, task["name"], task["version"], decoding, task["engine"])
        rows = self._db.execute(query, asked)
        return {row[0]: (_response(*row[1:5]), _verdict(*row[5:])) for row in rows}

    def samples(self, task: str) -> dict[str, dict[str, Any]]:
        """The stored items of a task by id."""
        rows = self._db.execute("SELECT id, content FROM samples WHERE task=?", (task,))
        return {sample: json.loads(content) for sample, content in rows}

    def models(self) -> dict[str, dict[str, Any]]:
        """The stored models, by fingerprint."""
        rows = self._db.execute("SELECT fingerprint, content FROM models")
        return {name: json.loads(content) for name, content in rows}


def _verdict(outcome: Outcome, value: float, answer: str, why: str, strict: float | None, measures: str) -> Verdict:
    return Verdict(outcome, value, answer, why, strict, json.loads(measures))


def _response(text: str, tokens: str, finish: FinishReason, logprobs: str) -> Response:
    return Response(text, tuple(json.loads(tokens)), finish, tuple(json.loads(logprobs)))


def _sample_json(sample: Sample) -> str:
    content = {"prompt": sample.prompt, "target": sample.target, "choices": sample.choices, "split": sample.split}
    return json.dumps(content | {name: sample.meta[name] for name in _STORED_META if name in sample.meta})


def _marks(count: int) -> str:
    return ", ".join("?" * count)
