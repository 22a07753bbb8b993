"""The tables of a run folder's database, the digest of each row, and the migration of older databases."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from hashlib import sha256

# Incremented when the tables change. `MIGRATED` versions are readable as they are, and are brought up to date by the
# first command that writes; others are rejected instead of misread.
VERSION = 4
MIGRATED = (3,)
# Marks a database as ours, in SQLite's header: "LyrL".
APPLICATION_ID = int.from_bytes(b"LyrL")

_KEY = {
    "model": "TEXT",
    "task": "TEXT",
    "version": "INTEGER",
    "sample": "TEXT",
    "prompt": "TEXT",
    "decoding": "TEXT",
    "engine": "TEXT",
}
# The columns of each table with their types, in order, and the number of columns in its primary key. The last column of
# each table is `digest`, except in databases of version 3.
TABLES: dict[str, tuple[dict[str, str], int]] = {
    "samples": ({"task": "TEXT", "version": "INTEGER", "id": "TEXT", "content": "TEXT"}, 3),
    "responses": ({**_KEY, "text": "TEXT", "tokens": "TEXT", "finish": "TEXT", "logprobs": "TEXT"}, 7),
    "verdicts": (
        {
            **_KEY,
            "outcome": "TEXT",
            "value": "REAL",
            "answer": "TEXT",
            "why": "TEXT",
            "strict": "REAL",
            "measures": "TEXT",
            "scorer": "INTEGER",
        },
        7,
    ),
    "begun": ({**_KEY, "tokens": "TEXT"}, 7),
    "prompts": ({"hash": "TEXT", "content": "TEXT"}, 1),
    "models": ({"fingerprint": "TEXT", "content": "TEXT"}, 1),
    "artifacts": ({"name": "TEXT", "content": "TEXT"}, 1),
}
DIGEST = "digest"


def columns(table: str) -> list[str]:
    """The names of a table's columns, without the digest."""
    return list(TABLES[table][0])


def primary_key(table: str) -> list[str]:
    """The names of the columns that identify a row."""
    return columns(table)[: TABLES[table][1]]


def digest(table: str, values: Sequence[object]) -> str:
    """The hash of a row, which is stored with it: changes of any column are noticed, as by a bad disk.

    Args:
        table: The table.
        values: The values of `columns(table)`.
    """
    kinds = TABLES[table][0].values()
    stored = [_stored(value, kind) for value, kind in zip(values, kinds, strict=True)]
    text = json.dumps([table, *stored], ensure_ascii=False)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _stored(value: object, kind: str) -> object:
    """A value as it is read back: SQLite converts integers in columns of real numbers, and stores NaN as NULL."""
    if kind != "REAL" or not isinstance(value, (int, float)):
        return value
    return None if value != value else float(value)


def sealed(table: str, rows: Iterable[Sequence[object]]) -> Iterable[tuple[object, ...]]:
    """Rows with their digests."""
    return ((*row, digest(table, row)) for row in rows)


def create(database: sqlite3.Connection) -> None:
    """Create the tables that are missing, and mark the database as one of this version."""
    for table, (kinds, _) in TABLES.items():
        named = ", ".join(f"{name} {kind}" for name, kind in {**kinds, DIGEST: "TEXT"}.items())
        database.execute(f"CREATE TABLE IF NOT EXISTS {table} ({named}, PRIMARY KEY ({', '.join(primary_key(table))}))")
    database.execute(f"PRAGMA application_id={APPLICATION_ID}")
    database.execute(f"PRAGMA user_version={VERSION}")


def migrate(database: sqlite3.Connection) -> bool:
    """Bring a database of version 3 up to date, in one transaction: every row gets the digest of what it contains.

    Returns:
        Whether there was anything to do.
    """
    database.execute("BEGIN IMMEDIATE")
    with database:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version not in MIGRATED:
            return False
        for table in TABLES:
            if not database.execute(f"PRAGMA table_info({table})").fetchone():
                continue
            names = ", ".join(columns(table))
            database.create_function("row_digest", -1, partial(_digest_of, table), deterministic=True)
            database.execute(f"ALTER TABLE {table} ADD COLUMN {DIGEST} TEXT")
            database.execute(f"UPDATE {table} SET {DIGEST} = row_digest({names})")
        create(database)
    return True


def _digest_of(table: str, *values: object) -> str:
    return digest(table, values)
