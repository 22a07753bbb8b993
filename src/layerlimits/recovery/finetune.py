"""Finetuning a pruned model with TRL: whole or with LoRA, resumable after a kill at any moment, to the same bytes."""

import json
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
from layerlimits.sampling import MAX_EPOCHS, check_seed
from layerlimits.types import content_hash

# Learning rates and schedules by kind; those of LoRA are the paper's. A constant rate leaves a fully finetuned model
# worse than it was where little was lost, so that one falls to zero (figures in LOG.md).
_LR = {"full": 5e-4, "lora": 2e-4}
_SCHEDULE = {"full": "linear", "lora": "constant"}
_SCHEDULER_TYPES = {"linear": "linear", "constant": "constant_with_warmup"}

# The warm-up takes at most this share of the steps: a short run would otherwise never reach its learning rate.
_WARMUP_FRAC = 0.2

_MARK = "finetune.json"


@dataclass(frozen=True)
class FinetuneConfig:
    """How to finetune; the defaults are those of arXiv 2602.01997, without its quantization.

    The learning rate warms up linearly over `warmup_steps`, or a fifth of the steps if that is less; then it stays
    ("constant") or falls to zero in a line ("linear"). AdamW has the betas 0.9 and 0.99, gradients are clipped to the
    norm 1.

    Args:
        kind: "lora" trains adapters on the weight matrices of layers that PEFT can adapt (see `adapters_of`; the recipe
            lists them) and merges them; "full" every weight.
        lora_dropout: of what adapters read; 0 where an architecture has adapters that allow none.
        lr: 2e-4 for LoRA and 5e-4 for full finetuning where it is None.
        schedule: "constant" for LoRA and "linear" for full finetuning where it is None.
        max_length: tokens of the longest prompt with its answer; longer ones are left out.
    Raises:
        UserError: a setting outside its range, or another kind.
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
                raise UserError(f"{name} is {getattr(self, name):g}", f"set {name} above 0")
        if self.epochs > MAX_EPOCHS:
            raise UserError(f"epochs {self.epochs} is above {MAX_EPOCHS}", f"set epochs to 1 to {MAX_EPOCHS}")
        for name in ("warmup_steps", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name} is {getattr(self, name):g}", f"set {name} to 0 or more")
        if not 0 <= self.lora_dropout < 1:
            raise UserError(f"lora_dropout is {self.lora_dropout:g}", "set lora_dropout to 0 or more and below 1")


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
    """Finetune the model without these layers on the examples, the loss on the answers only, and save it to `out`.

    `loaded.model` stays as it is: a copy is pruned and trained. Killed and called again with the same arguments, it
    goes on from the last checkpoint in `work` and writes the bytes that an undisturbed call writes on the same machine.
    A model finished earlier is not trained again.

    Args:
        plan_removed: layers to remove first, in the numbering of `loaded`; none where it is pruned already.
        work: folder for checkpoints, emptied of them at the end; one folder a finetuning.
        about: recipe of the pruned model; what was trained is added under "finetune".
        on_progress: called with the steps done and their total.
    Raises:
        UserError: no examples, none that fits, an architecture that LoRA cannot adapt, another model at `out`, or
            weights that are no longer finite.
    """
    if not examples:
        raise UserError("there are 0 examples to finetune on", "give answers of the unpruned model")
    end = end_of_turn(loaded.model, loaded.tokenizer)
    rows = to_rows(loaded.tokenizer, end, examples, settings.max_length)
    trained = _about_training(loaded, plan_removed, rows, settings)
    if (read_recipe(out) or {}).get("finetune", {}).get("key") == trained["key"]:
        _clean(work)  # a kill may have come between writing and cleaning
        return out
    check_writable(out, empty=True)
    _claim(work, trained["key"])
    if settings.kind == "lora":
        adapters = adapters_of(loaded.model.config)
        settings = settings if adapters.dropout else replace(settings, lora_dropout=0.0)
        lora = {"adapted": adapters.adapted, "not_adapted": adapters.left_out, "dropout": settings.lora_dropout}
        trained["lora"] = lora
    # Imported here: it takes seconds, and a mistake should be told before them.
    from layerlimits.recovery.trainer import quiet

    with quiet():
        model = _train(_copy(loaded, plan_removed, settings), loaded, rows, settings, work, on_progress)
        write_checkpoint(_cast(model, loaded.model.dtype), loaded.folder, out, {**about, "finetune": trained})
    _clean(work)
    return out


def _about_training(
    loaded: Loaded, removed: tuple[int, ...], rows: list[Row], settings: FinetuneConfig
) -> dict[str, Any]:
    """What the recipe says of the training; `key` identifies model, layers, data and settings."""
    data = content_hash(rows, 32)
    return {
        "key": content_hash([loaded.ref.without(removed).fingerprint, data, asdict(settings)], 32),
        "settings": asdict(settings),
        "examples": len(rows),
        "trained_tokens": settings.epochs * trained_tokens(rows),
        "data": data,
    }


def _claim(work: Path, key: str) -> None:
    """Keep the checkpoints in `work` only if they belong to this training."""
    mark = work / _MARK
    if mark.exists() and mark.read_text() == json.dumps({"key": key}):
        return
    _clean(work)
    work.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps({"key": key}))


def _clean(work: Path) -> None:
    """Remove what training wrote, and the folder if nothing else is in it."""
    for checkpoint in work.glob("checkpoint-*"):
        rmtree(checkpoint)
    (work / _MARK).unlink(missing_ok=True)
    if work.exists() and not any(work.iterdir()):
        work.rmdir()


def _copy(loaded: Loaded, removed: tuple[int, ...], settings: FinetuneConfig) -> PreTrainedModel:
    """A pruned copy. Weights that train are float32, since small steps vanish in the rounding of shorter types; the
    adapters of LoRA are so of themselves, but float16 under them would lose small gradients.
    """
    with without_layers(loaded.model, removed) as pruned:
        model = deepcopy(pruned)
    wide = settings.kind == "full" or loaded.ref.dtype == "float16"
    return _cast(model, torch.float32) if wide else model


def _cast(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The same model with its weights in that type."""
    cast: PreTrainedModel = model.to(dtype=dtype)  # type: ignore[call-arg]  # transformers hides the types of `to`
    return cast


def _train(
    model: PreTrainedModel,
    loaded: Loaded,
    rows: list[Row],
    settings: FinetuneConfig,
    work: Path,
    on_progress: StepProgress | None,
) -> PreTrainedModel:
    """The model after training.

    Raises:
        UserError: weights that are no longer finite.
    """
    from layerlimits.recovery.trainer import train

    order = training_order([len(row["input_ids"]) for row in rows], settings.batch_size, settings.epochs, settings.seed)
    arguments = _arguments(settings, loaded.ref.dtype, -(-len(order) // settings.batch_size))
    lora = {"r": settings.lora_rank, "lora_alpha": settings.lora_alpha, "lora_dropout": settings.lora_dropout}
    # Training changes what a model says of itself (use_cache, the tokens it stops at); the saved one says what it said.
    said = [(about, dict(vars(about))) for about in (model.config, model.generation_config)]
    adapters = lora if settings.kind == "lora" else None
    trained = train(model, loaded.tokenizer, rows, order, work, arguments, adapters, on_progress)
    for about, before in said:
        vars(about).clear()
        vars(about).update(before)
    if not all(bool(torch.isfinite(parameter).all()) for parameter in trained.parameters()):
        raise UserError(f"finetuning at lr {settings.lr:g} diverged: weights are not finite", "set a smaller lr")
    return trained


def _arguments(settings: FinetuneConfig, dtype: str, steps: int) -> dict[str, Any]:
    """The settings in the words of transformers' TrainingArguments."""
    return {
        "learning_rate": settings.lr,
        "lr_scheduler_type": _SCHEDULER_TYPES[settings.schedule or "constant"],
        "warmup_steps": min(settings.warmup_steps, int(_WARMUP_FRAC * steps)),
        "adam_beta1": 0.9,
        "adam_beta2": 0.99,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": 1.0,
        "per_device_train_batch_size": settings.batch_size,
        "seed": settings.seed,
        "bf16": settings.kind == "full" and dtype == "bfloat16",
    }
