"""TRL's trainer, silent and resumable. Imported only when training starts, since the import takes seconds."""

import json
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any, cast

import torch.distributed as distributed
from datasets import Dataset
from peft import LoraConfig
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from layerlimits.errors import UserError
from layerlimits.models.checkpoint import weight_files
from layerlimits.recovery.context import TrainingContext
from layerlimits.recovery.curve import CurveCallback, points_of
from layerlimits.recovery.memory import MemoryWatch, longest_batch
from layerlimits.recovery.rows import Schedule, StepProgress
from layerlimits.recovery.watching import LossMeter, QuietTrainer
from layerlimits.stopping import deferred, stop_requested

# Time between checkpoints. It is longer if saving is slow, so that saving takes at most a twentieth of the time.
SAVE_EVERY_S = 20.0
_TRAINING_PER_SAVING = 20
# Steps between the losses that a tracker receives.
_LOGGING_STEPS = 10
# Optimizer, schedule and random numbers; FSDP and several processes name them differently.
_STATE_FILES = ("optimizer.*", "scheduler.pt", "rng_state*.pth")


class Trainer(QuietTrainer, SFTTrainer):
    """Trains on the answers' tokens."""


class ProgressAndSaving(TrainerCallback):
    """Reports progress, and requests a checkpoint when one is due."""

    def __init__(self, on_progress: StepProgress | None, meter: LossMeter) -> None:
        self._on_progress, self._meter = on_progress, meter
        self._interval_s, self._last_save = SAVE_EVERY_S, time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called by the trainer after each optimizer step."""
        if self._on_progress:
            self._on_progress(state.global_step, state.max_steps)
        now = time.monotonic()
        due = now - self._last_save >= self._interval_s and state.global_step < state.max_steps
        stop, save = _agreed(stop_requested(), due)
        if stop:
            control.should_save = control.should_training_stop = True
        elif save:
            self._last_save, control.should_save = now, True
        if control.should_save:
            self._meter.check_weights(kwargs["model"])

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called by the trainer after writing a checkpoint."""
        now = time.monotonic()
        self._interval_s = max(SAVE_EVERY_S, _TRAINING_PER_SAVING * (now - self._last_save))
        self._last_save = now


def _agreed(*decisions: bool) -> list[Any]:
    """The decisions of the first process, since all processes must save, or stop, after the same step."""
    shared = list[Any](decisions)
    if distributed.is_available() and distributed.is_initialized():
        distributed.broadcast_object_list(shared, src=0)
    return shared


def is_complete(checkpoint: Path, processes: int = 1) -> bool:
    """Whether a checkpoint of a training in so many processes is complete: every file exists and none is truncated."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
        for file in weight_files(checkpoint):
            with safe_open(file, "pt"):
                pass
        for pattern in _STATE_FILES:
            files = list(checkpoint.glob(pattern))
            if len(files) < (processes if "*.pth" in pattern else 1):
                return False
            for file in files:
                with zipfile.ZipFile(file):
                    pass
    except (OSError, ValueError, SafetensorError, zipfile.BadZipFile, UserError):
        return False
    return True


def latest_checkpoint(work: Path, processes: int = 1) -> Path | None:
    """The newest complete checkpoint of a training in so many processes, or None; incomplete newer ones are deleted."""
    for checkpoint in sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True):
        if is_complete(checkpoint, processes):
            return checkpoint
        rmtree(checkpoint)
    return None


@dataclass(frozen=True)
class Lesson:
    """What is trained, on what, and how.

    Args:
        schedule: Rows in training order.
        arguments: Arguments of SFTConfig for the optimizer, the schedule and memory.
        lora: Arguments of LoraConfig; None trains every weight.
        distillation: Arguments of GKDConfig; None trains on the answers' tokens.
    """

    schedule: Schedule
    arguments: dict[str, Any]
    lora: dict[str, Any] | None = None
    distillation: dict[str, Any] | None = None


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    lesson: Lesson,
    work: Path,
    context: TrainingContext,
    meter: LossMeter,
    curve: CurveCallback | None = None,
) -> tuple[Any, list[dict[str, Any]], int | None]:
    """Train once over the rows in the given order, resuming from the newest complete checkpoint in `work`.

    Args:
        model: The model to train.
        tokenizer: Its tokenizer.
        lesson: Data and settings.
        work: Folder for checkpoints.
        context: Progress and teacher.
        meter: Receives the losses.
        curve: Evaluates the model while it trains.
    Returns:
        The trained model in evaluation mode, wrapped by PEFT if it has adapters; the points of its curve; and the
        number of trained tokens of the best point, whose weights it has.
    """
    # All processes look at the same folder; the one that started them has deleted incomplete checkpoints.
    checkpoint = latest_checkpoint(work, context.processes)
    names = list(lesson.schedule.rows[0])
    columns = {name: [dict(row)[name] for row in lesson.schedule.rows] for name in names}
    callbacks = [meter, *([curve] if curve else []), ProgressAndSaving(context.on_progress, meter)]
    made: dict[str, Any] = {
        "model": model,
        "train_dataset": Dataset.from_dict(columns).select(list(lesson.schedule.order)),
        "processing_class": tokenizer,
        "peft_config": LoraConfig(task_type="CAUSAL_LM", **lesson.lora) if lesson.lora else None,
        "callbacks": callbacks,
    }
    if lesson.distillation is None:
        trainer: Any = Trainer(args=_config(SFTConfig, model, work, lesson.arguments), **made)
    else:
        # Imported late: it is experimental in TRL, which warns of that.
        from layerlimits.recovery.distilling import Distiller, GKDConfig, PromptCollator

        trainer = Distiller(
            args=_config(GKDConfig, model, work, lesson.arguments | lesson.distillation),
            teacher_model=cast(PreTrainedModel, context.teacher),
            data_collator=PromptCollator(tokenizer.pad_token_id),
            **made,
        )
    trainer.meter = meter
    if trainer.args.use_cpu:
        lengths = [len(lesson.schedule.rows[row]["input_ids"]) for row in lesson.schedule.order]
        trainer.memory = MemoryWatch(longest_batch(lengths, trainer.args.per_device_train_batch_size))
    trainer.remove_callback(PrinterCallback)
    # A signal waits for the end of the step, and for a checkpoint.
    with deferred():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if context.save_to:
        # With FSDP, all processes must take part.
        trainer.save_model(str(context.save_to))
    best = curve.restore_best(trainer.model, trainer.state) if curve else None
    return trainer.model.eval(), points_of(trainer.state), best


def _config(kind: type, model: PreTrainedModel, work: Path, arguments: dict[str, Any]) -> Any:
    """The arguments of a trainer."""
    # With FSDP, the model is on the CPU until its parts are moved to the GPUs.
    on_cpu = model.device.type == "cpu" and not arguments.get("fsdp")
    reports = arguments["report_to"] != "none"
    config = kind(
        output_dir=str(work),
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        save_strategy="no",  # `ProgressAndSaving` requests checkpoints
        save_total_limit=2,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        logging_strategy="steps" if reports else "no",
        logging_steps=_LOGGING_STEPS,
        disable_tqdm=True,
        ddp_backend="gloo" if on_cpu and distributed.is_torchelastic_launched() else None,
        **arguments,
    )
    # TRL rejects several visible GPUs in one process, although the model is on a single one.
    config._n_gpu = 1
    return config
