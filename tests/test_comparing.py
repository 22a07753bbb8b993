"""What answers are summed up to, how models are compared, and what is said before figures are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layerlimits.results import warnings as cautions
from layerlimits.results.figures import by_item, compared, correct, recognized_only, summary
from layerlimits.types import Verdict

Says = Callable[..., Any]


def test_recognized_only_is_right_by_likelihood_and_wrong_when_written() -> None:
    found = recognized_only([1, 1, 0, 1], [1, 0, 0, 0.5])
    assert found.estimate == pytest.approx((0 + 1 + 0 + 0.5) / 4)
    assert found.n == 4


def test_strict_scores_parts_and_further_measures_are_summed_up() -> None:
    verdicts = [
        Verdict("correct", 1.0, strict=1.0, measures={"acc_norm": 0.0}),
        Verdict("correct", 1.0, strict=0.0, measures={"acc_norm": 1.0}),
        Verdict("wrong", 0.0, strict=0.0, measures={"acc_norm": 1.0}),
        Verdict("error", 0.0, why="context too long: 9 tokens, and the model has 8 positions"),
    ]
    found = summary(verdicts, 4, ["a", "a", "b", "b"])
    assert found["score"]["estimate"] == 0.5
    assert found["strict"]["estimate"] == 0.25
    assert found["measures"]["acc_norm"]["estimate"] == 0.5
    assert {name: (one["estimate"], one["n"]) for name, one in found["sets"].items()} == {"a": (1.0, 2), "b": (0.0, 2)}
    assert (found["draws"], found["graded"], found["refused"]) == (1, False, 1)


def test_draws_are_turned_to_items() -> None:
    assert by_item([1, 2, 3, 4, 5, 6], 3) == [[1, 4], [2, 5], [3, 6]]


def test_two_models_are_compared_exactly_and_corrected_over_the_family() -> None:
    base = [1.0] * 10
    tests = [compared(base, [1.0] * 10), compared(base, [0.0] * 10), compared(base, [0.5] * 10)]
    assert tests[2] is None
    correct(tests)
    assert tests[0] == {"lost": 0, "won": 0, "p": 1.0, "p_holm": 1.0}
    assert tests[1] is not None
    assert tests[1]["p"] == 2 / 2**10
    assert tests[1]["p_holm"] == 2 * tests[1]["p"]


def test_a_sweep_tells_which_layers_differ(tiny: Path, says: Says) -> None:
    told = says("sweep", tiny, "--tasks", "facts_choice", "--limit", 8)
    tests = [row["scores"]["facts_choice"]["test"] for row in told["sweep"]]
    assert all(test["p"] <= test["p_holm"] <= 1 for test in tests)
    assert all(test["lost"] + test["won"] <= 8 for test in tests)


def test_cautions_name_what_differs_and_nothing_else() -> None:
    plain = {"name": "a", "protocol": "likelihood", "shots": 5, "template": None}
    chat = {"name": "b", "protocol": "free", "shots": 5, "template": "1234"}
    assert cautions.confounds([plain, {**plain, "name": "c"}]) == []
    (said,) = cautions.confounds([plain, chat])
    assert "differ in protocol and template" in said
    assert "a: by likelihood, 5 examples, plain text; b: free generation, 5 examples, chat template" in said
    assert cautions.too_few([("a", 100_000, 0.5)], 0.05) == []
    (said,) = cautions.too_few([("a", 100, 0.5), ("b", 100, 0.9)], 0.05)
    assert said.startswith("100 items cannot tell 5 points apart: use 1,")
    assert said.endswith("(a, b).")
