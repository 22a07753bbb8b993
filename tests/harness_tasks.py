"""lm-evaluation-harness asked by itself: its own task files, with only the data swapped for local ones."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layerlimits.engines.scripted import ScriptedEngine
from layerlimits.plugins import find
from layerlimits.types import Response

Row = dict[str, Any]


def write_rows(path: Path, rows: Sequence[Row | str]) -> Path:
    """A JSON Lines file; a string is a line as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def write_yaml(folder: Path, name: str, file: str, splits: dict[str, Path]) -> Path:
    """A task called `name` that includes the harness's `file` and reads these local files; returns `folder`."""
    from layerlimits.lm_eval_bridge import TASKS

    task = {
        "include": str(TASKS / file),
        "task": name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {
            "data_files": {split: str(path) for split, path in splits.items()},
            "cache_dir": str(folder / "cache"),
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    # Every JSON is YAML.
    (folder / f"{name}.yaml").write_text(json.dumps(task))
    return folder


def evaluated(folder: Path, model: Any, tasks: list[str], **settings: Any) -> Any:
    """What `lm_eval.simple_evaluate` returns for the tasks of a folder."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    from layerlimits.lm_eval_bridge import quiet

    manager = TaskManager(include_defaults=False, include_path=str(folder))
    with quiet():
        return lm_eval.simple_evaluate(model=model, tasks=tasks, task_manager=manager, bootstrap_iters=0, **settings)


def logprobs(samples: list[Row]) -> list[tuple[float, ...]]:
    """The log-probabilities in the harness's log of a task, in the order of its items."""
    ordered = sorted(samples, key=lambda sample: int(sample["doc_id"]))
    return [tuple(float(response[0]) for response in sample["filtered_resps"]) for sample in ordered]


def pairs(samples: list[Row]) -> list[tuple[tuple[str, str], ...]]:
    """The (context, continuation) pairs in that log."""
    return [tuple(sample["arguments"]) for sample in sorted(samples, key=lambda sample: int(sample["doc_id"]))]


def command(model: Path, tasks: Path, names: Sequence[str], out: Path) -> tuple[Row, dict[str, list[Row]]]:
    """Run `lm_eval` on a checkpoint folder, in a process of its own and offline: results and log of each task."""
    called = [sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32"]
    called += ["--tasks", ",".join(names), "--include_path", str(tasks), "--device", "cpu"]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_DATASETS_CACHE": str(out / "cache")}
    subprocess.run(
        [*called, "--log_samples", "--output_path", str(out)], check=True, capture_output=True, env=os.environ | offline
    )
    results = json.loads(next(out.rglob("results_*.json")).read_text())["results"]
    logs = {}
    for name in names:
        text = next(out.rglob(f"samples_{name}_*.jsonl")).read_text()
        logs[name] = [json.loads(line) for line in text.split("\n") if line]
    return results, logs


def harness_logs(
    work: Path, name: str, model: Any, test: list[Row], examples: list[Row], **settings: Any
) -> dict[str, list[Row]]:
    """The harness's own log of these items, by part (one, but for mmlu)."""
    asked = find("tasks", name).samples.benchmark
    parts = dict.fromkeys(row[asked.part] if asked.part else "" for row in test)
    for part in parts:
        files = {}
        for split, given in ((asked.split, test), (asked.examples, examples)):
            mine = [row for row in given if not asked.part or row[asked.part] == part]
            files[split] = write_rows(work / f"{part}{split}.jsonl", mine or given[:1])
        write_yaml(work / "yaml", f"local{part}", asked.yaml.format(part), files)
    results = evaluated(work / "yaml", model, [f"local{part}" for part in parts], **settings)
    return {part: results["samples"][f"local{part}"] for part in parts}


def asked_alone(tokenizer: Any) -> Any:
    """A model for the harness that answers at once: only what it is asked matters."""
    from layerlimits.lm_eval_bridge import EngineLM

    return EngineLM(ScriptedEngine(lambda _: Response("", (), "stop")), tokenizer)
