"""Leaks: whether a text that chooses layers, calibrates, trains or serves as an example holds an evaluated question.

Every use of items goes through `check_leaks`. It compares normalised questions (`normalised`): case, white space,
Unicode forms and the punctuation of prose do not count; numbers, operators and brackets do, so that `(4 * 4) * 1` is
another question than `4 * (4 * 1)`, `-3` another than `3`, and `([` another than `[(`.

A text holds a question

- if it is the question, or one of its lines is, or begins with it up to the question mark; a label such as `Question:`
  may come before;
- where the question has at least `MIN_WORDS` words: if it stands anywhere in the text, and the text does not plainly
  go on there, after a comma or from a number or symbol to the next (`... compute 12 + 3` in `... compute 12 + 3 * 5`).

Shorter questions (`1 + 2`, `boil water`) stand inside sentences by chance, which is no leak.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from layerlimits.errors import UserError
from layerlimits.tasks import SUITES
from layerlimits.types import Sample, Task, content_hash

# Words that a question must have to count inside a line. Stems that many questions share, such as "Which of the
# following is true", have fewer.
MIN_WORDS = 8
# Characters of a question that a message quotes.
_QUOTED = 60
# Items that `items_to_compare` takes of a task: more than any benchmark has, and what makes no command slow.
_BENCHMARK_ITEMS, _BUNDLED_ITEMS = 1_000_000, 1_000
# A line that equals a question of fewer than MIN_WORDS words is not longer.
_SHORT_CHARACTERS = 400

# Scripts without spaces between words: each of their characters is a word.
_SPACELESS = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[^\W\d_{_SPACELESS}]+|[{_SPACELESS}]")
# A number; a word; the mark of a factorial or a derivative; any other character but white space and prose punctuation.
_TOKEN = re.compile(
    rf"(?:(?<!\w)\.)?\d+(?:[.:]\d+)*|{_WORD.pattern}|!(?<=[\d)\]}}]!)|'(?=\()|[^\w\s.,;:!?'\"`{_SPACELESS}]|_"
)
# Removed without a trace: apostrophes, commas of thousands, hyphens within words, signs of currency, per cent.
_JOINED = re.compile(
    r"'(?!\()|,(?<=\d,)(?=\d{3}(?!\d))|-(?<=[^\W\d_]{2}-)(?=[^\W\d_]{2})|[$£€¥](?=\d)|%(?<=\d%)(?!\s*\d)"
)


def normalised(text: str) -> str:
    """The tokens of a text, one space between them, in the form in which questions are compared."""
    return " ".join(_TOKEN.findall(_clean(text)))


def question_hash(question: str) -> str:
    """Identifies a question however it is written."""
    return content_hash(normalised(question), 32)


def check_leaks(what: str, texts: Sequence[str], evaluated: Iterable[Sample]) -> None:
    """Refuse texts that hold questions which are evaluated.

    Args:
        what: what the texts are, in the plural: "calibration texts".
        evaluated: the samples that are evaluated, in whatever way they are asked.
    Raises:
        UserError: how many texts do, and one of the questions.
    """
    questions = EvaluatedQuestions(sample.question for sample in evaluated)
    leaked = [question for text in texts if (question := questions.first_in(text)) is not None]
    if leaked:
        raise UserError(
            f"{len(leaked)} of {len(texts)} {what} hold items that are evaluated, such as "
            f"{' '.join(leaked[0].split())[:_QUOTED]!r}",
            f"use other {what}: what is evaluated must not choose layers, calibrate, train or serve as an example",
        )


def items_to_compare(tasks: Iterable[Task], data_dir: Path | None) -> list[Sample]:
    """What evaluating these tasks would ask: all items of a benchmark, the first ones of a bundled task.

    Bundled tasks make their items, any number of them, disjoint by construction.

    Raises:
        UserError: a benchmark's items cannot be read.
    """
    items: list[Sample] = []
    for task in tasks:
        # Examples change no question, and some benchmarks build long contexts of them.
        asked = task.variant(0, False) if task.variant else task
        items += asked.samples("evaluate", _BUNDLED_ITEMS if is_bundled(task) else _BENCHMARK_ITEMS, data_dir)
    return items


def is_bundled(task: Task) -> bool:
    """Whether a task is one of the bundled world, in whatever way it is asked."""
    return task.name.partition(":")[0].partition("@")[0] in SUITES["reference"]


class EvaluatedQuestions:
    """An index of questions, to find them in texts in time proportional to the texts' length.

    A question of at least `MIN_WORDS` words is found by its first `MIN_WORDS` tokens, then compared; a whole text or
    line by its normalised form.
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
        """A question that the text holds, as it was given; None if it holds none."""
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
    """Short lines, with their label and without; whole, and up to their first question mark."""
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
    """Whether neither of two adjacent tokens is a word, and nothing but spaces is between them; `=` ends a question."""
    gap = clean[before.end() : after.start()]
    return not (gap.strip() or "\n" in gap or after[0] == "=" or _is_word(before[0]) or _is_word(after[0]))


def _is_word(token: str) -> bool:
    return _WORD.fullmatch(token) is not None


def _clean(text: str) -> str:
    """One form for each character, and without what joins parts of a word or a number."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        text = text.translate({ord(character): _plain(character) for character in set(text) if ord(character) > 127})
    return _JOINED.sub("", text.casefold())


_MEANT = {"−": "-", "×": "*", "÷": "/", "’": "'", "‘": "'", "′": "'"}


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    """The ASCII character that one of Unicode's stands for, where it is punctuation."""
    if character in _MEANT:
        return _MEANT[character]
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    if category == "Pd":
        return "-"
    return '"' if category in ("Po", "Pi", "Pf") else character
