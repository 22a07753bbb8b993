"""Distinguish `####` before a heading ("#### 2. Second glass", "#### Step 3") from `####` before a final answer."""

import re

_NUMBERED = re.compile(r"[*_ \t]*(\d{1,2})(?:[.)]|:(?=[ \t]))[*_ \t]+(?=\S)")
_STEP = re.compile(
    r"[*_ \t]*(?:step|part|case|phase|stage|section|option|method|approach|question|problem|example)s?[ ]?\d", re.I
)
_ENDS_IN_COLON = re.compile(r"[*_ \t]*[^\W\d_].*:[*_ \t]*")
_TITLE = re.compile(
    r"(?!hope|thank|done|good|great|final|answer)[^\W\d_]{2,}(?:[ ][\w'-]+){0,5}[*_ \t]*", re.IGNORECASE
)
_WORDS_FIRST = re.compile(r"[*_ \t]*[^\W\d_]{2,}[^:=]*")
_CONCLUDES = re.compile(
    r"\b(?:answer|total|final|result|so|therefore|thus|hence|is|are|was|were|has|have|makes?|needs?|gets?|pays?|takes?|"
    r"costs?|spends?|earns?|left)\b",
    re.IGNORECASE,
)
# A larger number before words is not a step number unless it continues a sequence of steps.
_LAST_DIGIT = 9


def are_headings(contents: list[str], followed: list[str], *, finished: bool) -> list[bool]:
    """Whether each `####` line is a heading.

    Args:
        contents: The text after `####` on each line, in order.
        followed: The text between each line and the next `####`; only its first line matters, and whether it contains
            a digit.
        finished: Whether the text is complete rather than truncated.
    """
    numbers = [int(match[1]) if (match := _NUMBERED.match(content)) else None for content in contents]
    headings, last = [], 0
    for content, number, after, below in zip(contents, numbers, _following(numbers), followed, strict=True):
        if number is None:
            headings.append(_is_worded(content, below))
            continue
        in_turn = number == last + 1 and (
            last > 0 or after == number + 1 or bool(re.search(r"\d", below)) or "=" in content
        )
        title = _TITLE.fullmatch(content, _end_of_number(content)) is not None
        heading = in_turn or (number <= _LAST_DIGIT and (title or not finished))
        last = number if heading else last
        headings.append(heading)
    return headings


def _following(numbers: list[int | None]) -> list[int | None]:
    """For each position, the next number after it."""
    after: int | None = None
    following: list[int | None] = []
    for number in reversed(numbers):
        following.append(after)
        after = number if number is not None else after
    return following[::-1]


def _end_of_number(content: str) -> int:
    match = _NUMBERED.match(content)
    return match.end() if match else 0


def _is_worded(content: str, below: str) -> bool:
    """Whether a line that does not start with a number is a heading: "Step 2", "For 3 days:", "First 8 glasses"."""
    if _STEP.match(content):
        return True
    if _ENDS_IN_COLON.fullmatch(content):
        return bool(below.strip())
    first = below.strip().partition("\n")[0]
    return bool(_WORDS_FIRST.fullmatch(content)) and not _CONCLUDES.search(content) and "=" in first
