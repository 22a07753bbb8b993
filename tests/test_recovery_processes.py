"""Training in several processes: the same weights as in one, errors, and an end with the command."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from recovery_models import EXAMPLES, QUICK, QUICK_LORA
from safetensors.torch import load_file

from layerlimits.errors import UserError
from layerlimits.models.load import Loaded
from layerlimits.recovery.context import TrainingContext
from layerlimits.recovery.finetune import finetune
from layerlimits.recovery.launching import Job, launch, read_job, write_job
from layerlimits.recovery.preflight import check_settings
from layerlimits.recovery.settings import FinetuneConfig
from layerlimits.recovery.sources import RecoverConfig, check_sources

pytest_plugins = ["recovery_fixtures"]

TWO = TrainingContext(processes=2)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: value.float() for file in folder.glob("*.safetensors") for name, value in load_file(file).items()}


@pytest.mark.parametrize("settings", [QUICK, replace(QUICK_LORA, lora_dropout=0.0)], ids=["full", "lora"])
def test_two_processes_train_as_one_does(base: Loaded, tmp_path: Path, settings: FinetuneConfig) -> None:
    steps: list[tuple[int, int]] = []
    alone = finetune(base, (), EXAMPLES, settings, tmp_path / "w1", tmp_path / "one", {})
    both = finetune(
        base,
        (),
        EXAMPLES,
        replace(settings, processes=2),
        tmp_path / "w2",
        tmp_path / "two",
        {},
        replace(TWO, on_progress=lambda step, total: steps.append((step, total))),
    )
    one, two, before = _weights(alone), _weights(both), base.model.state_dict()
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=1e-4, rtol=1e-4)
    assert any(not torch.equal(weight, before[name]) for name, weight in two.items())
    # Every step is reported once, by one process.
    assert [step for step, _ in steps] == list(range(1, steps[0][1] + 1))
    assert not (tmp_path / "w2").exists()


def test_an_error_of_a_process_is_the_error_of_the_command(base: Loaded, tmp_path: Path) -> None:
    wild = replace(QUICK, lr=1e30, max_grad_norm=1e30, processes=2)
    with pytest.raises(UserError, match="diverged"):
        finetune(base, (), EXAMPLES, wild, tmp_path / "work", tmp_path / "out", {}, TWO)
    assert not (tmp_path / "out").exists()


def test_an_unexpected_error_of_a_process_is_named(base: Loaded, tmp_path: Path) -> None:
    job = Job(str(base.folder), "float32", "cpu", [], replace(QUICK, processes=2), "key", str(tmp_path), 2)
    write_job(job)
    assert read_job(job.folder) == job
    with pytest.raises(UserError, match=r"ended with .*IndexError: list index out of range"):
        launch(job, None)


_COMMAND = """
import sys
from pathlib import Path
from dataclasses import replace
sys.path.insert(0, {tests!r})
from recovery_models import EXAMPLES, QUICK
from layerlimits.models.load import load
from layerlimits.recovery.context import TrainingContext
from layerlimits.recovery.finetune import finetune
from layerlimits.stopping import Stopped, stoppable
base = load({model!r}, device="cpu")
def show(step, steps):
    print("at", step, flush=True)
try:
    with stoppable():
        settings = replace(QUICK, epochs={epochs}, processes=2)
        finetune(base, (), EXAMPLES, settings, Path({work!r}), Path({out!r}), {{}}, TrainingContext(show, processes=2))
except Stopped as stopped:
    sys.exit(stopped.status)
"""


def _started(base: Loaded, folder: Path, epochs: int) -> subprocess.Popen[str]:
    here = str(Path(__file__).parent)
    code = _COMMAND.format(
        tests=here, model=str(base.folder), work=str(folder / "work"), out=str(folder / "out"), epochs=epochs
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)


def _workers(folder: Path) -> list[int]:
    """Process ids of the training in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except (OSError, NotADirectoryError):
            continue
        if b"layerlimits.recovery.worker" in words and str(folder).encode() in b" ".join(words):
            found.append(int(entry.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
def test_processes_end_with_the_command_and_the_training_resumes(
    base: Loaded, tmp_path: Path, number: signal.Signals
) -> None:
    running = _started(base, tmp_path, epochs=1000)
    assert running.stdout is not None
    for line in running.stdout:
        if int(line.split()[1]) >= 20:
            break
    else:
        pytest.fail("the training ended early")
    os.kill(running.pid, number)
    running.wait(90)
    deadline = time.monotonic() + 60
    while _workers(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert _workers(tmp_path) == []
    saved = [int(path.name.split("-")[1]) for path in (tmp_path / "work").glob("checkpoint-*")]
    if number == signal.SIGTERM:
        assert saved, "no checkpoint before the end"
        again = _started(base, tmp_path, epochs=1000)
        assert again.stdout is not None
        assert int(next(again.stdout).split()[1]) == max(saved) + 1
        again.kill()
        again.wait()


def test_settings_that_exclude_each_other() -> None:
    with pytest.raises(UserError, match="cannot be divided among 3"):
        FinetuneConfig(batch_size=8, processes=3)
    with pytest.raises(UserError, match="fsdp divides"):
        FinetuneConfig(fsdp=True)
    with pytest.raises(UserError, match="fsdp does not work with qlora"):
        FinetuneConfig(kind="qlora", processes=2, fsdp=True)
    with pytest.raises(UserError, match="distill trains in 1 process"):
        FinetuneConfig(objective="distill", processes=2)
    with pytest.raises(UserError, match="6 milestones are evaluated in 1 process"):
        check_sources(FinetuneConfig(processes=2), RecoverConfig(milestones=6))
    with pytest.raises(UserError, match="needs GPUs"):
        check_settings(FinetuneConfig(processes=2, fsdp=True), "cpu")
    with pytest.raises(UserError, match="2 processes need as many GPUs"):
        check_settings(FinetuneConfig(processes=2), "cuda")
