"""Parse what is given on the command line: lists such as "a,b" and "0,4-7", and arguments of templates."""

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from layerlimits.errors import UserError

if TYPE_CHECKING:
    from layerlimits.api.options import Tasks
    from layerlimits.chat_options import ChatOptions

# No model has a million layers; a range of more numbers would exhaust the memory.
_NUMBER = re.compile(r"[0-9]{1,6}")
# Constants of Python, which JSON writes in another way. As texts they would be true in a template.
_PYTHON = {"False": "false", "True": "true", "None": "null"}


def words(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def task_list(tasks: str | None, protocol: str | None, shots: int | None, chat: bool | None) -> "Tasks":
    """The tasks of a comma-separated list, by default those of the model, with the settings of their prompts."""
    from layerlimits import api

    # Unknown protocols are rejected by the tasks.
    protocols = cast(tuple[Any, ...], words(protocol or ""))
    if tasks is None:
        return api.DefaultTasks(protocols, shots, chat)
    return api.get_tasks(*words(tasks), protocols=protocols, shots=shots, chat=chat)


def chat_options(system: str | None, arguments: Sequence[str] | None) -> "ChatOptions":
    """The settings of the chat template, from a system prompt and arguments as "enable_thinking=false".

    Raises:
        UserError: An argument has no value, is given twice, or has a value that looks like JSON and is not; or see
            `ChatOptions`.
    """
    from layerlimits.chat_options import ChatOptions

    values: dict[str, Any] = {}
    for argument in arguments or ():
        name, equals, text = argument.partition("=")
        if not equals:
            raise UserError(f"the template argument {argument!r} has no value", f"write it as {argument}=true")
        if name in values:
            raise UserError(f"the template argument {name} is given twice", "give it once")
        values[name] = _json_or_text(name, text)
    return ChatOptions(system or "", values)


def _json_or_text(name: str, text: str) -> Any:
    """A JSON value; a word without quotes is a text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if text in _PYTHON:
        fix = f"write {name}={_PYTHON[text]}, or {name}='\"{text}\"' for the text"
        raise UserError(f"the value of the template argument {name} is written as in Python: {text}", fix)
    if not text or text[0] in '{["':
        raise UserError(
            f"the value of the template argument {name} is not JSON: {text!r}", 'write objects as {"key": "value"}'
        )
    return text


def layers(text: str) -> tuple[int, ...]:
    """Layer numbers and ranges such as "4,5,11-12", in the order given.

    Raises:
        UserError: A part is neither a layer number nor a range, or a range is reversed.
    """
    numbers: list[int] = []
    for part in words(text):
        first, dash, last = part.partition("-")
        if not all(_NUMBER.fullmatch(number) for number in ([first, last] if dash else [first])):
            raise UserError(f"{part!r} is not a layer number or range", "write layers as 4,5,11-12")
        if dash and int(last) < int(first):
            raise UserError(f"the range {part!r} is reversed", f"write it as {last}-{first}")
        numbers.extend(range(int(first), int(last or first) + 1))
    return tuple(numbers)


def numbers(text: str) -> tuple[int | str, ...]:
    """Numbers such as "8,4"; other parts are left for the check of the setting."""
    return tuple(int(part) if _NUMBER.fullmatch(part) else part for part in words(text))


def shares(text: str) -> tuple[float, ...]:
    """Ratios such as "0.125,0.25".

    Raises:
        UserError: A part is not a number.
    """
    try:
        return tuple(float(part) for part in words(text))
    except ValueError as error:
        raise UserError(f"ratios {text!r}: {error}", "write ratios as 0.125,0.25") from None
