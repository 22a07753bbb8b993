"""`evaluate` and `sweep`: scores of a model, and of the model with one layer skipped at a time."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from layerlimits.api.models import ModelSource, check_removable, depth
from layerlimits.api.opening import check_swept, open_evaluator
from layerlimits.api.options import EvalOptions, Tasks
from layerlimits.api.tasks import Items, evaluation_items
from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import Artifacts
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.options import AskOptions
from layerlimits.progress import Bar
from layerlimits.results.comparisons import evaluate_results, sweep_results
from layerlimits.results.document import EvaluateResults, SweepResults
from layerlimits.results.stored_answers import StoredAnswers

_DEFAULT = EvalOptions()


def evaluate(
    model: ModelSource,
    tasks: Tasks | None = None,
    options: EvalOptions = _DEFAULT,
    out: str | Path | None = None,
) -> EvaluateResults:
    """Evaluate a model on tasks, with 95% confidence intervals.

    Choice tasks are scored as in lm-evaluation-harness; with the engine "hflm" log-likelihoods are computed by its own
    code.

    Args:
        model: Model returned by `load`, a folder, a hub id, "reference", or `ModelOptions`.
        tasks: Tasks returned by `get_tasks`, names of tasks and suites, or `DefaultTasks`. If None: the bundled tasks
            for the bundled model and its relatives, and for other models the tasks of the suite "real" that can be
            read; a warning lists the others.
        options: Number of items, decoding and batch size.
        out: Run folder that stores all responses, so that an interrupted call can resume. None stores nothing.

    Raises:
        UserError: A task, the model or the run folder cannot be used.

    Example:
        >>> results = evaluate("reference", ["arithmetic", "facts"], EvalOptions(limit=20))
        >>> results.to_frame()
    """
    items, notes = evaluation_items(tasks, model, options)
    with open_evaluator(model, ask_options(options, items), seed=options.decoding.seed, out=out) as evaluator:
        ask(evaluator, [()], items)
        _record(evaluator, items)
        decoding = options.decoding.name(0).removesuffix(" #0")
        results = evaluate_results(_stored(evaluator, items), decoding, options.difference)
        notes = (*evaluator.loaded.remarks, *notes)
    return replace(results, warnings=(*notes, *results.warnings), chat=options.template)


def sweep(
    model: ModelSource,
    tasks: Tasks | None = None,
    options: EvalOptions = _DEFAULT,
    out: str | Path | None = None,
    layers: Sequence[int] | None = None,
) -> SweepResults:
    """Evaluate a model with one layer skipped at a time, with retention (score / unpruned score).

    Args:
        model, tasks, options, out: As for `evaluate`.
        layers: Layers to skip, one at a time; all if None. A later call with the same `out` and more layers computes
            only the new ones.

    Returns:
        Results with one row per layer and task, ordered by layer. Notebooks display them as a chart.

    Raises:
        UserError: A task, the model or the run folder cannot be used; or `layers` is empty, has duplicates, or contains
            a layer that does not exist; or the engine computes one model only.

    Example:
        >>> results = sweep("reference", ["arithmetic", "facts"], EvalOptions(limit=20))
        >>> list(results.to_frame().columns)
        ['layer', 'task', 'score', 'low', 'high', 'n', 'retention']
        >>> sweep("reference", "facts", EvalOptions(limit=20), layers=[3, 8, 9]).to_frame().layer.tolist()
        [3, 8, 9]
    """
    if options.engine == "hflm":
        raise UserError(
            "the engine hflm evaluates one model, and a sweep one model per layer",
            "omit --engine; or prune the model and evaluate the saved one with --engine hflm",
        )
    items, notes = evaluation_items(tasks, model, options)
    # Before weights load.
    chosen = None if layers is None else check_swept(layers, depth(model))
    check_removable(model)
    with open_evaluator(model, ask_options(options, items), seed=options.decoding.seed, out=out) as evaluator:
        total = evaluator.loaded.depth
        skipped = tuple(range(total)) if chosen is None else chosen
        ask(evaluator, [(), *((layer,) for layer in skipped)], items)
        _record(evaluator, items)
        results = sweep_results(_stored(evaluator, items), skipped, total, options.difference)
        notes = (*evaluator.loaded.remarks, *notes)
    return replace(results, warnings=(*notes, *results.warnings), chat=options.template)


def ask_options(options: EvalOptions, items: Items) -> AskOptions:
    """How the items of tasks are asked."""
    return AskOptions(
        engine=options.engine,
        batch_size=options.batch_size,
        # Each task has its own chat setting. This one rejects a model without a chat template before evaluation starts.
        chat=_chat([task.chat for task, _ in items]),
        template=options.template,
        decoding=options.decoding,
        unsafe=options.unsafe,
        max_rows=options.max_rows,
    )


def _chat(settings: Sequence[bool | None]) -> bool | None:
    """The chat setting of an evaluation whose tasks have these."""
    return True if any(settings) else False if all(chat is False for chat in settings) else None


def ask(evaluator: Evaluator, variants: list[tuple[int, ...]], items: Items) -> None:
    """Compute the missing responses of variants to the items of tasks, with a progress bar."""
    # The unit of the bar is a token, so that tasks with long answers count for more.
    tokens = [evaluator.tokens(task, samples) for task, samples in items]
    counts = [len(variants) * evaluator.draws(task) * len(samples) for task, samples in items]
    with Bar(sum(count * each for count, each in zip(counts, tokens, strict=True))) as bar:
        for (task, samples), count, each in zip(items, counts, tokens, strict=True):
            with bar.stage(task.name):
                bar.skip((count - evaluator.missing(variants, task, samples)) * each)
                evaluator.ask(variants, [(task, samples)], _advancing(bar, each))


def _record(evaluator: Evaluator, items: Items) -> None:
    """Record what was asked, so that the run folder can be diagnosed; a task that was asked before is replaced."""
    artifacts = Artifacts(evaluator.store)
    if artifacts.tasks is None:
        records = {record["name"]: record for record in artifacts.asked}
        records |= {task.name: evaluator.described(task, samples) for task, samples in items}
        artifacts.asked = list(records.values())


def _advancing(bar: Bar, each: float) -> Callable[[float], None]:
    """A callback that advances the bar by `each` units per response."""
    return lambda responses: bar.advance(responses * each)


def _stored(evaluator: Evaluator, items: Items) -> StoredAnswers:
    records = [evaluator.described(task, samples) for task, samples in items]
    return StoredAnswers(evaluator.store, evaluator.loaded.ref, records)
