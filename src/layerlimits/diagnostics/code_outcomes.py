"""What becomes of programs: passed, wrong, or why they do not run."""

from collections.abc import Iterator, Sequence

from layerlimits.analysis.code_outcome import OUTCOMES, SYNTAX, CodeOutcome, code_outcome
from layerlimits.diagnostics import Answer, Chart, Diagnostic, Finding, RunView, Source, every_model, interval, percent
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.statistics import intervals

_NAME = "code_outcomes"
# Tasks whose answers are programs have this metric.
_METRIC = "pass rate"
_FAILED = tuple(outcome for outcome in OUTCOMES if outcome != "passed")


def _programs(view: RunView) -> list[TaskRecord]:
    return [task for task in view.tasks if task["kind"] == "generation" and task["metric"] == _METRIC]


def _findings(view: RunView) -> Iterator[Finding]:
    tasks = _programs(view)
    if not tasks:
        yield Source(_NAME, "base", "", "outcomes").not_measurable("no task asks for programs")
        return
    yield _main(view, tasks)
    for task in tasks:
        for model in every_model(view):
            answers = list(view.answers(model, task).values())
            if not answers:
                yield Source(_NAME, model.label, task["name"], "passed").not_measurable("no answer is stored")
            else:
                yield from _shares(model.label, task["name"], answers)


def _shares(model: str, task: str, answers: Sequence[Answer]) -> Iterator[Finding]:
    """The share of every outcome of a model; the shares of a model add up to 1."""
    outcomes = [code_outcome(answer.verdict) for answer in answers]
    for outcome in OUTCOMES:
        items = [answer.item for answer, found in zip(answers, outcomes, strict=True) if found == outcome]
        value = intervals.mean([float(found == outcome) for found in outcomes])
        sentence = f"{len(items)} of {len(outcomes)} programs of {model} for {task}: {outcome}, {interval(value)}."
        yield Source(_NAME, model, task, outcome).measured(value, sentence, items if outcome != "passed" else ())


def _main(view: RunView, tasks: Sequence[TaskRecord]) -> Finding:
    """How the programs fail that the unpruned model wrote correctly, over all pruned models."""
    pruned = [model for model in view.models if model.stage == "prune"] or list(view.models)
    what = "pruned models" if any(model.stage == "prune" for model in pruned) else "models without one layer"
    lost: list[tuple[str, CodeOutcome]] = []
    for task in tasks:
        for model in pruned:
            for base, other in view.pairs(model, task):
                if base.verdict.value >= 1 and other.verdict.value < 1:
                    lost.append((other.item, code_outcome(other.verdict)))
    source = Source(_NAME, what, ", ".join(task["name"] for task in tasks), "syntax errors among lost programs")
    if not lost:
        return source.not_measurable(f"{what} lose no program that the unpruned model writes correctly")
    kinds = [kind for _, kind in lost]
    value = intervals.mean([float(kind in SYNTAX) for kind in kinds])
    most = max(_FAILED, key=kinds.count)
    sentence = (
        f"Of the programs that {what} get wrong and the unpruned model right, {interval(value)} are not "
        f"valid Python; the "
        f"most frequent outcome is {most} ({percent(kinds.count(most) / len(kinds))})."
    )
    return source.measured(value, sentence, dict.fromkeys(item for item, _ in lost))


code_outcomes = Diagnostic(
    _NAME,
    "What becomes of programs",
    _findings,
    (Chart("Outcomes by model", "stacked", OUTCOMES, "fraction of programs"),),
    source="arXiv 2602.01997, code outcomes, decided by exception types and the parser",
    caption="Each program has one outcome: what the test, the sandbox or the parser says of it.",
)
