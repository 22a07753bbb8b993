"""Lists on the command line: "0,4-7" and "a,b"."""

from typing import Any

from layerlimits.errors import UserError


def words(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def layers(text: str) -> tuple[int, ...]:
    """Layer numbers and ranges such as "4,5,11-12", in the order given.

    Raises:
        UserError: a part that is neither.
    """
    found: list[int] = []
    for part in words(text):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
            raise UserError(f"{part!r} is no layer number or range", "write layers as 4,5,11-12")
        found.extend(range(int(first), int(last or first) + 1))
    return tuple(found)


def shares(text: str) -> tuple[float, ...]:
    """Ratios such as "0.125,0.25".

    Raises:
        UserError: a part that is no number.
    """
    try:
        return tuple(float(part) for part in words(text))
    except ValueError as error:
        raise UserError(f"ratios {text!r}: {error}", "write ratios as 0.125,0.25") from None


def study(
    *, tasks: str | None, protocols: str | None, methods: str | None, ratios: str | None, protect: str | None
) -> dict[str, Any]:
    """The study's list-valued flags, None where not given."""
    return {
        "tasks": None if tasks is None else words(tasks),
        "protocols": None if protocols is None else words(protocols),
        "methods": None if methods is None else words(methods),
        "ratios": None if ratios is None else shares(ratios),
        "protect": None if protect is None else layers(protect),
    }
