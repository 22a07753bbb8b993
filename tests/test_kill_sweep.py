"""`kill -9` in the middle of a batch costs what was computed in the last moments, and nothing else."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slow_sweep import EVERY_S

from layerlimits.evaluation.store import Key, Store

# Every batch of the sweep takes several seconds.
_PAUSE_S = 0.1
# Time between a response and its commit: one pass and the commit itself, on a busy machine.
_SLACK_S = 4 * _PAUSE_S + 1.0
_ARGUMENTS = ("--tasks", "functions", "--limit", "6")


def _start(model: Path, out: Path, log: Path) -> subprocess.Popen[bytes]:
    log.unlink(missing_ok=True)
    script = str(Path(__file__).with_name("slow_sweep.py"))
    command = [sys.executable, script, str(log), str(_PAUSE_S), "sweep", str(model), *_ARGUMENTS, "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _finished(log: Path) -> list[tuple[float, Key]]:
    """When the last process finished which responses."""
    lines = log.read_text().split("\n")[:-1] if log.exists() else []
    return [(record[0], Key(*record[1:])) for record in map(json.loads, lines)]


def _wait(process: subprocess.Popen[bytes], log: Path, responses: int) -> None:
    """Until the process has finished so many responses."""
    deadline = time.monotonic() + 300
    while len(_finished(log)) < responses and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def _stored(out: Path) -> set[Key]:
    """The stored responses, while no process runs."""
    with Store(out) as store:
        return {key for key, *_ in store.answered()}


def test_a_killed_sweep_keeps_all_but_the_last_moments(tiny: Path, tmp_path: Path, says: Callable[..., Any]) -> None:
    calm, out, log = tmp_path / "calm", tmp_path / "run", tmp_path / "log"
    expected = says("sweep", tiny, *_ARGUMENTS, "--out", calm)
    rng = random.Random(os.environ.get("KILL_SEED", "1"))
    before: set[Key] = set()
    for responses in (1, 12):
        process = _start(tiny, out, log)
        _wait(process, log, responses)
        time.sleep(rng.random())
        assert process.poll() is None, "the sweep ended before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
        killed_at = time.time()
        process.wait()
        finished, stored = _finished(log), _stored(out)
        assert {key for at, key in finished if at < killed_at - EVERY_S - _SLACK_S} <= stored
        # What was committed stays, and is not computed again.
        assert before <= stored
        assert not before & {key for _, key in finished}
        before = stored
    last = _start(tiny, out, log)
    _, errors = last.communicate()
    assert last.returncode == 0, errors.decode()[-2000:]
    assert {key for _, key in _finished(log)} == _stored(calm) - before
    with Store(calm) as undisturbed, Store(out) as disturbed:
        assert list(disturbed.export()) == list(undisturbed.export())
    assert says("sweep", tiny, *_ARGUMENTS, "--out", out) == expected
