"""Score answers that are a single number in any notation, by strict and flexible extraction."""

import re
from collections.abc import Callable
from dataclasses import replace

from layerlimits.scoring import asides, units
from layerlimits.scoring.answers import clean
from layerlimits.scoring.numerals import Number, ascii_signs, number, numbers, without_latex
from layerlimits.scoring.statements import Statement, last_line, statements, taken_back
from layerlimits.types import Response, Verdict

Strict = Callable[[str], Number | None]

_BOLD = re.compile(r"\*\*(?=\S)([^*\n]{0,200})\*\*(?!\s*:)")
_HEADING = re.compile(r"(?i)\s*(?:step|part|case|day|week|month|year|option|phase|section|note)\b|\s*\d+[.):]|.*:\s*\Z")
_NUMBERED = re.compile(
    r"^[ \t]*(?:[-*•][ \t]*|#{1,6}[ \t]*)?\**(?:(?:step[ ]?)?\d{1,2}[.):](?=\s)"
    r"|(?<=#[ ])(?:step|part|case|phase|stage|section|option|method)[ ]\d{1,2}\b)",
    re.MULTILINE | re.IGNORECASE,
)
_CONCLUDES = re.compile(
    r"\b(?:so|therefore|thus|hence|in total|altogether|in the end|finally|overall)\b|∴", re.IGNORECASE
)
_VERB = re.compile(
    r"(?<!which )(?<!that )(?<!there )\b(?:is|are|was|were|equals|makes?|made|earns?|earned|costs?|needs?|needed|"
    r"takes?|took|"
    r"has|have|had|gets?|got|spends?|spent|saves?|saved|pays?|paid|owes?|eats?|ate|left with|total of|comes to)\b",
    re.IGNORECASE,
)
_SIGN = re.compile(r"[\s$€£¥₹()\[\]{}*]*[-+*/×÷x·^=≈][\s$€£¥₹()\[\]{}*-]*\Z")
_CHAIN_END = re.compile(r"[=≈]")
_WORDS = re.compile(r"[*_ \t]*[^\W\d_]{2,}[ ][^\W\d_]")
_CLOCK = re.compile(r":\d\d\b")
_NOT = re.compile(r"\bnot\s+(?:be\s+)?[$€£]?-?\Z", re.IGNORECASE)
_UNKNOWN = re.compile(
    r"\b(?:cannot|can't|can not|impossible to|unable to|not possible to)"
    r" (?:be )?(?:determin|answer|calculat|comput|solv|tell|say)"
    r"|\bnot enough (?:information|data)|\binsufficient (?:information|data)|\bI (?:do not|don't) know\b",
    re.IGNORECASE,
)
_AFTER_HASHES = re.compile(r"\s*#{4}(?!#)\s*(?P<answer>.*?)[\s.]*\Z")
_BARE = re.compile(
    r"[-+(]*[\s\u00a0]*(?:[A-Z]{0,3}[$€£¥₹₩₽])?[-\s\u00a0]*[\d.][\d.,'/ \u00a0]*\)?"
    r"(?:\s?[%°¢]|\s?[a-z]+(?:\s[a-z]+){0,2})?"
)


def after_hashes(text: str) -> Number | None:
    """The number on a last line of the form `#### number`, with a currency sign or a unit of up to three words."""
    start, end = last_line(text)
    match = _AFTER_HASHES.fullmatch(text[start:end])
    return _bare(match["answer"]) if match else None


def alone(text: str) -> Number | None:
    """The number if the text is nothing but a number, whitespace and a full stop."""
    return _bare(text.strip().removesuffix("."))


def _bare(text: str) -> Number | None:
    # The "=" before the number keeps a minus sign from being read as a list bullet.
    return number(f"= {text}") if _BARE.fullmatch(text) else None


def judge(
    response: Response, target: str, question: str = "", *, strict: Strict = after_hashes, instruction: str = ""
) -> Verdict:
    r"""Score a numeric answer: `value` uses flexible extraction, `strict` only the requested format.

    Flexible extraction takes the last stated answer (`####`, `\boxed{}`, "the answer is") that is not
    retracted later; without one, in a finished text, the bold number, the result of the concluding sentence, or the
    last number. In an unfinished text, only stated answers count.
    """
    own = clean(response, question=question, instruction=instruction)
    text = without_latex(ascii_signs(own.text))
    gold = number(target)
    assert gold is not None, f"the target is not a number: {target!r}"
    formal = strict(text)
    by_form = float(formal is not None and not _wrong(formal, gold, question))
    wanted = gold.unit or units.asked(question)
    answer, how = final(text, finished=own.finished, wanted=wanted)
    if answer is None:
        cut = f"truncated after {len(response.tokens)} tokens without an answer"
        return Verdict(
            "no_answer" if own.finished else "truncated", 0.0, "", "contains no number" if own.finished else cut, 0.0
        )
    wrong = _wrong(answer, gold, question)
    return Verdict("wrong" if wrong else "correct", float(not wrong), answer.text, wrong or how, by_form)


def _wrong(answer: Number, gold: Number, question: str) -> str:
    """Why an answer is wrong; empty if it is correct."""
    if answer.value != gold.value:
        return f"expected {gold.text}"
    wanted = gold.unit or units.asked(question)
    if wanted and answer.unit and units.differ(answer.unit, wanted):
        return f"in {answer.unit}, expected {wanted}"
    return ""


def final(text: str, *, finished: bool = True, wanted: str = "") -> tuple[Number | None, str]:
    """The number a normalized text settles on, and how it was recognized; None if there is none.

    Args:
        finished: Whether the text is complete rather than truncated.
        wanted: The unit the question asks for, if any; it decides between an amount given in two units.
    """
    candidates = numbers(text)
    answer, how = _final(text, candidates, finished=finished, wanted=wanted)
    return (answer and asides.in_unit(text, answer, candidates, wanted)), how


def _final(text: str, candidates: list[Number], *, finished: bool, wanted: str) -> tuple[Number | None, str]:
    for statement in reversed(statements(text, finished=finished)):
        answer = _stated(text, statement, candidates, finished=finished)
        if answer is None:
            continue
        back = taken_back(text, answer.end) if finished else None
        later = _later(text, back, wanted) if back is not None else None
        return (later, "corrected later") if later else (answer, _HOW[statement.kind])
    if not finished or _UNKNOWN.search(text):
        return None, ""
    return _concluded(text, candidates, wanted), "no explicit statement"


def _later(text: str, back: int, wanted: str) -> Number | None:
    """The conclusion of the text after a position, with positions relative to the whole text."""
    later = _concluded(text[back:], numbers(text[back:]), wanted)
    return later and replace(later, start=later.start + back, end=later.end + back)


_HOW = {"tag": "within an answer tag", "hash": "", "box": "boxed", "says": "stated in words"}


def _stated(text: str, statement: Statement, candidates: list[Number], *, finished: bool) -> Number | None:
    """The number of a statement; None if it has none or the text is truncated inside it."""
    within = [candidate for candidate in candidates if statement.start <= candidate.start < statement.end]
    if not within or _UNKNOWN.search(text, statement.mark, statement.end):
        return None
    if not statement.closed and not finished and not _repeats(statement, within, candidates):
        return None
    if not finished and re.fullmatch(r"[.,]?\d*[.,]", text[within[-1].end :]):
        return None
    if statement.kind == "tag":
        return _later(text[: statement.end], statement.start, "")
    if statement.kind == "says":
        bold = _bold(text, statement.start, statement.end, within)
        if bold:
            return bold
    return (_of_line(text, statement, within) if statement.kind == "hash" else None) or _result(text, within)


def _repeats(statement: Statement, within: list[Number], candidates: list[Number]) -> bool:
    """Whether a truncated statement begins with the number before it, which it is about to repeat."""
    before = [candidate for candidate in candidates if candidate.end <= statement.mark]
    return bool(before) and before[-1].value == within[0].value


def _of_line(text: str, statement: Statement, within: list[Number]) -> Number | None:
    """The number after the "=" of a calculation with units, or after the verb of a sentence; else None."""
    equal = text.rfind("=", within[0].end, statement.end)
    if equal >= 0:
        after = [candidate for candidate in within if candidate.start > equal]
        return after[0] if len(after) == 1 else None
    if not _WORDS.match(text, statement.start):
        return None
    verbs = list(_VERB.finditer(text, within[0].end, within[-1].start))
    return next((candidate for candidate in within if verbs and candidate.start >= verbs[-1].end()), None)


def _result(text: str, within: list[Number]) -> Number | None:
    """The first number that is not negated, or the result of the calculation it begins."""
    for place, first in enumerate(within):
        if _NOT.search(text[max(0, first.start - 12) : first.start]):
            continue
        chain = [first]
        equals = False
        for after in within[place + 1 :]:
            between = text[chain[-1].end : after.start]
            if not _SIGN.fullmatch(between) and not (len(between) < 25 and _CHAIN_END.search(between)):
                break
            equals = equals or bool(_CHAIN_END.search(between))
            chain.append(after)
        if len(chain) == 1 or equals:
            return chain[-1]
        # A calculation without its result.
        return None
    return None


def _bold(text: str, start: int, end: int, candidates: list[Number]) -> Number | None:
    """The last bold number between two positions, ignoring headings."""
    for bold in reversed(list(_BOLD.finditer(text, start, end))):
        within = [candidate for candidate in candidates if bold.start() <= candidate.start < bold.end()]
        if within and not _HEADING.match(bold[1]):
            return _result(text, within)
    return None


def _concluded(text: str, candidates: list[Number], wanted: str = "") -> Number | None:
    """The answer of a finished text that states none: a bold number, its conclusion, or the last number."""
    labels = [(label.start(), label.end()) for label in _NUMBERED.finditer(text)]
    candidates = [
        candidate for candidate in candidates if not any(start <= candidate.start < end for start, end in labels)
    ]
    candidates = [candidate for candidate in candidates if not _CLOCK.match(text, candidate.end)] or candidates
    text = text[: asides.courtesy_start(text)]
    candidates = [candidate for candidate in candidates if candidate.end <= len(text)] or candidates
    if not candidates:
        return None
    start = text.rfind("\n", 0, candidates[-1].start) + 1
    bold = _bold(text, start, len(text), candidates) or _only_bold(text, candidates)
    candidates = asides.without_parts(text, candidates)
    return (
        bold
        or _conclusion(text, start, candidates)
        or asides.main(text, _last_sentence(text, start, candidates), wanted)
    )


def _only_bold(text: str, candidates: list[Number]) -> Number | None:
    """The only bold number, if no conclusion follows it."""
    bold = [match for match in _BOLD.finditer(text) if not _HEADING.match(match[1]) and re.search(r"\d", match[1])]
    if len(bold) != 1 or _CONCLUDES.search(text, bold[0].end()) or _CHAIN_END.search(text, bold[0].end()):
        return None
    return _bold(text, 0, len(text), candidates)


def _sentence_start(text: str, start: int, candidates: list[Number]) -> int:
    """Start of the sentence that contains the last number, at least `start`."""
    return max([start] + [gap.end() for gap in re.finditer(r"[.!?]\s+", text[: candidates[-1].start])])


def _last_sentence(text: str, start: int, candidates: list[Number]) -> list[Number]:
    """The numbers of the last sentence that contains any."""
    begins = _sentence_start(text, start, candidates)
    return [candidate for candidate in candidates if candidate.start >= begins]


def _conclusion(text: str, start: int, candidates: list[Number]) -> Number | None:
    """The number after the last "=" of the last sentence with a number or, if it says "so", after its verb."""
    within = _last_sentence(text, start, candidates)
    begins = _sentence_start(text, start, candidates)
    sentence = text[begins:]
    equal = sentence.rfind("=")
    after = [candidate for candidate in within if candidate.start >= begins + equal]
    if equal >= 0 and after and not _CONCLUDES.search(text, after[0].end):
        return after[0]
    if not _CONCLUDES.search(sentence):
        return None
    verbs = list(_VERB.finditer(text, begins, candidates[-1].start))
    return next((candidate for candidate in within if verbs and candidate.start >= verbs[-1].end()), None)
