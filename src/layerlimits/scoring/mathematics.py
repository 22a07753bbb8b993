"""Score mathematical answers, boxed or not, by strict and flexible extraction."""

import re

from layerlimits.scoring import latex, quantities
from layerlimits.scoring.answers import clean
from layerlimits.scoring.numerals import ascii_signs, without_latex
from layerlimits.scoring.statements import Statement, last_line, statements, taken_back
from layerlimits.types import Response, Verdict

_FORMULA = re.compile(
    r"\$\$(.{1,500}?)\$\$|\\\[(.{1,500}?)\\\]|(?<![\\\d])\$((?:\\\$|[^$\n]){1,500}?)(?<!\\)\$|\\\((.{1,500}?)\\\)",
    re.DOTALL,
)
_JOINS = re.compile(r"[\s,$.]*(?:\\(?:text|quad|,|;)\{?)?[\s,$]*(?:and|or)?\}?[\s,$]*\Z")
_BOLD = re.compile(r"\*\*(?=\S)([^*\n]{1,200})\*\*(?!\s*:)")
_SENTENCE_END = re.compile(r"(?<![A-Z])[.!?](?:\s|\Z)|\n")
_AFTERTHOUGHT = re.compile(
    r",?\s+(?:because|since|which|where|when|if|as|for (?:all|the|every|which)|so|due to|by|from)\b|;"
    r"|\s\((?!\s*-?[\d\\])"
)
_PROSE = re.compile(r"\A(?:(?:[A-Za-z]{2,}|a)[\s:]+)+(?=[-\d\\(\[{$√π.+]|[a-zA-Z]\b)")
_FORMULA_ALONE = re.compile(r"(?:\\[a-z]+|[a-z]\b|[^A-Za-z])+")
_DENIED = re.compile(r"\A\s*not\s")


def judge(response: Response, gold: str, question: str = "", *, instruction: str = "") -> Verdict:
    r"""Score a mathematical answer: `value` uses flexible extraction, `strict` only a final box.

    Strict extraction takes the `\boxed{}` on the last line. Flexible extraction takes the last stated answer that is
    not retracted later; without one, in a finished text, the bold text, the last formula or the last number. In an
    unfinished text, only stated answers count. The outcome is `error` if the comparison timed out.
    """
    own = clean(response, question=question, instruction=instruction)
    text = ascii_signs(own.text)
    formal = last_box(text)
    by_form = float(bool(formal and latex.same(gold, formal)))
    answer, how = final(text, finished=own.finished, word=latex.is_word(gold))
    if not answer:
        if own.finished:
            return Verdict("no_answer", 0.0, why="no answer", strict=0.0)
        return Verdict(
            "truncated", 0.0, why=f"truncated after {len(response.tokens)} tokens without an answer", strict=0.0
        )
    right = latex.same(gold, answer)
    if right is None:
        return Verdict("error", 0.0, answer, "the comparison took too long", by_form)
    return Verdict("correct" if right else "wrong", float(right), answer, how if right else f"expected {gold}", by_form)


def last_box(text: str) -> str:
    """Content of the box on the last line (several are joined by commas); empty if there is none."""
    start, end = last_line(text)
    boxes = [
        statement
        for statement in statements(text)
        if statement.kind == "box" and statement.closed and statement.end <= end + 1
    ]
    if not boxes or boxes[-1].end < start:
        return ""
    return _joined(text, boxes)


def _joined(text: str, boxes: list[Statement]) -> str:
    """The last box and the preceding ones that are separated only by commas or "and"."""
    parts = [text[boxes[-1].start : boxes[-1].end]]
    for before, after in zip(boxes[-2::-1], boxes[:0:-1], strict=True):
        if after.mark - before.end > 30 or not _JOINS.match(text[before.end + 1 : after.mark]):
            break
        parts.append(text[before.start : before.end])
    if len(set(parts)) == 1:
        return parts[0].strip()
    return ", ".join(part.strip() for part in reversed(parts))


def final(text: str, *, finished: bool = True, word: bool = False) -> tuple[str, str]:
    """The answer a text settles on, and how it was recognized; empty if there is none.

    `word`: The gold answer is a word, so a sentence without a formula can contain it.
    """
    places = statements(text, finished=finished)
    boxes = [place for place in places if place.kind == "box"]
    for statement in reversed(places):
        if not statement.closed and not finished:
            continue
        if statement.kind == "box":
            answer = _joined(text, boxes[: boxes.index(statement) + 1])
        else:
            answer = stated(text[statement.start : statement.end], cut=not finished and statement.end == len(text))
        if not answer:
            continue
        back = taken_back(text, statement.start) if finished else None
        later = _concluded(text[back:], word=word) if back is not None else ""
        return (later, "corrected later") if later else (answer, _HOW[statement.kind])
    return (_concluded(text, word=word), "no explicit statement") if finished else ("", "")


_HOW = {"tag": "within an answer tag", "box": "", "hash": "after ####", "says": "stated in words"}


def stated(content: str, *, cut: bool = False) -> str:
    """The answer after "the answer is": the formula, the bold text, or the words up to the end of the sentence.

    `cut`: The text is truncated here, so a formula must be closed.
    """
    if re.search(r"\\boxed|\\fbox", content) or _DENIED.match(content):
        return ""
    formulas = list(_FORMULA.finditer(content))
    if formulas and (formulas[0].start() < 60):
        parts = [formulas[0]]
        for after in formulas[1:]:
            if not _JOINS.fullmatch(content[parts[-1].end() : after.start()]):
                break
            parts.append(after)
        return ", ".join(_inside(part) for part in parts)
    bold = _BOLD.findall(content)
    text = bold[-1] if bold else content
    if cut and re.search(r"[\\{$(\[,.]\Z|\$[^$]*\Z", text):
        return ""
    text = _SENTENCE_END.split(text)[0]
    text = _AFTERTHOUGHT.split(text)[0].strip("*_ \t\"'`$")
    return _PROSE.sub("", text)


def _inside(formula: re.Match[str]) -> str:
    return next(group for group in formula.groups() if group is not None).strip().rstrip(".,")


def _concluded(text: str, *, word: bool) -> str:
    """The answer of a finished text that states none explicitly."""
    start, end = last_line(text)
    bold = [content for content in _BOLD.findall(text[start:end]) if not content.rstrip().endswith(":")]
    if bold:
        return stated(bold[-1]) or bold[-1]
    formulas = list(_FORMULA.finditer(text))
    if formulas and text.find("\n\n", formulas[-1].end()) in (-1, len(text.rstrip())):
        return _inside(formulas[-1])
    if word:
        return _SENTENCE_END.split(text[start:end].strip())[0]
    line = text[start:end]
    if "\\boxed" not in line and _FORMULA_ALONE.fullmatch(line):
        return line.strip()
    number, _ = quantities.final(without_latex(text))
    return number.text if number else ""
