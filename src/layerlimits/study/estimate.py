"""Estimate the work and the duration of a study from the rates of a probe, corrected by what the study has measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean

from layerlimits.evaluation.prompts import Prompt, encode
from layerlimits.methods import effort
from layerlimits.study.rates import Rates
from layerlimits.study.resolved import PlannedRecovery, ResolvedStudy
from layerlimits.study.speed import RESPONSE_TOKENS
from layerlimits.types import Kind, Task

# Number of prompts per task used to estimate the prompt length.
_MEASURED_PROMPTS = 20
# Time of a token of a timed run, in a full batch, divided by the probe's (LOG.md, "real models within a budget").
_TIMED = 0.5
# Tokens that a model reads for probes, divided by those that it reads for its answers, at most; a token that it writes
# counts as several.
PROBE_FRAC, READ_PER_WRITTEN = 0.2, 4
# One in this many answers of pruned models is asked again; see `study.second_chances`.
_ASKED_AGAIN_ONE_IN = 8
# Part of the answers that the paper's iterative method saves by dropping candidates early.
_RACE = 0.7


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


class Cost:
    """Cost model in seconds: tokens read and tokens generated at the rates of this machine.

    Args:
        rates: The rates.
        depth: Number of layers of the unpruned model.
        prompt_tokens: Tokens read per item by task name; for a choice task those of all its options.
        max_new_tokens: Limits by task name, which bound the measured lengths of answers.
    """

    def __init__(
        self, rates: Rates, depth: int, prompt_tokens: Mapping[str, float], max_new_tokens: Mapping[str, int]
    ) -> None:
        self.rates, self.depth, self.prompt_tokens, self.max_new_tokens = rates, depth, prompt_tokens, max_new_tokens
        # Measured seconds divided by estimated seconds, by task name and by (task name, stage).
        self._corrections: dict[object, float] = {}

    def new_tokens(self, task: Task) -> float:
        """Expected length of an answer in tokens."""
        limit = self.max_new_tokens.get(task.name, task.max_new_tokens)
        return min(self.rates.new_tokens.get(task.name, limit / 2), limit)

    def response(self, task: Task, kept_layers: int, stage: str = "base") -> float:
        """Seconds per response of a model with `kept_layers` layers in a stage."""
        name = task.name
        correction = self._corrections.get((name, stage), self._corrections.get(name, 1.0))
        return self._estimated(task, kept_layers, stage) * correction

    def _estimated(self, task: Task, kept_layers: int, stage: str) -> float:
        seconds = self.prompt_tokens[task.name] * self.rates.prompt_token
        if task.kind == "generation":
            seconds += self.new_tokens(task) * self.rates.new_token
        return seconds * kept_layers / self.depth * self.shared(task.kind, stage)

    def tokens(self, task: Task) -> float:
        """Expected tokens of a prompt and its answer, those of the answer counted as `READ_PER_WRITTEN`."""
        written = self.new_tokens(task) if task.kind == "generation" else 0.0
        return self.prompt_tokens[task.name] + READ_PER_WRITTEN * written

    def shared(self, kind: Kind, stage: str) -> float:
        """Time of a model in a stage that evaluates models together, divided by that of the unpruned model alone."""
        shared = self.rates.shared_generation if kind == "generation" else self.rates.shared_choice
        # Models pruned by several layers have fewer layers in common.
        return {"sweep": shared, "rank": shared, "prune": (1 + shared) / 2}.get(stage, 1.0)

    def learn(self, task: Task, kept_layers: int, stage: str, seconds: float) -> None:
        """Correct the estimates by a measured duration, in seconds per response."""
        correction = seconds / self._estimated(task, kept_layers, stage)
        self._corrections[task.name, stage] = correction
        self._corrections.setdefault(task.name, correction)
        if stage == "sweep":
            # Both stages evaluate variants together.
            self._corrections.setdefault((task.name, "rank"), correction)
            self._corrections.setdefault((task.name, "prune"), correction)

    def forward(self, tokens: float) -> float:
        """Seconds of a forward pass of the unpruned model over `tokens` tokens."""
        return tokens * self.rates.prompt_token

    def training(self, tokens: float, kept_layers: int) -> float:
        """Seconds of finetuning a model with `kept_layers` layers on `tokens` tokens."""
        return tokens * self.rates.training_token * kept_layers / self.depth

    def work(self, work: Work) -> float:
        """Seconds of all responses of a `Work`."""
        return work.responses * self.response(work.task, work.kept_layers, work.stage)


def cost_of(study: ResolvedStudy, rates: Rates) -> Cost:
    """The cost model of a study, with prompt lengths measured on its items."""
    config = study.config
    lengths = {
        name: fmean(_read(encode(study.tokenizer, sample, config.chat)) for sample in samples[:_MEASURED_PROMPTS])
        for name, samples in {**study.select_items, **study.items}.items()
        if samples
    }
    limits = {task.name: study.answer_limit(task) for task in (*study.tasks, *study.select_tasks)}
    return Cost(rates, study.depth, lengths, limits)


def _read(prompt: Prompt) -> int:
    """Tokens that a model reads for an item."""
    rows = sum(len(context) + len(continuation) for context, continuation in prompt.rows)
    return rows or len(prompt.ids)


def works(study: ResolvedStudy) -> Iterator[Work]:
    """All evaluations of a study, stage by stage; assumes that all plans differ and that nothing is stored yet."""
    config, depth = study.config, study.depth
    sized = [(task, len(study.items[task.name]) * study.draws(task)) for task in study.measured]
    for task, n in sized:
        yield Work("base", 1, depth, task, n)
    for task, n in sized:
        yield Work("sweep", depth, depth - 1, task, n)
    for method in config.methods:
        asked = round(effort(method, "evaluations", depth, study.most_removed))
        for task in study.select_tasks if asked else ():
            yield Work("rank", asked, depth - 1, task, len(study.select_items[task.name]))
    for count in study.ratios:
        for task, n in sized:
            yield Work("prune", len(config.methods), depth - count, task, n)
    for count in study.recovery.counts if study.recovery else ():
        for task, n in sized:
            yield Work("recover", study.recovery.trainings if study.recovery else 0, depth - count, task, n)


def method_cost(study: ResolvedStudy, method: str, cost: Cost) -> float:
    """Estimated seconds of one method."""
    depth, rounds = study.depth, study.most_removed
    items = [(task, len(study.select_items[task.name])) for task in study.select_tasks]
    each = sum(n * cost.response(task, depth - rounds // 2, "rank") for task, n in items)
    asked = _RACE * effort(method, "evaluations", depth, rounds) * each
    return asked + effort(method, "passes", depth, rounds) * cost.forward(study.calibration_tokens)


def row_tokens(study: ResolvedStudy, cost: Cost) -> float:
    """Estimated tokens of a training example: the prompt and the answer."""
    tasks = [task for task in study.measured if task.kind == "generation"]
    return fmean(cost.prompt_tokens[task.name] + cost.new_tokens(task) for task in tasks or study.measured)


def training_answer_cost(study: ResolvedStudy, cost: Cost) -> float:
    """Estimated seconds for the unpruned model's response to one training prompt."""
    tasks = [task for task in study.measured if task.kind == "generation"]
    return fmean(cost.response(task, study.depth) for task in tasks or study.measured)


def training_cost(study: ResolvedStudy, cost: Cost) -> float:
    """Estimated seconds of all finetuning, including the unpruned model's responses."""
    recovery = study.recovery
    if recovery is None:
        return 0.0
    return len(recovery.prompts) * training_answer_cost(study, cost) + sum(
        recovery.trainings * finetuning_cost(study, recovery, count, cost) for count in recovery.counts
    )


def finetuning_cost(study: ResolvedStudy, recovery: PlannedRecovery, count: int, cost: Cost) -> float:
    """Estimated seconds of finetuning the model without `count` layers once, with the evaluations while it trains."""
    tokens = len(recovery.prompts) * study.config.recovery.epochs * row_tokens(study, cost)
    evaluations = recovery.milestones + 1 if recovery.milestones else 0
    each = sum(
        len(study.select_items[task.name]) * cost.response(task, study.depth - count) for task in study.select_tasks
    )
    return cost.training(tokens, study.depth - count) + evaluations * each


def probe_costs(study: ResolvedStudy, cost: Cost) -> tuple[float, float]:
    """Estimated seconds in which the unpruned and pruned models read the probes, and the finetuned ones; 0 without a
    generation task, whose answers probes are made of.
    """
    if not any(task.generates for task in study.measured):
        return 0.0, 0.0
    answers = sum(len(study.items[task.name]) * cost.tokens(task) for task in study.measured if task.kind != "text")
    each = cost.forward(PROBE_FRAC * answers)
    shares = {stage: cost.shared("choice", stage) for stage in ("base", "sweep", "prune", "recover")}
    models = 1 + study.depth * shares["sweep"] + len(study.config.methods) * len(study.ratios) * shares["prune"]
    finetuned = study.recovery.trainings * len(study.recovery.counts) if study.recovery else 0
    return models * each, finetuned * each


def speed_cost(study: ResolvedStudy, repeats: int, counts: int, cost: Cost) -> float:
    """Estimated seconds of timing the unpruned model and `counts` pruned ones, with one run more to warm up."""
    each = RESPONSE_TOKENS * cost.rates.new_token * _TIMED
    return (repeats + 1) * (1 + counts) * each


def stage_costs(study: ResolvedStudy, cost: Cost) -> dict[str, float]:
    """Estimated seconds by stage."""
    seconds = dict.fromkeys(("base", "sweep", "rank", "prune", "diagnose", "recover", "speed"), 0.0)
    for work in works(study):
        # `method_cost` covers the rank stage: evaluations and forward passes.
        seconds[work.stage] += 0.0 if work.stage == "rank" else cost.work(work)
    seconds["rank"] = sum(method_cost(study, method, cost) for method in study.config.methods)
    seconds["recover"] += training_cost(study, cost)
    seconds["diagnose"], recovered = probe_costs(study, cost)
    seconds["diagnose"] += seconds["prune"] / _ASKED_AGAIN_ONE_IN
    seconds["recover"] += recovered
    seconds["speed"] = speed_cost(study, study.config.speed_repeats, len(study.ratios), cost)
    return seconds
