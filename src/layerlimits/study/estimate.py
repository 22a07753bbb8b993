"""Estimate the work and the duration of a study before it runs."""

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

# Overhead of one decoder layer of unmodified transformers per decoding step, in seconds, without its arithmetic
# (measured on two cores: LOG.md, "cost model"), and the cost of a training token in forward passes.
_LAYER_STEP_S = 0.45e-3
_TRAINING_FACTOR = 4.0
# Fraction of the measured matrix multiplication rate that a full forward pass reaches.
_EFFICIENCY = 0.25
# Number of prompts per task used to estimate the prompt length.
_MEASURED_PROMPTS = 20


@dataclass(frozen=True)
class Work:
    """In a stage, `models` variants with `kept_layers` layers each answer `items` items of a task."""

    stage: str
    models: int
    kept_layers: int
    task: Task
    items: int

    @property
    def responses(self) -> int:
        """Number of responses."""
        return self.models * self.items


@dataclass(frozen=True)
class Shape:
    """Number of layers and of parameters, which determine the cost of a model."""

    layers: int
    parameters: int


class Cost:
    """Cost model, in seconds: a fixed overhead per layer and step, plus arithmetic at a measured rate.

    Args:
        shape: Size of the unpruned model.
        batch_size: Prompts per batch.
        prompt_tokens: Mean prompt length by task name, in tokens.
        max_new_tokens: Replaces the generation tasks' own limits if not None.
    """

    def __init__(
        self, shape: Shape, batch_size: int, prompt_tokens: dict[str, float], max_new_tokens: int | None = None
    ) -> None:
        self.shape, self.batch_size, self.prompt_tokens = shape, batch_size, prompt_tokens
        self.max_new_tokens = max_new_tokens
        self._flops = _EFFICIENCY * product_rate()

    def response(self, task: Task, kept_layers: int, items: int, new_tokens: int | None = None) -> float:
        """Seconds per response of a model with `kept_layers` layers when `items` items are batched.

        `new_tokens` replaces the task's own limit if not None.
        """
        if new_tokens is None:
            override = None if task.kind == "choice" else self.max_new_tokens
            new_tokens = task.max_new_tokens if override is None else override
        parameters = self.shape.parameters * kept_layers / self.shape.layers
        rows = 1 if task.kind == "generation" else 4
        tokens = rows * self.prompt_tokens[task.name] + new_tokens
        steps = 1 + new_tokens
        batch = min(items, self.batch_size)
        return tokens * 2 * parameters / self._flops + steps * kept_layers * _LAYER_STEP_S / batch

    def forward(self, tokens: float) -> float:
        """Seconds of a forward pass of the unpruned model over `tokens` tokens."""
        return tokens * 2 * self.shape.parameters / self._flops

    def training(self, tokens: float, kept_layers: int) -> float:
        """Seconds of finetuning a model with `kept_layers` layers on `tokens` tokens."""
        return _TRAINING_FACTOR * self.forward(tokens) * kept_layers / self.shape.layers

    def work(self, work: Work) -> float:
        """Seconds of all responses of a `Work`."""
        return work.responses * self.response(work.task, work.kept_layers, work.items)


def product_rate() -> float:
    """Floating-point operations per second of a square float32 matrix multiplication, measured for 0.1 s."""
    square = torch.rand(512, 512)
    square @ square
    began, rounds = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < 0.1:
        square @ square
        rounds += 1
    return rounds * 2 * 512**3 / spent


def shape_of(folder: Path) -> Shape:
    """Read the number of layers and parameters from the configuration and the checkpoint's headers.

    Raises:
        UserError: See `models.locate.layer_count`.
    """
    headers = read_headers(weight_files(folder))
    parameters = sum(tensor.elements for header in headers for tensor in header.tensors)
    return Shape(layer_count(folder), parameters)


def cost_of(study: ResolvedStudy, shape: Shape) -> Cost:
    """The cost model of a study, with prompt lengths measured on its items."""
    config = study.config
    lengths = {
        name: fmean(encode(study.tokenizer, sample, config.chat).tokens for sample in samples[:_MEASURED_PROMPTS])
        for name, samples in {**study.select_items, **study.items}.items()
        if samples
    }
    return Cost(shape, config.batch_size, lengths, config.max_new_tokens)


def works(study: ResolvedStudy) -> Iterator[Work]:
    """All evaluations of a study, stage by stage; assumes that all plans differ and that nothing is stored yet."""
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
    """Estimated tokens of a training example: the prompt, and half of the response limit, which is rarely reached."""
    return fmean(cost.prompt_tokens[task.name] + task.max_new_tokens / 2 for task in study.tasks)


def training_answer_cost(study: ResolvedStudy, recovery: PlannedRecovery, cost: Cost) -> float:
    """Estimated seconds for the unpruned model's response to one training prompt."""
    items = study.config.recovery.items
    return fmean(cost.response(task, study.depth, items, recovery.max_new_tokens) for task in study.tasks)


def training_cost(study: ResolvedStudy, cost: Cost) -> float:
    """Estimated seconds of all finetuning, including the unpruned model's responses."""
    recovery, settings = study.recovery, study.config.recovery
    if recovery is None:
        return 0.0
    total = training_answer_cost(study, recovery, cost) * settings.items
    tokens = settings.items * settings.epochs * row_tokens(study, cost)
    for count in recovery.counts:
        total += len(recovery.kinds) * cost.training(tokens, study.depth - count)
    return total


def total_cost(study: ResolvedStudy, cost: Cost) -> float:
    """Estimated seconds of the whole study."""
    # `method_cost` covers the rank stage: evaluations and forward passes.
    asked = sum(cost.work(work) for work in works(study) if work.stage != "rank")
    ranked = sum(method_cost(study, method, cost) for method in study.config.methods)
    return asked + ranked + training_cost(study, cost)
