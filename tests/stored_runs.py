"""Run folders made by hand: answers of any value, stored under the keys of a task's record."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layerlimits.evaluation.artifacts import AlternativeRecord, Artifacts, MilestoneRecord, Plan, TaskRecord
from layerlimits.evaluation.store import Key, Store
from layerlimits.types import ModelRef, Response, Sample, Task, Verdict

BASE = ModelRef("model", "fingerprint")
FINETUNED = ModelRef("finetuned", "other")
TEXT = "It is 3 + 4 = 7."
QUANTIZED = ModelRef("model", "fingerprint", None, (), "float32, 4-bit weights (torchao)")
SIBLING = ModelRef("small", "sibling")


def record(name: str, n: int, **changes: Any) -> TaskRecord:
    """How a task of n items was asked, by default a choice by likelihood: item `0` under the prompt `p0`, and so on."""
    ids = [str(number) for number in range(n)]
    plain: dict[str, Any] = {
        "name": name,
        "version": 1,
        "kind": "choice",
        "metric": "accuracy",
        "chance": 0.25,
        "summary": "what it asks",
        "protocol": "likelihood",
        "shots": 0,
        "template": None,
        "decodings": ["greedy"],
        "sets": {},
        "ids": ids,
        "prompts": {item: f"p{item}" for item in ids},
        "engine": "E",
    }
    return {**plain, **changes}  # type: ignore[typeddict-item]  # its keys are those of the record


def put(
    store: Store, model: ModelRef, task: TaskRecord, values: Sequence[float], text: str = TEXT, **changes: str
) -> None:
    """Store a model's answers of these values, under the record's keys but for what changes."""
    rows = []
    for item, value in zip(task["ids"], values, strict=True):
        key = Key(model.fingerprint, task["name"], 1, item, task["prompts"][item], "greedy", task["engine"])
        strict = value if task["kind"] == "generation" else None
        verdict = Verdict("correct" if value == 1 else "wrong", value, strict=strict, measures={"other": value})
        rows.append((key._replace(**changes), Response(text, (1, 2), "stop"), verdict))
    store.add(rows)


# Responses of `finished_study`: of the unpruned model, three single-layer models, the finetuned one and two
# alternatives, to three tasks of 20 items.
STORED = 7 * 3 * 20


def finished_study(folder: Path, finetuned_text: str = TEXT) -> None:
    """A study of a model of three layers in which every part of the results is there.

    The same questions are asked as choices and written answers of 20 items; word_problems is written, too. The base
    answers all but the last, the others less. One method removes layer 1, and the result is finetuned.
    """
    choice, free = (
        record("facts@likelihood", 20),
        record("facts@free", 20, kind="generation", protocol="free", chance=0.0),
    )
    problems = record("word_problems", 20, kind="generation", protocol="free", chance=0.0)
    problems["sets"] = {item: "even" if int(item) % 2 == 0 else "odd" for item in problems["ids"]}
    tasks = [choice, free, problems]
    plan: Plan = {"method": "random", "ratio": 0.3, "layers": 1, "removed": [1]}
    with Store(folder) as store:
        for model, right in (
            (BASE, 19),
            *((BASE.without((layer,)), 4 + layer) for layer in range(3)),
            (FINETUNED, 12),
            (QUANTIZED, 18),
            (SIBLING, 9),
        ):
            for task in tasks:
                text = finetuned_text if model == FINETUNED else TEXT
                put(store, model, task, [1.0] * right + [0.0] * (20 - right), text)
        for task in tasks:
            add_items(store, task)
        models = (BASE, FINETUNED, QUANTIZED, SIBLING, *(BASE.without((layer,)) for layer in range(3)))
        store.add_models(models, {"layers": 3})
        _describe(Artifacts(store), tasks, plan)


def alternative(tasks: list[TaskRecord], name: str, bits: int | None, model: ModelRef) -> AlternativeRecord:
    """The record of a model that was measured instead of a pruned one."""
    return {
        "name": name,
        "key": name,
        "path": model.path,
        "bits": bits,
        "method": "",
        "removed": [],
        "fingerprint": model.fingerprint,
        "layers": 3 if bits else 2,
        "tasks": tasks,
        "parameters": 30,
        "weight_bytes": 20,
        "memory_bytes": 40,
        "tokens_per_s": [12.0, 14.0, 13.0],
        "base_tokens_per_s": [10.0, 10.0, 10.0],
    }


def milestones(right: Sequence[int]) -> list[MilestoneRecord]:
    """The milestones of a training, with this many of 20 items right in each task."""
    return [
        {
            "tokens": 100 * (2**number - 1),
            "train_loss": 2.0 / (number + 1),
            "heldout_loss": 2.5 / (number + 1),
            "scores": {
                name: [1.0] * count + [0.0] * (20 - count)
                for name in ("facts@likelihood", "facts@free", "word_problems")
            },
        }
        for number, count in enumerate(right)
    ]


def add_items(store: Store, task: TaskRecord) -> None:
    """The prompts and targets of a task's items; their ids are the record's, not those of their contents."""

    class Named(Sample):
        @property
        def id(self) -> str:
            return self.prompt.removeprefix("question ")

    samples = [Named(f"question {item}", "7", "evaluate") for item in task["ids"]]
    kind: Any = task["kind"]
    store.add_samples(Task(task["name"], 1, kind, lambda *_: [], lambda *_: Verdict("wrong", 0.0)), samples)


def to_schema_3(database: sqlite3.Connection) -> None:
    """Make a database one of the previous schema, which had no digests."""
    for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        database.execute(f"ALTER TABLE {table} DROP COLUMN digest")
    database.execute("PRAGMA user_version=3")
    database.execute("PRAGMA application_id=0")
    database.commit()


def _describe(artifacts: Artifacts, tasks: list[TaskRecord], plan: Plan) -> None:
    config = {"preset": "quick", "seed": 0, "difference": 0.05, "temperature": 0.0}
    artifacts.manifest = {
        "made_by": "layerlimits",
        "model": BASE.path,
        "base_fingerprint": BASE.base_fingerprint,
        "revision": None,
        "dtype": BASE.dtype,
        "dtype_reason": "bfloat16 is slower",
        "dtype_rates": [{"dtype": "bfloat16", "rows": 16, "gflops": 9.5}],
        "batch_size": 64,
        "command": "layerlimits study",
        "config": config,
    }
    artifacts.base = {
        "name": BASE.path,
        "fingerprint": BASE.base_fingerprint,
        "layers": 3,
        "parameters": 30,
        "weight_bytes": 120,
        "dtype": BASE.dtype,
        "device": "cpu",
    }
    artifacts.calibration = {"source": "the bundled world", "hashes": ["a"]}
    artifacts.tasks = tasks
    artifacts.rankings = {
        "random": {
            "scores": [None, 1.0, 2.0],
            "order": [1, 2],
            "used": ["a"],
            "largest_first": False,
            "detail": {},
            "source": "none",
            "seconds": 1.5,
        }
    }
    artifacts.plans = [plan]
    artifacts.recovered = {
        "random-1-full": {
            **plan,
            "name": "full",
            "fingerprint": FINETUNED.fingerprint,
            "settings": {"epochs": 1},
            "examples": 30,
            "dropped": 2,
            "trained_tokens": 900,
            "seconds": 12.5,
            "curve": milestones([5, 8, 10, 11, 12, 12]),
            "curve_base": {"facts@likelihood": [1.0] * 19 + [0.0], "word_problems": [1.0] * 19 + [0.0]},
        }
    }
    artifacts.speed = [
        {
            "removed": removed,
            "parameters": size,
            "weight_bytes": 4 * size,
            "memory_bytes": 5 * size,
            "tokens_per_s": rates,
        }
        for removed, size, rates in (([], 30, [10.0, 11.0, 12.0]), ([1], 20, [15.0, 16.0, 17.0]))
    ]
    artifacts.alternatives = [
        alternative(tasks, "4-bit weights", 4, QUANTIZED),
        alternative(tasks, "small", None, SIBLING),
    ]
    artifacts.stages = {"base": 1.0, "sweep": 2.0}
    artifacts.finished = config
