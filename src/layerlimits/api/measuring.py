"""`evaluate` and `sweep`: scores without choosing or removing anything for good."""

from layerlimits.api.opening import Items, evaluation_items, open_evaluator
from layerlimits.api.options import EvalOptions, ModelOptions
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.progress import Bar
from layerlimits.results.comparisons import evaluate_results, sweep_results
from layerlimits.results.document import EvaluateResults, SweepResults
from layerlimits.results.stored_answers import StoredAnswers


def evaluate(model: ModelOptions, options: EvalOptions) -> EvaluateResults:
    """Scores of a model on tasks, computed as lm-evaluation-harness computes them.

    Raises:
        UserError: a task, model or run folder that cannot be used.
    """
    items = evaluation_items(options)
    with open_evaluator(model, options, engine="hflm") as evaluator:
        _ask(evaluator, [()], items)
        decoding = options.decoding.name(0).removesuffix(" #0")
        return evaluate_results(_stored(evaluator, items), decoding, options.difference)


def sweep(model: ModelOptions, options: EvalOptions) -> SweepResults:
    """Scores of a model, and of the model without each of its layers, with retention.

    Raises:
        UserError: a task, model or run folder that cannot be used.
    """
    items = evaluation_items(options)
    with open_evaluator(model, options) as evaluator:
        depth = evaluator.loaded.depth
        _ask(evaluator, [(), *((layer,) for layer in range(depth))], items)
        return sweep_results(_stored(evaluator, items), depth, options.difference)


def _ask(evaluator: Evaluator, variants: list[tuple[int, ...]], items: Items) -> None:
    each = sum(evaluator.draws(task) * len(samples) for task, samples in items)
    with Bar(len(variants) * each) as bar:
        for task, samples in items:
            with bar.stage(task.name):
                evaluator.ask(variants, [(task, samples)], bar.advance)


def _stored(evaluator: Evaluator, items: Items) -> StoredAnswers:
    records = [evaluator.described(task, samples) for task, samples in items]
    return StoredAnswers(evaluator.store, evaluator.loaded.ref, records)
