"""TRL's trainer, silent and resumable. Imported only when training starts, since the import takes seconds."""

import json
import logging
import time
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from transformers.utils import logging as transformers_logging
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from layerlimits.errors import UserError
from layerlimits.models.locate import weight_files
from layerlimits.recovery.adapters import TARGETS
from layerlimits.recovery.rows import Row, StepProgress
from layerlimits.stopping import deferred, stop_requested

# Time between checkpoints. It is longer if saving is slow, so that saving takes at most a twentieth of the time.
SAVE_EVERY_S = 20.0
_TRAINING_PER_SAVING = 20
_STATE_FILES = ("optimizer.pt", "scheduler.pt", "rng_state.pth")


class Trainer(SFTTrainer):
    """SFTTrainer without telemetry and model cards."""

    def _send_telemetry(self) -> None:
        """Do nothing; TRL would send details of the training run over the network."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing; checkpoints are for resuming only."""


class ProgressAndSaving(TrainerCallback):
    """Reports progress, and requests a checkpoint when one is due."""

    def __init__(self, on_progress: StepProgress | None) -> None:
        self._on_progress = on_progress
        self._interval_s, self._last_save = SAVE_EVERY_S, time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called by the trainer after each optimizer step."""
        if self._on_progress:
            self._on_progress(state.global_step, state.max_steps)
        now = time.monotonic()
        if stop_requested():
            control.should_save = control.should_training_stop = True
        elif now - self._last_save >= self._interval_s and state.global_step < state.max_steps:
            self._last_save, control.should_save = now, True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called by the trainer after writing a checkpoint."""
        now = time.monotonic()
        self._interval_s = max(SAVE_EVERY_S, _TRAINING_PER_SAVING * (now - self._last_save))
        self._last_save = now


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress progress bars, warnings and log lines of the training libraries; the caller shows progress."""
    level, bars = logging.root.manager.disable, transformers_logging.is_progress_bar_enabled()
    logging.disable(logging.WARNING)
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        if bars:
            transformers_logging.enable_progress_bar()


def is_complete(checkpoint: Path) -> bool:
    """Whether a checkpoint is complete: every file exists and none is truncated."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
        for file in weight_files(checkpoint):
            with safe_open(file, "pt"):
                pass
        for name in _STATE_FILES:
            with zipfile.ZipFile(checkpoint / name):
                pass
    except (OSError, ValueError, SafetensorError, zipfile.BadZipFile, UserError):
        return False
    return True


def latest_checkpoint(work: Path) -> Path | None:
    """The newest complete checkpoint, or None; incomplete newer ones are deleted."""
    for checkpoint in sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True):
        if is_complete(checkpoint):
            return checkpoint
        rmtree(checkpoint)
    return None


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    order: Sequence[int],
    work: Path,
    arguments: dict[str, Any],
    lora: dict[str, Any] | None,
    on_progress: StepProgress | None,
) -> PreTrainedModel:
    """Train once over the rows in the given order, resuming from the newest complete checkpoint in `work`.

    Args:
        model: The model to train.
        tokenizer: Its tokenizer.
        rows: Training rows.
        order: Row numbers in training order, see `training_order`.
        work: Folder for checkpoints.
        arguments: Arguments of SFTConfig for the optimizer and the schedule.
        lora: Arguments of LoraConfig; None trains every weight.
        on_progress: Called with the number of completed steps and the total.
    Returns:
        The trained model in evaluation mode, with adapters merged into its weights.
    """
    checkpoint = latest_checkpoint(work)
    columns = {name: [row[name] for row in rows] for name in ("input_ids", "labels")}
    trainer = Trainer(
        model=model,
        args=_config(model, work, arguments),
        train_dataset=Dataset.from_dict(columns).select(list(order)),
        processing_class=tokenizer,
        peft_config=LoraConfig(task_type="CAUSAL_LM", target_modules=TARGETS, **lora) if lora else None,
        callbacks=[ProgressAndSaving(on_progress)],
    )
    trainer.remove_callback(PrinterCallback)
    # A signal waits for the end of the step, and for a checkpoint.
    with deferred():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trained: Any = trainer.model
    merged: PreTrainedModel = (trained.merge_and_unload() if lora else trained).eval()
    return merged


def _config(model: PreTrainedModel, work: Path, arguments: dict[str, Any]) -> SFTConfig:
    on_cpu = model.device.type == "cpu"
    config = SFTConfig(
        output_dir=str(work),
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        save_strategy="no",  # `ProgressAndSaving` requests checkpoints
        save_total_limit=2,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        gradient_checkpointing=False,
        report_to="none",
        logging_strategy="no",
        disable_tqdm=True,
        **arguments,
    )
    # TRL rejects several visible GPUs in one process, although the model is on a single one.
    config._n_gpu = 1
    return config
