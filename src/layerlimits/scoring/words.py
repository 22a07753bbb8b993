"""Score answers that are a few words or an exact string."""

import re

from layerlimits.scoring.transcript import OwnAnswer, own_answer
from layerlimits.types import Response, Verdict

_NOT_WORD = re.compile(r"[^\w\s]")
_SPACE = re.compile(r"\s+")


def normalized(text: str) -> str:
    """Lower-case the text and remove punctuation and extra whitespace."""
    return _SPACE.sub(" ", _NOT_WORD.sub(" ", text.lower())).strip()


def judge_words(response: Response, target: str) -> Verdict:
    """Correct if the normalized answer is the target or a sentence that ends with it ("It is red.")."""
    own = own_answer(response)
    answer = normalized(own.text)
    wanted = normalized(target)
    right = answer == wanted or answer.endswith(f" {wanted}")
    return _verdict(response, own, answer, right)


def judge_exact(response: Response, target: str) -> Verdict:
    """Correct if the answer without whitespace is the target."""
    own = own_answer(response)
    answer = _SPACE.sub("", own.text)
    return _verdict(response, own, answer, answer == target)


def _verdict(response: Response, own: OwnAnswer, answer: str, right: bool) -> Verdict:
    if right:
        return Verdict("correct", 1.0, answer)
    if not own.finished:
        return Verdict("truncated", 0.0, answer, f"truncated after {len(response.tokens)} tokens")
    if not answer:
        return Verdict("no_answer", 0.0, why="empty response")
    return Verdict("wrong", 0.0, answer)
