"""One writer per run folder; readers are never refused."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stored_runs import finished_study

from layerlimits.errors import UserError
from layerlimits.evaluation import lock
from layerlimits.evaluation.lock import writing
from layerlimits.paths import LOCK_FILE

Refused = Callable[..., str]

_HOLDER = """
import sys, time
from pathlib import Path
from layerlimits.evaluation.lock import writing
with writing(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The run folder of a finished study."""
    finished_study(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def holder(run: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes to the run folder."""
    process = subprocess.Popen([sys.executable, "-c", _HOLDER, str(run)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_writer_is_refused_with_the_first_ones_process(
    holder: subprocess.Popen[str], run: Path, refused: Refused
) -> None:
    named = f"is in use by process {holder.pid} on host {socket.gethostname()}, which writes to it since 2"
    before = (run / LOCK_FILE).read_text()
    for command in (["study", "reference"], ["evaluate", "reference"], ["sweep", "reference"]):
        message = refused(*command, "--out", run)
        assert named in message
        assert "fix: wait until it ends, or choose another run folder (--out)" in message
    assert (run / LOCK_FILE).read_text() == before


def test_readers_are_not_refused(holder: subprocess.Popen[str], run: Path, tmp_path: Path, says: Refused) -> None:
    assert says("report", run, "--out", tmp_path / "report.html")
    assert says("export", run, "--out", tmp_path / "run.layerlimits.gz")
    assert holder.poll() is None


def test_the_lock_of_a_killed_process_is_stale(holder: subprocess.Popen[str], run: Path) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert json.loads((run / LOCK_FILE).read_text())["pid"] == holder.pid
    with writing(run):
        assert json.loads((run / LOCK_FILE).read_text())["pid"] == os.getpid()
    assert not (run / LOCK_FILE).exists()


def test_a_second_writer_in_the_same_process_is_refused(run: Path) -> None:
    with writing(run):
        with pytest.raises(UserError, match=f"in use by process {os.getpid()} on host"), writing(run / "." / ""):
            pass
        assert (run / LOCK_FILE).read_text()
    with writing(run):
        pass


def _left_by(run: Path, **holder: object) -> None:
    (run / LOCK_FILE).write_text(json.dumps({"since": "2026-01-01 00:00 UTC", "started": 1.0} | holder))


def test_another_host_is_asked_about_on_a_network_file_system(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _left_by(run, pid=7, host="elsewhere")
    with writing(run):
        pass
    monkeypatch.setattr(lock, "is_network", lambda _: True)
    _left_by(run, pid=7, host="elsewhere")
    with (
        pytest.raises(UserError, match="in use by process 7 on host elsewhere, since 2026-01-01") as error,
        writing(run),
    ):
        pass
    assert error.value.fix == f"if it has ended, remove {run / LOCK_FILE} and repeat the command"
    _left_by(run, pid=7, host=socket.gethostname())
    with writing(run):
        pass


def test_without_locks_of_the_file_system_the_named_process_decides(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(lock.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "lockf", no_locks)
    ours = lock._holder()
    _left_by(run, **ours)
    with pytest.raises(UserError, match=f"in use by process {os.getpid()} on host"), writing(run):
        pass
    # The same number, given to another process since.
    _left_by(run, **{**ours, "started": 1.0})
    with writing(run):
        pass
    _left_by(run, **{**ours, "host": "elsewhere"})
    with pytest.raises(UserError, match="on host elsewhere"), writing(run):
        pass


@pytest.mark.parametrize("content", ["{", "[]", "5", "[" * 20_000, '{"pid": "x"}', "\x00"])
def test_a_torn_lock_file_is_stale(content: str, run: Path) -> None:
    (run / LOCK_FILE).write_text(content)
    with writing(run):
        pass


def test_a_refused_command_leaves_nothing(tmp_path: Path, refused: Refused) -> None:
    assert "unknown task" in refused("study", "reference", "--tasks", "nothing", "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    assert "unknown task" in refused("study", "reference", "--tasks", "nothing", "--out", tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []
    # What a process leaves that is killed at its start.
    (tmp_path / "empty" / LOCK_FILE).write_text("{}")
    assert "unknown task" in refused("study", "reference", "--tasks", "nothing", "--out", tmp_path / "empty")
