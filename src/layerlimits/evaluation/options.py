"""Settings of an evaluation: those that change responses, and those that change only speed and memory."""

from dataclasses import dataclass

from layerlimits.chat_options import PLAIN, ChatOptions
from layerlimits.types import GREEDY, Decoding


@dataclass(frozen=True)
class AskOptions:
    """Settings of an `Evaluator`.

    Args:
        engine: name of the engine plug-in.
        batch_size: prompts per batch; fixed for a run folder, because rounding depends on it.
        chat: whether to apply the model's chat template; None: if it has one.
        template: settings of the chat template.
        decoding: how generated answers are decoded.
        unsafe: run programs written by the model without a sandbox, even if one is available.
        max_rows: maximum number of answers decoded at the same time; the engine's default if None.
    """

    engine: str = "sweep"
    batch_size: int = 64
    chat: bool | None = None
    template: ChatOptions = PLAIN
    decoding: Decoding = GREEDY
    unsafe: bool = False
    max_rows: int | None = None
