"""A messy answer with the verdict that it must get; see answer_corpus.py."""

from typing import NamedTuple

from layerlimits.types import FinishReason


class Case(NamedTuple):
    task: str
    gold: str
    response: str
    outcome: str
    strict: float
    why: str
    finish: FinishReason = "stop"
    question: str = ""


Kind = tuple[str, float]  # flexible outcome and strict value
BOTH, LOOSE, WRONG, FORMAL = ("correct", 1.0), ("correct", 0.0), ("wrong", 0.0), ("wrong", 1.0)
NONE, CUT = ("no_answer", 0.0), ("truncated", 0.0)


def gsm(gold: str, response: str, kind: Kind, why: str, finish: FinishReason = "stop", q: str = "") -> Case:
    return Case("gsm8k", gold, response, *kind, why, finish, q)


def formula(gold: str, response: str, kind: Kind, why: str, finish: FinishReason = "stop", q: str = "") -> Case:
    return Case("math500", gold, response, *kind, why, finish, q)


def gpt3(gold: str, response: str, kind: Kind, why: str, finish: FinishReason = "stop") -> Case:
    return Case("gpt3_arithmetic", gold, response, *kind, why, finish)
