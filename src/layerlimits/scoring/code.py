"""Score responses that contain a Python function by running it against its test."""

from collections.abc import Sequence
from dataclasses import dataclass

from layerlimits.scoring.extract import extract_code
from layerlimits.scoring.sandbox import Program, run
from layerlimits.scoring.syntax import syntax_tree, without_assertions
from layerlimits.scoring.transcript import OwnAnswer, own_answer
from layerlimits.types import Response, Verdict

__all__ = ["Answer", "extract_code", "judge_all"]


@dataclass(frozen=True)
class Answer:
    """A response and what is needed to score it: `test` as in `Program`, `prompt` if the response may continue it."""

    response: Response
    test: str
    entry_point: str
    prompt: str = ""


def judge_all(answers: Sequence[Answer], *, seconds: float = 10, unsafe: bool = False) -> list[Verdict]:
    """Score responses in order, running the programs in parallel on all cores.

    Args:
        seconds: CPU time limit for each program.
        unsafe: Run without a sandbox, even if one is available.

    Raises:
        UserError: There is a program to run and no sandbox is available.
    """
    said = [own_answer(answer.response) for answer in answers]
    codes = [
        extract_code(own.text, answer.entry_point, answer.prompt) for answer, own in zip(answers, said, strict=True)
    ]
    verdicts = [_unrunnable(answer.response, own, code) for answer, own, code in zip(answers, said, codes, strict=True)]
    wanted = [number for number, verdict in enumerate(verdicts) if verdict is None]
    # Assertions in the answer are tests of the model's own, and a wrong one would hide a right function.
    programs = [Program(without_assertions(codes[n] or ""), answers[n].test, answers[n].entry_point) for n in wanted]
    outcomes = run(programs, seconds=seconds, unsafe=unsafe)
    for number, outcome in zip(wanted, outcomes, strict=True):
        right = outcome.passed
        why = "" if right else outcome.why
        verdicts[number] = Verdict("correct" if right else "wrong", float(right), codes[number] or "", why)
    return [verdict for verdict in verdicts if verdict is not None]


def _unrunnable(response: Response, own: OwnAnswer, code: str | None) -> Verdict | None:
    """The verdict on a response that cannot be run: no code, truncated code, or invalid Python."""
    if code is not None and syntax_tree(code):
        return None
    if not own.finished:
        return Verdict("truncated", 0.0, code or "", f"truncated after {len(response.tokens)} tokens")
    if code is None:
        return Verdict("no_answer", 0.0, why="contains no code")
    return Verdict("error", 0.0, code, "not valid Python")
