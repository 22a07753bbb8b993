"""`kill -9` at random moments of studies of the bundled model, finetuning included: the results of undisturbed ones."""

import os
import random
import shutil
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from test_kill import Study, _assert_same, _results

import layerlimits as ll
from layerlimits.evaluation.artifacts import Artifacts
from layerlimits.evaluation.store import Store

_KILLS = int(os.environ.get("KILLS", "100"))
_SETTINGS = """
tasks = ["arithmetic", "brackets", "facts_choice"]
select_tasks = ["facts_choice"]
methods = ["reverse", "block_influence", "task_score"]
ratios = [0.25]
limit = 12
select_items = 4
calibration_items = 4
speed_repeats = 3
[recovery]
items = 64
epochs = 3
kinds = ["full", "lora"]
"""


def weights(run: Path) -> dict[str, bytes]:
    """The weights of the finetuned models."""
    return {str(file.relative_to(run)): file.read_bytes() for file in sorted(run.glob("models/*/*.safetensors"))}


def stage_of(run: Path) -> str:
    """The stage in which a killed process was."""
    if any(run.glob("work/*/finetune.json")):
        return "finetuning"
    if not (run / "run.sqlite").exists():
        return "start"
    with closing(sqlite3.connect(f"file:{run / 'run.sqlite'}?mode=ro", uri=True)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE name = 'artifacts'").fetchall()
    if not tables:
        return "start"
    with Store(run, read_only=True) as store:
        finished = Artifacts(store).stages
    stages = ("base", "sweep", "rank", "prune", "diagnose", "recover", "speed")
    return next((stage for stage in stages if stage not in finished), "report")


def killed(study: Study, after_s: float) -> bool:
    """Kill a process after so many seconds; False if it ended before."""
    process = study.start()
    deadline = time.monotonic() + after_s
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    if process.poll() is not None:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()[-2000:]
        return False
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return True


@pytest.mark.slow
def test_killed_a_hundred_times_and_resumed_equals_undisturbed(tmp_path: Path) -> None:
    config = tmp_path / "study.toml"
    config.write_text(_SETTINGS)
    calm = Study(Path("reference"), config, tmp_path / "calm" / "run")
    calm.out.parent.mkdir()
    began = time.monotonic()
    calm.finish()
    whole_s = time.monotonic() - began
    assert len(weights(calm.out)) == 2
    rng = random.Random(os.environ.get("KILL_SEED", "1"))
    kills: Counter[str] = Counter()
    number = 0
    while kills.total() < _KILLS:
        number += 1
        shaken = Study(Path("reference"), config, tmp_path / f"shaken{number}" / "run")
        shaken.out.parent.mkdir()
        while killed(shaken, rng.uniform(0, whole_s) if kills.total() < _KILLS else 10 * whole_s + 600):
            kills[stage_of(shaken.out)] += 1
        _assert_same(shaken.out, calm.out)
        assert _results(shaken.out) == _results(calm.out)
        assert weights(shaken.out) == weights(calm.out)
        assert ll.verify_run(shaken.out).sound
        shutil.rmtree(shaken.out.parent)
    print(f"kills by stage: {dict(kills)}, in {number} studies of {whole_s:.0f} seconds")
    # Every study trains for a good part of its time.
    assert _KILLS < 100 or kills["finetuning"]
