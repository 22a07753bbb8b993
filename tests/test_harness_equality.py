"""The scores of a choice benchmark are those of the `lm_eval` command on the saved model, to the last digit."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from harness_tasks import Row, command, logprobs, write_rows, write_yaml

from layerlimits import reference
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.store import LOGPROB_DIGITS, Store
from layerlimits.models.load import Loaded, load
from layerlimits.plugins import find
from layerlimits.types import Verdict

REMOVED = (3, 7)
TASKS = {"arc_easy": "arc/arc_easy.yaml", "piqa": "piqa/piqa.yaml", "winogrande": "winogrande/default.yaml"}
Says = Callable[..., Any]
Answers = tuple[list[Verdict], list[tuple[float, ...]]]


def short(task: str, row: Row) -> bool:
    """Whether the reference model, which reads signs, has room for the item, and float32 for its log-probabilities: it
    gives some 7 nats a sign, and the sums of several hundred that come of long options are not exact to 1e-4.
    """
    match task:
        case "arc_easy":
            question, asked = row["question"], row["choices"]["text"]
        case "piqa":
            question, asked = row["goal"], [row["sol1"], row["sol2"]]
        case _:
            question, asked = row["sentence"], row["sentence"].split("_")[1:]
    return len(question) < 400 and max(map(len, asked)) < 30


def written(real_data: Path, folder: Path, task: str, items: int) -> Path:
    """So many items that evaluate, and the next ones to train on, as our data folder and as the harness's task."""
    split = find("tasks", task).samples.benchmark.split
    text = (real_data / task / f"{split}.jsonl").read_text()
    rows = [row for row in map(json.loads, filter(None, text.split("\n"))) if short(task, row)]
    assert len(rows) >= items + 20
    files = {
        split: write_rows(folder / "data" / task / f"{split}.jsonl", rows[:items]),
        "train": write_rows(folder / "data" / task / "train.jsonl", rows[items : items + 20]),
    }
    return write_yaml(folder / "yaml", f"local_{task}", TASKS[task], files)


def ours(loaded: Loaded, run: Path, data: Path, task: str, engine: str, removed: tuple[int, ...] = ()) -> Answers:
    """Verdicts and log-probabilities of our evaluation."""
    benchmark = find("tasks", task)
    samples = benchmark.samples("evaluate", 10**6, data)
    evaluator = Evaluator(loaded, Store(run / engine), AskOptions(engine))
    (verdicts,) = evaluator.verdicts([removed], benchmark, samples)
    return verdicts, [response.logprobs for response in evaluator.responses(removed, benchmark, samples)]


def assert_equal(answers: Answers, result: Row, log: list[Row]) -> None:
    """Score by score and item by item, the log-probabilities to the last of the digits that are kept."""
    verdicts, sums = answers
    assert len(verdicts) == len(log) == result["sample_len"]
    assert fmean(verdict.value for verdict in verdicts) == result["acc,none"]
    if "acc_norm,none" in result:
        assert fmean(verdict.measures["acc_norm"] for verdict in verdicts) == result["acc_norm,none"]
    assert [verdict.value for verdict in verdicts] == [item["acc"] for item in log]
    assert sums == [tuple(round(logprob, LOGPROB_DIGITS) for logprob in item) for item in logprobs(log)]


def check(tmp_path: Path, says: Says, real_data: Path, tasks: list[str], items: int, *, base: bool) -> None:
    for task in tasks:
        written(real_data, tmp_path, task, items)
    pruned = tmp_path / "pruned"
    says("prune", reference.folder(), "--remove", ",".join(map(str, REMOVED)), "--out", pruned)
    whole, saved = load(str(reference.folder()), device="cpu"), load(str(pruned), device="cpu")
    data, names = tmp_path / "data", [f"local_{task}" for task in tasks]
    for folder, removed in ([(reference.folder(), ())] if base else []) + [(pruned, REMOVED)]:
        results, logs = command(folder, tmp_path / "yaml", names, tmp_path / f"out{len(removed)}")
        for task, name in zip(tasks, names, strict=True):
            log = sorted(logs[name], key=lambda item: int(item["doc_id"]))
            assert_equal(ours(whole, tmp_path / "run", data, task, "hflm", removed), results[name], log)
            if removed:
                assert_equal(ours(saved, tmp_path / "saved", data, task, "hflm"), results[name], log)
            _, swept = ours(whole, tmp_path / "sweep", data, task, "transformers", removed)
            for computed, other in zip(swept, logprobs(log), strict=True):
                # The rounding of a sum over a long text grows with the sum.
                assert computed == pytest.approx(other, abs=1e-4, rel=1e-6)


def test_some_items_score_as_in_the_command(tmp_path: Path, says: Says, real_data: Path) -> None:
    check(tmp_path, says, real_data, ["piqa"], 30, base=False)


@pytest.mark.slow
def test_three_benchmarks_score_as_in_the_command_whole_pruned_and_skipping(
    tmp_path: Path, says: Says, real_data: Path
) -> None:
    check(tmp_path, says, real_data, list(TASKS), 200, base=True)
