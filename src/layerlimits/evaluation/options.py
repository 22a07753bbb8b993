"""How a model is asked: what changes its answers, and what only changes the work."""

from dataclasses import dataclass

from layerlimits.types import GREEDY, Decoding


@dataclass(frozen=True)
class AskOptions:
    """How an `Evaluator` asks its model.

    Args:
        engine: name of the engine plug-in.
        batch_size: prompts per batch; part of what a run fixes, since rounding depends on it.
        chat: whether prompts go through the model's chat template; None: where it has one.
        decoding: how generated answers are decoded.
        unsafe: run programs that a model wrote without a sandbox, even where one is possible.
        max_rows: answers under way at a time where the engine asks variants together; the engine's own bound if None.
    """

    engine: str = "sweep"
    batch_size: int = 64
    chat: bool | None = None
    decoding: Decoding = GREEDY
    unsafe: bool = False
    max_rows: int | None = None
