"""Leave the gap as it is."""

from typing import Any

from layerlimits.replacements import ReplacementContext


def none(context: ReplacementContext) -> dict[str, Any]:
    """Layers are deleted and nothing else changes: the control that every other replacement must beat.

    Source: ShortGPT, arXiv 2403.03853
    Cost: none
    """
    context.on_progress(1.0)
    return {}
