"""How fast a model runs on this machine; kept in the user's cache folder, so that planning again costs nothing."""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.paths import cache_folder
from layerlimits.study.resolved import ResolvedStudy
from layerlimits.types import content_hash
from layerlimits.version import __version__

# Rates that are older are measured again: machines are shared, and change.
_KEPT_S = 24 * 3600.0


@dataclass(frozen=True)
class Rates:
    """How fast a model runs on this machine.

    Args:
        prompt_token: Seconds per prompt token in a batch.
        new_token: Seconds per generated token in a batch.
        shared_choice, shared_generation: Seconds of a variant's answer divided by seconds of the unpruned model's, when
            many variants are evaluated together.
        training_token: Seconds per training token.
        new_tokens: Mean length of an answer in tokens by task.
    """

    prompt_token: float
    new_token: float
    shared_choice: float = 1.0
    shared_generation: float = 1.0
    training_token: float = 0.0
    new_tokens: Mapping[str, float] = field(default_factory=dict)


def kept_rates(study: ResolvedStudy, evaluator: Evaluator, measure: Callable[[], Rates]) -> Rates:
    """The rates that are kept for this model, machine and version; measured and kept if there are none of today."""
    file = _file(study, evaluator)
    rates = _read(file)
    if rates is None:
        rates = measure()
        _write(file, rates)
    return rates


def _file(study: ResolvedStudy, evaluator: Evaluator) -> Path:
    ref = evaluator.loaded.ref
    tasks = [task.name for task in study.measured]
    machine = [platform.node(), platform.machine(), os.cpu_count(), torch.get_num_threads(), torch.__version__]
    asked = [study.config.temperature > 0, bool(study.recovery)]
    device = str(evaluator.loaded.model.device)
    key = content_hash([ref.fingerprint, ref.dtype, device, machine, __version__, tasks, *asked])
    return cache_folder("rates") / f"{key}.json"


def _read(file: Path) -> Rates | None:
    """The rates in a file; None if there are none, or if the file is damaged: then the probe runs again."""
    try:
        if time.time() - file.stat().st_mtime > _KEPT_S:
            return None
        rates = Rates(**json.loads(file.read_text()))
        return rates if rates.prompt_token > 0 and rates.new_token > 0 else None
    except (OSError, ValueError, TypeError):
        return None


def _write(file: Path, rates: Rates) -> None:
    """Keep the rates; a cache folder that cannot be written only means that the next command probes again."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(asdict(rates)))
        part.replace(file)
    except OSError:
        return
