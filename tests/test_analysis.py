"""Analysis of texts on hand-made cases: repetition, loops, differences, pass@k."""

import json
import time
from itertools import combinations
from pathlib import Path

import pytest

from layerlimits.analysis.differences import first_difference, kind_at
from layerlimits.analysis.operations import (
    operations,
    question_tree,
)
from layerlimits.analysis.passes import pass_at_k
from layerlimits.analysis.repetition import loop_onset, repetition, self_bleu, sentences, units

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


# Repetition


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("one two.", ["one", "two", "."]),
        ("x_1 = 2", ["x_1", "=", "2"]),
        ("\u6211\u559c\u6b22", ["\u6211", "\u559c", "\u6b22"]),
        ("ok\u597d", ["ok", "\u597d"]),
        (
            "\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440",
            ["\u043f\u0440\u0438\u0432\u0435\u0442", "\u043c\u0438\u0440"],
        ),
        ("0" * 40, ["0"] * 40),
        ("a" * 30, ["a" * 30]),
    ],
)
def test_units(text: str, expected: list[str]) -> None:
    assert units(text) == expected


@pytest.mark.parametrize(
    ("text", "n", "expected"),
    [
        ("a b c d", 2, 0.0),
        ("a b a b", 2, 1 / 3),
        ("a a a a a", 4, 0.5),
        ("a b", 3, None),
        ("", 2, None),
        ("1" + "0" * 400, 4, 1 - 2 / 398),
        ("\u5929" * 10, 2, 8 / 9),
    ],
)
def test_repetition(text: str, n: int, expected: float | None) -> None:
    found = repetition(units(text), n)
    assert found == expected if expected is None else found == pytest.approx(expected)


def _slow_onset(tokens: list[int]) -> int | None:
    found = []
    for start in range(len(tokens)):
        rest = tokens[start:]
        for period in range(1, len(rest) // 3 + 1):
            if len(rest) >= 12 and all(rest[i] == rest[i - period] for i in range(period, len(rest))):
                found.append(start)
    return min(found, default=None)


@pytest.mark.parametrize("prefix", [0, 1, 7, 40])
@pytest.mark.parametrize("period", [1, 2, 3, 5, 11])
def test_a_planted_loop_is_found_at_its_token(prefix: int, period: int) -> None:
    head = [1000 + n for n in range(prefix)]
    for times in (2, 3, 12):
        tokens = head + [n for _ in range(times) for n in range(period)]
        loops = times >= 3 and times * period >= 12
        assert loop_onset(tokens) == (prefix if loops else None)
        assert loop_onset([*tokens, 5000]) is None


@pytest.mark.parametrize("seed", range(12))
def test_loops_equal_the_definition(seed: int) -> None:
    import random

    draw = random.Random(seed)
    tokens = [draw.randint(0, 2) for _ in range(draw.randint(0, 30))]
    tokens += [draw.randint(0, 3) for _ in range(3)] * draw.randint(0, 6)
    assert loop_onset(tokens) == _slow_onset(tokens)


def test_a_long_response_is_read_in_linear_time() -> None:
    tokens = [n % 977 for n in range(60_000)]
    assert loop_onset(tokens) == 0
    assert loop_onset(list(range(100_000))) is None


def _real_texts() -> list[str]:
    """50 questions with their solutions."""
    path = DATA / "gsm8k" / "test.jsonl"
    if not path.exists():
        pytest.skip(f"no benchmark items in {path}")
    rows = [json.loads(line) for line in path.read_text().splitlines()[:50]]
    return [row["question"] + " " + row["answer"] for row in rows]


def test_repetition_is_that_of_nltk() -> None:
    from nltk.tokenize import RegexpTokenizer
    from nltk.util import ngrams

    for text in _real_texts():
        words = RegexpTokenizer(r"\w+|[^\w\s]").tokenize(text)
        for n in (2, 3, 4):
            grams = list(ngrams(words, n))
            assert repetition(units(text), n) == pytest.approx(1 - len(set(grams)) / len(grams))


def test_self_bleu_is_that_of_sacrebleu_and_of_nltk() -> None:
    from nltk.translate.bleu_score import sentence_bleu
    from sacrebleu.metrics.bleu import BLEU

    compared = 0
    for text in _real_texts():
        parts = [" ".join(units(part)) for part in sentences(text)]
        if len(parts) < 2:
            assert self_bleu(text) is None
            continue
        direct = []
        for place, part in enumerate(parts):
            others = parts[:place] + parts[place + 1 :]
            score = BLEU(effective_order=True, tokenize="none").sentence_score(part, others)
            direct.append(score.score / 100)
            if all(score.counts):
                ours = sentence_bleu([other.split() for other in others], part.split())
                assert score.score / 100 == pytest.approx(ours, abs=1e-9)
                compared += 1
        assert self_bleu(text) == pytest.approx(sum(direct) / len(direct))
    assert compared > 0


@pytest.mark.parametrize("text", ["", "One sentence only", "a. b. c.", "...", "\n\n"])
def test_self_bleu_needs_two_sentences(text: str) -> None:
    assert self_bleu(text) is None


def test_equal_sentences_have_the_largest_self_bleu() -> None:
    assert self_bleu("The cat sat on the mat. The cat sat on the mat.") == pytest.approx(1.0)
    unlike = self_bleu("The cat sat on the mat. Nobody ever expected rain today.")
    assert unlike is not None
    assert unlike < 0.2


# Differences and pass@k


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("abc", "abc", None), ("abc", "abd", 2), ("abc", "ab", 2), ("", "a", 0), ("", "", None), ("xa", "ya", 0)],
)
def test_first_difference(first: str, second: str, expected: int | None) -> None:
    assert first_difference(first, second) == expected


@pytest.mark.parametrize(
    ("text", "index", "is_code", "kind"),
    [
        ("a = 1", 4, True, "digit"),
        ("a = 1", 2, True, "operator"),
        ("a = 1", 0, True, "name"),
        ("a = 1", 0, False, "prose"),
        ("a = 1", 3, True, "digit"),
        ("ab", 2, False, "end"),
        ("a\n", 1, False, "space"),
        ("so (", 3, False, "operator"),
    ],
)
def test_kind_at(text: str, index: int, is_code: bool, kind: str) -> None:
    assert kind_at(text, index, is_code=is_code) == kind


@pytest.mark.parametrize("samples", [1, 3, 5, 7])
def test_pass_at_k_by_enumeration(samples: int) -> None:
    for right in range(samples + 1):
        answers = [True] * right + [False] * (samples - right)
        for k in range(1, samples + 1):
            chosen = list(combinations(answers, k))
            assert pass_at_k(samples, right, k) == pytest.approx(sum(map(any, chosen)) / len(chosen))


@pytest.mark.parametrize(("samples", "right", "k"), [(3, 1, 4), (3, 4, 1), (3, 1, 0), (0, 0, 1)])
def test_pass_at_k_refuses_impossible_counts(samples: int, right: int, k: int) -> None:
    with pytest.raises(ValueError, match="pass@"):
        pass_at_k(samples, right, k)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "1" * 100_000,
        "1 + " * 25_000,
        "1 - -$" * 20_000,
        " " * 100_000,
        "1," * 50_000,
        "= 1 " * 25_000,
        "(-1) - (" * 12_500,
        "$1 - " * 20_000,
    ],
)
def test_any_text_is_read_in_proportion_to_its_length(text: str) -> None:
    began = time.process_time()
    list(operations(text))
    question_tree(text)
    loop_onset(list(map(ord, text)))
    repetition(units(text), 3)
    assert time.process_time() - began < 5
