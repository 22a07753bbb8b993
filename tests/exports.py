"""What the tests of exporting and importing share: a small study with recovery, and how its results are compared."""

import gzip
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

from untimed import untimed

from layerlimits.api import open_run
from layerlimits.study.config import StudyConfig, study_config

SETTINGS: dict[str, Any] = {
    "tasks": ("arithmetic", "brackets", "inference_choice"),
    "select_tasks": ("facts_choice", "inference_choice"),
    "methods": ("reverse", "block_influence", "task_score"),
    "ratios": (0.25, 0.5),
    "limit": 6,
    "select_items": 6,
    "calibration_items": 4,
    "speed_repeats": 3,
    "recovery": {"kinds": ("full",), "methods": ("reverse",), "ratios": (0.5,), "items": 24},
}
TABLES = ("samples", "prompts", "responses", "verdicts")


def config(model: Path, **changes: Any) -> StudyConfig:
    """The study of `SETTINGS` with other settings in their place."""
    return study_config("quick", model=str(model), **SETTINGS | changes)


def rows(run: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(run / "run.sqlite")) as database:
        return database.execute(query).fetchall()


def contents(run: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the tables of items, prompts, responses and verdicts."""
    return {table: sorted(rows(run, f"SELECT * FROM {table}"), key=repr) for table in TABLES}


def figures(run: Path) -> dict[str, Any]:
    """What the report shows, without times."""
    return untimed(open_run(run).to_json())


def lines(file: Path) -> list[dict[str, Any]]:
    """The header and the rows of an export."""
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]


def strings(value: Any) -> list[str]:
    """All strings in a JSON value, keys included."""
    if isinstance(value, dict):
        return [*value, *(text for inner in value.values() for text in strings(inner))]
    if isinstance(value, list):
        return [text for inner in value for text in strings(inner)]
    return [value] if isinstance(value, str) else []


def change(file: Path, changed: Callable[[list[dict[str, Any]]], None], *, signed: bool = True) -> None:
    """Change the lines of an export. If `signed`, counts and hash are those of the changed rows."""
    values = lines(file)
    changed(values)
    header, *content = values
    body = b"".join(json.dumps(row).encode() + b"\n" for row in content)
    if signed:
        header["sha256"] = sha256(body).hexdigest()
        header["counts"] = {kind: sum(row["kind"] == kind for row in content) for kind in header["counts"]}
    file.write_bytes(gzip.compress(json.dumps(header).encode() + b"\n" + body))
