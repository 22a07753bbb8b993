"""The paragraph at the top of a report: how many layers can go, what breaks first, what finetuning recovers."""

from dataclasses import replace

import pytest

from layerlimits.results.document import StudyResults
from layerlimits.results.headline import headline, limit
from layerlimits.results.model import ModelInfo
from layerlimits.results.rows import (
    ClassRetention,
    LayerComparison,
    PlanComparison,
    Recovery,
    Regained,
)
from layerlimits.types import Estimate, Kind

NOTHING = StudyResults(
    made_by="layerlimits",
    created="",
    command="",
    preset="quick",
    seed=0,
    config={},
    calibration="",
    model=ModelInfo("m", "", 8, 1, 4, "float32", "cpu"),
    tasks=(),
    sweep=(),
    methods=(),
    pruned=(),
    classes=(),
    protocols=(),
    recovery=(),
    models=(),
    diagnostics=(),
    speed=(),
    samples=(),
    stages=(),
    notes=(),
    warnings=(),
)


def estimate(value: float, low: float | None = None, high: float | None = None, n: int = 50) -> Estimate:
    return Estimate(value, value if low is None else low, value if high is None else high, n)


def class_row(method: str, layers: int, retention: Estimate | None, kind: Kind = "generation") -> ClassRetention:
    chance = 0.25 if kind == "choice" else 0.0
    # If answers can be guessed, the raw retention does not count.
    raw, corrected = (estimate(0.99), retention) if chance else (retention, None)
    return ClassRetention(method, layers / 8, layers, tuple(range(layers)), kind, chance, raw, corrected, ("a",), ())


def plan_row(method: str, layers: int, task: str, retention: Estimate) -> PlanComparison:
    return PlanComparison(
        task=task,
        chance=0.0,
        score=retention,
        strict=None,
        retention=retention,
        corrected=None,
        test=None,
        method=method,
        ratio=layers / 8,
        layers=layers,
        removed=tuple(range(layers)),
    )


def layer_row(layer: int, task: str, value: float | None) -> LayerComparison:
    retention = None if value is None else estimate(value)
    return LayerComparison(task, 0.0, estimate(value or 0.0), None, retention, None, None, layer)


def test_nothing_measured_says_nothing() -> None:
    assert headline(NOTHING) == ""
    assert limit(NOTHING, "generation") is None


def test_the_limit_is_the_last_count_before_the_first_that_loses_too_much() -> None:
    shares = {("a", 1): 0.95, ("b", 1): 0.5, ("a", 2): 0.91, ("b", 2): 0.97, ("a", 3): 0.8, ("b", 4): 0.99}
    rows = tuple(class_row(method, layers, estimate(share)) for (method, layers), share in shares.items())
    assert limit(replace(NOTHING, classes=rows), "generation") == (2, rows[3])
    assert limit(replace(NOTHING, classes=(class_row("a", 1, estimate(0.2)),)), "generation") == (0, None)


def test_the_limit_is_named_with_its_figure() -> None:
    row = class_row("a", 2, Estimate(0.94, 0.91, 0.96, 80))
    sentence = "m retains 90% of generation with up to 2 of 8 layers removed: 94% (91% to 96%, n = 80) by a."
    assert headline(replace(NOTHING, classes=(row,))) == sentence
    # If the unpruned model is at chance, retention is not measurable.
    both = headline(replace(NOTHING, classes=(row, class_row("a", 2, None, "choice"))))
    assert both == (
        f"{sentence} On choice tasks the unpruned model is not above chance, so retention cannot be measured."
    )


def test_a_class_that_loses_at_once_is_named_with_the_fewest_layers() -> None:
    rows = (class_row("a", 1, estimate(0.2)), class_row("a", 2, Estimate(0.95, 0.9, 1.0, 40), "choice"))
    assert headline(replace(NOTHING, classes=rows)) == (
        "m retains 90% of multiple choice (corrected for chance) with up to 2 of 8 layers removed: "
        "95% (90% to 100%, n = 40) by a, and less than 90% of generation with 1 of 8 layers removed "
        "by any method."
    )


def test_what_breaks_first_is_the_first_loss_beyond_doubt_by_the_gentlest_method() -> None:
    first = (
        plan_row("good", 1, "a", estimate(1.0, 0.9, 1.1)),
        plan_row("good", 1, "b", estimate(0.85, 0.75, 1.05)),
        plan_row("bad", 1, "a", estimate(0.1, 0.0, 0.2)),
        plan_row("bad", 1, "b", estimate(0.1, 0.0, 0.2)),
    )
    second = (
        plan_row("good", 2, "a", estimate(0.6, 0.5, 0.7)),
        plan_row("good", 2, "b", estimate(0.5, 0.4, 1.05)),
        plan_row("bad", 2, "a", estimate(0.0, 0.0, 0.1)),
        plan_row("bad", 2, "b", estimate(0.0, 0.0, 0.1)),
    )
    assert headline(replace(NOTHING, pruned=first + second)) == (
        "The first task to degrade is a: with 2 layers removed it retains 60% (50% to 70%, n = 50) by good, "
        "the best method at this ratio."
    )
    assert headline(replace(NOTHING, pruned=first)) == (
        "No task has degraded yet: with 1 layer removed by good, the most affected task, b, retains 85% "
        "(75% to 105%, n = 50); larger ratios are needed to find the limit."
    )


def test_the_dearest_and_the_cheapest_layer_are_means_over_tasks() -> None:
    rows = (layer_row(0, "a", 0.2), layer_row(0, "b", 0.4), layer_row(1, "a", 0.9), layer_row(1, "b", 0.5))
    assert headline(replace(NOTHING, sweep=(*rows, layer_row(2, "a", None)))) == (
        "Among single layers, removing layer 0 costs most (mean retention over tasks 30%) "
        "and removing layer 1 least (70%)."
    )


@pytest.mark.parametrize(
    ("scores", "ending"),
    [
        ([("generation", 0.9, 0.5, 0.7)], "recovers 20 of the 40 points lost in generation."),
        (
            [("generation", 0.9, 0.5, 0.7), ("choice", 0.8, 0.795, 0.8)],
            "recovers 20 of the 40 points lost in generation; choice lost less than one point.",
        ),
        (
            [("generation", 0.9, 0.5, 0.7), ("choice", 0.8, 0.5, 0.4)],
            "recovers none of the 30 points lost in choice (10 more are lost) "
            "and 20 of the 40 points lost in generation.",
        ),
    ],
)
def test_what_came_back_is_given_for_classes_that_lost_something(
    scores: list[tuple[Kind, float, float, float]], ending: str
) -> None:
    said = headline(replace(NOTHING, recovery=(recovery(scores),)))
    how = "(full, 9 responses of the unpruned model)"
    assert said == f"Finetuning the model with 2 layers removed by a {how} {ending}"


def test_nothing_lost_brings_nothing_back() -> None:
    said = headline(replace(NOTHING, recovery=(recovery([("choice", 0.8, 0.8, 0.7)]),)))
    assert said.endswith(
        "had nothing to recover, because the model with 2 layers removed by a lost less than one point."
    )


def test_harm_is_in_the_headline_wherever_it_was_done() -> None:
    plain = recovery([("generation", 0.9, 0.5, 0.7)])
    harmful = replace(plain, layers=1, harm="Finetuning made it worse: the model falls.")
    said = headline(replace(NOTHING, recovery=(harmful, plain)))
    assert said.endswith("recovers 20 of the 40 points lost in generation. Finetuning made it worse: the model falls.")
    several = headline(replace(NOTHING, recovery=(replace(harmful, layers=3), harmful, harmful, plain)))
    assert several.endswith("worse: the model falls. 2 more finetuned models have lower scores than before.")
    nothing_lost = replace(recovery([("choice", 0.8, 0.8, 0.7)]), harm="Finetuning made it worse: the model falls.")
    assert headline(replace(NOTHING, recovery=(nothing_lost,))).endswith("Finetuning made it worse: the model falls.")


def recovery(scores: list[tuple[Kind, float, float, float]]) -> Recovery:
    tasks = tuple(
        Regained("t", kind, estimate(base), estimate(pruned), estimate(again), None)
        for kind, base, pruned, again in scores
    )
    return Recovery("full", "a", 0.25, 2, (0, 1), {}, 9, 0, 90, 1.0, tasks)


def test_too_few_items_allow_no_verdict() -> None:
    few = replace(class_row("a", 2, Estimate(1.25, 0.95, 2.62, 16)), tasks=("a", "b"), too_few=("b",))
    choice = class_row("a", 2, Estimate(0.95, 0.9, 1.0, 40), "choice")
    rows = (plan_row("a", 2, "b", estimate(0.2, 0.1, 0.4)), plan_row("a", 2, "c", estimate(0.8, 0.7, 0.9)))
    sweep = (layer_row(0, "b", 0.1), layer_row(1, "b", 1.0))
    said = headline(replace(NOTHING, classes=(few, choice), pruned=rows, sweep=sweep))
    assert "125%" not in said
    assert "Too few items for a verdict on generation: b." in said
    assert "retains 90% of multiple choice" in said
    assert "The first task to degrade is c" in said
    assert "single layers" not in said
