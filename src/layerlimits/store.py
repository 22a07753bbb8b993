"""The run folder's database: every response with its key, written once and never computed again.

SQLite in WAL mode: a batch of responses is one transaction, so after `kill -9` a batch is there whole or not at all.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError
from layerlimits.types import FinishReason, ModelRef, Response, Sample, Task, Verdict

_SCHEMA = """
CREATE TABLE IF NOT EXISTS samples (task TEXT, version INTEGER, id TEXT, content TEXT,
    PRIMARY KEY (task, version, id));
CREATE TABLE IF NOT EXISTS responses (model TEXT, task TEXT, version INTEGER, sample TEXT, prompt TEXT,
    decoding TEXT, text TEXT, tokens TEXT, finish TEXT, logprobs TEXT,
    PRIMARY KEY (model, task, version, sample, prompt, decoding));
CREATE TABLE IF NOT EXISTS verdicts (model TEXT, task TEXT, version INTEGER, sample TEXT, prompt TEXT,
    decoding TEXT, outcome TEXT, value REAL, answer TEXT, why TEXT,
    PRIMARY KEY (model, task, version, sample, prompt, decoding));
CREATE TABLE IF NOT EXISTS models (fingerprint TEXT PRIMARY KEY, content TEXT);
CREATE TABLE IF NOT EXISTS artifacts (name TEXT PRIMARY KEY, content TEXT);
CREATE TABLE IF NOT EXISTS times (task TEXT, seconds REAL, items INTEGER, tokens INTEGER);
"""

# Log-probabilities are kept to a thousandth of a nat: finer differences are rounding, and would show in an export.
LOGPROB_DIGITS = 3

Key = tuple[str, str, int, str, str, str]


def response_key(model: ModelRef, task: Task, sample: Sample, prompt: str, decoding: str) -> Key:
    """All that decides a response: model, task version, sample, the prompt's token hash, decoding."""
    return (model.fingerprint, task.name, task.version, sample.id, prompt, decoding)


class Store:
    """The database `run.sqlite` of a run folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        try:
            self._db = sqlite3.connect(folder / "run.sqlite", timeout=30)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise UserError(f"{folder}/run.sqlite cannot be opened: {error}", "choose another run folder") from None

    def close(self) -> None:
        """Close the database; the write-ahead log is folded in."""
        self._db.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def add_model(self, ref: ModelRef, about: dict[str, Any]) -> None:
        """Remember which model a fingerprint is."""
        content = json.dumps({"path": ref.path, "removed": list(ref.removed), "dtype": ref.dtype, **about})
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO models VALUES (?, ?)", (ref.fingerprint, content))

    def add_samples(self, task: Task, samples: Iterable[Sample]) -> None:
        """Remember the items, so that a report needs nothing but the run folder."""
        rows = [(task.name, task.version, sample.id, _sample_json(sample)) for sample in samples]
        with self._db:
            self._db.executemany("INSERT OR IGNORE INTO samples VALUES (?, ?, ?, ?)", rows)

    def add(self, answered: Iterable[tuple[Key, Response, Verdict]]) -> None:
        """Write a batch of responses with their verdicts in one transaction."""
        with self._db:
            for key, response, verdict in answered:
                logprobs = json.dumps([round(value, LOGPROB_DIGITS) for value in response.logprobs])
                row = (*key, response.text, json.dumps(response.tokens), response.finish, logprobs)
                self._db.execute(f"INSERT INTO responses VALUES ({_marks(10)})", row)
                judged = (*key, verdict.outcome, verdict.value, verdict.answer, verdict.why)
                self._db.execute(f"INSERT INTO verdicts VALUES ({_marks(10)})", judged)

    def verdict(self, key: Key) -> Verdict | None:
        """The verdict on a stored response, None where there is none yet."""
        where = "model=? AND task=? AND version=? AND sample=? AND prompt=? AND decoding=?"
        row = self._db.execute(f"SELECT outcome, value, answer, why FROM verdicts WHERE {where}", key).fetchone()
        return Verdict(*row) if row else None

    def response(self, key: Key) -> Response | None:
        """A stored response."""
        where = "model=? AND task=? AND version=? AND sample=? AND prompt=? AND decoding=?"
        row = self._db.execute(f"SELECT text, tokens, finish, logprobs FROM responses WHERE {where}", key).fetchone()
        return _response(*row) if row else None

    def add_time(self, task: str, seconds: float, items: int, tokens: int) -> None:
        """Remember what a batch took: times are no results and are not exported."""
        with self._db:
            self._db.execute("INSERT INTO times VALUES (?, ?, ?, ?)", (task, seconds, items, tokens))

    def put(self, name: str, content: Any) -> None:
        """Keep a JSON value under a name: rankings, timings, plans."""
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO artifacts VALUES (?, ?)", (name, json.dumps(content)))

    def get(self, name: str) -> Any | None:
        """A kept JSON value, None where there is none."""
        row = self._db.execute("SELECT content FROM artifacts WHERE name=?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def export(self) -> Iterator[dict[str, Any]]:
        """Every response with its verdict, ordered by key: equal for two runs that gave the same results."""
        query = (
            "SELECT r.*, v.outcome, v.value, v.answer, v.why FROM responses r JOIN verdicts v "
            "USING (model, task, version, sample, prompt, decoding) ORDER BY 1, 2, 3, 4, 5, 6"
        )
        with closing(self._db.execute(query)) as rows:
            names = [column[0] for column in rows.description]
            for row in rows:
                yield dict(zip(names, row, strict=True))

    def answers(self, model: str, task: str, version: int) -> dict[str, tuple[Response, Verdict]]:
        """What a model (by fingerprint) answered to a task, with the verdicts, by sample id."""
        query = (
            "SELECT r.sample, r.text, r.tokens, r.finish, r.logprobs, v.outcome, v.value, v.answer, v.why "
            "FROM responses r JOIN verdicts v USING (model, task, version, sample, prompt, decoding) "
            "WHERE model=? AND task=? AND version=?"
        )
        rows = self._db.execute(query, (model, task, version))
        return {row[0]: (_response(*row[1:5]), Verdict(*row[5:])) for row in rows}

    def samples(self, task: str) -> dict[str, dict[str, Any]]:
        """The stored items of a task by id."""
        rows = self._db.execute("SELECT id, content FROM samples WHERE task=?", (task,))
        return {sample: json.loads(content) for sample, content in rows}

    def models(self) -> dict[str, dict[str, Any]]:
        """What is known of each model, by fingerprint."""
        return {name: json.loads(content) for name, content in self._db.execute("SELECT * FROM models")}


def _response(text: str, tokens: str, finish: FinishReason, logprobs: str) -> Response:
    return Response(text, tuple(json.loads(tokens)), finish, tuple(json.loads(logprobs)))


def _sample_json(sample: Sample) -> str:
    return json.dumps(
        {"prompt": sample.prompt, "target": sample.target, "choices": sample.choices, "split": sample.split}
    )


def _marks(count: int) -> str:
    return ", ".join("?" * count)
