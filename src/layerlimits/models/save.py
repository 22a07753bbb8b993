"""Writing a pruned checkpoint that stock transformers loads, with the recipe of how it came to be."""

import json
import shutil
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from layerlimits import __version__
from layerlimits.models.load import Loaded
from layerlimits.models.remove import without_layers
from layerlimits.paths import check_writable
from layerlimits.types import PrunePlan

RECIPE = "layerlimits.json"
_COPIED = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "spiece.model",
    "chat_template*",
    "LICENSE*",
    "NOTICE*",
)


def save_pruned(loaded: Loaded, plan: PrunePlan, out: Path, command: str) -> Path:
    """Write the checkpoint without the plan's layers to `out`, whole or not at all.

    Raises:
        UserError: the folder is not empty or cannot be written, or the removal changes nothing.
    """
    check_writable(out, empty=True)
    loaded.check_canary(plan.removed)
    with without_layers(loaded.model, plan.removed) as pruned:
        return write_checkpoint(pruned, loaded.folder, out, recipe(loaded, plan, command))


def recipe(loaded: Loaded, plan: PrunePlan, command: str) -> dict[str, Any]:
    """What a pruned folder says of itself."""
    return {
        "made_by": f"layerlimits {__version__}",
        "base": loaded.ref.path,
        "base_fingerprint": loaded.ref.base_fingerprint,
        "base_layers": loaded.depth,
        "removed": list(plan.removed),
        "method": plan.method,
        "scores": list(plan.scores),
        "protected": list(plan.protected),
        "calibration": list(plan.calibration),
        "command": command,
    }


def write_checkpoint(model: PreTrainedModel, origin: Path, out: Path, about: dict[str, Any]) -> Path:
    """Save the model beside the tokenizer and licence files of `origin`; appears under `out` only when complete."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    for pattern in _COPIED:
        for file in origin.glob(pattern):
            shutil.copyfile(file, partial / file.name)
    (partial / RECIPE).write_text(json.dumps(about, indent=1) + "\n")
    if out.exists():
        out.rmdir()
    partial.replace(out)
    return out


def read_recipe(folder: Path) -> dict[str, Any] | None:
    """The recipe of a pruned folder, None where there is none."""
    path = folder / RECIPE
    return json.loads(path.read_text()) if path.exists() else None
