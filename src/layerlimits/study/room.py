"""Disk space and memory that a stage of a study needs, checked before it starts."""

import torch

from layerlimits.models.load import parameter_count
from layerlimits.resources import check_disk, check_memory, free_memory
from layerlimits.study.estimate import Cost, works
from layerlimits.study.resolved import ResolvedStudy
from layerlimits.study.session import Run

# Bytes of a stored response besides its text: keys, digests, verdict and indices, and the write-ahead log.
_RESPONSE_BYTES = 2000
# Bytes per token as text, as JSON, and in the log.
_TOKEN_BYTES = 24
# Bytes per trained parameter: the weight in float32 and two moments of the optimizer, and its gradient while training.
_CHECKPOINT_BYTES, _TRAINING_BYTES = 12, 16
# Two checkpoints are kept, and a third one is written before the oldest is deleted.
_CHECKPOINTS = 3
# Adapters of rank 64 have few parameters of the model.
_ADAPTED_FRAC = 0.1


def check_room(run: Run, stage: str) -> None:
    """Check that the run folder has room for what a stage stores.

    Raises:
        StorageError: It has not, with the numbers.
    """
    needed = response_bytes(run.study, run.cost, stage)
    if stage == "recover" and run.study.recovery:
        parameters = parameter_count(run.loaded.model)
        needed += max(checkpoint_bytes(kind, parameters) for kind in run.study.recovery.kinds)
        needed += _finished_bytes(run)
    check_disk(f"stage {stage}", needed, run.folder)


def check_training_memory(run: Run, kind: str) -> None:
    """Check that the device has memory for finetuning a copy of the model.

    Raises:
        UserError: It has not, with the numbers.
    """
    parameters, device = parameter_count(run.loaded.model), run.loaded.model.device
    free = int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_memory()
    fix = 'use a machine or device with more memory, or recovery.kinds = ["lora"]'
    check_memory(f"finetuning ({kind})", training_bytes(kind, parameters), fix, free)


def response_bytes(study: ResolvedStudy, cost: Cost, stage: str) -> float:
    """Estimated bytes of the responses of a stage, if none is stored."""
    return sum(
        work.responses
        * (_RESPONSE_BYTES + _TOKEN_BYTES * cost.new_tokens(work.task) * (work.task.kind == "generation"))
        for work in works(study)
        if work.stage == stage
    )


def checkpoint_bytes(kind: str, parameters: int) -> float:
    """Bytes of the checkpoints that finetuning keeps.

    Args:
        kind: "full" or "lora".
        parameters: Parameters of the unpruned model.
    """
    return _CHECKPOINTS * _CHECKPOINT_BYTES * parameters * (1.0 if kind == "full" else _ADAPTED_FRAC)


def training_bytes(kind: str, parameters: int) -> float:
    """Bytes of memory that finetuning needs besides the unpruned model, without activations; see `checkpoint_bytes`."""
    return parameters * (_TRAINING_BYTES if kind == "full" else 4 + _TRAINING_BYTES * _ADAPTED_FRAC)


def _finished_bytes(run: Run) -> float:
    """Bytes of the finetuned models that are not written yet."""
    recovery = run.study.recovery
    assert recovery
    models = recovery.trainings * len(recovery.counts) - len(run.artifacts.recovered)
    weights = run.artifacts.base["weight_bytes"] if run.artifacts.base else 0
    return float(max(0, models) * weights)
