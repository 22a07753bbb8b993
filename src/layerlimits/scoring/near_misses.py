"""Placeholder."""


def near_misses(answer: str, count: int = 3) -> tuple[str, ...]:
    """."""
    return tuple(str(int(float(answer)) + at) for at in range(1, count + 1))
