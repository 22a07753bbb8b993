"""Bracket balance, in completed bracket sequences and in generated code."""

from layerlimits.diagnostics import Answered, Diagnostic

_OPENING = {")": "(", "]": "[", "}": "{"}


def balanced(text: str) -> bool:
    """Whether every bracket in the text is closed by the matching bracket, in order."""
    waiting: list[str] = []
    for mark in text:
        if mark in _OPENING.values():
            waiting.append(mark)
        elif mark in _OPENING and (not waiting or waiting.pop() != _OPENING[mark]):
            return False
    return not waiting


def _measure(answered: Answered) -> dict[str, float]:
    answer, target = answered.response.text.strip(), answered.target
    if not answered.prompt.startswith("Close the brackets: "):
        return {"balanced": float(balanced(answer))}
    prefix = answered.prompt.removeprefix("Close the brackets: ")
    agreeing = next(
        (position for position, mark in enumerate(target) if answer[position : position + 1] != mark), len(target)
    )
    return {
        "balanced": float(balanced(prefix + answer)),
        "closed before the first error": agreeing / len(target),
        "right length": float(len(answer) == len(target)),
    }


brackets = Diagnostic("brackets", _measure, ("brackets", "functions"), "arXiv 2602.01997, bracket errors")
