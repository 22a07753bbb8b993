"""Compute the results of a study from the database of its run folder alone."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from layerlimits.analysis.differences import first_difference
from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import Artifacts, Plan, RecoveredRecord, TaskRecord, TimingRecord
from layerlimits.evaluation.store import Store
from layerlimits.results.comparisons import comparison, layer_scores, protocol_scores, task_score
from layerlimits.results.diagnose import StoredRun, chosen, findings
from layerlimits.results.document import StudyResults
from layerlimits.results.figures import corrected, median_and_range
from layerlimits.results.judge import study_verdict
from layerlimits.results.model import model_info
from layerlimits.results.notes import notes, without_texts
from layerlimits.results.options import alternative_rows
from layerlimits.results.recovery import recovery_rows
from layerlimits.results.requirements import Requirement, parse_requirements
from layerlimits.results.rows import (
    AnsweredItem,
    ClassRetention,
    MethodOrder,
    ModelAnswer,
    PlanComparison,
    ProtocolScores,
    Speed,
    Stage,
    TaskScore,
)
from layerlimits.results.stored_answers import StoredAnswers
from layerlimits.results.warnings import at_chance, left_out, set_aside, skipped, warnings
from layerlimits.statistics import intervals
from layerlimits.types import Kind, Response, Verdict

_KINDS: tuple[Kind, ...] = ("choice", "generation")
_SHOWN_ITEMS = 3
Answered = tuple[Response, Verdict]


def study_results(store: Store, requirements: Sequence[Requirement] = ()) -> StudyResults:
    """The results of a finished or unfinished study.

    Args:
        store: The run folder.
        requirements: What pruned models must keep; if empty, what the study requires, by default nine tenths of every
            class.
    Raises:
        UserError: The folder does not contain a study, the unpruned model has not finished any task, or a requirement
            names a task or class that is not in the run.
    """
    answers, artifacts = StoredAnswers.of_study(store).at("base"), Artifacts(store)
    tasks = _tasks(answers)
    manifest, base, calibration = artifacts.manifest, artifacts.base, artifacts.calibration
    if not tasks or manifest is None or base is None or calibration is None:
        raise UserError(
            f"the unpruned model has not finished any task in {store.folder}", "resume it with `layerlimits study`"
        )
    config, recovered = manifest["config"], list(artifacts.recovered.values())
    swept, pruned, view = answers.at("sweep"), answers.at("prune"), StoredRun(answers, artifacts)
    rows = recovery_rows(pruned, recovered)
    required = requirements or parse_requirements(config.get("require") or ())
    verdict = study_verdict(answers, artifacts, required, rows)
    return StudyResults(
        made_by=manifest["made_by"],
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=manifest["command"],
        preset=config["preset"],
        seed=config["seed"],
        config=config,
        calibration=calibration["source"],
        model=model_info(base, manifest),
        tasks=tuple(tasks),
        sweep=tuple(row.comparison for row in layer_scores(swept, range(base["layers"]))),
        methods=tuple(_methods(artifacts)),
        pruned=tuple(corrected(list(_pruned(pruned, artifacts.plans)))),
        classes=tuple(_classes(pruned, artifacts.plans)),
        protocols=tuple(_protocols(pruned, artifacts.plans)),
        recovery=rows,
        models=(view.base, *view.models),
        diagnostics=tuple(findings(view, chosen())),
        speed=tuple(_speed(artifacts.speed)),
        samples=tuple(_samples(pruned, recovered)),
        alternatives=alternative_rows(pruned, artifacts),
        stages=tuple(Stage(name, seconds) for name, seconds in artifacts.stages.items()),
        notes=(*notes(calibration, config), *artifacts.study_notes, *without_texts(_without_texts(answers, tasks))),
        warnings=tuple(_warnings(artifacts, tasks, _tasks(pruned), config["difference"])),
        answer=" ".join(verdict.sentences),
        verdict=verdict,
    )


def _warnings(
    artifacts: Artifacts, tasks: Sequence[TaskScore], pruned: Sequence[TaskScore], difference: float
) -> Iterator[str]:
    """The warnings; comparisons are judged by the number of items on which pruned models are evaluated."""
    measured = [task for task in tasks if task.set_aside is None]
    yield from left_out(artifacts.left_out)
    yield from warnings(pruned or measured, difference)
    yield from at_chance(measured)
    yield from set_aside(tasks)
    yield from skipped(artifacts.skipped)


def _tasks(answers: StoredAnswers) -> list[TaskScore]:
    scores = [task_score(answers, answers.fingerprint(()), task) for task in answers.tasks]
    return [score for score in scores if score is not None]


def _without_texts(answers: StoredAnswers, scores: Sequence[TaskScore]) -> list[str]:
    """Finished tasks whose items are not stored."""
    finished = {score.name for score in scores}
    return [task["name"] for task in answers.tasks if task["name"] in finished and not answers.has_contents(task)]


def _methods(artifacts: Artifacts) -> Iterator[MethodOrder]:
    for name, ranking in artifacts.rankings.items():
        order, scores = tuple(ranking["order"]), tuple(ranking["scores"])
        yield MethodOrder(name, order, scores, ranking["source"], ranking["seconds"], len(ranking["used"]))


def _pruned(answers: StoredAnswers, plans: Sequence[Plan]) -> Iterator[PlanComparison]:
    for plan in plans:
        for task in answers.tasks:
            if compared := comparison(answers, answers.fingerprint(plan["removed"]), task):
                yield PlanComparison(
                    **vars(compared[1]),
                    method=plan["method"],
                    ratio=plan["ratio"],
                    layers=plan["layers"],
                    removed=tuple(plan["removed"]),
                )


def _classes(answers: StoredAnswers, plans: Sequence[Plan]) -> Iterator[ClassRetention]:
    """Mean retention over the tasks of a class."""
    for plan in plans:
        for kind in _KINDS:
            if row := _class(answers, plan, kind):
                yield row


def _class(answers: StoredAnswers, plan: Plan, kind: Kind) -> ClassRetention | None:
    """Mean retention of a plan over a class; None if the class has no tasks or answers are missing."""
    whole, model = answers.fingerprint(()), answers.fingerprint(plan["removed"])
    tasks = [task for task in answers.tasks if task["kind"] == kind]
    values = [(answers.values(whole, task), answers.values(model, task)) for task in tasks]
    pairs = [(base, other) for base, other in values if base is not None and other is not None]
    if not tasks or len(pairs) < len(tasks):
        return None
    chances = [task["chance"] for task in tasks]
    counts = {task["name"]: intervals.above(base, task["chance"]) for task, (base, _) in zip(tasks, pairs, strict=True)}
    return ClassRetention(
        method=plan["method"],
        ratio=plan["ratio"],
        layers=plan["layers"],
        removed=tuple(plan["removed"]),
        kind=kind,
        chance=max(chances),
        retention=intervals.shared(pairs),
        corrected=intervals.shared(pairs, chances) if any(chances) else None,
        tasks=tuple(name for name, usable in counts.items() if usable),
        left_out=tuple(name for name, usable in counts.items() if not usable),
    )


def _protocols(answers: StoredAnswers, plans: Sequence[Plan]) -> Iterator[ProtocolScores]:
    """Scores by protocol of the base model and every pruned model, grouped by task."""
    rows = list(protocol_scores(answers, "base", ()))
    rows += [row for plan in plans for row in protocol_scores(answers, plan["method"], plan["removed"])]
    for name in dict.fromkeys(row.task for row in rows):
        yield from (row for row in rows if row.task == name)


def _speed(timings: Sequence[TimingRecord]) -> Iterator[Speed]:
    for timing in timings:
        removed, rates = sorted(timing["removed"]), timing["tokens_per_s"]
        ratios = [rate / base for rate, base in zip(rates, timings[0]["tokens_per_s"], strict=True)]
        yield Speed(
            model=f"without {len(removed)} layer{'s' * (len(removed) > 1)}" if removed else "base",
            removed=tuple(removed),
            parameters=timing["parameters"],
            weight_bytes=timing["weight_bytes"],
            peak_bytes=timing["memory_bytes"],
            tokens_per_s=median_and_range(rates),
            speedup=median_and_range(ratios) if removed else None,
        )


def _samples(answers: StoredAnswers, recovered: Sequence[RecoveredRecord]) -> Iterator[AnsweredItem]:
    """Items that the unpruned model answers correctly, with every model's answer; those lost by pruning come first."""
    if not recovered:
        return
    widest = max(recovered, key=lambda record: record["layers"])
    label = f"without {widest['layers']} layers ({widest['method']})"
    models = {"base": answers.fingerprint(()), label: answers.fingerprint(widest["removed"])}
    models |= {
        f"recovered ({record['name']})": record["fingerprint"]
        for record in recovered
        if record["removed"] == widest["removed"]
    }
    for task in answers.tasks:
        if task["kind"] == "generation":
            yield from _task_samples(answers, task, models)


def _task_samples(answers: StoredAnswers, task: TaskRecord, models: dict[str, str]) -> Iterator[AnsweredItem]:
    columns = {label: answers.answers(model, task) for label, model in models.items()}
    complete = {label: column for label, column in columns.items() if column}
    if len(complete) < len(models) or not answers.has_contents(task):
        return
    base, pruned = list(complete.values())[:2]
    contents = answers.contents(task["name"])
    for position in _largest_losses(base, pruned)[:_SHOWN_ITEMS]:
        content = contents[task["ids"][position]]
        shown = []
        for label, column in complete.items():
            response, verdict = column[position]
            place = first_difference(base[position][0].text, response.text)
            shown.append(ModelAnswer(label, response.text, verdict.outcome, verdict.value, place))
        yield AnsweredItem(task["name"], content["prompt"], content["target"], tuple(shown))


def _largest_losses(base: Sequence[Answered], pruned: Sequence[Answered]) -> list[int]:
    """Positions of the items that the unpruned model answers correctly, those whose score falls most first."""
    graded = any(0 < verdict.value < 1 for _, verdict in base)
    # A graded answer is good or bad, not correct: all are candidates.
    candidates = [position for position, (_, verdict) in enumerate(base) if graded or verdict.outcome == "correct"]
    return sorted(candidates, key=lambda position: pruned[position][1].value - base[position][1].value)
