"""Leaks: whether a text used for selection, calibration, training or as an example contains an evaluated question.

Every use of items goes through `check_leaks`. It compares normalized questions (`normalized`): case, white space,
Unicode forms and the punctuation of prose are ignored; numbers, operators and brackets are not, so that `(4 * 4) * 1`
differs from `4 * (4 * 1)`, `-3` from `3`, and `([` from `[(`.

A text contains a question

- if the text or one of its lines is the question, or begins with it up to the question mark; a label such as
  `Question:` may precede it;
- if the question has at least `MIN_WORDS` words and occurs anywhere in the text, unless the text clearly continues
  it, after a comma or from a number or symbol to the next (`... compute 12 + 3` in `... compute 12 + 3 * 5`).

Shorter questions (`1 + 2`, `boil water`) occur inside sentences by chance, which is not a leak.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from layerlimits.errors import UserError
from layerlimits.tasks import SUITES
from layerlimits.types import Sample, Task, content_hash

# Minimum number of words of a question to be searched for inside lines. Stems that many questions share, such as "Which
# of the following is true", have fewer.
MIN_WORDS = 8
# Maximum number of characters of a question that a message quotes.
_QUOTED = 60
# Items of a task that `items_to_compare` returns: more than any benchmark has, and few enough to be fast.
_BENCHMARK_ITEMS, _BUNDLED_ITEMS = 1_000_000, 1_000
# A line that equals a question of fewer than MIN_WORDS words is shorter than this.
_SHORT_CHARACTERS = 400

# Scripts without spaces between words: each of their characters is a word.
_SPACELESS = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[^\W\d_{_SPACELESS}]+|[{_SPACELESS}]")
# A number; a word; the mark of a factorial or a derivative; any other character but white space and prose punctuation.
_TOKEN = re.compile(
    rf"(?:(?<!\w)\.)?\d+(?:[.:]\d+)*|{_WORD.pattern}|!(?<=[\d)\]}}]!)|'(?=\()|[^\w\s.,;:!?'\"`{_SPACELESS}]|_"
)
# Removed: apostrophes, thousands separators, hyphens within words, currency signs, percent signs.
_JOINED = re.compile(
    r"'(?!\()|,(?<=\d,)(?=\d{3}(?!\d))|-(?<=[^\W\d_]{2}-)(?=[^\W\d_]{2})|[$£€¥](?=\d)|%(?<=\d%)(?!\s*\d)"
)


def normalized(text: str) -> str:
    """The tokens of a text, separated by one space: the form in which questions are compared."""
    return " ".join(_TOKEN.findall(_clean(text)))


def question_hash(question: str) -> str:
    """Hash of a question in normalized form."""
    return content_hash(normalized(question), 32)


def check_leaks(what: str, texts: Sequence[str], evaluated: Iterable[Sample]) -> None:
    """Check that no text contains an evaluated question.

    Args:
        what: name of the texts in the plural, such as "calibration texts".
        evaluated: the evaluated samples, under any protocol.
    Raises:
        UserError: a text contains an evaluated question; gives the number of texts and one of the questions.
    """
    evaluated = list(evaluated)
    questions = EvaluatedQuestions(sample.question for sample in evaluated)
    leaked = [question for text in texts if (question := questions.first_in(text)) is not None]
    leaked += _parts_of([sample.prompt for sample in evaluated if sample.window], texts)
    if leaked:
        raise UserError(
            f"{len(leaked)} of {len(texts)} {what} contain evaluated items, such as "
            f"{' '.join(leaked[0].split())[:_QUOTED]!r}",
            f"use other {what}: evaluated items must not be used for selection, calibration, training or as examples",
        )


def _parts_of(documents: Sequence[str], texts: Sequence[str]) -> list[str]:
    """The texts of at least `MIN_WORDS` words that are part of an evaluated document, such as its paragraphs."""
    if not documents:
        return []
    whole = "\n".join(map(normalized, documents))
    parts = ((text, normalized(text)) for text in texts if len(_WORD.findall(text)) >= MIN_WORDS)
    return [text for text, part in parts if part in whole]


def items_to_compare(tasks: Iterable[Task], data_dir: Path | None) -> list[Sample]:
    """The items that an evaluation of these tasks could use: all of a benchmark, the first ones of a bundled task.

    Bundled tasks generate any number of items; their splits are disjoint by construction.

    Raises:
        UserError: a benchmark's items cannot be read.
    """
    items: list[Sample] = []
    for task in tasks:
        # Examples do not change the questions, and some benchmarks build long contexts from them.
        asked = task.variant(0, False) if task.variant else task
        items += asked.samples("evaluate", _BUNDLED_ITEMS if is_bundled(task) else _BENCHMARK_ITEMS, data_dir)
    return items


def is_bundled(task: Task) -> bool:
    """Whether a task is one of the bundled world, under any protocol."""
    return task.name.partition(":")[0].partition("@")[0] in SUITES["reference"]


class EvaluatedQuestions:
    """An index of questions that finds them in texts in time proportional to the length of the texts.

    Questions of at least `MIN_WORDS` words are looked up by their first `MIN_WORDS` tokens and then compared; whole
    texts and lines are looked up by their normalized form.
    """

    def __init__(self, questions: Iterable[str]) -> None:
        self._by_hash: dict[str, str] = {}
        self._by_head: dict[tuple[str, ...], list[tuple[list[str], str]]] = {}
        self._any_short = False
        for question in questions:
            tokens = _TOKEN.findall(_clean(question))
            whole = " ".join(tokens)
            if not tokens or whole in self._by_hash:
                continue
            self._by_hash[whole] = question
            if sum(map(_is_word, tokens)) >= MIN_WORDS:
                self._by_head.setdefault(tuple(tokens[:MIN_WORDS]), []).append((tokens, question))
            else:
                self._any_short = True

    def first_in(self, text: str) -> str | None:
        """A question that the text contains, in its original form, or None."""
        clean = _clean(text)
        tokens = _TOKEN.findall(clean)
        whole = self._by_hash.get(" ".join(tokens))
        if whole is not None:
            return whole
        if not self._by_head.keys().isdisjoint(_windows(tokens)):
            inside = self._inside(clean)
            if inside is not None:
                return inside
        return self._alone(clean) if self._any_short else None

    def _alone(self, clean: str) -> str | None:
        """A question that is a line of the text, or begins one."""
        for part in _parts(clean):
            question = self._by_hash.get(" ".join(_TOKEN.findall(part)))
            if question is not None:
                return question
        return None

    def _inside(self, clean: str) -> str | None:
        """A question of many words anywhere in the text."""
        matches = list(_TOKEN.finditer(clean))
        tokens = [match[0] for match in matches]
        for start, window in enumerate(_windows(tokens)):
            for wanted, question in self._by_head.get(window, ()):
                end = start + len(wanted)
                if tokens[start:end] == wanted and not _goes_on(clean, matches, start, end):
                    return question
        return None


def _windows(tokens: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every run of MIN_WORDS tokens."""
    return zip(*(tokens[offset:] for offset in range(MIN_WORDS)), strict=False)


def _parts(clean: str) -> Iterator[str]:
    """Short lines with and without their label, each as a whole and up to its first question mark."""
    for line in clean.splitlines():
        label, _, rest = line.partition(": ")
        for part in (line, rest) if rest and len(label.split()) == 1 else (line,):
            asked, mark, _ = part.partition("?")
            if len(part) <= _SHORT_CHARACTERS:
                yield part
            if mark and len(asked) <= _SHORT_CHARACTERS:
                yield asked


def _goes_on(clean: str, matches: Sequence[re.Match[str]], start: int, end: int) -> bool:
    """Whether the tokens from `start` up to `end` are part of a longer list or expression."""
    if start and _one_expression(clean, matches[start - 1], matches[start]):
        return True
    if end == len(matches):
        return False
    gap = clean[matches[end - 1].end() : matches[end].start()]
    return gap.strip() == "," or _one_expression(clean, matches[end - 1], matches[end])


def _one_expression(clean: str, before: re.Match[str], after: re.Match[str]) -> bool:
    """Whether two adjacent tokens are not words and have only spaces between them; `=` ends a question."""
    gap = clean[before.end() : after.start()]
    return not (gap.strip() or "\n" in gap or after[0] == "=" or _is_word(before[0]) or _is_word(after[0]))


def _is_word(token: str) -> bool:
    return _WORD.fullmatch(token) is not None


def _clean(text: str) -> str:
    """Unicode variants replaced by one form, and the characters of `_JOINED` removed."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        text = text.translate({ord(character): _plain(character) for character in set(text) if ord(character) > 127})
    return _JOINED.sub("", text.casefold())


_EQUIVALENT = {"−": "-", "×": "*", "÷": "/", "’": "'", "‘": "'", "′": "'"}


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    """The ASCII equivalent of a Unicode punctuation character; other characters unchanged."""
    if character in _EQUIVALENT:
        return _EQUIVALENT[character]
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    if category == "Pd":
        return "-"
    return '"' if category in ("Po", "Pi", "Pf") else character
