"""Made-up studies for the report: any number of layers, tasks and methods, with every part of the results."""

import random
from collections.abc import Iterator, Sequence

from layerlimits.diagnostics import DiagnosedModel, Finding, Source
from layerlimits.results.curves import CurveLine, CurvePoint, LossPoint, RecoveryCurve, RegainedClass
from layerlimits.results.document import StudyResults
from layerlimits.results.model import ModelInfo
from layerlimits.results.requirements import Outcome, Requirement
from layerlimits.results.rows import (
    ClassRetention,
    LayerComparison,
    MethodOrder,
    PairedTest,
    PlanComparison,
    Recovery,
    Regained,
    Speed,
    Stage,
    TaskScore,
)
from layerlimits.results.verdict import Card, Gain, Judgement, Verdict, WorstTask
from layerlimits.statistics.projection import Backtest, Crossing, Projection, Saturation
from layerlimits.types import Estimate, Kind


def around(value: float, n: int = 48, width: float = 0.12) -> Estimate:
    """An estimate with an interval of a width to each side."""
    return Estimate(value, value - width, value + width, n)


def names(count: int) -> tuple[str, ...]:
    """Names of tasks, every third of them of choice tasks."""
    return tuple(f"task_number_{place}{'_choice' if place % 3 == 2 else ''}" for place in range(count))


def kind_of(name: str) -> Kind:
    """The kind of a task of `names`."""
    return "choice" if name.endswith("_choice") else "generation"


def made_up(layers: int, tasks: int, methods: int, ratios: Sequence[float] = (0.1, 0.25, 0.4)) -> StudyResults:
    """A study with every part of the results; the last two methods are seeds of random removal."""
    draw = random.Random(layers * 1000 + tasks * 10 + methods)
    called = [f"method_{place}" for place in range(methods - 2)] + ["random:seed=1", "random:seed=2"]
    counts = sorted({max(1, round(ratio * layers)) for ratio in ratios})
    known = names(tasks)
    orders = {method: tuple(draw.sample(range(layers), layers)) for method in called}
    plans = [(method, count, tuple(sorted(orders[method][:count]))) for method in called for count in counts]
    removed = plans[0][2]
    return StudyResults(
        made_by="layerlimits",
        created="2026-01-01 00:00 UTC",
        command="layerlimits study made-up --preset standard",
        preset="standard",
        seed=0,
        config={},
        calibration="made up",
        model=ModelInfo(
            "made-up-model", "0123456789abcdef", layers, layers * 10**7, layers * 4 * 10**7, "float32", "cpu"
        ),
        tasks=tuple(_task(name) for name in known),
        sweep=tuple(_layer(layer, name, draw.uniform(-0.1, 1.2)) for layer in range(layers) for name in known),
        methods=tuple(MethodOrder(name, order, (), "made up", 1.5, 8) for name, order in orders.items()),
        pruned=tuple(_plan(plan, layers, name, draw.uniform(0, 1.2)) for plan in plans for name in known),
        classes=tuple(_class(plan, layers, kind, draw.uniform(0, 1.1)) for plan in plans for kind in _kinds(known)),
        protocols=(),
        recovery=(_recovery(plans[0], known, removed),),
        models=tuple(models(layers, plans)),
        diagnostics=tuple(_findings(layers, plans, known, draw)),
        speed=(
            Speed("base", (), 10, 4 * layers * 10**7, 10**9, around(100, 3), None),
            *(
                Speed(
                    f"without {count} layers",
                    tuple(range(count)),
                    10,
                    4 * (layers - count) * 10**7,
                    10**9,
                    around(110, 3),
                    around(1 + count / layers, 3),
                )
                for count in counts
            ),
        ),
        samples=(),
        stages=tuple(Stage(name, 1.0) for name in ("base", "sweep", "rank", "prune", "diagnose", "recover", "speed")),
        notes=("A note.",),
        warnings=("A warning.",),
        answer="An answer.",
        verdict=_verdict(plans, layers),
    )


def _verdict(plans: Sequence[tuple[str, int, tuple[int, ...]]], layers: int) -> Verdict:
    outcomes: tuple[Outcome, ...] = ("keeps", "fails", "too few items")
    gain = Gain(around(110, 3), around(1.1, 3), 10**9, 2 * 10**9, 2 * 10**9, 3 * 10**9, 16, 64, 128, (1,))
    cards = []
    for place, (method, count, removed) in enumerate(plans):
        outcome = outcomes[place % 3]
        judged = Judgement("generation>=0.9@0.05", method, 0.93, 0.871, 0.98, 0.05, 144, outcome, 300, "A judgement.")
        lines = (f"layerlimits prune made-up --remove {','.join(map(str, removed))} --out {method}-{count}",)
        worst = WorstTask("task_number_0", around(0.8))
        harm = "Finetuning made it worse." if place == 1 else ""
        needed = 300 if outcome == "too few items" else None
        cards.append(
            Card(f"{method}-{count}", (method,), count, layers, removed, "", outcome, needed, (judged,), worst, gain,
                 harm, (), "A sentence.", lines)
        )  # fmt: skip
    ordered = sorted(cards, key=lambda card: outcomes.index(card.verdict))
    required = (Requirement("generation", 0.9),)
    return Verdict(required, True, len(cards), len(cards), "A choice.", cards[0].name, tuple(ordered), ("A verdict.",))


def _kinds(known: Sequence[str]) -> list[Kind]:
    kinds: tuple[Kind, ...] = ("generation", "choice")
    return [kind for kind in kinds if kind in {kind_of(name) for name in known}]


def _task(name: str) -> TaskScore:
    return TaskScore(
        score=around(0.8), strict=None, measures={}, sets={}, outcomes={"correct": 38, "wrong": 10}, draws=1,
        graded=False, refused=0, name=name, version=1, kind=kind_of(name), metric="accuracy", chance=0.0,
        summary=f"what {name} asks", protocol="free", shots=0, template=None, decodings=("greedy",),
    )  # fmt: skip


def _layer(layer: int, name: str, kept: float) -> LayerComparison:
    test = PairedTest(4, 1, 0.3, 0.04 if kept < 0.5 else 1.0)
    return LayerComparison(name, 0.0, around(0.8 * kept), None, around(kept), None, test, layer=layer)


def _plan(plan: tuple[str, int, tuple[int, ...]], layers: int, name: str, kept: float) -> PlanComparison:
    method, count, removed = plan
    return PlanComparison(
        name, 0.0, around(0.8 * kept), None, around(kept), None, PairedTest(4, 1, 0.3, 1.0),
        method=method, ratio=count / layers, layers=count, removed=removed,
    )  # fmt: skip


def _class(plan: tuple[str, int, tuple[int, ...]], layers: int, kind: Kind, kept: float) -> ClassRetention:
    method, count, removed = plan
    return ClassRetention(method, count / layers, count, removed, kind, 0.0, around(kept), None, ("task",), ())


def _recovery(plan: tuple[str, int, tuple[int, ...]], known: Sequence[str], removed: tuple[int, ...]) -> Recovery:
    rows = tuple(
        Regained(name, kind_of(name), around(0.8), around(0.4), around(0.6), around(0.5), around(0.2),
                 PairedTest(1, 9, 0.02, 0.03), PairedTest(9, 1, 0.02, 0.03))
        for name in known
    )  # fmt: skip
    classes = tuple(
        RegainedClass(kind, ("task",), around(0.8), around(0.4), around(0.6), around(0.5), around(0.2), around(0.75))
        for kind in _kinds(known)
    )
    points = tuple(CurvePoint(100 * (2**place - 1), around(0.4 + 0.04 * place), None) for place in range(6))
    fitted = Saturation(6, Projection(0.7, 0.6, 0.8), Projection(0.65, 0.6, 0.7), Crossing(900.0, 500.0, None))
    lines = tuple(CurveLine(name, (name,), points, fitted, Backtest(3, 300, 3100, 0.6, None, "few")) for name in known)
    curve = RecoveryCurve(lines, tuple(LossPoint(point.tokens, 2.0, 2.5) for point in points))
    return Recovery("lora", plan[0], 0.1, plan[1], removed, {}, 300, 2, 9000, 12.0, rows, "self", classes, curve)


def models(layers: int, plans: Sequence[tuple[str, int, tuple[int, ...]]]) -> Iterator[DiagnosedModel]:
    """The models of a study with these plans, the first of which is also finetuned."""
    yield DiagnosedModel("base", "base", (), "base")
    for layer in range(layers):
        yield DiagnosedModel(f"without layer {layer}", "sweep", (layer,), f"layer {layer}")
    for method, count, removed in plans:
        yield DiagnosedModel(f"{method}, {count} removed", "prune", removed, f"{method} {count}")
    method, count, removed = plans[0]
    parent = f"{method}, {count} removed"
    yield DiagnosedModel(f"{parent}, finetuned (lora)", "recover", removed, "finetuned", parent)


def _findings(
    layers: int, plans: Sequence[tuple[str, int, tuple[int, ...]]], known: Sequence[str], draw: random.Random
) -> Iterator[Finding]:
    yield Source("flips", "base", known[0], "lost").measured(around(0.2), "The main finding: 20%.")
    written = [name for name in known if kind_of(name) == "generation"]
    for model in models(layers, plans):
        for name in known:
            for measure in ("lost", "won"):
                value = around(draw.uniform(0.1, 0.6), width=0.05)
                yield Source("flips", model.label, name, measure).measured(value, f"{measure} on {name}.")
        if model.stage != "sweep":
            for name in written[:4]:
                for steps in (1, 2, 3):
                    source = Source("accumulation", model.label, name, "right by steps", "steps", float(steps))
                    yield source.measured(around(draw.uniform(0.2, 0.8)), f"{steps} steps on {name}.")
            shares = [draw.random() for _ in range(3)]
            for outcome, share in zip(("passed", "wrong result", "truncated"), shares, strict=True):
                value = around(share / sum(shares), width=0.0)
                yield Source("code_outcomes", model.label, written[0], outcome).measured(value, f"{outcome}.")
