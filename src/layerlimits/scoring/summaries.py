"""Score summaries by ROUGE-L."""

from functools import cache
from typing import Any

from layerlimits.scoring.transcript import own_answer
from layerlimits.types import Response, Verdict

# Only used to count outcomes; the task's score is the mean F1.
_GOOD = 0.5


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)


def judge(response: Response, target: str) -> Verdict:
    """ROUGE-L F1 against the reference (rouge-score with stemming, as reported for XSum); `correct` from 0.5.

    Reasoning is removed first.
    """
    own = own_answer(response)
    text = own.text.strip()
    if not text:
        if not response.text.strip():
            return Verdict("no_answer", 0.0, why="empty response")
        return Verdict("no_answer" if own.finished else "truncated", 0.0, why="contains only reasoning")
    value = float(_scorer().score(target, text)["rougeL"].fmeasure)
    if value >= _GOOD:
        return Verdict("correct", value, text)
    return Verdict("wrong" if own.finished else "truncated", value, text, f"ROUGE-L {value:.2f}")
