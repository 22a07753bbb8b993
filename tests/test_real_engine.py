"""The sweep engine on trained models of other makers: its answers, its log-likelihoods, and what a kill costs."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from real_models import GEMMA, QWEN, SMOLLM2, cached, fetched
from test_exactness import exactness  # noqa: F401  # a fixture

from layerlimits.engines.sweep import SweepEngine
from layerlimits.engines.transformers import TransformersEngine
from layerlimits.evaluation.prompts import encode
from layerlimits.models.load import load
from layerlimits.models.remove import without_layers
from layerlimits.tasks import choose
from layerlimits.types import Continuation

KILLS = 10
# Seconds of work that a kill may cost.
MOST_REPEATED_S = 60.0
# Layers of the engine that these tests skip, one at a time.
SWEPT = "0,5,9,20,25"


@pytest.mark.real
@pytest.mark.parametrize("name", [SMOLLM2, GEMMA, QWEN])
def test_answers_are_those_of_stock_generation_on_the_pruned_model(
    name: str,
    real_data: Path,
    exactness: ModuleType,  # noqa: F811  # the fixture
) -> None:
    work = exactness.Work(variants=5, prompts=20, new_tokens=32, data_dir=real_data)
    seen = exactness.compare(str(fetched(name)), "float32", work)["sweep"]
    assert seen["answers"] == 100
    # Only ties may differ.
    assert seen["different_answers"] == seen["ties"]
    assert seen["ties"] <= 2


def choice_rows(tokenizer: Any, data: Path, shots: int) -> list[Continuation]:
    names = ["arc_easy", "winogrande"]
    samples = [sample for task in choose(names, shots=shots or None) for sample in task.samples("evaluate", 4, data)]
    return [row for sample in samples for row in encode(tokenizer, sample).rows]


@pytest.mark.parametrize("shots", [0, 5])
@pytest.mark.parametrize("name", [SMOLLM2, GEMMA])
def test_log_likelihoods_in_trees_are_those_of_the_texts_alone(name: str, shots: int, real_data: Path) -> None:
    loaded = load(str(cached(name)), dtype="float32", device="cpu")
    rows = choice_rows(loaded.tokenizer, real_data, shots)
    if shots and name == GEMMA:
        # Longer than its window of 512 tokens.
        window = loaded.model.config.sliding_window
        head = [token for context, _ in rows for token in context][: window + 100]
        rows = [(head + context, continuation) for context, continuation in rows[:4]]
    variants: list[tuple[int, ...]] = [(), (3,)]
    ours = SweepEngine(loaded.model, loaded.tokenizer).loglikelihoods(variants, rows)
    stock = TransformersEngine(loaded.model, loaded.tokenizer)
    for variant, sums in zip(variants, ours, strict=True):
        with without_layers(loaded.model, variant):
            alone = [stock.loglikelihood_batch([row])[0] for row in rows]
        expected = torch.tensor([logprob for logprob, _ in alone])
        assert torch.tensor([logprob for logprob, _ in sums]).tolist() == pytest.approx(
            expected.tolist(), abs=1e-4, rel=1e-6
        )
        assert [greedy for _, greedy in sums] == [greedy for _, greedy in alone]


def start(model: Path, data: Path, out: Path) -> subprocess.Popen[bytes]:
    asked = ["--tasks", "gsm8k,arc_easy", "--limit", "8", "--layers", SWEPT, "--max-new-tokens", "96"]
    # Which type is faster is measured anew in each folder.
    asked += ["--dtype", "float32"]
    command = [sys.executable, "-m", "layerlimits", "sweep", str(model), "--data-dir", str(data), "--out", str(out)]
    return subprocess.Popen([*command, *asked], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finished(process: subprocess.Popen[bytes]) -> None:
    _, said = process.communicate()
    assert process.returncode == 0, said.decode()


def answers(out: Path) -> list[tuple[Any, ...]]:
    """What is stored, but for log-probabilities, whose rounding depends on the batch."""
    with closing(sqlite3.connect(out / "run.sqlite")) as database:
        return database.execute(
            "SELECT model, task, sample, prompt, text, finish FROM responses ORDER BY 1, 2, 3, 4"
        ).fetchall()


def logprobs(out: Path) -> list[float]:
    with closing(sqlite3.connect(out / "run.sqlite")) as database:
        rows = database.execute("SELECT logprobs FROM responses ORDER BY model, task, sample, prompt").fetchall()
    return [value for (row,) in rows for value in json.loads(row)]


@pytest.mark.real
def test_ten_kills_lose_less_than_a_minute_each_and_change_no_answer(real_data: Path, tmp_path: Path) -> None:
    model, draw = fetched(SMOLLM2), random.Random(0)
    began = time.monotonic()
    finished(start(model, real_data, tmp_path / "whole"))
    alone = time.monotonic() - began
    run, spent, kills = tmp_path / "run", 0.0, 0
    while kills < KILLS:
        began, process = time.monotonic(), start(model, real_data, run)
        try:
            process.wait(timeout=draw.uniform(0.06, 0.2) * alone)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        else:
            break
        process.communicate()
        spent, kills = spent + time.monotonic() - began, kills + 1
    began = time.monotonic()
    finished(start(model, real_data, run))
    spent += time.monotonic() - began
    assert kills == KILLS
    # Starting again is part of it.
    assert (spent - alone) / kills < MOST_REPEATED_S, f"{spent:.0f} s with {kills} kills, {alone:.0f} s without"
    assert answers(run) == answers(tmp_path / "whole")
    assert logprobs(run) == pytest.approx(logprobs(tmp_path / "whole"), abs=1e-4, rel=1e-6)
