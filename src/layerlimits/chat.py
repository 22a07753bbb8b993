"""Limits on chat templates, which are programs that come with a model.

transformers renders them in the sandbox of Jinja, which gives a template no access to files or Python. It limits
neither time nor memory; this module limits the time.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, tzinfo
from types import FrameType
from typing import Any, Self

from jinja2 import Environment, TemplateError
from transformers import PreTrainedTokenizerBase
from transformers.utils import chat_template_utils

from layerlimits.errors import UserError
from layerlimits.foreign import reason

LONGEST_S = 10.0
_FIX = "use plain text (--no-chat), or correct the chat template of the model"


class _TooSlow(BaseException):
    """The time is over. Not an Exception, which the code that renders might catch."""


def today() -> date:
    """The date on which a run folder is begun."""
    return date.today()


def fix_clock(tokenizer: PreTrainedTokenizerBase, day: date) -> None:
    """Give the chat template a fixed date. Otherwise prompts that contain the date would differ on the next day, and
    a resumed run would compute every response again.
    """
    plain = type(tokenizer).apply_chat_template

    def apply_chat_template(*args: Any, **kwargs: Any) -> Any:
        with _clock_at(day):
            return plain(tokenizer, *args, **kwargs)

    tokenizer.apply_chat_template = apply_chat_template  # type: ignore[method-assign]  # of this tokenizer alone


@contextmanager
def _clock_at(day: date) -> Iterator[None]:
    """Inside the block, the function `strftime_now` of templates is on a fixed date, at midnight.

    transformers passes no functions to templates, so that its own clock has to be replaced.
    """

    class Fixed(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls(day.year, day.month, day.day, tzinfo=tz)

    module: Any = chat_template_utils
    before, module.datetime = module.datetime, Fixed
    try:
        yield
    finally:
        module.datetime = before


def check_template(template: Any, folder: object) -> None:
    """Check a chat template without running it.

    A power such as 9**9**9 is a single operation, which no time limit can interrupt, so that powers are refused.

    Args:
        template: The template, None if the tokenizer has none, or templates by name.
        folder: The model folder, for errors.

    Raises:
        UserError: The template is not a text, cannot be read, or computes a power.
    """
    templates = template.values() if isinstance(template, dict) else [template or ""]
    for text in templates:
        if not isinstance(text, str):
            raise UserError(f"the chat template of {folder} is a {type(text).__name__}, not a text", _FIX)
        try:
            operators = {value for _, kind, value in Environment(autoescape=True).lex(text) if kind == "operator"}
        except TemplateError as error:
            raise UserError(f"the chat template of {folder} is invalid: {reason(error)}", _FIX) from None
        if "**" in operators:
            raise UserError(f"the chat template of {folder} computes a power (**), which can take forever", _FIX)


@contextmanager
def rendering(tokenizer: PreTrainedTokenizerBase, seconds: float = LONGEST_S) -> Iterator[None]:
    """Inside the block, which renders the chat template, every failure becomes one error, and the time is limited.

    Args:
        tokenizer: The tokenizer whose template is rendered.
        seconds: Maximum time of the block in seconds. It applies in the main thread of a process only.

    Raises:
        UserError: The template fails, rejects the messages, or takes too long.
    """
    problem = f"the chat template of {tokenizer.name_or_path}"
    try:
        with _at_most(seconds):
            yield
    except _TooSlow:
        raise UserError(f"{problem} did not finish within {seconds:g} seconds", _FIX) from None
    except UserError:
        raise
    # Templates raise errors of Jinja, and those of Python for the operations in them.
    except Exception as error:
        raise UserError(f"{problem} failed: {reason(error)}", _FIX) from None


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check_asks(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], text: str) -> None:
    """Check that the rendered text depends on the last message; otherwise all items would have the same prompt.

    Args:
        tokenizer: The tokenizer whose template was rendered.
        messages: The messages.
        text: The rendered text.

    Raises:
        UserError: Another last message gives the same text.
    """
    question = messages[-1]["content"]
    # Templates trim messages, or write them as JSON.
    if not question.strip() or question.strip() in text:
        return
    changed = [*messages[:-1], {**messages[-1], "content": question[::-1] + "?"}]
    with rendering(tokenizer):
        other = tokenizer.apply_chat_template(changed, add_generation_prompt=True, tokenize=False)
    if other == text:
        raise UserError(f"the chat template of {tokenizer.name_or_path} leaves out the text of the question", _FIX)
