"""What the settings of sampling may be: the one check for the command line, the API and configuration files."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from layerlimits.errors import UserError

_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": (lambda value: math.isfinite(value) and value >= 0, "0 or more, and finite"),
    "top_p": (lambda value: 0 < value <= 1, "above 0 and up to 1"),
    "top_k": (lambda value: value >= 0, "0 or more"),
    "samples": (lambda value: value >= 1, "1 or more"),
    "max_new_tokens": (lambda value: value is None or value >= 1, "1 or more"),
}
SETTINGS = tuple(_RULES)


def problem(setting: str, value: Any) -> str | None:
    """What is wrong with the value of one of `SETTINGS`, None if nothing is."""
    allowed, words = _RULES[setting]
    return None if allowed(value) else f"{value} is not allowed: it must be {words}"


def check_sampling(settings: Mapping[str, Any]) -> None:
    """Refuse settings that cannot be sampled with, each by itself and together.

    Args:
        settings: a value for each of `SETTINGS`.
    Raises:
        UserError: with every value that is wrong.
    """
    problems = [f"{setting} {said}" for setting in SETTINGS if (said := problem(setting, settings[setting]))]
    if problems:
        raise UserError("; ".join(problems), "change the sampling settings that are listed")
    if settings["samples"] > 1 and not settings["temperature"]:
        raise UserError(
            f"{settings['samples']} samples at temperature 0 are all the same", "set temperature, such as 0.7"
        )
