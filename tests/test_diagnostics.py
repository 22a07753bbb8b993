"""Diagnostics on made-up runs with known outcomes: the figures, the sentences, and what cannot be measured."""

import time
from collections.abc import Sequence

import pytest
from fake_run import BASE, FakeRun, answer, pruned, right_and_wrong, skipped, task
from findings import CUT, GSM8K, check_sentence, found, pick, two_models
from probe_answers import CHAINS, RESULTS, chain_answer, result, result_answer, rows

from layerlimits.diagnostics import Diagnostic
from layerlimits.plugins import find, names

NAMES = names("diagnostics")
ARC = task("arc_easy", "choice", chance=0.25)
CODE = task("humanevalplus", metric="pass rate")


HOSTILE = {
    "nothing": FakeRun({}, []),
    "no answers": FakeRun({}, [GSM8K, ARC, CODE], [skipped(0), CUT]),
    "one model": FakeRun({("base", "gsm8k"): right_and_wrong(3, 2)}, [GSM8K]),
    "nothing right": two_models(right_and_wrong(0, 5), right_and_wrong(0, 5)),
    "empty texts": two_models([answer(f"i{n}", "", 1.0) for n in range(3)], [answer(f"i{n}") for n in range(3)]),
    "a single item": two_models([answer("a", "1 + 1 = 2", 1.0)], [answer("a", "1 + 1 = 3")]),
    "no common item": two_models([answer("a", "x", 1.0)], [answer("b", "y")]),
    "long texts": two_models([answer("a", "ab (1 + 2 = 3) " * 7000, 1.0)], [answer("a", "(" * 100_000)]),
    "other scripts": two_models(
        [answer("a", "\u5929\u6c14\u5f88\u597d\u3002" * 9, 1.0)], [answer("a", "\u0628\u0631\u062d \u0648" * 30)]
    ),
    "programs": two_models([answer("a", "def f", 1.0)], [answer("a", "x", why="not valid Python", found="(")], CODE),
    "choices": two_models(
        [answer("a", value=1.0, logprobs=(-1.0, -2.0), target="x", choices=["x", "y"])],
        [answer("a", logprobs=(float("-inf"), -2.0), target="x", choices=["x", "y"])],
        ARC,
    ),
    "graded": two_models([answer("a", "text", 0.4)], [answer("a", "text", 0.2)], task("xsum")),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("name", NAMES)
def test_every_diagnostic_says_something_of_every_run(name: str, case: str) -> None:
    rows = found(name, HOSTILE[case])
    assert rows
    for row in rows:
        assert row.diagnostic == name
        check_sentence(row)


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
        stored[model.label, "results_probe"] = [
            result_answer(f"i{n}", [result()], rows(-1.0 - damage, [-0.5], {4: -0.1})) for n in range(4)
        ]
        stored[model.label, "chains_probe"] = [
            chain_answer(f"i{n}", [-0.1 - damage * part for part in range(8)]) for n in range(4)
        ]
        stored[model.label, "sums:one_example"] = [answer("i0", "12", 1.0)]
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
    probes = [RESULTS, CHAINS, task("sums:one_example", ids=["i0"])]
    tasks = [sums, GSM8K, CODE, closing, free, known, drawn]
    return FakeRun(stored, tasks, models, timings=timings, probes=probes)  # type: ignore[arg-type]  # typed dicts


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_study_gives_a_measured_main_finding(name: str) -> None:
    main = found(name, _study())[0]
    assert main.estimate is not None
    check_sentence(main)


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
    rows = found("arithmetic", two_models([_sum(12, "24")], [_sum(12, given)], task("sums")))
    assert pick(rows, kind, CUT.label).estimate == pytest.approx(1)
    assert pick(rows, "exact match", CUT.label).estimate == pytest.approx(0)
    assert pick(rows, "exact match", "base").estimate == pytest.approx(1)


def test_a_right_first_digit_is_not_a_right_answer() -> None:
    rows = found("arithmetic", two_models([_sum(12, "24")], [_sum(12, "29")], task("sums")))
    assert pick(rows, "first digit", CUT.label).estimate == pytest.approx(1)
    assert pick(rows, "exact match", CUT.label).estimate == pytest.approx(0)


def test_arithmetic_by_digits_and_operator() -> None:
    expressions = ["3 + 4", "30 + 40", "3 * 4", "30 * 40"]
    right = [_sum(n, str(eval(text)), text) for n, text in enumerate(expressions)]  # a constant of this test
    wrong = [_sum(n, str(eval(text)) if "+" in text else "1", text) for n, text in enumerate(expressions)]  # likewise
    rows = found("arithmetic", two_models(right, wrong, task("sums")))
    assert pick(rows, "exact match, operator +", CUT.label).estimate == pytest.approx(1)
    assert pick(rows, "exact match, operator *", CUT.label).estimate == pytest.approx(0)
    assert pick(rows, "exact match by digits", CUT.label, x=2).estimate == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "share"), [("1 + 1 = 2, 2 + 2 = 4", 1.0), ("1 + 1 = 3, 2 + 2 = 4", 0.5), ("1 + 1 = 3", 0.0)]
)
def test_operations_in_solutions(text: str, share: float) -> None:
    rows = found("arithmetic", two_models([answer("a", "1 + 1 = 2", 1.0)], [answer("a", text)]))
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
    rows = found("protocol", two_models(base, [answer("i", "", 0.0, logprobs=logprobs, **about)], ARC))
    assert pick(rows, "right choice second", CUT.label).estimate == pytest.approx(second)
    row = pick(rows, "probability of the right choice", "base")
    assert row.estimate == pytest.approx(0.6652, abs=1e-4)


def test_right_within_tokens() -> None:
    column = [answer("a", "x" * 10, 1.0), answer("b", "x" * 40, 1.0), answer("c", "x" * 70, 0.0)]
    rows = found("protocol", two_models(column, column))
    for allowed, share in ((16, 1 / 3), (32, 1 / 3), (64, 2 / 3), (70, 2 / 3)):
        assert pick(rows, "right within tokens", "base", x=allowed).estimate == pytest.approx(share)


def test_pass_at_k_over_draws() -> None:
    drawn = task("drawn", decodings=["a", "b", "c", "d"])
    stored = {("base", "drawn", draw): [answer("i", "t", float(draw == 0))] for draw in range(4)}
    rows = found("protocol", FakeRun(stored, [drawn]))
    for k, share in ((1, 0.25), (2, 0.5), (4, 1.0)):
        assert pick(rows, "pass@k", "base", x=k).estimate == pytest.approx(share)
