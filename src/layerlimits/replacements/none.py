"""Plain removal."""

from typing import Any

from layerlimits.replacements import ReplacementContext


def none(context: ReplacementContext) -> dict[str, Any]:
    """Plain removal: delete the layers and change nothing else. The baseline for every other replacement.

    Source: ShortGPT, arXiv 2403.03853
    Cost: none
    """
    context.on_progress(1.0)
    return {}
