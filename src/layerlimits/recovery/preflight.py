"""Checks of finetuning settings against the machine, before any weights are loaded."""

import os
from collections.abc import Sequence

from layerlimits.errors import UserError
from layerlimits.recovery.settings import FinetuneConfig


def check_settings(settings: FinetuneConfig, device: str) -> None:
    """Check that this machine has what the settings need.

    Args:
        settings: Finetuning settings.
        device: The device of the training, such as "cpu".
    Raises:
        UserError: bitsandbytes is missing or does not run on the device, the tracker is not installed, or there are
            several processes.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        raise UserError(
            f"finetuning was started in {processes} processes, but runs in one",
            "start it without accelerate launch or torchrun (unset WORLD_SIZE)",
        )
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
