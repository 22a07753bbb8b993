"""What a study will do, and about how long it takes: counted before anything runs."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch

from layerlimits.evaluation.prompts import encode
from layerlimits.methods import effort
from layerlimits.models.locate import layer_count, weight_files
from layerlimits.models.safetensors_header import read_headers
from layerlimits.study.resolved import PlannedRecovery, ResolvedStudy
from layerlimits.types import Task

# Seconds that one decoder layer of stock transformers takes for one decoding step beside its arithmetic (measured on
# two cores: LOG.md, "cost model"), and what a training token costs in forward passes.
_LAYER_STEP_S = 0.45e-3
_TRAINING_FACTOR = 4.0
# Share of the measured matrix product rate that a whole forward pass reaches.
_EFFICIENCY = 0.25
# Prompts of each task whose tokens are counted.
_MEASURED_PROMPTS = 20


@dataclass(frozen=True)
class Work:
    """`models` variants of `kept` layers answer `items` items of a task in a stage."""

    stage: str
    models: int
    kept: int
    task: Task
    items: int

    @property
    def responses(self) -> int:
        """Answers to be given."""
        return self.models * self.items


@dataclass(frozen=True)
class Shape:
    """What the cost of a model depends on: its layers and its parameters."""

    layers: int
    parameters: int


class Cost:
    """Estimated seconds: a fixed price for each layer and step, and arithmetic at a measured rate.

    `most` new tokens stand instead of every task's own limit, if not None.
    """

    def __init__(self, shape: Shape, batch_size: int, prompt_tokens: dict[str, float], most: int | None = None) -> None:
        self.shape, self.batch_size, self.prompt_tokens, self.most = shape, batch_size, prompt_tokens, most
        self._flops = _EFFICIENCY * product_rate()

    def response(self, task: Task, kept: int, items: int, new_tokens: int | None = None) -> float:
        """One response, asked in batches among `items`; `new_tokens` replaces the task's own limit."""
        if new_tokens is None:
            new_tokens = task.max_new_tokens if self.most is None or task.kind == "choice" else self.most
        parameters = self.shape.parameters * kept / self.shape.layers
        rows = 1 if task.kind == "generation" else 4
        tokens = rows * self.prompt_tokens[task.name] + new_tokens
        steps = 1 + new_tokens
        batch = min(items, self.batch_size)
        return tokens * 2 * parameters / self._flops + steps * kept * _LAYER_STEP_S / batch

    def forward(self, tokens: float) -> float:
        """A forward pass over so many tokens."""
        return tokens * 2 * self.shape.parameters / self._flops

    def training(self, tokens: float, kept: int) -> float:
        """Finetuning on so many tokens."""
        return _TRAINING_FACTOR * self.forward(tokens) * kept / self.shape.layers

    def work(self, work: Work) -> float:
        """A whole piece of work."""
        return work.responses * self.response(work.task, work.kept, work.items)


def product_rate() -> float:
    """Floating-point operations a second of a square float32 matrix product, measured for a tenth of a second."""
    square = torch.rand(512, 512)
    square @ square
    began, rounds = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < 0.1:
        square @ square
        rounds += 1
    return rounds * 2 * 512**3 / spent


def shape_of(folder: Path) -> Shape:
    """Layers and parameters, read from the configuration and the checkpoint's headers.

    Raises:
        UserError: see `models.locate.layer_count`.
    """
    headers = read_headers(weight_files(folder))
    parameters = sum(tensor.elements for header in headers for tensor in header.tensors)
    return Shape(layer_count(folder), parameters)


def cost_of(study: ResolvedStudy, shape: Shape) -> Cost:
    """Estimated prices, from the real prompts' lengths."""
    config = study.config
    lengths = {
        name: fmean(encode(study.tokenizer, sample, config.chat).tokens for sample in samples[:_MEASURED_PROMPTS])
        for name, samples in {**study.select_items, **study.items}.items()
        if samples
    }
    return Cost(shape, config.batch_size, lengths, config.max_new_tokens)


def works(study: ResolvedStudy) -> Iterator[Work]:
    """All evaluations of a study, stage by stage; as if no two plans were equal and nothing were stored."""
    config, depth = study.config, study.depth
    sized = [(task, len(study.items[task.name]) * study.draws(task)) for task in study.tasks]
    for task, n in sized:
        yield Work("base", 1, depth, task, n)
    for task, n in sized:
        yield Work("sweep", depth, depth - 1, task, n)
    for method in config.methods:
        asked = round(effort(method, "evaluations", depth, study.most_removed))
        for task in study.select_tasks if asked else ():
            yield Work("rank", asked, depth - 1, task, config.select_items)
    for count in study.ratios:
        for task, n in sized:
            yield Work("prune", len(config.methods), depth - count, task, n)
    for count in study.recovery.counts if study.recovery else ():
        for task, n in sized:
            yield Work("recover", len(config.recovery.kinds), depth - count, task, n)


def method_cost(study: ResolvedStudy, method: str, cost: Cost) -> float:
    """Estimated seconds of one method."""
    depth, rounds, n = study.depth, study.most_removed, study.config.select_items
    each = sum(cost.response(task, depth, n) for task in study.select_tasks if study.select_items[task.name])
    asked = effort(method, "evaluations", depth, rounds) * n * each
    return asked + effort(method, "passes", depth, rounds) * cost.forward(study.calibration_tokens)


def row_tokens(study: ResolvedStudy, cost: Cost) -> float:
    """About how long a training row is: a prompt with its answer, which seldom takes half of what it may."""
    return fmean(cost.prompt_tokens[task.name] + task.max_new_tokens / 2 for task in study.tasks)


def training_answer_cost(study: ResolvedStudy, recovery: PlannedRecovery, cost: Cost) -> float:
    """Estimated seconds of the unpruned model's answer to one training prompt."""
    items = study.config.recovery.items
    return fmean(cost.response(task, study.depth, items, recovery.max_new_tokens) for task in study.tasks)


def training_cost(study: ResolvedStudy, cost: Cost) -> float:
    """Estimated seconds of all finetuning, the unpruned model's answers included."""
    recovery, settings = study.recovery, study.config.recovery
    if recovery is None:
        return 0.0
    total = training_answer_cost(study, recovery, cost) * settings.items
    tokens = settings.items * settings.epochs * row_tokens(study, cost)
    for count in recovery.counts:
        total += len(recovery.kinds) * cost.training(tokens, study.depth - count)
    return total


def total_cost(study: ResolvedStudy, cost: Cost) -> float:
    """Estimated seconds of all work; what methods ask of tasks is counted with their passes."""
    asked = sum(cost.work(work) for work in works(study) if work.stage != "rank")
    ranked = sum(method_cost(study, method, cost) for method in study.config.methods)
    return asked + ranked + training_cost(study, cost)
