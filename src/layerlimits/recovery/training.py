"""One training within the memory of the machine: a copy of the model, its batches, and the settings of TRL."""

import sys
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.models.load import Loaded
from layerlimits.models.remove import without_layers
from layerlimits.recovery.adapters import target_modules
from layerlimits.recovery.context import TrainingContext
from layerlimits.recovery.curve import CurveCallback
from layerlimits.recovery.launching import Job, launch
from layerlimits.recovery.packing import check_packing, packed
from layerlimits.recovery.quantized import merged, quantized
from layerlimits.recovery.rows import Row, Schedule, training_order
from layerlimits.recovery.settings import OPTIMIZERS, SCHEDULER_TYPES, FinetuneConfig
from layerlimits.recovery.trainer import Lesson, latest_checkpoint, train
from layerlimits.recovery.watching import LossMeter, ModelSettings
from layerlimits.resources import is_out_of_memory

# Maximum fraction of steps used for warmup; a short run would otherwise never reach its learning rate.
_WARMUP_FRAC = 0.2

# The trained model, the points of its curve, and the trained tokens of the best one.
Trained = tuple[PreTrainedModel, list[dict[str, Any]], int | None]


@dataclass(frozen=True)
class Training:
    """A training of a pruned copy of a model.

    Args:
        loaded: The model to prune and finetune.
        removed: Layers to remove first.
        rows: Training rows.
        heldout: Rows of the held-out examples.
        settings: Finetuning settings.
        work: Folder for checkpoints.
        key: Identifies the training.
        context: Progress, evaluation and teacher.
    """

    loaded: Loaded
    removed: tuple[int, ...]
    rows: list[Row]
    heldout: list[Row]
    settings: FinetuneConfig
    work: Path
    key: str
    context: TrainingContext

    def within_memory(self) -> Trained:
        """The trained model. Each time memory runs out, the same batches are computed in more parts, from the last
        checkpoint on.

        Raises:
            UserError: Memory is too small for one example, or the loss or weights are no longer finite.
        """
        batch_size, processes = self.settings.batch_size, self.settings.processes
        train = self._alone if processes == 1 else self._together
        at_once = batch_size
        while True:
            try:
                return train(at_once)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            # Not in the handler, whose traceback would keep the model and its gradients alive.
            if at_once == processes:
                raise UserError(
                    "not enough memory to finetune on one example at a time",
                    f"set max_length below {self.settings.max_length}, set gradient_checkpointing, or use LoRA, "
                    "a smaller dtype or another device",
                )
            sizes = range(at_once // 2 // processes * processes, 0, -processes)
            at_once = next(size for size in sizes if batch_size % size == 0)
            print(f"note: out of memory; finetuning on {at_once} of {batch_size} examples at a time", file=sys.stderr)

    def _alone(self, at_once: int) -> Trained:
        """The model after training in this process.

        Raises:
            UserError: The loss or weights are no longer finite.
        """
        trained, points, best = self.unmerged(at_once)
        return self._finite(self._merged(trained)), points, best

    def _together(self, at_once: int) -> Trained:
        """The model after training in several processes.

        Raises:
            UserError: The loss or weights are no longer finite, or a process failed.
        """
        loaded = self.loaded
        assert not self.removed, "the processes read the pruned model from its folder"
        job = Job(
            str(loaded.folder),
            loaded.ref.dtype,
            "cpu" if self.context.on_cpu else "cuda",
            self.rows,
            self.settings,
            self.key,
            str(self.work),
            at_once,
        )
        latest_checkpoint(self.work, self.settings.processes)
        launch(job, self.context.on_progress)
        return self._finite(self._collected(job.trained)), [], None

    def _finite(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model, whose weights are finite.

        Raises:
            UserError: They are not.
        """
        if not all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters()):
            raise self._meter().diverged("weights are not finite")
        return model

    def _meter(self) -> LossMeter:
        assert self.settings.lr is not None
        return LossMeter(self.settings.lr, self.work)

    def unmerged(self, at_once: int) -> tuple[Any, list[dict[str, Any]], int | None]:
        """The model after training on batches in parts of `at_once` examples; wrapped by PEFT if it has adapters.

        Raises:
            UserError: The loss is no longer finite.
        """
        settings, model = self.settings, self._copy()
        originals = ModelSettings(model)
        schedule = self._schedule(model)
        parts = {
            "per_device_train_batch_size": at_once // settings.processes,
            "gradient_accumulation_steps": settings.batch_size // at_once,
        }
        lesson = Lesson(schedule, self._arguments(schedule.steps) | parts, self._lora(), self._distillation())
        meter = self._meter()
        curve = None
        if self.context.curve:
            tokens = schedule.tokens_by_step()
            curve = CurveCallback(self.context.curve, self.heldout, tokens, self.key, self.work, meter, originals)
        trained, points, best = train(model, self.loaded.tokenizer, lesson, self.work, self.context, meter, curve)
        # Before adapters are merged, because a quantized model is not the one that is saved.
        originals.restore()
        return trained, points, best

    def _schedule(self, model: PreTrainedModel) -> Schedule:
        settings, rows = self.settings, self.rows
        if settings.packing:
            check_packing(model, rows)
            rows = packed(rows, settings.max_length)
        lengths = [len(row["input_ids"]) for row in rows]
        order = training_order(lengths, settings.batch_size, settings.epochs, settings.seed)
        return Schedule(rows, order, settings.batch_size)

    def _copy(self) -> PreTrainedModel:
        """A pruned copy of the model, in 4 bits for QLoRA.

        Trained weights are float32, since small updates are lost to rounding in shorter types. LoRA adapters are
        float32 anyway, but a float16 base model would lose small gradients, so it is converted too.
        """
        return quantized(self._pruned()) if self.settings.kind == "qlora" else self._wide()

    def _wide(self) -> PreTrainedModel:
        """A pruned copy of the model in the number type of its training. FSDP requires one type for all weights."""
        settings = self.settings
        wide = settings.kind == "full" or settings.fsdp or self.loaded.ref.dtype == "float16"
        return cast(self._pruned(), torch.float32) if wide else self._pruned()

    def _pruned(self) -> PreTrainedModel:
        with without_layers(self.loaded.model, self.removed) as pruned:
            return deepcopy(pruned)

    def _merged(self, trained: Any) -> PreTrainedModel:
        """The trained model with its adapters merged into its weights."""
        if self.settings.kind == "qlora":
            return merged(trained, self._pruned())
        model: PreTrainedModel = (trained.merge_and_unload() if self.settings.adapts else trained).eval()
        return model

    def _collected(self, folder: Path) -> PreTrainedModel:
        """The trained model from what several processes have saved: all weights, or adapters, which are merged."""
        if self.settings.kind == "full":
            model = self._wide()
            model.load_state_dict(type(model).from_pretrained(folder, dtype=torch.float32).state_dict())
            return model.eval()
        from peft import PeftModel

        base = self._pruned() if self.settings.kind == "qlora" else self._wide()
        merging: PreTrainedModel = PeftModel.from_pretrained(base, str(folder)).merge_and_unload().eval()
        return merging

    def _arguments(self, steps: int) -> dict[str, Any]:
        """The settings as arguments of transformers' TrainingArguments."""
        settings = self.settings
        widened = settings.kind == "full" or settings.fsdp
        short = settings.kind == "qlora" or (widened and self.loaded.ref.dtype == "bfloat16")
        return {
            "learning_rate": settings.lr,
            "lr_scheduler_type": SCHEDULER_TYPES[settings.schedule or "constant"],
            "warmup_steps": min(settings.warmup_steps, int(_WARMUP_FRAC * steps)),
            "optim": OPTIMIZERS[settings.optimizer],
            "adam_beta1": settings.adam_beta1,
            "adam_beta2": settings.adam_beta2,
            "weight_decay": settings.weight_decay,
            "max_grad_norm": settings.max_grad_norm,
            "gradient_checkpointing": settings.gradient_checkpointing,
            "padding_free": settings.packing,
            "report_to": settings.report_to,
            "seed": settings.seed,
            "bf16": short,
            **({"fsdp": True} if settings.fsdp else {}),
        }

    def _lora(self) -> dict[str, Any] | None:
        """The settings as arguments of LoraConfig."""
        settings = self.settings
        if not settings.adapts:
            return None
        return {
            "r": settings.lora_rank,
            "lora_alpha": settings.lora_alpha,
            "lora_dropout": settings.lora_dropout,
            "target_modules": target_modules(settings.lora_targets),
        }

    def _distillation(self) -> dict[str, Any] | None:
        """The settings as arguments of GKDConfig.

        Raises:
            UserError: There is no teacher.
        """
        settings = self.settings
        if settings.objective != "distill":
            return None
        if self.context.teacher is None:
            raise UserError("the objective distill needs a teacher", "pass the unpruned model as the teacher")
        longest = max(sum(label >= 0 for label in row["labels"]) for row in self.rows)
        return {
            "beta": settings.distill_beta,
            "temperature": settings.distill_temperature,
            "lmbda": settings.on_policy,
            "max_new_tokens": longest,
            # Dropout belongs to the adapters, as for the other objectives.
            "disable_dropout": False,
        }


def cast(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The model with its weights converted to `dtype`."""
    converted: PreTrainedModel = model.to(dtype=dtype)  # type: ignore[call-arg]  # transformers hides the types of `to`
    return converted
