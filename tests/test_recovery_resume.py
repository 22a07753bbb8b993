"""An interrupted finetuning run resumes and writes the same bytes."""

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from recovery_models import EXAMPLES, QUICK, QUICK_LORA, SLOW, stop_at, weights

from layerlimits.errors import UserError
from layerlimits.models.load import Loaded
from layerlimits.recovery.context import TrainingContext
from layerlimits.recovery.finetune import finetune
from layerlimits.recovery.settings import FinetuneConfig
from layerlimits.recovery.trainer import is_complete, latest_checkpoint

pytest_plugins = ["recovery_fixtures"]


def following(steps: list[int]) -> TrainingContext:
    return TrainingContext(lambda done, _: steps.append(done))


def test_a_finished_model_is_not_trained_again(base: Loaded, tmp_path: Path) -> None:
    out = finetune(base, (), EXAMPLES, QUICK, tmp_path / "work", tmp_path / "out", {})
    assert finetune(base, (), EXAMPLES, QUICK, tmp_path / "work", out, {}, TrainingContext(stop_at(1))) == out
    with pytest.raises(UserError, match="already exists and is not empty"):
        finetune(base, (), EXAMPLES[:3], QUICK, tmp_path / "work", out, {})


@pytest.mark.usefixtures("save_each_step")
@pytest.mark.parametrize("settings", [QUICK, QUICK_LORA], ids=["full", "lora"])
def test_killed_and_resumed_gives_the_same_bytes(settings: FinetuneConfig, base: Loaded, tmp_path: Path) -> None:
    whole = finetune(base, (1,), EXAMPLES, settings, tmp_path / "a", tmp_path / "whole", {})
    again = finetune(base, (1,), EXAMPLES, settings, tmp_path / "a", tmp_path / "again", {})
    work = tmp_path / "work"
    with pytest.raises(KeyboardInterrupt):
        finetune(base, (1,), EXAMPLES, settings, work, tmp_path / "out", {}, TrainingContext(stop_at(8)))
    assert not (tmp_path / "out").exists()
    newest = latest_checkpoint(work)
    assert newest == work / "checkpoint-7"
    (file,) = newest.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-100])
    steps: list[int] = []
    resumed = finetune(
        base,
        (1,),
        EXAMPLES,
        settings,
        work,
        tmp_path / "out",
        {},
        TrainingContext(lambda done, total: steps.append(done)),
    )
    assert steps == [7, 8, 9, 10, 11, 12]
    assert weights(whole) == weights(again) == weights(resumed)
    assert not work.exists()


@pytest.mark.usefixtures("save_each_step")
def test_checkpoints_of_another_training_are_not_resumed(base: Loaded, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        finetune(base, (1,), EXAMPLES, QUICK, tmp_path / "work", tmp_path / "out", {}, TrainingContext(stop_at(5)))
    steps: list[int] = []
    other = replace(QUICK, lr=1e-3)
    finetune(
        base,
        (1,),
        EXAMPLES,
        other,
        tmp_path / "work",
        tmp_path / "out",
        {},
        following(steps),
    )
    assert steps == list(range(1, 13))


@pytest.mark.usefixtures("save_each_step")
def test_half_written_checkpoints_are_told_from_whole_ones(base: Loaded, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        finetune(base, (1,), EXAMPLES, QUICK, tmp_path / "work", tmp_path / "out", {}, TrainingContext(stop_at(4)))
    good = tmp_path / "work" / "checkpoint-3"
    assert is_complete(good)
    for name in ("trainer_state.json", "model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        for cut in (None, 0, 60):
            bad = tmp_path / "work" / "checkpoint-30"
            shutil.copytree(good, bad)
            (bad / name).unlink()
            if cut is not None:
                (bad / name).write_bytes((good / name).read_bytes()[:cut])
            assert latest_checkpoint(tmp_path / "work") == good, (name, cut)
            assert not bad.exists()


_KILLED = """
import sys, torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[4])
from pathlib import Path
import layerlimits.recovery.trainer as trainer
import recovery_models as ours
from layerlimits.models.load import load
from layerlimits.recovery.finetune import finetune
trainer.SAVE_EVERY_S, trainer._TRAINING_PER_SAVING = 0.0, 0
loaded = load(sys.argv[1], device="cpu")
finetune(loaded, (1,), ours.EXAMPLES, ours.SLOW, Path(sys.argv[2]), Path(sys.argv[3]), {})
"""


def test_kill_9_and_resumed_gives_the_same_bytes(base: Loaded, tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    arguments = [str(base.folder), str(work), str(out), str(Path(__file__).parent)]
    with subprocess.Popen([sys.executable, "-c", _KILLED, *arguments], stderr=subprocess.PIPE) as process:
        while process.poll() is None and len(list(work.glob("checkpoint-*/trainer_state.json"))) < 2:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, process.stderr and process.stderr.read().decode()
    assert not out.exists()
    first: list[int] = []
    finetune(base, (1,), EXAMPLES, SLOW, work, out, {}, following(first))
    assert 1 < first[0] < 120
    whole = finetune(base, (1,), EXAMPLES, SLOW, tmp_path / "a", tmp_path / "whole", {})
    assert weights(whole) == weights(out)
