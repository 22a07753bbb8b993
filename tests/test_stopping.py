"""SIGTERM and Ctrl-C lose nothing that was finished, and say how the command continues."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from test_kill_sweep import _finished, _start, _stored, _wait

from layerlimits import progress
from layerlimits.paths import LOCK_FILE
from layerlimits.progress import Bar
from layerlimits.stopping import Stopped, deferred, stop_point, stop_requested, stoppable

ENDS = [
    (signal.SIGTERM, 75, "terminated; saved in {}; the same command resumes\n"),
    (signal.SIGINT, 130, "interrupted; saved in {}; the same command continues\n"),
]


@pytest.fixture(autouse=True)
def not_ignored() -> Iterator[None]:
    """SIGINT as in a terminal, also where the tests run in the background, where shells let it be ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "status", "said"), ENDS, ids=["SIGTERM", "SIGINT"])
def test_a_stopped_sweep_keeps_everything_that_was_finished(
    number: int, status: int, said: str, tiny: Path, tmp_path: Path
) -> None:
    out, log = tmp_path / "run", tmp_path / "log"
    process = _start(tiny, out, log)
    _wait(process, log, 3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == status
    assert errors.decode().endswith(said.format(out))
    assert "stopping after the current step; a second signal stops at once\n" in errors.decode()
    assert "Traceback" not in errors.decode()
    assert {key for _, key in _finished(log)} == _stored(out)
    assert len(_stored(out)) >= 3
    assert not (out / LOCK_FILE).exists()


def test_without_a_run_folder_nothing_is_left(tmp_path: Path) -> None:
    arguments = ["evaluate", "reference", "--tasks", "functions", "--limit", "2000"]
    environment = os.environ | {"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "layerlimits", *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*/run.sqlite")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.poll() is None
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert errors.decode().endswith("terminated; nothing was saved, because the command had no run folder\n")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def handled() -> Iterator[None]:
    """Signals raise `Stopped`."""
    with stoppable():
        yield


def send(*numbers: int) -> None:
    """Send signals to this process."""
    for number in numbers:
        os.kill(os.getpid(), number)


def work(reached: list[str], *numbers: int) -> None:
    """Work that defers these signals, with a stop point."""
    with deferred():
        send(*numbers)
        reached.append("after the signal")
        assert stop_requested()
        stop_point()
        reached.append("after the stop point")


@pytest.mark.usefixtures("handled")
def test_a_signal_waits_for_a_stop_point_and_a_second_one_does_not(capfd: pytest.CaptureFixture[str]) -> None:
    reached: list[str] = []
    with pytest.raises(Stopped, match="terminated"):
        work(reached, signal.SIGTERM)
    assert reached == ["after the signal"]
    assert "stopping after the current step" in capfd.readouterr().err


@pytest.mark.usefixtures("handled")
def test_a_second_signal_does_not_wait() -> None:
    reached: list[str] = []
    with pytest.raises(Stopped, match="interrupted"):
        work(reached, signal.SIGINT, signal.SIGINT)
    assert reached == []


@pytest.mark.usefixtures("handled")
def test_outside_of_deferring_work_a_signal_does_not_wait() -> None:
    with pytest.raises(Stopped):
        send(signal.SIGINT)


def nested(reached: list[str]) -> None:
    """Work within work, without a stop point."""
    with deferred():
        with deferred():
            send(signal.SIGTERM)
        reached.append("the outer block goes on")


@pytest.mark.usefixtures("handled")
def test_a_signal_is_raised_at_the_end_of_what_defers_it() -> None:
    reached: list[str] = []
    with pytest.raises(Stopped):
        nested(reached)
    assert reached


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGTERM)
            assert not stop_requested()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_line_of_progress_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert progress.LOG_EVERY_S == 30
    monkeypatch.setattr(progress, "LOG_EVERY_S", 0.05)
    with Bar(10.0, pace=60.0) as bar, bar.stage("sweep"):
        bar.skip(2.5)
        time.sleep(0.3)
    said = capsys.readouterr().err
    line = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d sweep: 25%, \d+ seconds elapsed, about \d+ minutes left\n"
    assert re.search(line, said)
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_training_saves_a_checkpoint_and_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerlimits.recovery import trainer
    from layerlimits.recovery.watching import LossMeter

    class Control:
        should_save = should_training_stop = False

    state: Any = type("State", (), {"global_step": 1, "max_steps": 9})
    control, callback = Control(), trainer.ProgressAndSaving(None, LossMeter(1e-4, tmp_path))
    callback.on_step_end(None, state, control)
    assert not control.should_save
    monkeypatch.setattr(trainer, "stop_requested", lambda: True)
    callback.on_step_end(None, state, control, model=torch.nn.Linear(2, 2))
    assert control.should_save
    assert control.should_training_stop
