"""What becomes of programs: by the parser, by the reasons of verdicts, and for real programs in the sandbox."""

from collections.abc import Sequence

import pytest
from fake_run import FakeRun, answer, pruned, skipped, task
from findings import CUT, check_sentence, found, pick, two_models

from layerlimits.analysis.code_outcome import OUTCOMES, SYNTAX, code_outcome
from layerlimits.analysis.python_errors import syntax_problem
from layerlimits.diagnostics import Answer
from layerlimits.scoring import code, expressions
from layerlimits.types import FinishReason, Outcome, Response, Verdict

CODE = task("humanevalplus", metric="pass rate")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("def f(x):\n    return x\n", None),
        ("def f(x:\n    return x\n", "bracket syntax"),
        ("x = [1, 2\n", "bracket syntax"),
        ("x = 1)\n", "bracket syntax"),
        ("x = (1]\n", "bracket syntax"),
        ("def f(x):\nreturn x\n", "indentation"),
        ("def f(x):\n    a = 1\n  return a\n", "indentation"),
        ("  x = 1\n", "indentation"),
        ("x = 'abc\n", "unterminated string"),
        ('x = """abc\n', "unterminated string"),
        ("def f(x)\n    return x\n", "missing colon"),
        ("if x\n    y = 1\n", "missing colon"),
        ("for a in b\n    pass\n", "missing colon"),
        ("x = = 1\n", "other syntax"),
        ("return return\n", "other syntax"),
        ("x = \0\n", "other syntax"),
        ("The answer is 5.", "other syntax"),
        ("f'{x'\n", "bracket syntax"),
        ("{'a' 1}\n", "other syntax"),
        ("print(a b\n", "bracket syntax"),
        ("print(a b)\n", "other syntax"),
        ("class A\n    pass\n", "missing colon"),
        ("while True\n    pass\n", "missing colon"),
        ("x = 1\n" * 40_000, "other syntax"),
        ("(" * 500 + ")" * 500, "other syntax"),
    ],
)
def test_syntax_problem(code: str, kind: str | None) -> None:
    assert syntax_problem(code) == kind


@pytest.mark.parametrize(
    ("outcome", "why", "code", "expected"),
    [
        ("correct", "", "", "passed"),
        ("wrong", "assertion failed: assert f(1) == 2", "", "wrong result"),
        ("wrong", "raised NameError: name 'y' is not defined", "", "name not defined"),
        ("wrong", "raised UnboundLocalError: y", "", "name not defined"),
        ("wrong", "raised TypeError: f() takes 1", "", "type error"),
        ("wrong", "the test raised TypeError: unsupported at assert", "", "type error"),
        ("wrong", "raised IndexError: list index", "", "other runtime error"),
        ("wrong", "raised RecursionError: maximum", "", "other runtime error"),
        ("wrong", "raised SyntaxError: bad", "", "other syntax"),
        ("wrong", "raised IndentationError: bad", "", "indentation"),
        ("wrong", "timed out after 10 s", "", "timeout"),
        ("wrong", "memory: MemoryError: ", "", "memory"),
        ("wrong", "no result: the program was killed (out of time or memory)", "", "memory"),
        ("wrong", "no result: the program ended", "", "other runtime error"),
        ("wrong", "not a plain value: function", "", "wrong result"),
        ("wrong", "the test never called the program", "", "other runtime error"),
        ("no_answer", "contains no code", "", "no code"),
        ("truncated", "truncated after 512 tokens", "", "truncated"),
        ("error", "context too long: 9 tokens", "", "not judged"),
        ("error", "not valid Python", "def f(:\n", "bracket syntax"),
        ("error", "not valid Python", "x = (1\n", "bracket syntax"),
        ("error", "not valid Python", "x = 'a\n", "unterminated string"),
        ("error", "not valid Python", "def f()\n  pass", "missing colon"),
        ("error", "not valid Python", "def f():\npass", "indentation"),
    ],
)
def test_code_outcome(outcome: Outcome, why: str, code: str, expected: str) -> None:
    assert code_outcome(Verdict(outcome, float(outcome == "correct"), code, why)) == expected


# Real programs


def _response(text: str, finish: FinishReason = "stop") -> Response:
    return Response(text, (1, 2, 3), finish)


PROGRAMS = {
    "def f(x):\n    return x + 1": "passed",
    "def f(x):\n    return x": "wrong result",
    "def f(x):\n    return lambda: x": "wrong result",
    "def f(x):\n    return (x + 1": "bracket syntax",
    "def f(x):\n    return [x) + 1": "bracket syntax",
    "def f(x):\n    y = x\n  return y + 1": "indentation",
    "def f(x):\nreturn x + 1": "indentation",
    "def f(x):\n    return 'x + 1": "unterminated string",
    "def f(x)\n    return x + 1": "missing colon",
    "def f(x):\n    return return x": "other syntax",
    "def f(x):\n    return y + 1": "name not defined",
    "def f(x):\n    x += z\n    z = 1\n    return x": "name not defined",
    "def f(x):\n    return x + '1'": "type error",
    "def f():\n    return 2": "type error",
    "def f(x):\n    return [][x]": "other runtime error",
    "def f(x):\n    return f(x)": "other runtime error",
    "def f(x):\n    raise SystemExit": "other runtime error",
    "class MyError(Exception):\n    pass\n\ndef f(x):\n    raise MyError('no')": "other runtime error",
    "def f(x):\n    while True:\n        x += 1": "timeout",
    "def f(x):\n    return len(bytearray(1 << 33))": "memory",
    "I do not know.": "no code",
}


def test_outcomes_of_real_programs() -> None:
    answers = [code.Answer(_response(f"```python\n{text}\n```"), "assert f(1) == 2", "f") for text in PROGRAMS]
    answers[-1] = code.Answer(_response("I do not know."), "assert f(1) == 2", "f")
    cut = code.Answer(_response("def f(x):\n    return (x +", "length"), "assert f(1) == 2", "f")
    verdicts = code.judge_all([*answers, cut], seconds=1, unsafe=True)
    outcomes = [code_outcome(verdict) for verdict in verdicts]
    assert dict(zip(PROGRAMS, outcomes, strict=False)) == PROGRAMS
    assert outcomes[-1] == "truncated"
    assert set(OUTCOMES) - set(outcomes) == {"not judged"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(x): return (x + 3)", "passed"),
        ("def f(x): return (x + 2)", "wrong result"),
        ("def f(x): return ((x + 3)", "bracket syntax"),
        ("def f(x): return (x + 3]", "bracket syntax"),
        ("def f(x: return (x + 3)", "bracket syntax"),
        ("def f(x): return max(x 3", "bracket syntax"),
        ("def f(x) return (x + 3)", "missing colon"),
        ("def f(x): return 'x", "unterminated string"),
        ("def f(x): return (x + )", "other syntax"),
        ("def f(x): return (y + 3)", "name not defined"),
        ("def f(x): return max(x)", "type error"),
        ("def f(x): return (x // 0)", "other runtime error"),
        ("def f(x): return sum(x, 3)", "other runtime error"),
        ("def f(y): return (y + 3)", "no code"),
        ("blue", "no code"),
        ("", "no code"),
        ("def f(x): return " + "x + " * 999 + "3", "not judged"),
    ],
)
def test_outcomes_of_functions_of_one_line(text: str, expected: str) -> None:
    response = _response(text)
    verdict = expressions.judge(response, "def f(x): return (x + 3)", (-5, 0, 3, 11))
    assert code_outcome(verdict, response.text) == expected


# The diagnostic


KINDS: list[tuple[Outcome, str, str, str]] = [
    ("correct", "", "", "passed"),
    ("wrong", "assertion failed: x", "", "wrong result"),
    ("wrong", "raised NameError: y", "", "name not defined"),
    ("wrong", "timed out after 10 s", "", "timeout"),
    ("error", "not valid Python", "x = (", "bracket syntax"),
    ("truncated", "truncated after 9 tokens", "", "truncated"),
    ("no_answer", "contains no code", "", "no code"),
]


def _programs(kinds: Sequence[tuple[Outcome, str, str, str]]) -> list[Answer]:
    return [
        answer(f"i{n}", "x", float(outcome == "correct"), outcome=outcome, why=why, found=text)
        for n, (outcome, why, text, _) in enumerate(kinds)
    ]


def test_shares_of_outcomes_add_up_to_one() -> None:
    base = _programs([KINDS[0]] * len(KINDS))
    rows = found("code_outcomes", two_models(base, _programs(KINDS), CODE))
    own = [row for row in rows[1:] if row.model == CUT.label]
    assert sum(row.estimate or 0 for row in own) == pytest.approx(1)
    assert [row.measure for row in own] == list(OUTCOMES)
    for n, (_, _, _, name) in enumerate(KINDS):
        row = pick(rows, name, CUT.label)
        assert row.estimate == pytest.approx(1 / 7)
        assert row.items == (() if name == "passed" else (f"i{n}",))
        check_sentence(row)
    # One of the six lost programs is not valid Python.
    assert (rows[0].estimate, rows[0].n) == (pytest.approx(1 / 6), 6)
    check_sentence(rows[0])


@pytest.mark.parametrize(
    ("kinds", "share", "most"),
    [
        ([4, 4, 1], 2 / 3, "bracket syntax"),
        ([1, 1, 4], 1 / 3, "wrong result"),
        ([2, 2, 2], 0.0, "name not defined"),
        ([0, 4, 0], 1.0, "bracket syntax"),
    ],
)
def test_how_lost_programs_fail(kinds: list[int], share: float, most: str) -> None:
    base = _programs([KINDS[0]] * 3)
    main = found("code_outcomes", two_models(base, _programs([KINDS[kind] for kind in kinds]), CODE))[0]
    assert main.estimate == pytest.approx(share)
    assert f"the most frequent outcome is {most} (" in main.sentence
    assert main.items == tuple(f"i{n}" for n, kind in enumerate(kinds) if kind)


def test_a_program_that_two_models_lose_counts_once() -> None:
    other = pruned("random", 0, 1)
    stored = {("base", CODE["name"]): _programs([KINDS[0]] * 2)}
    stored[CUT.label, CODE["name"]] = _programs([KINDS[4], KINDS[1]])
    stored[other.label, CODE["name"]] = _programs([KINDS[1], KINDS[0]])
    main = found("code_outcomes", FakeRun(stored, [CODE], [CUT, other]))[0]
    assert (main.estimate, main.n) == (0.25, 2)
    assert "wrong result (75%)" in main.sentence


def test_pruned_models_come_first() -> None:
    stored = {("base", CODE["name"]): _programs([KINDS[0]])}
    stored["without layer 0", CODE["name"]] = _programs([KINDS[4]])
    alone = found("code_outcomes", FakeRun(stored, [CODE], [skipped(0)]))[0]
    assert (alone.model, alone.estimate) == ("models without one layer", 1.0)
    stored[CUT.label, CODE["name"]] = _programs([KINDS[1]])
    both = found("code_outcomes", FakeRun(stored, [CODE], [skipped(0), CUT]))[0]
    assert (both.model, both.estimate) == ("pruned models", 0.0)


def test_syntax_kinds_are_outcomes() -> None:
    assert set(SYNTAX) < set(OUTCOMES)


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (FakeRun({}, []), "no task asks for programs"),
        (FakeRun({}, [task("gsm8k")], [CUT]), "no task asks for programs"),
        (FakeRun({}, [CODE], [CUT]), "lose no program"),
        (two_models(_programs([KINDS[1]]), _programs([KINDS[1]]), CODE), "lose no program"),
        (FakeRun({("base", CODE["name"]): _programs([KINDS[0]])}, [CODE]), "lose no program"),
    ],
)
def test_what_cannot_be_measured_says_why(run: FakeRun, why: str) -> None:
    rows = found("code_outcomes", run)
    assert rows[0].estimate is None
    assert why in rows[0].sentence
    for row in rows:
        check_sentence(row)
