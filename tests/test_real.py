"""Trained models of other makers. Tests marked `real` fetch them and take from minutes to an hour each."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from real_models import GEMMA, QWEN, SMOLLM2, cached, fetched
from transformers import AutoModelForCausalLM, AutoTokenizer

import layerlimits as ll

# Wall time that a command may take beyond its budget.
SLACK = 1.25


def test_a_real_model_is_pruned_and_answers_as_the_skipped_one_does(
    real_data: Path, tmp_path: Path, says: Callable[..., Any]
) -> None:
    model = cached(SMOLLM2)
    removed = (10, 20)
    out = tmp_path / "pruned"
    said = says("prune", model, "--remove", "10,20", "--out", out)
    assert said["layers"] == 28
    pruned = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    assert pruned.config.num_hidden_layers == 28
    tokenizer = AutoTokenizer.from_pretrained(out)
    questions = [json.loads(line)["question"] for line in (real_data / "gsm8k" / "test.jsonl").open()][:10]
    whole = ll.load(str(model), dtype="float32", device="cpu")
    answers = []
    for question in questions:
        prompt: Any = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        settings = {"do_sample": False, "max_new_tokens": 16, "pad_token_id": 0}
        stock = pruned.generate(**prompt, **settings)
        with ll.without_layers(whole, removed) as network:
            skipped = network.generate(**prompt, **settings)
        assert torch.equal(stock, skipped)
        answers.append(tokenizer.decode(stock[0, prompt["input_ids"].shape[1] :]))
    assert len(set(answers)) == 10


def command(*arguments: object) -> tuple[dict[str, Any], float]:
    """What a command prints as JSON, and its wall time in seconds."""
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "layerlimits", *map(str, arguments), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    results: dict[str, Any] = json.loads(ended.stdout)
    return results, time.monotonic() - began


def check_whole(results: dict[str, Any]) -> None:
    """A report on real tasks of both classes that says something."""
    kinds = {row["kind"] for row in results["tasks"]}
    assert kinds == {"generation", "choice"}
    measured = [row for row in results["tasks"] if row["set_aside"] is None]
    assert measured
    assert all(row["score"]["estimate"] > row["chance"] for row in measured)
    assert results["sweep"]
    assert results["pruned"]
    assert "retains" in results["answer"]
    assert all(row["score"]["n"] >= 8 for row in results["pruned"])


@pytest.mark.real
@pytest.mark.parametrize(("name", "minutes"), [(SMOLLM2, 12), (QWEN, 40)])
def test_a_study_of_a_real_model_keeps_its_budget(name: str, minutes: int, real_data: Path, tmp_path: Path) -> None:
    model, out = fetched(name), tmp_path / "run"
    results, seconds = command("study", model, "--data-dir", real_data, "--budget", f"{minutes}m", "--out", out)
    assert seconds <= SLACK * 60 * minutes
    check_whole(results)
    assert (out / "report.html").is_file()


@pytest.mark.real
@pytest.mark.parametrize("name", [SMOLLM2, GEMMA, "reference"])
def test_a_plan_is_close_to_the_time_the_study_takes(name: str, real_data: Path, tmp_path: Path) -> None:
    own = name == "reference"
    model = name if own else fetched(name)
    file = tmp_path / "study.toml"
    file.write_text("" if own else "recovery = { kinds = [] }\nspeed_repeats = 3\ncalibration_items = 16\n")
    settings = (
        ("--limit", 48) if own else ("--limit", 8, "--ratios", "0.1,0.25", "--methods", "reverse,block_influence")
    )
    tasks = () if own else ("--tasks", "gpt3_arithmetic,xsum,arc_easy,piqa", "--data-dir", real_data)
    asked = ("study", model, "--config", file, "--out", tmp_path / "run", *settings, *tasks)
    planned, _ = command(*asked, "--plan")
    _, seconds = command(*asked)
    assert 1 / 1.5 <= planned["seconds"] / seconds <= 1.5, f"planned {planned['seconds']:.0f} s, took {seconds:.0f} s"
