"""The run folder's database: every response with its key, written once and never computed again.

SQLite in WAL mode: a batch of responses is one transaction, so after `kill -9` a batch is there whole or not at all.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError
from layerlimits.types import FinishReason, ModelRef, Outcome, Response, Sample, Task, Verdict

_SCHEMA = """
CREATE TABLE IF NOT EXISTS samples (task TEXT, version INTEGER, id TEXT, content TEXT,
    PRIMARY KEY (task, version, id));
CREATE TABLE IF NOT EXISTS responses (model TEXT, task TEXT, version INTEGER, sample TEXT, prompt TEXT,
    decoding TEXT, text TEXT, tokens TEXT, finish TEXT, logprobs TEXT,
    PRIMARY KEY (model, task, version, sample, prompt, decoding));
CREATE TABLE IF NOT EXISTS verdicts (model TEXT, task TEXT, version INTEGER, sample TEXT, prompt TEXT,
    decoding TEXT, outcome TEXT, value REAL, answer TEXT, why TEXT, strict REAL, measures TEXT, scorer INTEGER,
    PRIMARY KEY (model, task, version, sample, prompt, decoding));
CREATE TABLE IF NOT EXISTS prompts (hash TEXT PRIMARY KEY, content TEXT);
CREATE TABLE IF NOT EXISTS models (fingerprint TEXT PRIMARY KEY, content TEXT);
CREATE TABLE IF NOT EXISTS artifacts (name TEXT PRIMARY KEY, content TEXT);
CREATE TABLE IF NOT EXISTS times (task TEXT, seconds REAL, items INTEGER, tokens INTEGER);
"""

# Counted up with the tables: an older run folder is refused, not misread.
_VERSION = 2

# Of a nat. Finer differences are rounding, and would show in an export.
LOGPROB_DIGITS = 5

Key = tuple[str, str, int, str, str, str]

_VERDICT = "v.outcome, v.value, v.answer, v.why, v.strict, v.measures"


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
            self._check_version()
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise UserError(f"{folder}/run.sqlite cannot be opened: {error}", "choose another run folder") from None

    def _check_version(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and version != _VERSION:
            raise UserError(
                f"{self.folder} is a run folder of another version of layerlimits ({version}, not {_VERSION})",
                "choose another run folder, or read this one with the version that made it",
            )
        self._db.execute(f"PRAGMA user_version={_VERSION}")

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

    def add_prompts(self, prompts: Mapping[str, dict[str, Any]]) -> None:
        """Remember what was asked, by the hash that responses name: text, template's hash, protocol, shots."""
        rows = [(name, json.dumps(content, ensure_ascii=False)) for name, content in prompts.items()]
        with self._db:
            self._db.executemany("INSERT OR IGNORE INTO prompts VALUES (?, ?)", rows)

    def prompt(self, name: str) -> dict[str, Any] | None:
        """What was asked under a prompt's hash."""
        row = self._db.execute("SELECT content FROM prompts WHERE hash=?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def add(self, answered: Iterable[tuple[Key, Response, Verdict]], scorer: int = 1) -> None:
        """Write a batch of responses with their verdicts in one transaction; a stored response stays as it is, an
        older scorer's verdict is replaced.
        """
        with self._db:
            for key, response, verdict in answered:
                logprobs = json.dumps([round(value, LOGPROB_DIGITS) for value in response.logprobs])
                row = (*key, response.text, json.dumps(response.tokens), response.finish, logprobs)
                self._db.execute(f"INSERT OR IGNORE INTO responses VALUES ({_marks(10)})", row)
                found = (verdict.outcome, verdict.value, verdict.answer, verdict.why, verdict.strict)
                judged = (*key, *found, json.dumps(dict(verdict.measures)), scorer)
                self._db.execute(f"INSERT OR REPLACE INTO verdicts VALUES ({_marks(13)})", judged)

    def verdict(self, key: Key, scorer: int = 1) -> Verdict | None:
        """The verdict of this scorer on a stored response, None where there is none yet."""
        where = "model=? AND task=? AND version=? AND sample=? AND prompt=? AND decoding=? AND scorer=?"
        row = self._db.execute(f"SELECT {_VERDICT} FROM verdicts v WHERE {where}", (*key, scorer)).fetchone()
        return _verdict(*row) if row else None

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
            f"SELECT r.*, {_VERDICT} FROM responses r JOIN verdicts v "
            "USING (model, task, version, sample, prompt, decoding) ORDER BY 1, 2, 3, 4, 5, 6"
        )
        with closing(self._db.execute(query)) as rows:
            names = [column[0] for column in rows.description]
            for row in rows:
                yield dict(zip(names, row, strict=True))

    def answers(self, model: str, task: str, version: int, decoding: str) -> dict[str, tuple[Response, Verdict]]:
        """What a model (by fingerprint) answered to a task, with the verdicts, by sample id."""
        query = (
            f"SELECT r.sample, r.text, r.tokens, r.finish, r.logprobs, {_VERDICT} "
            "FROM responses r JOIN verdicts v USING (model, task, version, sample, prompt, decoding) "
            "WHERE model=? AND task=? AND version=? AND decoding=?"
        )
        rows = self._db.execute(query, (model, task, version, decoding))
        return {row[0]: (_response(*row[1:5]), _verdict(*row[5:])) for row in rows}

    def samples(self, task: str) -> dict[str, dict[str, Any]]:
        """The stored items of a task by id."""
        rows = self._db.execute("SELECT id, content FROM samples WHERE task=?", (task,))
        return {sample: json.loads(content) for sample, content in rows}

    def models(self) -> dict[str, dict[str, Any]]:
        """What is known of each model, by fingerprint."""
        return {name: json.loads(content) for name, content in self._db.execute("SELECT * FROM models")}


def _verdict(outcome: Outcome, value: float, answer: str, why: str, strict: float | None, measures: str) -> Verdict:
    return Verdict(outcome, value, answer, why, strict, json.loads(measures))


def _response(text: str, tokens: str, finish: FinishReason, logprobs: str) -> Response:
    return Response(text, tuple(json.loads(tokens)), finish, tuple(json.loads(logprobs)))


def _sample_json(sample: Sample) -> str:
    content = {"prompt": sample.prompt, "target": sample.target, "choices": sample.choices, "split": sample.split}
    return json.dumps(content | ({"set": sample.meta["set"]} if "set" in sample.meta else {}))


def _marks(count: int) -> str:
    return ", ".join("?" * count)
