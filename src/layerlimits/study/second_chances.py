"""Ask pruned models again what they have lost: with one example, or with twice the tokens where they were cut off."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from layerlimits.diagnostics._second_chances import CHANCES, ONE_EXAMPLE, Chance, concerned, pruned_models
from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.models.load import Loaded
from layerlimits.results.diagnose import StoredRun
from layerlimits.study.session import Run, ask_options
from layerlimits.tasks import with_examples
from layerlimits.types import Sample, Task

# One in this many items of a task is asked again at most, but so many in any case.
ASKED_ONE_IN, FEWEST_ASKED = 8, 4


def second_chances(run: Run, view: StoredRun) -> list[TaskRecord]:
    """Ask the pruned models, and the unpruned one as a control, the first of the lost items; returns their records.
    Finetuned models answer the same items when they are evaluated.
    """
    models = list(dict.fromkeys(model.removed for model in (view.base, *pruned_models(view))))
    evaluator, asked = evaluator_again(run, run.loaded), []
    tasks = {task.name: task for task in run.study.measured}
    for record in view.tasks:
        for chance in CHANCES if record["name"] in tasks else ():
            items = concerned(view, record, chance)
            kept = set(items[: max(FEWEST_ASKED, len(record["ids"]) // ASKED_ONE_IN)])
            task, samples = _again(run, tasks[record["name"]], chance, kept)
            if samples:
                evaluator.ask(models, [(task, samples)], _advance(run, tasks[record["name"]]))
                asked.append((task, samples))
    run.again = tuple(asked)
    return [evaluator.described(task, samples) for task, samples in asked]


def evaluator_again(run: Run, loaded: Loaded) -> Evaluator:
    """An evaluator that asks once, with the limit of tokens of the task instead of the study's."""
    options = ask_options(run.config)
    return Evaluator(
        loaded, run.store, replace(options, decoding=replace(options.decoding, max_new_tokens=None, samples=1))
    )


def _advance(run: Run, task: Task) -> Callable[[float], None]:
    """Advances the progress bar by a number of responses."""
    each = run.cost.response(task, run.study.depth, "prune")
    return lambda count: run.bar.advance(count * each)


def _again(run: Run, task: Task, chance: Chance, items: set[str]) -> tuple[Task, Sequence[Sample]]:
    """The task as it is asked again, and those of its items; none if it has examples already, or has none to show."""
    limit = run.study.answer_limit(task)
    if chance is not ONE_EXAMPLE:
        changed, samples = task, run.study.items[task.name] if items else []
        limit *= 2
    elif task.shots or not items:
        return task, []
    else:
        changed = with_examples(task, 1, run.config.chat)
        try:
            samples = changed.samples("evaluate", len(run.study.items[task.name]), run.config.data_dir)
        except UserError:
            return task, []
    named = replace(changed, name=chance.name(task.name), max_new_tokens=limit)
    return named, [sample for sample in samples if sample.id in items]
