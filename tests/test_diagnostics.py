"""Diagnostics on made-up runs with known outcomes: the figures, the sentences, and what cannot be measured."""

import re
import time
from collections.abc import Sequence

import pytest
from fake_run import BASE, FakeRun, answer, pruned, right_and_wrong, skipped, task

from layerlimits.diagnostics import Diagnostic, Finding
from layerlimits.plugins import find, names
from layerlimits.types import Outcome

NAMES = names("diagnostics")
CUT = pruned("reverse", 2, 3)
GSM8K = task("gsm8k")
ARC = task("arc_easy", "choice", chance=0.25)
CODE = task("humanevalplus", metric="pass rate")


def found(name: str, run: FakeRun) -> list[Finding]:
    diagnostic: Diagnostic = find("diagnostics", name)
    return list(diagnostic.findings(run))


def pick(rows: Sequence[Finding], measure: str, model: str = "", task: str = "", x: float | None = None) -> Finding:
    """The finding with this measure; the first one is the main finding, which repeats another."""
    matching = [
        row
        for row in rows[1:]
        if row.measure == measure and model in ("", row.model) and task in ("", row.task) and (x is None or row.x == x)
    ]
    assert len(matching) == 1, [(row.measure, row.model, row.task) for row in rows]
    return matching[0]


def _two_models(base: Sequence[object], other: Sequence[object], about: object = GSM8K, model: object = CUT) -> FakeRun:
    return FakeRun({("base", about["name"]): base, (model.label, about["name"]): other}, [about], [model])  # type: ignore[index,attr-defined,dict-item,list-item]  # shorthand


HOSTILE = {
    "nothing": FakeRun({}, []),
    "no answers": FakeRun({}, [GSM8K, ARC, CODE], [skipped(0), CUT]),
    "one model": FakeRun({("base", "gsm8k"): right_and_wrong(3, 2)}, [GSM8K]),
    "nothing right": _two_models(right_and_wrong(0, 5), right_and_wrong(0, 5)),
    "empty texts": _two_models([answer(f"i{n}", "", 1.0) for n in range(3)], [answer(f"i{n}") for n in range(3)]),
    "a single item": _two_models([answer("a", "1 + 1 = 2", 1.0)], [answer("a", "1 + 1 = 3")]),
    "no common item": _two_models([answer("a", "x", 1.0)], [answer("b", "y")]),
    "long texts": _two_models([answer("a", "ab (1 + 2 = 3) " * 7000, 1.0)], [answer("a", "(" * 100_000)]),
    "other scripts": _two_models(
        [answer("a", "\u5929\u6c14\u5f88\u597d\u3002" * 9, 1.0)], [answer("a", "\u0628\u0631\u062d \u0648" * 30)]
    ),
    "programs": _two_models([answer("a", "def f", 1.0)], [answer("a", "x", why="not valid Python", found="(")], CODE),
    "choices": _two_models(
        [answer("a", value=1.0, logprobs=(-1.0, -2.0), target="x", choices=["x", "y"])],
        [answer("a", logprobs=(float("-inf"), -2.0), target="x", choices=["x", "y"])],
        ARC,
    ),
    "graded": _two_models([answer("a", "text", 0.4)], [answer("a", "text", 0.2)], task("xsum")),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("name", NAMES)
def test_every_diagnostic_says_something_of_every_run(name: str, case: str) -> None:
    rows = found(name, HOSTILE[case])
    assert rows
    for row in rows:
        assert row.diagnostic == name
        assert row.sentence
        if row.estimate is None:
            assert row.sentence.startswith("not measurable: ")
            assert row.low is row.high is None
        else:
            assert row.low is not None
            assert row.high is not None
            assert row.low <= row.estimate <= row.high
            assert row.n > 0
            _check_numbers(row)


def _check_numbers(row: Finding) -> None:
    """A sentence contains its estimate, as a percentage or as a number."""
    assert row.estimate is not None
    shown = [float(number.replace(",", "")) for number in re.findall(r"-?\d[\d,]*\.?\d*", row.sentence)]
    forms = (row.estimate, 100 * row.estimate)
    assert any(abs(number - form) <= max(0.51, 0.006 * abs(form)) for number in shown for form in forms), row


@pytest.mark.parametrize("name", NAMES)
def test_charts_draw_measures_that_exist(name: str) -> None:
    run = _study()
    measures = {row.measure for row in found(name, run)}
    diagnostic: Diagnostic = find("diagnostics", name)
    assert diagnostic.title
    for chart in diagnostic.charts:
        assert set(chart.measures) & measures, chart.title


def _sampled(right: Sequence[int]) -> list[object]:
    return [answer(f"s{n}", "text", float(good)) for n, good in enumerate(right)]


def _study() -> FakeRun:
    """A run with every kind of task: the models lose more with more layers."""
    sums = task("sums")
    closing = task("brackets")
    free, known = task("facts@free"), task("facts@likelihood", "choice", chance=0.5)
    drawn = task("drawn", decodings=["d0", "d1", "d2"])
    models = [skipped(0), skipped(1), CUT, pruned("random", 0, 1)]
    stored: dict[tuple[object, ...], Sequence[object]] = {}
    for damage, model in enumerate([BASE, *models]):
        keep = [n >= 2 * damage for n in range(12)]
        stored[model.label, "sums"] = [
            answer(
                f"i{n}",
                str(12 * n + 12 + (not good)),
                float(good),
                found=str(12 * n + 12 + (not good)),
                prompt=f"What is {12 * n} + 12?",
                target=str(12 * n + 12),
            )
            for n, good in enumerate(keep)
        ]
        stored[model.label, "gsm8k"] = [
            answer(
                f"i{n}",
                "\n".join(f"{k} + 1 = {k + 1 + (not good and k == 1)}" for k in range(1 + n % 4)) + "0 " * n,
                float(good),
            )
            for n, good in enumerate(keep)
        ]
        stored[model.label, "humanevalplus"] = [
            answer(
                f"i{n}",
                "def f(x):\n    return (x)",
                float(good),
                found="def f(x):\n    return (x)",
                why="" if good else "raised NameError: name 'y' is not defined",
            )
            for n, good in enumerate(keep)
        ]
        stored[model.label, "brackets"] = [
            answer(
                f"i{n}",
                "]" * (1 + n % 3) if good else ")",
                float(good),
                prompt="Close the brackets: " + "[" * (1 + n % 3),
                target="]" * (1 + n % 3),
            )
            for n, good in enumerate(keep)
        ]
        stored[model.label, "facts@free"] = [answer(f"i{n}", "red", float(good)) for n, good in enumerate(keep)]
        stored[model.label, "facts@likelihood"] = [
            answer(
                f"i{n}",
                "",
                float(n >= damage),
                logprobs=(-1.0, -2.0 if n >= damage else -0.5, -3.0),
                target="a",
                choices=["a", "b", "c"],
            )
            for n in range(12)
        ]
        for draw in range(3):
            stored[model.label, "drawn", draw] = _sampled([(n + draw) % (damage + 2) == 0 for n in range(8)])
    timings = [
        {
            "removed": list(model.removed),
            "parameters": 1000 - 100 * len(model.removed),
            "weight_bytes": 4000,
            "memory_bytes": 5000,
            "tokens_per_s": [100.0 + 20 * len(model.removed)] * 3,
        }
        for model in (BASE, CUT)
    ]
    return FakeRun(stored, [sums, GSM8K, CODE, closing, free, known, drawn], models, timings=timings)  # type: ignore[arg-type]  # typed dicts


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_study_gives_a_measured_main_finding(name: str) -> None:
    main = found(name, _study())[0]
    assert main.estimate is not None
    _check_numbers(main)


def test_a_study_with_5000_answers_takes_less_than_20_seconds() -> None:
    texts = [
        f"First {n} + {n} = {2 * n} apples are sold. Then 7 * {n} = {7 * n} are left over today." for n in range(100)
    ]
    stored = {}
    models = [*map(skipped, range(20)), CUT, pruned("random", 0, 1), pruned("random", 0, 1, 2), pruned("other", 1)]
    for model in (BASE, *models):
        stored[model.label, "gsm8k"] = [answer(f"i{n}", text, float(n % 3 > 0)) for n, text in enumerate(texts)]
        stored[model.label, "humanevalplus"] = [
            answer(f"i{n}", text, float(n % 2), why="not valid Python", found=f"def f(x:\n    return {n}")
            for n, text in enumerate(texts)
        ]
    run = FakeRun(stored, [GSM8K, CODE], models)
    began = time.process_time()
    for name in NAMES:
        found(name, run)
    assert time.process_time() - began < 20


# sensitivity


def test_sensitivity_finds_the_layer_that_generation_alone_needs() -> None:
    run = FakeRun(
        {
            ("base", "gsm8k"): right_and_wrong(60, 0),
            ("base", "arc_easy"): right_and_wrong(60, 0),
            ("without layer 0", "gsm8k"): right_and_wrong(6, 54),
            ("without layer 0", "arc_easy"): right_and_wrong(60, 0),
            ("without layer 1", "gsm8k"): right_and_wrong(60, 0),
            ("without layer 1", "arc_easy"): right_and_wrong(60, 0),
        },
        [GSM8K, ARC],
        [skipped(0), skipped(1)],
    )
    rows = found("sensitivity", run)
    assert (rows[0].model, rows[0].task) == ("without layer 0", "gsm8k")
    assert rows[0].estimate == pytest.approx(0.1, abs=0.02)
    assert pick(rows, "generation only").model == "without layer 0"
    assert pick(rows, "retention", "without layer 1", "gsm8k").estimate == pytest.approx(1, abs=0.02)
    assert pick(rows, "mean retention", "without layer 0").estimate == pytest.approx(0.55, abs=0.03)


@pytest.mark.parametrize(("won", "helps"), [(30, True), (3, False)])
def test_a_removal_helps_only_if_it_survives_the_correction(won: int, helps: bool) -> None:
    base, better = right_and_wrong(10, 40), right_and_wrong(10 + won, 40 - won)
    run = FakeRun(
        {("base", "gsm8k"): base, ("without layer 1", "gsm8k"): better, ("without layer 0", "gsm8k"): base},
        [GSM8K],
        [skipped(0), skipped(1)],
    )
    helping = [row.model for row in found("sensitivity", run) if row.measure == "removal helps"]
    assert helping == (["without layer 1"] if helps else [])


@pytest.mark.parametrize(("order", "tau"), [((1, 2, 3, 4), 1.0), ((4, 3, 2, 1), -1.0), ((1, 3, 2, 4), 2 / 3)])
def test_agreement_of_two_tasks(order: tuple[int, ...], tau: float) -> None:
    other = task("xsum")
    stored = {("base", name): right_and_wrong(20, 0) for name in ("gsm8k", "xsum")}
    for layer, right in enumerate(order):
        stored[f"without layer {layer}", "gsm8k"] = right_and_wrong(4 * layer + 2, 18 - 4 * layer)
        stored[f"without layer {layer}", "xsum"] = right_and_wrong(4 * right, 20 - 4 * right)
    rows = found("sensitivity", FakeRun(stored, [GSM8K, other], list(map(skipped, range(4)))))
    assert pick(rows, "Kendall's tau").estimate == pytest.approx(tau)


# degeneration


LOOP = "and so on " * 20


@pytest.mark.parametrize(
    ("texts", "share"),
    [
        ([LOOP, LOOP, "a sound but wrong answer"], 1 / 3),
        (["sound one", "sound two, wrong"], 1.0),
        ([LOOP, "1" + "0" * 300], 0.0),
        (["\u5929" * 60, "\u6211\u4eca\u5929\u53bb\u5b66\u6821\u8bfb\u4e66"], 0.5),
    ],
)
def test_sound_share_of_lost_items(texts: list[str], share: float) -> None:
    base = [answer(f"i{n}", "right", 1.0) for n in range(len(texts))]
    run = _two_models(base, [answer(f"i{n}", text) for n, text in enumerate(texts)])
    rows = found("degeneration", run)
    assert rows[0].estimate == pytest.approx(share)
    assert pick(rows, "sound share of lost items").estimate == pytest.approx(share)


def test_degeneration_measures_length_loops_and_truncation() -> None:
    cut = [answer("a", LOOP, finish="length"), answer("b", "fine")]
    rows = found("degeneration", _two_models([answer("a", "x", 1.0), answer("b", "fine", 1.0)], cut))
    assert pick(rows, "truncated", CUT.label).estimate == pytest.approx(0.5)
    assert pick(rows, "loops", CUT.label).estimate == pytest.approx(0.5)
    assert pick(rows, "loop onset", CUT.label).estimate == pytest.approx(0)
    assert pick(rows, "tokens", CUT.label).estimate == pytest.approx((len(LOOP) + 4) / 2)
    assert pick(rows, "loop onset", "base").estimate is None


# code_outcomes


OUTCOMES: list[tuple[Outcome, str, str, str]] = [
    ("correct", "", "", "passed"),
    ("wrong", "assertion failed: x", "", "wrong result"),
    ("wrong", "raised NameError: y", "", "name not defined"),
    ("wrong", "timed out after 10 s", "", "timeout"),
    ("error", "not valid Python", "x = (", "bracket syntax"),
    ("truncated", "truncated after 9 tokens", "", "truncated"),
    ("no_answer", "contains no code", "", "no code"),
]


def test_shares_of_outcomes_add_up_to_one() -> None:
    rows = [
        answer(f"i{n}", "x", float(outcome == "correct"), outcome=outcome, why=why, found=code)
        for n, (outcome, why, code, _) in enumerate(OUTCOMES)
    ]
    base = [answer(f"i{n}", "x", 1.0) for n in range(len(OUTCOMES))]
    shares = found("code_outcomes", _two_models(base, rows, CODE))
    own = [row for row in shares[1:] if row.model == CUT.label]
    assert sum(row.estimate or 0 for row in own) == pytest.approx(1)
    for n, (_, _, _, name) in enumerate(OUTCOMES):
        row = pick(shares, name, CUT.label)
        assert row.estimate == pytest.approx(1 / 7)
        assert row.items == (() if name == "passed" else (f"i{n}",))
    # One of the six lost programs is not valid Python.
    assert shares[0].estimate == pytest.approx(1 / 6)


# brackets


def test_sequences_by_depth_and_the_first_error() -> None:
    def closed(n: int, text: str) -> object:
        depth = 1 + n % 2
        target = ")" * depth
        return answer(f"i{n}", text, float(text == target), prompt="Close the brackets: " + "(" * depth, target=target)

    base = [closed(0, ")"), closed(1, "))"), closed(2, ")"), closed(3, "))")]
    other = [closed(0, ")"), closed(1, ")]"), closed(2, ")"), closed(3, "]")]
    rows = found("brackets", _two_models(base, other, task("brackets")))
    assert rows[0].estimate == pytest.approx(0.5)
    assert rows[0].items == ("i1", "i3")
    assert pick(rows, "closed by depth", CUT.label, x=1).estimate == pytest.approx(1)
    assert pick(rows, "closed by depth", CUT.label, x=2).estimate == pytest.approx(0)
    assert pick(rows, "closed before the first error", CUT.label).estimate == pytest.approx((1 + 0.5 + 1 + 0) / 4)


@pytest.mark.parametrize(
    ("texts", "share"),
    [
        (["f(x)", "f(x"], 0.5),
        (["s = '(('\nf(1)", "# (((\nf(1)"], 1.0),
        (["x = 1", "y = 2"], None),
        (["", ""], None),
    ],
)
def test_balance_of_programs(texts: list[str], share: float | None) -> None:
    base = [answer(f"i{n}", "f(1)", 1.0, found="f(1)") for n in range(2)]
    rows = found(
        "brackets", _two_models(base, [answer(f"i{n}", text, found=text) for n, text in enumerate(texts)], CODE)
    )
    row = pick(rows, "balanced", CUT.label)
    assert row.estimate == (None if share is None else pytest.approx(share))


def test_an_answer_that_was_cut_off_is_not_unbalanced() -> None:
    base = [answer("a", "(fine)", 1.0)]
    rows = found("brackets", _two_models(base, [answer("a", "(cut", finish="length")]))
    assert pick(rows, "balanced", CUT.label).estimate is None


# flips


@pytest.mark.parametrize(
    ("base", "other", "lost", "won"),
    [
        ("1100", "1010", ["i1"], ["i2"]),
        ("1111", "0000", ["i0", "i1", "i2", "i3"], []),
        ("0000", "0110", [], ["i1", "i2"]),
    ],
)
def test_lost_and_won_items(base: str, other: str, lost: list[str], won: list[str]) -> None:
    columns = [[answer(f"i{n}", "t", float(mark)) for n, mark in enumerate(marks)] for marks in (base, other)]
    rows = found("flips", _two_models(*columns))
    assert list(pick(rows, "lost").items) == lost
    assert list(pick(rows, "won").items) == won
    assert pick(rows, "lost").estimate == pytest.approx(len(lost) / 4)


def test_items_that_only_one_model_has_answered_are_said() -> None:
    rows = found("flips", _two_models(right_and_wrong(4, 0), right_and_wrong(1, 2)))
    assert "on 3 of 4 items, which both have answered" in pick(rows, "lost").sentence
    assert pick(rows, "lost").n == 3


def test_the_same_items_lost_by_two_methods() -> None:
    other = pruned("random", 0, 1)
    stored = {("base", "gsm8k"): right_and_wrong(6, 0), (CUT.label, "gsm8k"): right_and_wrong(3, 3)}
    stored[other.label, "gsm8k"] = [answer(f"i{n}", "t", float(n not in (4, 5, 0))) for n in range(6)]
    rows = found("flips", FakeRun(stored, [GSM8K], [CUT, other]))
    row = pick(rows, "same items lost")
    # Of items 0, 3, 4 and 5, both lose 4 and 5.
    assert row.estimate == pytest.approx(0.5)
    assert row.items == ("i4", "i5")


def test_how_far_a_lost_answer_follows() -> None:
    run = _two_models([answer("a", "0123456789", 1.0)], [answer("a", "01234X")])
    assert pick(found("flips", run), "common start of lost items").estimate == pytest.approx(0.5)


# cost


@pytest.mark.parametrize(
    ("speedup", "length", "right", "ratio"),
    [(1.25, 10, 4, 0.8), (1.25, 14, 4, 1.12), (2.0, 10, 2, 1.0), (1.0, 10, 4, 1.0)],
)
def test_time_per_correct_answer(speedup: float, length: int, right: int, ratio: float) -> None:
    base = [answer(f"i{n}", "x" * 10, 1.0) for n in range(4)]
    run = _two_models(base, [answer(f"i{n}", "x" * length, float(n < right)) for n in range(4)])
    run.timings = [
        {"removed": removed, "parameters": 9, "weight_bytes": 9, "memory_bytes": 9, "tokens_per_s": [rate] * 3}
        for removed, rate in (([], 100.0), ([2, 3], 100 * speedup))
    ]
    rows = found("cost", run)
    assert rows[0].estimate == pytest.approx(ratio)
    assert pick(rows, "tokens per correct answer", "base").estimate == pytest.approx(10)
    assert pick(rows, "ms per output token", CUT.label).estimate == pytest.approx(10 / speedup)


# arithmetic


def _sum(n: int, given: str, expression: str = "") -> object:
    asked = expression or f"{n} + 12"
    target = {"": str(n + 12)}.get(expression, "") or str(eval(expression))  # a constant of this test
    return answer(f"i{n}", given, float(given == target), found=given, prompt=f"What is {asked}?", target=target)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("", "not a number"),
        ("25", "off by one"),
        ("240", "off by a power of ten"),
        ("42", "digits swapped"),
        ("12", "copied operand"),
    ],
)
def test_kinds_of_errors(given: str, kind: str) -> None:
    rows = found("arithmetic", _two_models([_sum(12, "24")], [_sum(12, given)], task("sums")))
    assert pick(rows, kind, CUT.label).estimate == pytest.approx(1)
    assert pick(rows, "exact match", CUT.label).estimate == pytest.approx(0)
    assert pick(rows, "exact match", "base").estimate == pytest.approx(1)


def test_a_right_first_digit_is_not_a_right_answer() -> None:
    rows = found("arithmetic", _two_models([_sum(12, "24")], [_sum(12, "29")], task("sums")))
    assert pick(rows, "first digit", CUT.label).estimate == pytest.approx(1)
    assert pick(rows, "exact match", CUT.label).estimate == pytest.approx(0)


def test_arithmetic_by_digits_and_operator() -> None:
    expressions = ["3 + 4", "30 + 40", "3 * 4", "30 * 40"]
    right = [_sum(n, str(eval(text)), text) for n, text in enumerate(expressions)]  # a constant of this test
    wrong = [_sum(n, str(eval(text)) if "+" in text else "1", text) for n, text in enumerate(expressions)]  # likewise
    rows = found("arithmetic", _two_models(right, wrong, task("sums")))
    assert pick(rows, "exact match, operator +", CUT.label).estimate == pytest.approx(1)
    assert pick(rows, "exact match, operator *", CUT.label).estimate == pytest.approx(0)
    assert pick(rows, "exact match by digits", CUT.label, x=2).estimate == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "share"), [("1 + 1 = 2, 2 + 2 = 4", 1.0), ("1 + 1 = 3, 2 + 2 = 4", 0.5), ("1 + 1 = 3", 0.0)]
)
def test_operations_in_solutions(text: str, share: float) -> None:
    rows = found("arithmetic", _two_models([answer("a", "1 + 1 = 2", 1.0)], [answer("a", text)]))
    assert pick(rows, "operations that hold", CUT.label).estimate == pytest.approx(share)
    assert rows[0].estimate == pytest.approx(share)


# protocol


def test_cases_of_two_protocols() -> None:
    free, known = task("facts@free"), task("facts@likelihood", "choice")
    marks = {"base": ("1111", "1111"), CUT.label: ("1100", "1010")}
    stored = {}
    for label, (likelihood, written) in marks.items():
        stored[label, "facts@likelihood"] = [answer(f"i{n}", "", float(mark)) for n, mark in enumerate(likelihood)]
        stored[label, "facts@free"] = [answer(f"i{n}", "t", float(mark)) for n, mark in enumerate(written)]
    rows = found("protocol", FakeRun(stored, [free, known], [CUT]))
    for case, item in (("both", ()), ("recognition only", ("i1",)), ("generation only", ("i2",)), ("neither", ("i3",))):
        row = pick(rows, case, CUT.label)
        assert row.estimate == pytest.approx(0.25)
        assert row.items == item
    assert rows[0].measure == "recognition only"


@pytest.mark.parametrize(
    ("logprobs", "second"), [((-2.0, -1.0, -3.0), 1.0), ((-9.0, -1.0, -3.0), 0.0)], ids=["demoted", "gone"]
)
def test_a_demoted_choice_is_not_a_gone_one(logprobs: tuple[float, ...], second: float) -> None:
    about = {"target": "a", "choices": ["a", "b", "c"]}
    base = [answer("i", "", 1.0, logprobs=(-1.0, -2.0, -3.0), **about)]
    rows = found("protocol", _two_models(base, [answer("i", "", 0.0, logprobs=logprobs, **about)], ARC))
    assert pick(rows, "right choice second", CUT.label).estimate == pytest.approx(second)
    row = pick(rows, "probability of the right choice", "base")
    assert row.estimate == pytest.approx(0.6652, abs=1e-4)


def test_right_within_tokens() -> None:
    column = [answer("a", "x" * 10, 1.0), answer("b", "x" * 40, 1.0), answer("c", "x" * 70, 0.0)]
    rows = found("protocol", _two_models(column, column))
    for allowed, share in ((16, 1 / 3), (32, 1 / 3), (64, 2 / 3), (70, 2 / 3)):
        assert pick(rows, "right within tokens", "base", x=allowed).estimate == pytest.approx(share)


def test_pass_at_k_over_draws() -> None:
    drawn = task("drawn", decodings=["a", "b", "c", "d"])
    stored = {("base", "drawn", draw): [answer("i", "t", float(draw == 0))] for draw in range(4)}
    rows = found("protocol", FakeRun(stored, [drawn]))
    for k, share in ((1, 0.25), (2, 0.5), (4, 1.0)):
        assert pick(rows, "pass@k", "base", x=k).estimate == pytest.approx(share)


# accumulation


def test_accuracy_by_steps_and_length() -> None:
    def solution(n: int, good: bool) -> object:
        return answer(f"i{n}", " ".join(["1 + 1 = 2"] * (1 + n // 4)), float(good))

    base = [solution(n, True) for n in range(8)]
    rows = found("accumulation", _two_models(base, [solution(n, n < 4) for n in range(8)]))
    assert pick(rows, "right by steps", CUT.label, x=1).estimate == pytest.approx(1)
    assert pick(rows, "right by steps", CUT.label, x=2).estimate == pytest.approx(0)
    assert rows[0].estimate == pytest.approx(0)
    assert "losses grow with the length" not in rows[0].sentence or rows[0].n >= 4


@pytest.mark.parametrize("step", [1, 2, 3])
def test_the_first_wrong_step(step: int) -> None:
    text = ". ".join(f"{n} + 1 = {n + 1 + (n >= step)}" for n in range(1, 4))
    rows = found("accumulation", _two_models([answer("a", "1 + 1 = 2", 1.0)], [answer("a", text)]))
    row = pick(rows, "first wrong step", CUT.label, x=step)
    assert row.estimate == pytest.approx(1)
    assert row.items == ("a",)


@pytest.mark.parametrize(
    ("base", "other", "kind"),
    [("so 12", "so 13", "digit"), ("a + b", "a - b", "operator"), ("the cat", "the dog", "prose")],
)
def test_where_an_answer_departs(base: str, other: str, kind: str) -> None:
    rows = found("accumulation", _two_models([answer("a", base, 1.0)], [answer("a", other)]))
    assert pick(rows, f"departs at: {kind}", CUT.label).estimate == pytest.approx(1)
