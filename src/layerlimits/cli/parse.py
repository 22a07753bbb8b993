"""Parse lists given on the command line: "a,b" and "0,4-7"."""

import re
from typing import TYPE_CHECKING, Any, cast

from layerlimits.errors import UserError

if TYPE_CHECKING:
    from layerlimits.api.options import Tasks

# No model has a million layers; a range of more numbers would exhaust the memory.
_NUMBER = re.compile(r"[0-9]{1,6}")


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
