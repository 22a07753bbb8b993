"""Checks of finetuning settings against the machine, before any weights are loaded."""

import os
from collections.abc import Sequence

import torch

from layerlimits.errors import UserError
from layerlimits.recovery.settings import FinetuneConfig


def check_settings(settings: FinetuneConfig, device: str) -> None:
    """Check that this machine has what the settings need.

    Args:
        settings: Finetuning settings.
        device: The device of the training, such as "cpu".
    Raises:
        UserError: bitsandbytes is missing or does not run on the device, the tracker is not installed, there are fewer
            GPUs than processes, or the command itself was started in several processes.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > 1:
        raise UserError(
            f"the command was started in {started} processes, but starts the processes of a training itself",
            f"start it without accelerate launch or torchrun (unset WORLD_SIZE), with --processes {started}",
        )
    if settings.processes > 1 and device != "cpu" and torch.cuda.device_count() < settings.processes:
        raise UserError(
            f"{settings.processes} processes need as many GPUs, but this machine has {torch.cuda.device_count()}",
            "set processes (--processes) to the number of GPUs",
        )
    if settings.fsdp and device == "cpu":
        raise UserError("fsdp needs GPUs, but the device is cpu", "omit fsdp (--no-fsdp)")
    if settings.kind == "qlora" or settings.optimizer == "adamw_8bit":
        # Imported late: it takes seconds, and few settings need it.
        from layerlimits.recovery.quantized import check_optimizer, check_quantization

        if settings.kind == "qlora":
            check_quantization(device)
        if settings.optimizer == "adamw_8bit":
            check_optimizer(device)
    if settings.report_to != "none":
        from transformers.integrations.integration_utils import get_available_reporting_integrations

        available = sorted(get_available_reporting_integrations())
        if settings.report_to not in available:
            raise UserError(
                f"cannot report to {settings.report_to!r}: no such tracker is installed",
                f"set report_to (--report-to) to one of: {', '.join(['none', *available])}; or install it",
            )


def check_lengths(lengths: Sequence[int], max_length: int) -> None:
    """Check that a prompt leaves room for an answer and its end.

    Args:
        lengths: Number of tokens of each prompt.
        max_length: Maximum number of tokens of a prompt with its answer.
    Raises:
        UserError: None does.
    """
    shortest = min(lengths)
    if shortest + 2 > max_length:
        raise UserError(
            f"none of the {len(lengths)} training prompts leaves room for an answer within {max_length} tokens: the "
            f"shortest has {shortest}",
            f"raise max_length (--max-length) well above {shortest}, or use shorter prompts",
        )
