"""Placeholder."""

from collections.abc import Sequence

from layerlimits.types import Response, Verdict


def lettered(question: str, options: Sequence[str]) -> str:
    """."""
    return question + "\n\n" + "\n".join(f"{chr(65 + at)}. {option}" for at, option in enumerate(options))


def judge_letter(response: Response, options: Sequence[str], target: str) -> Verdict:
    """."""
    right = response.text.strip() == chr(65 + list(options).index(target))
    return Verdict("correct" if right else "wrong", float(right), response.text)


judge_free = judge_letter
