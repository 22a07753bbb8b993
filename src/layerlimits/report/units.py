"""Quantities with their units, as text."""


def percent(share: float) -> str:
    """A share in percent."""
    return f"{100 * share:.1f}%"


def size(count: float) -> str:
    """A number of bytes with its unit."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
