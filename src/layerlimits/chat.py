"""Chat templates, which are programs that come with a model: their settings, and limits on them.

transformers renders them in the sandbox of Jinja, which gives a template no access to files or Python. It limits
neither time nor memory; this module limits the time.
"""

import json
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import date, datetime, tzinfo
from types import FrameType
from typing import Any, Self

from jinja2 import Environment, TemplateError
from jinja2.meta import find_undeclared_variables
from transformers import PreTrainedTokenizerBase
from transformers.utils import chat_template_utils

from layerlimits.chat_options import PLAIN, ChatOptions
from layerlimits.errors import UserError, unknown
from layerlimits.foreign import reason

LONGEST_S = 10.0
_FIX = "use plain text (--no-chat), or correct the chat template of the model"
_QUESTION, _SYSTEM = "What is 2 + 3?", "You are a helpful assistant."
# What a template that needs an argument may be given, and how many arguments are tried.
_VALUES: tuple[Any, ...] = (True, False, "low", 1, [])
_MOST_ARGUMENTS = 8
# What transformers and we give to every template.
_GIVEN = frozenset(("messages", "add_generation_prompt", "raise_exception", "strftime_now"))
_EXTENSIONS = ("jinja2.ext.loopcontrols",)


class _TooSlow(BaseException):
    """The time is over. Not an Exception, which the code that renders might catch."""


def today() -> date:
    """The date on which a run folder is begun."""
    return date.today()


def bind(tokenizer: PreTrainedTokenizerBase, options: ChatOptions = PLAIN, day: date | None = None) -> None:
    """Give the chat template of a tokenizer its settings, wherever it is rendered from now on, in place of former ones.

    Args:
        tokenizer: The tokenizer, which is changed.
        options: The system turn and the arguments of the template.
        day: A fixed date. Otherwise prompts that contain the date would differ on the next day, and a resumed run would
            compute every response again.
    """
    plain = type(tokenizer).apply_chat_template

    def apply_chat_template(conversation: Any, *args: Any, **kwargs: Any) -> Any:
        with _clock_at(day) if day else nullcontext():
            return plain(tokenizer, _opened(conversation, options.system), *args, **{**options.args, **kwargs})

    apply_chat_template.chat_options = options  # type: ignore[attr-defined]  # read by `bound_options`
    tokenizer.apply_chat_template = apply_chat_template  # type: ignore[method-assign]  # of this tokenizer alone


def bound_options(tokenizer: PreTrainedTokenizerBase) -> ChatOptions:
    """The settings that `bind` has given the chat template of a tokenizer."""
    options: ChatOptions = getattr(tokenizer.apply_chat_template, "chat_options", PLAIN)
    return options


def _opened(conversation: Any, system: str) -> Any:
    """The conversation with a system turn before it, unless it has one or there is none to add."""
    if not system or (conversation and conversation[0]["role"] == "system"):
        return conversation
    return [{"role": "system", "content": system}, *conversation]


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
def rendering(
    tokenizer: PreTrainedTokenizerBase, seconds: float = LONGEST_S, options: ChatOptions | None = None
) -> Iterator[None]:
    """Inside the block, which renders the chat template, every failure becomes one error, and the time is limited.

    Args:
        tokenizer: The tokenizer whose template is rendered.
        seconds: Maximum time of the block in seconds. It applies in the main thread of a process only.
        options: The settings of the template; None: those that the tokenizer is bound to.

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
        raise UserError(
            f"{problem} failed: {reason(error)}", _fix(tokenizer, options or bound_options(tokenizer))
        ) from None


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


def check_options(tokenizer: PreTrainedTokenizerBase, options: ChatOptions, name: str) -> None:
    """Check that a chat template uses its settings, before weights load.

    Args:
        tokenizer: The tokenizer.
        options: The settings.
        name: Name of the model, for errors.

    Raises:
        UserError: There is no template, it does not read an argument, or it leaves out or rejects the system turn.
    """
    if not options:
        return
    if not tokenizer.chat_template:
        raise UserError(
            f"{options} cannot be used: the tokenizer of {name} has no chat template",
            "omit --system and --chat-args, or add a chat_template.jinja to the model folder",
        )
    known = variables(tokenizer)
    for argument in options.args:
        if argument not in known:
            near = unknown("template argument", argument, sorted(known))
            fix = near.fix if known else f"omit {argument} (--chat-args): the template reads no argument"
            raise UserError(f"the chat template of {name} does not read the argument {argument}", fix)
    with rendering(tokenizer, options=options):
        text = _rendered(tokenizer, options)
    if options.system and options.system.strip() not in text:
        raise UserError(
            f"the chat template of {name} has no system role: it leaves out the system prompt",
            "omit the system prompt (--system), or use another chat template",
        )


def template_text(tokenizer: PreTrainedTokenizerBase) -> str:
    """The chat template; of several ones, that of usual conversations; empty if there is none."""
    template = tokenizer.chat_template
    return str(template.get("default", "") if isinstance(template, dict) else template or "")


def variables(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """The arguments that a chat template reads, apart from those that every template has."""
    # Templates mark the text of the assistant with a tag of transformers.
    text = re.sub(r"{%-?\s*(?:end)?generation\s*-?%}", "", template_text(tokenizer))
    try:
        found = find_undeclared_variables(Environment(autoescape=True, extensions=_EXTENSIONS).parse(text))
    except TemplateError:
        return set()
    return found - _GIVEN - set(tokenizer.special_tokens_map)


def _fix(tokenizer: PreTrainedTokenizerBase, options: ChatOptions) -> str:
    """What makes a template work that has failed: settings that were tried, or plain text."""
    try:
        with _at_most(LONGEST_S):
            works = next((words for words, tried in _repairs(tokenizer, options) if _renders(tokenizer, tried)), "")
    except _TooSlow:
        works = ""
    return f"{works}, or {_FIX}" if works else _FIX


def _repairs(tokenizer: PreTrainedTokenizerBase, options: ChatOptions) -> Iterator[tuple[str, ChatOptions]]:
    """Settings that may make a template work, in words and as they are, the simplest first."""
    if options.system:
        yield "omit the system prompt (--system): the template has no system role", ChatOptions("", options.args)
    missing = sorted(variables(tokenizer) - set(options.args))[:_MOST_ARGUMENTS]
    changes = [{name: value} for name in missing for value in _VALUES]
    changes += [dict.fromkeys(missing, value) for value in _VALUES if len(missing) > 1]
    systems = {"": options.system} if options.system else {"": "", f"set --system {_SYSTEM!r}": _SYSTEM}
    for how, system in systems.items():
        if how:
            yield how, ChatOptions(system, options.args)
        for change in changes:
            flags = " ".join(f"--chat-args {name}={json.dumps(value)}" for name, value in change.items())
            yield f"{how} {flags}" if how else f"set {flags}", ChatOptions(system, {**options.args, **change})


def _renders(tokenizer: PreTrainedTokenizerBase, options: ChatOptions) -> bool:
    """Whether the template writes a question with these settings."""
    try:
        return _QUESTION in _rendered(tokenizer, options)
    # See `rendering`.
    except Exception:
        return False


def _rendered(tokenizer: PreTrainedTokenizerBase, options: ChatOptions) -> str:
    """A question as the template writes it with these settings, whatever the tokenizer is bound to."""
    messages = _opened([{"role": "user", "content": _QUESTION}], options.system)
    return str(
        type(tokenizer).apply_chat_template(
            tokenizer, messages, add_generation_prompt=True, tokenize=False, **options.args
        )
    )
