"""`kill -9` at ten random moments: the resumed study ends with the results of an undisturbed one."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_models import saved, small_llama

from layerlimits.api import open_run
from layerlimits.evaluation.store import Store
from layerlimits.reference.tokenizer import build

_KILLS = 10
_SETTINGS = """
tasks = ["facts", "brackets", "inference_choice"]
select_tasks = ["facts_choice", "inference_choice"]
ratios = [0.25, 0.5]
limit = 40
select_items = 6
calibration_items = 8
batch_size = 4
speed_repeats = 3
[recovery]
items = 48
kinds = ["full", "lora"]
"""


def _start(model: Path, config: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "layerlimits", "study", str(model), "--config", str(config), "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()[-2000:]


def _count(folder: Path) -> int:
    """Responses committed so far."""
    if not (folder / "run.sqlite").exists():
        return 0
    try:
        with sqlite3.connect(f"file:{folder / 'run.sqlite'}?mode=ro", uri=True) as database:
            return int(database.execute("SELECT COUNT(*) FROM responses").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def _kill(process: subprocess.Popen[bytes], out: Path, responses: int, pause_s: float) -> bool:
    """Let it commit so many responses in all and go on for a moment, then kill; False if it ended before."""
    deadline = time.monotonic() + 120
    while _count(out) < responses and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(pause_s)
    if process.poll() is not None:
        return False
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return True


def _exported(folder: Path) -> str:
    with Store(folder) as store:
        rows = [json.dumps(row, sort_keys=True) for row in store.export()]
        kept = {name: store.get(name) for name in ("plans", "tasks")}
        return "\n".join([*rows, json.dumps(kept, sort_keys=True)])


def _results(folder: Path) -> dict[str, object]:
    """What the report shows, without times."""
    results = open_run(folder).to_json()
    for entry in results["methods"] + results["recovery"]:
        entry.pop("seconds")
    return {key: results[key] for key in results if key not in ("created", "command", "stages", "speed")}


def _answered(folder: Path) -> int:
    with sqlite3.connect(folder / "run.sqlite") as database:
        return int(database.execute("SELECT SUM(items) FROM times").fetchone()[0])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that writes characters and often ends its answers: recovery needs finished ones."""
    network, tokenizer = small_llama(4, num_attention_heads=2), build()
    with torch.no_grad():
        head = network.lm_head.weight
        end, first_character = tokenizer.eos_token_id, len(tokenizer) - 96
        head[end] *= 2
        head[:end] = 0
        head[end + 1 : first_character] = 0
    return saved(network, tmp_path_factory.mktemp("talkative") / "model")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of a small study with every stage."""
    path = tmp_path_factory.mktemp("settings") / "study.toml"
    path.write_text(_SETTINGS)
    return path


def test_killed_ten_times_and_resumed_equals_undisturbed(model: Path, config: Path, tmp_path: Path) -> None:
    calm, shaken = tmp_path / "calm" / "run", tmp_path / "shaken" / "run"
    _finish(_start(model, config, calm))
    total = _count(calm)
    rng = random.Random(os.environ.get("KILL_SEED", "1"))
    # The last tenth stays: what is left when the last kill comes must take longer than the pause before it.
    moments = sorted(rng.sample(range(1, int(0.9 * total)), _KILLS))
    kills = sum(_kill(_start(model, config, shaken), shaken, moment, rng.random()) for moment in moments)
    _finish(_start(model, config, shaken))
    assert kills == _KILLS, "the study ended before it could be killed ten times"
    assert _exported(shaken) == _exported(calm)
    assert _results(shaken) == _results(calm)
    # A kill between an answer's commit and its time's may lose a time, never repeat an answer.
    assert _answered(calm) == total
    assert _answered(shaken) <= total


def test_a_finished_study_run_again_computes_nothing(model: Path, config: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    _finish(_start(model, config, out))
    before, answered = _exported(out), _answered(out)
    _finish(_start(model, config, out))
    assert _exported(out) == before
    assert _answered(out) == answered
