"""Finetuning of a pruned model with TRL, full or with LoRA; an interrupted run resumes to the same bytes."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

from layerlimits.errors import UserError
from layerlimits.models.load import Loaded
from layerlimits.models.quiet import quiet
from layerlimits.models.save import read_recipe, write_checkpoint
from layerlimits.paths import check_writable
from layerlimits.recovery.adapters import adapters_of
from layerlimits.recovery.context import TrainingContext
from layerlimits.recovery.data import Example
from layerlimits.recovery.preflight import check_settings
from layerlimits.recovery.rows import Row, end_of_turn, to_rows, trained_tokens
from layerlimits.recovery.settings import FinetuneConfig
from layerlimits.types import content_hash

_MARK = "finetune.json"
_ALONE = TrainingContext()


def finetune(
    loaded: Loaded,
    plan_removed: tuple[int, ...],
    examples: Sequence[Example],
    settings: FinetuneConfig,
    work: Path,
    out: Path,
    about: dict[str, Any],
    context: TrainingContext = _ALONE,
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
        context: Progress, evaluation while training, and the teacher of "distill". The points of the curve are added
            to the training details as "curve", and the trained tokens of the best one, whose weights are saved, as
            "best_tokens".
    Raises:
        UserError: There are no examples or none fits, LoRA does not support the architecture, `out` contains a
            different model, several processes cannot train, or the loss or weights become non-finite. The last good
            checkpoint then stays in `work`.
    """
    if not examples:
        raise UserError("there are 0 examples to finetune on", "generate answers of the unpruned model first")
    end = end_of_turn(loaded.model, loaded.tokenizer)
    rows = to_rows(loaded.tokenizer, end, examples, settings.max_length)
    trained = _about_training(loaded, plan_removed, rows, settings)
    heldout = to_rows(loaded.tokenizer, end, context.curve.heldout, settings.max_length) if context.curve else []
    if (read_recipe(out) or {}).get("finetune", {}).get("key") == trained["key"]:
        _clean(work)  # the run may have been interrupted before cleaning up
        return out
    check_writable(out, empty=True)
    check_settings(settings, str(loaded.model.device))
    _claim(work, trained["key"])
    if settings.adapts:
        adapters = adapters_of(loaded.model.config, settings.lora_targets)
        settings = settings if adapters.dropout else replace(settings, lora_dropout=0.0)
        lora = {"adapted": adapters.adapted, "not_adapted": adapters.left_out, "dropout": settings.lora_dropout}
        trained["lora"] = lora
    # Imported late: it takes seconds, and errors should be reported before that.
    from layerlimits.recovery.training import Training, cast

    training = Training(loaded, plan_removed, rows, heldout, settings, work, trained["key"], context)
    with quiet(logging.WARNING):
        model, curve, best = training.within_memory()
        if context.curve:
            trained |= {"curve": curve, "best_tokens": best}
        write_checkpoint(cast(model, loaded.model.dtype), loaded.folder, out, {**about, "finetune": trained})
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
    # The tracker changes nothing; several processes round differently, and their checkpoints are their own.
    left_out = {"report_to"} | (set() if settings.processes > 1 else {"processes", "fsdp"})
    decisive = {name: value for name, value in asdict(settings).items() if name not in left_out}
    return {
        "key": content_hash([loaded.ref.without(removed).fingerprint, data, decisive], 32),
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
    for weights in work.glob("best-*.safetensors"):
        weights.unlink()
    # The answers of the model in training, and what several processes exchange.
    for folder in ("curve", "processes"):
        rmtree(work / folder, ignore_errors=True)
    (work / _MARK).unlink(missing_ok=True)
    if work.exists() and not any(work.iterdir()):
        work.rmdir()
