"""What a study will do, and about how long it takes: counted before anything runs."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch

from layerlimits.config import StudyConfig
from layerlimits.methods import effort
from layerlimits.models.locate import layer_count, locate, weight_files
from layerlimits.models.remove import check_count, layers_for_ratio
from layerlimits.models.safetensors_header import read_headers
from layerlimits.types import Sample, Task

# Seconds that one decoder layer of stock transformers takes for one decoding step beside its arithmetic (measured on
# two cores: LOG.md, "cost model"), and what a training token costs in forward passes.
_LAYER_STEP_S = 0.45e-3
_TRAINING_FACTOR = 4.0
# Share of the measured matrix product rate that a whole forward pass reaches.
_EFFICIENCY = 0.25


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


def shape_of(config: StudyConfig) -> Shape:
    """Layers and parameters, read from the configuration and the checkpoint's headers.

    Raises:
        UserError: see `models.locate.layer_count`.
    """
    folder = locate(config.model, config.revision)
    headers = read_headers(weight_files(folder))
    parameters = sum(tensor.elements for header in headers for tensor in header.tensors)
    return Shape(layer_count(folder), parameters)


def counts(config: StudyConfig, depth: int) -> dict[float, int]:
    """How many layers each ratio removes.

    Raises:
        UserError: more layers than may go.
    """
    found = {ratio: layers_for_ratio(ratio, depth) for ratio in config.ratios}
    check_count(max(found.values()), depth, config.protect or ())
    return found


def works(config: StudyConfig, depth: int, items: dict[str, list[Sample]]) -> Iterator[Work]:
    """All evaluations of a study, stage by stage; as if no two plans were equal and nothing were stored."""
    tasks = config.evaluated()
    removals = counts(config, depth)
    sized = [(task, len(items[task.name]) * draws(config, task)) for task in tasks]
    for task, n in sized:
        yield Work("base", 1, depth, task, n)
    for task, n in sized:
        yield Work("sweep", depth, depth - 1, task, n)
    for method in config.methods:
        asked = round(effort(method, "evaluations", depth, max(removals.values())))
        for task in config.selecting() if asked else ():
            yield Work("rank", asked, depth - 1, task, config.select_items)
    for count in sorted(set(removals.values())):
        for task, n in sized:
            yield Work("prune", len(config.methods), depth - count, task, n)
    for ratio in config.recovery_ratios if config.recovery.kinds else ():
        for task, n in sized:
            yield Work("recover", len(config.recovery.kinds), depth - layers_for_ratio(ratio, depth), task, n)


def draws(config: StudyConfig, task: Task) -> int:
    """How many responses every item gets."""
    return config.samples if task.kind == "generation" and config.temperature else 1


def method_cost(config: StudyConfig, method: str, depth: int, cost: Cost, tokens: int) -> float:
    """Estimated seconds of one method, over `tokens` tokens of calibration text."""
    rounds = max(counts(config, depth).values())
    tasks, n = config.selecting(), config.select_items
    asked = effort(method, "evaluations", depth, rounds) * n * sum(cost.response(task, depth, n) for task in tasks)
    return asked + effort(method, "passes", depth, rounds) * cost.forward(tokens)


def row_tokens(tasks: Sequence[Task], cost: Cost) -> float:
    """About how long a training row is: a prompt with its answer, which seldom takes half of what it may."""
    return fmean(cost.prompt_tokens[task.name] + task.max_new_tokens / 2 for task in tasks)


def training_cost(config: StudyConfig, depth: int, cost: Cost, tasks: Sequence[Task]) -> float:
    """Estimated seconds of all finetuning, the unpruned model's answers included."""
    settings = config.recovery
    if not settings.kinds:
        return 0.0
    removals = counts(config, depth)
    longest = max(task.max_new_tokens for task in tasks)
    total = sum(cost.response(task, depth, settings.items, longest) for task in tasks) / len(tasks) * settings.items
    for ratio in config.recovery_ratios:
        tokens = settings.items * settings.epochs * row_tokens(tasks, cost)
        total += len(settings.kinds) * cost.training(tokens, depth - removals[ratio])
    return total
