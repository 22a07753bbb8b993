"""Brackets of texts and programs, and the diagnostic `brackets` on made-up runs with known outcomes."""

import time

import pytest
from fake_run import FakeRun, answer, right_and_wrong, skipped, task
from findings import CUT, check_sentence, found, pick, two_models

from layerlimits.analysis.brackets import balanced, bracket_error, code_brackets, text_brackets
from layerlimits.diagnostics import Answer
from layerlimits.types import FinishReason

CODE = task("humanevalplus", metric="pass rate")
GSM8K = task("gsm8k")
CLOSE = task("brackets")


@pytest.mark.parametrize(
    ("marks", "kind", "index", "depth"),
    [
        ("()[]{}", None, 0, 0),
        ("([{}])", None, 0, 0),
        ("", None, 0, 0),
        (")", "closed without opening", 0, 0),
        ("())", "closed without opening", 2, 0),
        ("(]", "closed by another bracket", 1, 1),
        ("([)]", "closed by another bracket", 2, 2),
        ("((", "never closed", 1, 1),
        ("(()", "never closed", 0, 0),
        ("{[()]", "never closed", 0, 0),
        ("(" * 50_000, "never closed", 49_999, 49_999),
    ],
)
def test_first_bracket_error(marks: str, kind: str | None, index: int, depth: int) -> None:
    error = bracket_error(marks)
    assert balanced(marks) == (kind is None)
    assert (error and (error.kind, error.index, error.depth)) == (kind and (kind, index, depth))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def f(x):\n    return [x]\n", "()[]"),
        ("s = ')]}'\n", ""),
        ("s = r')\\']'\nf()", "()"),
        ("# ((( \nx = (1)\n", "()"),
        ('"""(((\n"""\nf()\n', "()"),
        ("f'{x}(' + g()", "()"),
        ("x = (1\n", "("),
        ("x = f(1]\ny = [2]", "(][]"),
        ("if x:\n    y(1)\n  z[2]\n", "()[]"),
        ("def f():\nreturn {1: (2)}", "(){()}"),
        ("x = $ (1)", "()"),
        ("\u00e9(\u00d7)", "()"),
        ("The answer (5) is right", "()"),
        ("x = 'abc(\ny = (1)\n", None),
        ('x = f("""a(\n', None),
        ("f(1)\ns = 'it", None),
        ("don't (do) it", None),
        ("", None),
        (" \n\n", None),
        ("(" * 200_001, None),
    ],
)
def test_brackets_of_code(code: str, expected: str | None) -> None:
    brackets = code_brackets(code)
    assert (brackets and brackets.marks) == expected
    if brackets:
        assert [code[place] for place in brackets.characters] == list(brackets.marks)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a (b) [c", "()["),
        ("none", ""),
        ("  ", None),
        ("", None),
        ("well :) done ;-(", ""),
        ("keys:(a) {b:[1]}", "(){[]}"),
        ("1) first (one)\n2) second\n - a) third", "()"),
        ("f(x) and (y\n  z)", "()()"),
        ("don't (do) it", "()"),
        ("\u5929\u6c14(\u597d)", "()"),
    ],
)
def test_brackets_of_text(text: str, expected: str | None) -> None:
    brackets = text_brackets(text)
    assert (brackets and brackets.marks) == expected
    if brackets:
        assert [text[place] for place in brackets.characters] == list(brackets.marks)


@pytest.mark.parametrize(("code", "share"), [("f(1]", 0.75), ("x = 1)", 5 / 6), ("  f(1)\n  )  ", 9 / 12)])
def test_the_position_of_an_error_counts_indentation(code: str, share: float) -> None:
    brackets = code_brackets(code)
    assert brackets is not None
    assert brackets.error is not None
    assert brackets.position(brackets.error) == pytest.approx(share)


def test_a_long_program_is_read_in_seconds() -> None:
    began = time.process_time()
    for text in ("x = [1, (2)]\n" * 7_500, "(" * 100_000, '"""' + "a\n" * 50_000):
        code_brackets(text)
        text_brackets(text)
    assert time.process_time() - began < 10


# The diagnostic: programs and free text


def _programs(texts: list[str], finish: FinishReason = "stop") -> list[Answer]:
    return [answer(f"i{n}", text or "prose", found=text, finish=finish) for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("texts", "share", "note"),
    [
        (["f(x)", "f(x"], 0.5, ""),
        (["s = '(('\nf(1)", "# (((\nf(1)"], 1.0, ""),
        (["f(x", "g]", "h()", "[1)"], 0.25, ""),
        (["f(x)", ""], 1.0, "1 without code"),
        (["f(x)", "s = 'it"], 1.0, "1 broken"),
        (["f(1)\ns = 'it", "s = '('"], None, "1 broken, 1 without brackets"),
        (["x = 1", "y = 2"], None, "2 without brackets"),
        (["", ""], None, "2 without code"),
    ],
)
def test_balance_of_programs(texts: list[str], share: float | None, note: str) -> None:
    rows = found("brackets", two_models(_programs(["f(1)"] * len(texts)), _programs(texts), CODE))
    row = pick(rows, "balanced", CUT.label)
    assert row.estimate == (None if share is None else pytest.approx(share))
    assert note in row.sentence
    assert ("not measurable" in row.sentence) == bool(note)
    for other in rows:
        check_sentence(other)


@pytest.mark.parametrize(
    ("text", "kind", "position"),
    [
        ("f(1))", "closed without opening", 0.8),
        ("f(1]", "closed by another bracket", 0.75),
        ("f(1)\ng(", "never closed", 6 / 7),
    ],
)
def test_the_kind_and_the_place_of_the_first_error(text: str, kind: str, position: float) -> None:
    rows = found("brackets", two_models(_programs(["f(1)"]), _programs([text]), CODE))
    for name in ("closed without opening", "closed by another bracket", "never closed"):
        row = pick(rows, name, CUT.label)
        assert (row.estimate, row.items) == (float(name == kind), ("i0",) if name == kind else ())
    assert pick(rows, "position of the first error", CUT.label).estimate == pytest.approx(position)
    assert pick(rows, "position of the first error", "base").estimate is None
    assert rows[0].items == ("i0",)


@pytest.mark.parametrize(("text", "share"), [("(fine)", 1.0), ("(open", 0.0), ("well :)", None), ("", None)])
def test_balance_of_free_text(text: str, share: float | None) -> None:
    rows = found("brackets", two_models([answer("a", "(right)", 1.0)], [answer("a", text)], GSM8K))
    assert pick(rows, "balanced", CUT.label).estimate == share


@pytest.mark.parametrize("about", [CODE, GSM8K])
def test_an_answer_that_was_cut_off_is_not_unbalanced(about: object) -> None:
    rows = found("brackets", two_models(_programs(["f(1)"]), _programs(["f(1"], "length"), about))  # type: ignore[arg-type]  # a task
    row = pick(rows, "balanced", CUT.label)
    assert row.estimate is None
    assert "1 cut off" in row.sentence


@pytest.mark.parametrize(
    ("text", "right"), [("def f(x): return ((x + 3)", 0.0), ("def f(x: return x", 0.0), ("x", None)]
)
def test_a_function_that_its_scorer_did_not_extract_is_read_from_the_answer(text: str, right: float | None) -> None:
    rows = found("brackets", two_models(_programs(["f(1)"]), [answer("i0", text, outcome="error")], CODE))
    assert pick(rows, "balanced", CUT.label).estimate == right


def test_balance_is_compared_where_both_models_have_brackets() -> None:
    base, other = _programs(["f(1)", "f(1", "x = 1"]), _programs(["f(1", "x = 2", "f("])
    main = found("brackets", two_models(base, other, CODE))[0]
    assert (main.estimate, main.n, main.items) == (0.0, 1, ("i0",))
    assert "unpruned model in 100%" in main.sentence
    assert "the largest fall of 1 comparison" in main.sentence


def test_no_fall_is_not_called_one() -> None:
    main = found("brackets", two_models(_programs(["f(1"]), _programs(["f(1)"]), CODE))[0]
    assert main.estimate == 1.0
    assert "nothing falls in 1 comparison" in main.sentence


# The diagnostic: closing sequences


def _closed(n: int, prefix: str, text: str, target: str) -> Answer:
    return answer(f"i{n}", text, float(text == target), prompt="Close the brackets: " + prefix, target=target)


@pytest.mark.parametrize(
    ("texts", "right", "agreed"),
    [
        ([")", "))", "]"], 1.0, 1.0),
        ([")", ")]", "]"], 2 / 3, 2.5 / 3),
        (["]", "]]", ")"], 0.0, 0.0),
        ([")", ")", "]"], 2 / 3, 2.5 / 3),
        (["))", "))", "]"], 2 / 3, 1.0),
        (["", "))", "]"], 2 / 3, 1.0),
        (["", "", ""], 0.0, None),
    ],
)
def test_closed_sequences(texts: list[str], right: float, agreed: float | None) -> None:
    given = [("(", ")"), ("[]((", "))"), ("[", "]")]
    base = [_closed(n, prefix, target, target) for n, (prefix, target) in enumerate(given)]
    other = [
        _closed(n, prefix, text, target) for n, ((prefix, target), text) in enumerate(zip(given, texts, strict=True))
    ]
    rows = found("brackets", two_models(base, other, CLOSE))
    assert pick(rows, "closed", CUT.label).estimate == pytest.approx(right)
    share = pick(rows, "closed before the first error", CUT.label).estimate
    assert share == (None if agreed is None else pytest.approx(agreed))
    by_depth = {depth: pick(rows, "closed by depth", CUT.label, x=depth) for depth in (1, 2)}
    assert by_depth[1].n == 2
    assert by_depth[2].estimate == float(texts[1] == "))")
    by_length = {length: pick(rows, "closed by length", CUT.label, x=length) for length in (1, 4)}
    assert by_length[4].estimate == by_depth[2].estimate
    assert by_length[1].axis == "length"
    assert rows[0].estimate == pytest.approx(right)


def test_an_imported_run_without_prompts_has_no_depth_and_is_not_called_unbalanced() -> None:
    rows = found("brackets", two_models([answer("a", "]", 1.0)], [answer("a", ")", 0.0)], CLOSE))
    assert pick(rows, "closed", CUT.label).estimate == 0
    assert pick(rows, "closed by depth", CUT.label).estimate is None
    assert pick(rows, "closed before the first error", CUT.label).estimate is None
    assert not [row for row in rows if row.measure == "balanced"]


def test_the_largest_fall_is_among_pruned_models_if_there_are_any() -> None:
    stored = {
        ("base", "brackets"): right_and_wrong(10, 0),
        ("without layer 0", "brackets"): right_and_wrong(0, 10),
        (CUT.label, "brackets"): right_and_wrong(6, 4),
    }
    rows = found("brackets", FakeRun(stored, [CLOSE], [skipped(0), CUT]))
    assert (rows[0].model, rows[0].estimate) == (CUT.label, 0.6)
    assert found("brackets", FakeRun(stored, [CLOSE], [skipped(0)]))[0].model == "without layer 0"


def test_fewer_common_items_are_said() -> None:
    main = found("brackets", two_models(right_and_wrong(10, 0), right_and_wrong(3, 3), CLOSE))[0]
    assert main.n == 6
    assert "on the 6 of 10 items" in main.sentence


@pytest.mark.parametrize(
    "run", [FakeRun({}, []), FakeRun({}, [CODE, CLOSE], [CUT]), FakeRun({}, [task("a", "choice")])]
)
def test_nothing_to_measure(run: FakeRun) -> None:
    assert all(row.estimate is None for row in found("brackets", run))
