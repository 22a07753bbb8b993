"""HumanEval+ and MBPP+ in the hub's own form, whose tests use numpy: shapes decide before values. About 10 s."""

import json
from pathlib import Path
from typing import Any

import pytest
from programs import need_sandbox

from layerlimits.plugins import find
from layerlimits.scoring.sandbox import Program, run
from layerlimits.types import Response

# Our own wording of the two helpers that such tests hold: a tolerance for floats, and numpy to compare within it.
FLOATS = """
import numpy as np

def is_floats(x):
    if isinstance(x, (list, tuple)):
        return all(isinstance(part, float) for part in x)
    return isinstance(x, float) or isinstance(x, np.ndarray) and x.dtype.kind == "f"
"""
ALLCLOSE = """
def assertion(out, exp, atol):
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if out != exp and atol != 0:
        assert np.allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert out == exp
"""
TESTING = """
def assertion(out, exp, atol):
    same = out == exp
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if not same and atol != 0:
        np.testing.assert_allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert same
"""
KEYWORDS = "\ndef assertion(out, exp, atol):\n    assert np.allclose(b=exp, a=out, atol=1e-6)\n"
ARRAYS = "\ndef assertion(out, exp, atol):\n    assert np.isclose(np.array(out), np.array(exp), atol=1e-6).all()\n"
ALIAS = "from numpy import allclose as near\n\ndef assertion(out, exp, atol):\n    assert near(out, exp, atol=1e-6)\n"
HELPERS = {
    "allclose": ALLCLOSE,
    "testing": TESTING,
    "keywords": KEYWORDS,
    "arrays": ARRAYS,
    "alias": ALIAS,
}


@pytest.fixture(autouse=True)
def _needs_a_sandbox() -> None:
    need_sandbox()


def _passed(pairs: list[tuple[str, str]], helper: str, atol: float = 0) -> list[tuple[str, str]]:
    """The pairs of (result, expected), both Python source, that the test accepts."""
    tests = [f"{FLOATS}{helper}\nassertion(f(), {expected}, {atol})" for _, expected in pairs]
    programs = [Program(f"def f(): return {result}", test, "f") for (result, _), test in zip(pairs, tests, strict=True)]
    return [pair for pair, outcome in zip(pairs, run(programs), strict=True) if outcome.passed]


WRONG = [
    ("[]", "1.5"),
    ("()", "1.5"),
    ("[[]]", "1.5"),
    ("range(0)", "1.5"),
    ("5", "[]"),
    ("5.0", "()"),
    ("[1.5]", "1.5"),
    ("1.5", "[1.5, 1.5]"),
    ("[[1.5, 2.5]]", "[1.5, 2.5]"),
    ("[1.5]", "[1.5, 1.5]"),
    ("[]", "[1.5]"),
    ("[[], []]", "[1.5, 2.5]"),
    ("{}", "1.5"),
    ("set()", "1.5"),
    ("'1.5'", "1.5"),
    ("''", "1.5"),
    ("b''", "[]"),
    ("None", "1.5"),
    ("float('nan')", "1.5"),
    ("[float('nan')]", "[1.5]"),
    ("float('inf')", "1.5"),
    ("(part for part in ())", "1.5"),
    ("{1.5: 1.5}", "[1.5]"),
    ("1.6", "1.5"),
]
RIGHT = [
    ("1.5", "1.5"),
    ("1.5000000001", "1.5"),
    ("[1.5000000001, 2.5]", "[1.5, 2.5]"),
    ("(1.5000000001,)", "(1.5,)"),
    ("2", "2.0000000001"),
    ("[]", "[]"),
    ("()", "()"),
]


@pytest.mark.parametrize("helper", HELPERS)
def test_values_of_another_shape_are_wrong(helper: str) -> None:
    assert _passed(WRONG, HELPERS[helper]) == []
    assert _passed(RIGHT, HELPERS[helper]) == RIGHT


def test_a_tolerance_that_the_test_gives_compares_shapes_too() -> None:
    """MBPP+ gives some tests a tolerance, whatever the type of what is expected."""
    wrong = [("[]", "3"), ("[[], []]", "[[1.5], [2.5]]"), ("[[1.5, 2.5]]", "[[1.5], [2.5]]"), ("True", "1.0000001")]
    right = [("[[1.50001], [2.5]]", "[[1.5], [2.5]]"), ("3", "3"), ("[(1, 2.00001)]", "[(1, 2)]")]
    assert _passed(wrong, ALLCLOSE, 1e-3) == []
    assert _passed(right, ALLCLOSE, 1e-3) == right


def test_expected_arrays_are_compared_by_their_shape() -> None:
    wrong = [("[]", "np.array(1.5)"), ("1.5", "np.array([1.5, 1.5])"), ("[1.5, [2.5]]", "np.array([1.5, 2.5])")]
    right = [("[1.5, 2.5000000001]", "np.array([1.5, 2.5])")]
    plain = "\ndef assertion(out, exp, atol):\n    assert np.allclose(out, exp, atol=1e-6)\n"
    assert _passed(wrong, plain) == []
    assert _passed(right, plain) == right


ROWS: dict[str, dict[str, Any]] = {
    "humanevalplus": {
        "prompt": 'def half(x):\n    """Half of x, nothing of nothing."""\n',
        "entry_point": "half",
        "canonical_solution": "    return [] if x is None else x / 2\n",
        "test": f"{FLOATS}{TESTING}\ndef check(candidate):\n"
        "    for inp, exp in zip([[3.0], [1.0], [None]], [1.5, 0.5, []]):\n"
        "        assertion(candidate(*inp), exp, 0)\n",
    },
    "mbppplus": {
        "prompt": "Write half(x).",
        "code": "def half(x):\n    return [] if x is None else x / 2",
        "test_list": ["assert half(3.0) == 1.5"],
        "test": f"{FLOATS}{ALLCLOSE}\nfor inp, exp in zip([[3.0], [1.0], [None]], [1.5, 0.5, []]):\n"
        "    assertion(half(*inp), exp, 0)\n",
    },
}


@pytest.mark.parametrize("name", ROWS)
def test_the_tasks_judge_the_hubs_form(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "test.jsonl").write_text(json.dumps(ROWS[name]) + "\n")
    task = find("tasks", name)
    [sample] = task.samples.whole(tmp_path)
    bodies = ["[]", "()", "[[]]", "[x / 2]", "5", "x / 2 if x else 5"]
    answers = [f"```python\ndef half(x):\n    return {body}\n```" for body in bodies]
    judged = [task.score(sample, Response(text, (1,), "stop")).outcome for text in [*answers, sample.shown]]
    assert judged == ["wrong"] * len(bodies) + ["correct"]
    assert task.scorer > 1
