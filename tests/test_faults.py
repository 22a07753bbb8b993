"""Disks and clocks that fail: one clear error, and what was finished stays readable."""

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from stored_runs import STORED, finished_study

import layerlimits as ll
from layerlimits import resources
from layerlimits.engines.scripted import ScriptedEngine
from layerlimits.errors import StorageError, UserError
from layerlimits.evaluation import database
from layerlimits.evaluation.artifacts import Artifacts
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.store import Key, Store
from layerlimits.models.load import Loaded, load
from layerlimits.models.save import write_checkpoint
from layerlimits.resources import check_disk, check_memory, free_memory, size
from layerlimits.study.budget import Clock, steady
from layerlimits.study.room import checkpoint_bytes, training_bytes
from layerlimits.tasks.facts import facts
from layerlimits.types import Response, Verdict

Refused = Callable[..., str]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs root, to mount a small file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def answer(number: int) -> tuple[Key, Response, Verdict]:
    """A response of a kilobyte."""
    key = Key("m", "t", 1, str(number), "p", "greedy", "E")
    return key, Response("x" * 1000, (number,), "stop"), Verdict("correct", 1.0)


def fill(store: Store) -> None:
    """Store responses, more than fit."""
    for start in range(0, 10_000, 10):
        store.add([answer(number) for number in range(start, start + 10)])


def test_a_full_disk_is_one_error_and_what_was_stored_stays(small_disk: Path) -> None:
    run = small_disk / "run"
    with Store(run) as store:
        with pytest.raises(StorageError, match=r"the disk is full: \d+\.\d MB are free in ") as error:
            fill(store)
        stored = store.count("responses")
        assert error.value.fix == "free space; the same command continues; what is stored stays"
        assert stored
    with Store(run, read_only=True) as store:
        assert store.count("responses") == store.count("verdicts") == stored
    assert {damage.table for damage in ll.verify_run(run).damages} <= {"database", "responses", "verdicts"}
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    with Store(run) as store:
        store.add([answer(number) for number in range(stored, stored + 100)])
        assert store.count("responses") == stored + 100


def test_a_command_on_a_full_disk_is_refused_with_the_numbers(small_disk: Path, tiny: Path, refused: Refused) -> None:
    (small_disk / "ballast").write_bytes(b"x" * 1_020_000)
    message = refused("evaluate", tiny, "--tasks", "facts_choice", "--limit", 4, "--out", small_disk / "run")
    assert "the disk is full" in message


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "model.safetensors"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("SafetensorError: I/O error: No space left on device (os error 28)"),
    ],
    ids=str,
)
def test_a_full_disk_is_one_error_whatever_library_writes(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    finished_study(tmp_path / "run")
    monkeypatch.setattr("layerlimits.api.studying.write", failing)
    message = refused("report", tmp_path / "run", "--out", tmp_path / "report.html")
    assert "the disk is full: " in message
    assert "fix: free space; the same command continues" in message


def test_a_stage_is_checked_for_disk_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_disk("stage sweep", 1, tmp_path / "not" / "yet")
    monkeypatch.setattr(resources, "free_disk", lambda _: 400_000_000)
    with pytest.raises(StorageError) as error:
        check_disk("stage recover", 3.14e9, tmp_path)
    assert error.value.problem == f"stage recover needs about 3.1 GB of disk space, and {tmp_path} has 400.0 MB"
    assert error.value.fix.startswith("free space and repeat the command, which continues")


def test_memory_is_checked_before_weights_load(tiny: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    monkeypatch.setattr(resources, "free_memory", lambda: 1000)
    message = refused("evaluate", tiny, "--tasks", "facts_choice")
    assert f"loading {tiny} in float32 needs about " in message
    assert "of memory, and 0.0 MB are free" in message
    assert "fix: use a smaller dtype (--dtype) or a machine with more memory" in message


def test_needs_of_finetuning() -> None:
    assert training_bytes("full", 10**9) == 16e9
    assert training_bytes("lora", 10**9) < 6e9
    assert checkpoint_bytes("full", 10**9) == 36e9
    with pytest.raises(UserError, match=r"finetuning \(full\) needs about 16.0 GB of memory, and 8.0 GB are free"):
        check_memory("finetuning (full)", training_bytes("full", 10**9), "another machine", 8 * 10**9)
    check_memory("finetuning (lora)", training_bytes("lora", 10**9), "another machine", 8 * 10**9)


def test_a_container_has_less_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, used = tmp_path / "max", tmp_path / "current"
    monkeypatch.setattr(resources, "_CGROUPS", ((limit, used),))
    whole = psutil.virtual_memory().available
    assert free_memory() > whole / 2
    limit.write_text("max\n")
    used.write_text("600\n")
    assert free_memory() > whole / 2
    limit.write_text("1000\n")
    assert free_memory() == 400
    assert size(1.25e10) == "12.5 GB"


class Forgetful(ScriptedEngine):
    """An engine that runs out of memory once."""

    row_limit = 64

    def generate(self, *given: Any, **named: Any) -> Any:
        """With half the rows."""
        self.row_limit = 32
        return super().generate(*given, **named)


def test_the_rows_that_fit_into_memory_are_remembered(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Forgetful(lambda ids: Response("red", (1,), "stop"))
    with Store(tmp_path) as store:
        Evaluator(loaded, store, AskOptions(), engine).ask([()], [(facts, facts.samples("evaluate", 2, None))])
        assert Artifacts(store).row_limits == {resources.machine(): 32}
        resumed: Any = Evaluator(loaded, store, AskOptions()).engine
        assert resumed.row_limit == 32
        fewer: Any = Evaluator(loaded, store, AskOptions(max_rows=8)).engine
        assert fewer.row_limit == 8
        monkeypatch.setattr("layerlimits.evaluation.evaluator.machine", lambda: "another machine")
        elsewhere: Any = Evaluator(loaded, store, AskOptions(max_rows=50)).engine
        assert elsewhere.row_limit == 50


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A finished run on a file system that cannot be written, with a write-ahead log."""
    place = tmp_path / "mounted"
    place.mkdir()
    finished_study(tmp_path / "first")
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=False).returncode:
        pytest.skip("needs root, to mount a file system")
    try:
        with Store(tmp_path / "first") as store:
            store.put("study_notes", ["only in the log"])
            shutil.copytree(tmp_path / "first", place / "run")
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        yield place / "run"
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_read_only_run_is_readable(
    read_only: Path, tmp_path: Path, says: Callable[..., Any], refused: Refused
) -> None:
    assert (read_only / "run.sqlite-wal").stat().st_size
    assert "only in the log" in says("report", read_only, "--out", tmp_path / "report.html")["notes"]
    assert says("verify", read_only)["sound"]
    assert says("export", read_only, "--out", tmp_path / "run.layerlimits.gz")["responses"] == STORED
    assert "is read-only" in refused("report", read_only)
    assert "is read-only" in refused("evaluate", "reference", "--out", read_only)


def test_a_read_only_folder_without_a_log_is_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished_study(tmp_path / "run")
    monkeypatch.setattr(database, "can_write", lambda _: False)
    before = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert ll.open_run(tmp_path / "run").tasks
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == before


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_network_file_systems_use_another_journal(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(database, "file_system", lambda _: kind)
    with Store(tmp_path / "run") as store:
        assert store._db.execute("PRAGMA journal_mode").fetchone() == ("truncate",)
        store.put("plans", [])
    said = capsys.readouterr().err
    assert f"run.sqlite uses the journal mode truncate instead of WAL, on the network file system {kind}" in said
    with Store(tmp_path / "run", read_only=True) as store:
        assert store.get("plans") == []


def test_the_file_system_of_a_folder_is_known(tmp_path: Path) -> None:
    assert database.file_system(Path("/proc/self")) == "proc"
    with Store(tmp_path) as store:
        assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("shift_s", [-86_400.0, 86_400.0])
def test_a_clock_that_is_set_does_not_change_a_budget(shift_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(3600.0, 100.0, steady(time.time() - 50))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + shift_s)
    assert clock.spent == pytest.approx(150, abs=5)


def test_a_clock_that_is_set_back_between_start_and_study_counts_nothing() -> None:
    assert Clock(3600.0, 0.0, steady(time.time() + 86_400)).spent == pytest.approx(0, abs=5)


def test_a_failed_checkpoint_leaves_nothing(loaded: Loaded, tiny: Path, tmp_path: Path) -> None:
    origin = Path(shutil.copytree(tiny, tmp_path / "origin"))
    (origin / "tokenizer_x").mkdir()
    write_checkpoint(loaded.model, origin, tmp_path / "out", {"a": 1})
    assert load(str(tmp_path / "out")).depth == loaded.depth
    with pytest.raises(TypeError):
        write_checkpoint(loaded.model, origin, tmp_path / "failed", {"a": object()})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["origin", "out"]


def test_a_truncated_checkpoint_is_refused(tiny: Path, tmp_path: Path, refused: Refused) -> None:
    model = Path(shutil.copytree(tiny, tmp_path / "model"))
    file = model / "model.safetensors"
    content = file.read_bytes()
    for size_bytes in (0, 7, 100, len(content) - 1):
        file.write_bytes(content[:size_bytes])
        message = refused("evaluate", model, "--tasks", "facts_choice", "--out", tmp_path / "run")
        assert str(file) in message
    assert not (tmp_path / "run").exists()


def test_a_killed_process_leaves_a_readable_run(tmp_path: Path) -> None:
    """A process that is killed between a commit and the merge of the log."""
    code = (
        "import os, sys, signal\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[2])\n"
        "from test_faults import Store, answer\nstore = Store(Path(sys.argv[1]))\n"
        "store.add([answer(number) for number in range(5)])\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", code, str(run), str(Path(__file__).parent)], check=False)
    assert done.returncode == -9
    assert (run / "run.sqlite-wal").exists()
    with Store(run, read_only=True) as store:
        assert store.count("responses") == 5
