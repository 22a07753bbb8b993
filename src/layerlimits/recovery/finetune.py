"""Finetuning of a pruned model with TRL, full or with LoRA; an interrupted run resumes to the same bytes."""

import json
import sys
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from layerlimits.errors import UserError, unknown
from layerlimits.models.load import Loaded
from layerlimits.models.remove import without_layers
from layerlimits.models.save import read_recipe, write_checkpoint
from layerlimits.paths import check_writable
from layerlimits.recovery.adapters import adapters_of
from layerlimits.recovery.data import Example
from layerlimits.recovery.rows import Row, StepProgress, end_of_turn, to_rows, trained_tokens, training_order
from layerlimits.resources import is_out_of_memory
from layerlimits.sampling import MAX_EPOCHS, check_seed
from layerlimits.types import content_hash

# Learning rates and schedules by kind; those of LoRA are the paper's. With a constant rate, full finetuning makes a
# model worse if little was lost, so its schedule decays to zero (figures in LOG.md).
_LR = {"full": 5e-4, "lora": 2e-4}
_SCHEDULE = {"full": "linear", "lora": "constant"}
_SCHEDULER_TYPES = {"linear": "linear", "constant": "constant_with_warmup"}

# Maximum fraction of steps used for warmup; a short run would otherwise never reach its learning rate.
_WARMUP_FRAC = 0.2

_MARK = "finetune.json"


@dataclass(frozen=True)
class FinetuneConfig:
    """Finetuning settings. The defaults are those of arXiv 2602.01997, without quantization.

    The learning rate warms up linearly over `warmup_steps`, or a fifth of all steps if that is less. It then stays
    constant ("constant") or decays linearly to zero ("linear"). AdamW uses betas of 0.9 and 0.99, and gradients are
    clipped to norm 1.

    Args:
        kind: "lora" trains adapters on the layers' weight matrices that PEFT supports (see `adapters_of`; the recipe
            lists them) and merges them; "full" trains every weight.
        lr: Learning rate; None means 2e-4 for LoRA and 5e-4 for full finetuning.
        schedule: Learning-rate schedule; None means "constant" for LoRA and "linear" for full finetuning.
        epochs: Number of passes over the examples.
        batch_size: Examples per step.
        warmup_steps: Number of warmup steps.
        weight_decay: Weight decay of AdamW.
        lora_rank, lora_alpha: Rank and scaling of the adapters.
        lora_dropout: Dropout on the adapters' inputs; 0 for architectures whose adapters do not support dropout.
        max_length: Maximum number of tokens of a prompt with its answer; longer examples are omitted.
        seed: Seed of the order of examples and of dropout.
    Raises:
        UserError: A setting is outside its range, or `kind` or `schedule` is unknown.
    """

    kind: Literal["full", "lora"] = "lora"
    lr: float | None = None
    schedule: Literal["constant", "linear"] | None = None
    epochs: int = 1
    batch_size: int = 8
    warmup_steps: int = 50
    weight_decay: float = 1e-4
    lora_rank: int = 64
    lora_alpha: int = 16
    lora_dropout: float = 0.05
    max_length: int = 8192
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in _LR:
            raise unknown("kind of finetuning", self.kind, _LR)
        check_seed(self.seed)
        if self.lr is None:
            object.__setattr__(self, "lr", _LR[self.kind])
        if self.schedule is None:
            object.__setattr__(self, "schedule", _SCHEDULE[self.kind])
        if self.schedule not in _SCHEDULER_TYPES:
            raise unknown("schedule", str(self.schedule), _SCHEDULER_TYPES)
        for name in ("lr", "epochs", "batch_size", "lora_rank", "lora_alpha", "max_length"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} is {getattr(self, name):g}, but must be above 0", f"set {name} above 0")
        if self.epochs > MAX_EPOCHS:
            raise UserError(f"epochs {self.epochs} is above {MAX_EPOCHS}", f"set epochs to 1 to {MAX_EPOCHS}")
        for name in ("warmup_steps", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name} is {getattr(self, name):g}, but must be 0 or more", f"set {name} to 0 or more")
        if not 0 <= self.lora_dropout < 1:
            raise UserError(
                f"lora_dropout is {self.lora_dropout:g}, but must be at least 0 and below 1",
                "set lora_dropout to a value such as 0.05",
            )


def finetune(
    loaded: Loaded,
    plan_removed: tuple[int, ...],
    examples: Sequence[Example],
    settings: FinetuneConfig,
    work: Path,
    out: Path,
    about: dict[str, Any],
    on_progress: StepProgress | None = None,
) -> Path:
    """Finetune the model without the removed layers on the examples and save it to `out`.

    The loss is taken on answer tokens only. `loaded.model` is not modified: a copy is pruned and trained. If an
    interrupted call is repeated with the same arguments, it resumes from the last checkpoint in `work` and writes the
    same bytes as an uninterrupted call on the same machine. A finished model is not trained again.

    Args:
        loaded: The model to prune and finetune.
        plan_removed: Layers to remove first, in the numbering of `loaded`; empty if it is already pruned.
        examples: Training examples.
        settings: Finetuning settings.
        work: Folder for checkpoints, which are deleted at the end; each finetuning run needs its own folder.
        out: Folder of the finetuned checkpoint.
        about: Recipe of the pruned model; the training details are added under "finetune".
        on_progress: Called with the number of completed steps and the total.
    Raises:
        UserError: There are no examples or none fits, LoRA does not support the architecture, `out` contains a
            different model, or weights become non-finite.
    """
    if not examples:
        raise UserError("there are 0 examples to finetune on", "generate answers of the unpruned model first")
    end = end_of_turn(loaded.model, loaded.tokenizer)
    rows = to_rows(loaded.tokenizer, end, examples, settings.max_length)
    trained = _about_training(loaded, plan_removed, rows, settings)
    if (read_recipe(out) or {}).get("finetune", {}).get("key") == trained["key"]:
        _clean(work)  # the run may have been interrupted before cleaning up
        return out
    check_writable(out, empty=True)
    _claim(work, trained["key"])
    if settings.kind == "lora":
        adapters = adapters_of(loaded.model.config)
        settings = settings if adapters.dropout else replace(settings, lora_dropout=0.0)
        lora = {"adapted": adapters.adapted, "not_adapted": adapters.left_out, "dropout": settings.lora_dropout}
        trained["lora"] = lora
    # Imported late: it takes seconds, and errors should be reported before that.
    from layerlimits.recovery.trainer import quiet

    with quiet():
        model = _within_memory(loaded, plan_removed, rows, settings, work, on_progress)
        write_checkpoint(_cast(model, loaded.model.dtype), loaded.folder, out, {**about, "finetune": trained})
    _clean(work)
    return out


def training_key(
    loaded: Loaded, removed: tuple[int, ...], examples: Sequence[Example], settings: FinetuneConfig
) -> str:
    """Identifies a finetuning by the pruned model, the examples and the settings, as "key" in the recipe does.

    Args:
        loaded, examples, settings: As for `finetune`.
        removed: As `plan_removed` of `finetune`.
    Raises:
        UserError: No example fits, or the model has no stop token.
    """
    rows = to_rows(loaded.tokenizer, end_of_turn(loaded.model, loaded.tokenizer), examples, settings.max_length)
    return str(_about_training(loaded, removed, rows, settings)["key"])


def _about_training(
    loaded: Loaded, removed: tuple[int, ...], rows: list[Row], settings: FinetuneConfig
) -> dict[str, Any]:
    """The training details for the recipe; `key` identifies model, layers, data and settings."""
    data = content_hash(rows, 32)
    return {
        "key": content_hash([loaded.ref.without(removed).fingerprint, data, asdict(settings)], 32),
        "settings": asdict(settings),
        "examples": len(rows),
        "trained_tokens": settings.epochs * trained_tokens(rows),
        "data": data,
    }


def _claim(work: Path, key: str) -> None:
    """Delete the checkpoints in `work` unless they belong to this training run."""
    mark = work / _MARK
    if mark.exists() and mark.read_text() == json.dumps({"key": key}):
        return
    _clean(work)
    work.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps({"key": key}))


def _clean(work: Path) -> None:
    """Remove the files that training wrote, and the folder if it is then empty."""
    for checkpoint in work.glob("checkpoint-*"):
        rmtree(checkpoint)
    (work / _MARK).unlink(missing_ok=True)
    if work.exists() and not any(work.iterdir()):
        work.rmdir()


def _copy(loaded: Loaded, removed: tuple[int, ...], settings: FinetuneConfig) -> PreTrainedModel:
    """A pruned copy of the model.

    Trained weights are float32, since small updates are lost to rounding in shorter types. LoRA adapters are float32
    anyway, but a float16 base model would lose small gradients, so it is converted too.
    """
    with without_layers(loaded.model, removed) as pruned:
        model = deepcopy(pruned)
    wide = settings.kind == "full" or loaded.ref.dtype == "float16"
    return _cast(model, torch.float32) if wide else model


def _cast(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The model with its weights converted to `dtype`."""
    cast: PreTrainedModel = model.to(dtype=dtype)  # type: ignore[call-arg]  # transformers hides the types of `to`
    return cast


def _within_memory(
    loaded: Loaded,
    removed: tuple[int, ...],
    rows: list[Row],
    settings: FinetuneConfig,
    work: Path,
    on_progress: StepProgress | None,
) -> PreTrainedModel:
    """The trained model. Each time memory runs out, batches are computed in more parts from the last checkpoint on."""
    at_once = settings.batch_size
    while True:
        model = None
        try:
            model = _copy(loaded, removed, settings)
            return _train(model, loaded, rows, settings, work, on_progress, at_once)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Not in the handler, whose traceback would keep the model and its gradients alive.
        model = None
        if at_once == 1:
            raise UserError(
                "not enough memory to finetune on one example",
                f"set max_length below {settings.max_length}, or use LoRA, a smaller dtype or another device",
            )
        at_once = next(size for size in range(at_once // 2, 0, -1) if settings.batch_size % size == 0)
        print(
            f"note: out of memory; finetuning on {at_once} of {settings.batch_size} examples at a time", file=sys.stderr
        )


def _train(
    model: PreTrainedModel,
    loaded: Loaded,
    rows: list[Row],
    settings: FinetuneConfig,
    work: Path,
    on_progress: StepProgress | None,
    at_once: int,
) -> PreTrainedModel:
    """The model after training on batches in parts of `at_once` examples.

    Raises:
        UserError: Weights are no longer finite.
    """
    from layerlimits.recovery.trainer import train

    order = training_order([len(row["input_ids"]) for row in rows], settings.batch_size, settings.epochs, settings.seed)
    arguments = _arguments(settings, loaded.ref.dtype, -(-len(order) // settings.batch_size))
    parts = {"per_device_train_batch_size": at_once, "gradient_accumulation_steps": settings.batch_size // at_once}
    lora = {"r": settings.lora_rank, "lora_alpha": settings.lora_alpha, "lora_dropout": settings.lora_dropout}
    # Training changes the model's configuration (use_cache, stop tokens); restore it before saving.
    originals = [(about, dict(vars(about))) for about in (model.config, model.generation_config)]
    adapters = lora if settings.kind == "lora" else None
    trained = train(model, loaded.tokenizer, rows, order, work, arguments | parts, adapters, on_progress)
    for about, before in originals:
        vars(about).clear()
        vars(about).update(before)
    if not all(bool(torch.isfinite(parameter).all()) for parameter in trained.parameters()):
        raise UserError(f"finetuning with lr {settings.lr:g} diverged: weights are not finite", "lower lr")
    return trained


def _arguments(settings: FinetuneConfig, dtype: str, steps: int) -> dict[str, Any]:
    """The settings as arguments of transformers' TrainingArguments."""
    return {
        "learning_rate": settings.lr,
        "lr_scheduler_type": _SCHEDULER_TYPES[settings.schedule or "constant"],
        "warmup_steps": min(settings.warmup_steps, int(_WARMUP_FRAC * steps)),
        "adam_beta1": 0.9,
        "adam_beta2": 0.99,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": 1.0,
        "seed": settings.seed,
        "bf16": settings.kind == "full" and dtype == "bfloat16",
    }
