"""`kill -9` at ten random moments: the resumed study ends with the results of an undisturbed one."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_models import saved, talkative_llama
from stored_rows import assert_same_rows
from untimed import untimed

from layerlimits.evaluation.store import Key, Store
from layerlimits.results.study import study_results

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


@dataclass
class Study:
    """A study in processes that log what they compute."""

    model: Path
    config: Path
    out: Path

    def start(self) -> subprocess.Popen[bytes]:
        """Run or resume it."""
        self.log.unlink(missing_ok=True)
        call = ["study", str(self.model), "--config", str(self.config), "--out", str(self.out)]
        command = [sys.executable, str(Path(__file__).with_name("logged_study.py")), str(self.log), *call]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    @property
    def log(self) -> Path:
        """Where the last process wrote the keys of what it computed."""
        return self.out.with_name(f"{self.out.name}.log")

    def computed(self) -> list[Key]:
        """What the last process computed, or began to."""
        if not self.log.exists():
            return []
        # Killed while it wrote, its last line may be cut.
        lines = self.log.read_text().split("\n")[:-1]
        return [Key(*json.loads(line)) for line in lines]

    def committed(self) -> set[Key]:
        """What is stored, while no process runs."""
        if not (self.out / "run.sqlite").exists():
            return set()
        with closing(sqlite3.connect(self.out / "run.sqlite")) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE name = 'responses'").fetchall()
            rows = database.execute(f"SELECT {', '.join(Key._fields)} FROM responses") if tables else []
            return {Key(*row) for row in rows}

    def finish(self) -> None:
        """Run it to its end."""
        _finish(self.start())


def _finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()[-2000:]


def _count(folder: Path) -> int:
    """Responses committed so far."""
    if not (folder / "run.sqlite").exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{folder / 'run.sqlite'}?mode=ro", uri=True)) as database:
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


def _assert_same(first: Path, second: Path) -> None:
    with Store(first) as one, Store(second) as other:
        assert_same_rows(one, other)
        for name in ("plans", "tasks"):
            assert one.get(name) == other.get(name)


def _results(folder: Path) -> dict[str, object]:
    """What the report shows, without times."""
    with Store(folder) as store:
        return untimed(study_results(store).to_json())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that writes characters and often ends its answers: recovery needs finished ones."""
    return saved(talkative_llama(4), tmp_path_factory.mktemp("talkative") / "model")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of a small study with every stage."""
    path = tmp_path_factory.mktemp("settings") / "study.toml"
    path.write_text(_SETTINGS)
    return path


def test_killed_ten_times_and_resumed_equals_undisturbed(model: Path, config: Path, tmp_path: Path) -> None:
    calm, shaken = (Study(model, config, tmp_path / name / "run") for name in ("calm", "shaken"))
    for each in (calm, shaken):
        each.out.parent.mkdir()
    calm.finish()
    total = _count(calm.out)
    # Undisturbed, every response is computed once, and what is computed is stored.
    assert Counter(calm.computed()) == Counter(calm.committed())
    rng = random.Random(os.environ.get("KILL_SEED", "1"))
    # The last tenth stays: what is left when the last kill comes must take longer than the pause before it.
    moments = sorted(rng.sample(range(1, int(0.9 * total)), _KILLS))
    kills = 0
    for moment in moments:
        before = shaken.committed()
        kills += _kill(shaken.start(), shaken.out, moment, rng.random())
        # What a kill took between computing and committing is computed again, and nothing that was committed.
        assert not before & set(shaken.computed())
        assert before <= shaken.committed()
    before = shaken.committed()
    shaken.finish()
    assert kills == _KILLS, "the study ended before it could be killed ten times"
    assert Counter(shaken.computed()) == Counter(shaken.committed() - before)
    assert shaken.committed() == calm.committed()
    assert _count(shaken.out) == total
    _assert_same(shaken.out, calm.out)
    assert _results(shaken.out) == _results(calm.out)


def test_a_finished_study_run_again_computes_nothing(model: Path, config: Path, tmp_path: Path) -> None:
    study = Study(model, config, tmp_path / "run")
    study.finish()
    before = shutil.copytree(study.out, tmp_path / "before")
    assert study.computed()
    study.finish()
    _assert_same(study.out, before)
    assert study.computed() == []
