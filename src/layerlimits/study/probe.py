"""The probe: short runs of a model with a study's own prompts, which measure how fast this machine is with it."""

import math
import time
from collections.abc import Callable, Sequence
from itertools import zip_longest
from statistics import fmean
from typing import Any, TypeVar

import torch

from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.prompts import Prompt
from layerlimits.study.rates import Rates, kept_rates
from layerlimits.study.resolved import ResolvedStudy
from layerlimits.types import Continuation, Response, Task

Result = TypeVar("Result")

# Prompts per task, and generated tokens of the short and of the long answers.
_PROMPTS = 4
_SHORT, _LONG = 8, 96
# Variants that measure how much work variants share.
_VARIANTS = 8
# Parts of the time for reading, for answering, and for each of the two measurements of sharing.
_READING, _ANSWERING, _SHARING = 0.1, 0.5, 0.15
# Passes through the model that a training token costs, if there is no time to measure it.
_TRAINING_PASSES = 4
# Rows and tokens of the training step.
_TRAINING_SHAPE = (2, 64)
# An answer that the probe cuts off is assumed to end, on average, this far into the rest of its limit.
_CUT_ENDS_AT = 0.5


def rates_of(study: ResolvedStudy, evaluator: Evaluator, seconds: float) -> Rates:
    """The rates of a study's model on this machine, kept from before or measured in about `seconds` seconds.

    The probe answers the first evaluation items of the study's tasks; no response is stored.
    """
    return kept_rates(study, evaluator, _Probe(study, evaluator, seconds).rates)


class _Probe:
    """Steps of a probe. Each uses as many prompts as its part of the time allows, judged by the rates so far."""

    def __init__(self, study: ResolvedStudy, evaluator: Evaluator, seconds: float) -> None:
        self.study, self.evaluator, self.seconds = study, evaluator, seconds
        self.engine = evaluator.engine
        self.deadline = time.perf_counter() + seconds
        self.generation = [task for task in study.measured if task.kind == "generation"]
        self.choice = [task for task in study.measured if not task.generates]

    def rates(self) -> Rates:
        """Measure all rates."""
        prompt_token, rows = self._read()
        new_token, lengths = self._answered(prompt_token)
        return Rates(
            prompt_token,
            new_token,
            self._shared_choice(rows, prompt_token),
            self._shared_generation(prompt_token, new_token),
            self._training_token(prompt_token) if self.study.recovery else 0.0,
            lengths,
        )

    def _read(self) -> tuple[float, list[Continuation]]:
        """Seconds per prompt token, and the rows that were read: of a choice task, or prompts with their last token."""
        prompts = self._prompts(self.choice or self.generation, _PROMPTS)
        rows = [row for prompt in prompts for row in prompt.rows or [(prompt.ids[:-1], prompt.ids[-1:])]]
        rows = sorted(rows, key=_tokens)[: _PROMPTS * 4]
        self.engine.loglikelihoods([()], rows[:1])
        rate = _timed(lambda: self.engine.loglikelihoods([()], rows[:1]))[0] / _tokens(rows[0])
        affordable = _READING * self.seconds / rate
        while len(rows) > 1 and sum(map(_tokens, rows)) > affordable:
            rows.pop()
        seconds = [_timed(lambda: self.engine.loglikelihoods([()], rows))[0] for _ in range(2)]
        return min(seconds) / sum(map(_tokens, rows)), rows

    def _prompts(self, tasks: Sequence[Task], count: int) -> list[Prompt]:
        """The first prompts of each task, in turn, that leave room for an answer."""
        positions = self.evaluator.loaded.model.config.get_text_config().max_position_embeddings or math.inf
        columns = [
            [
                prompt
                for item in self.study.items[task.name][:count]
                if 1 < (prompt := self.evaluator.prompt(task, item)).tokens <= positions - _LONG * task.generates
            ]
            for task in tasks
        ]
        return [prompt for turn in zip_longest(*columns) for prompt in turn if prompt]

    def _answered(self, prompt_token: float) -> tuple[float, dict[str, float]]:
        """Seconds per generated token in a batch, and the mean length of answers by task."""
        if not self.generation:
            return prompt_token, {}
        names = {prompt.sample.id: task for task in self.generation for prompt in self._prompts([task], _PROMPTS * 4)}
        seconds = _ANSWERING * self.seconds
        step, lengths = math.inf, dict[str, float]()
        # Other work on the machine only adds to a duration: the shortest counts.
        for count in (_PROMPTS, _PROMPTS * 4, _PROMPTS * 4):
            prompts = self._affordable(self._prompts(self.generation, count), prompt_token, seconds / 8)
            began = time.perf_counter()
            each, lengths = self._answers(prompts, [names[prompt.sample.id] for prompt in prompts], prompt_token)
            step = min(step, each)
            seconds -= time.perf_counter() - began
            if seconds < 5 * (time.perf_counter() - began):
                break
        return step, lengths

    def _affordable(self, prompts: list[Prompt], prompt_token: float, seconds: float) -> list[Prompt]:
        """The shortest prompts that can be read in this time, at most a batch and at least one."""
        chosen = sorted(prompts, key=lambda prompt: len(prompt.ids))[: self.study.config.batch_size]
        while len(chosen) > 1 and prompt_token * sum(len(prompt.ids) for prompt in chosen) > seconds:
            chosen.pop()
        return chosen

    def _answers(
        self, asked: Sequence[Prompt], tasks: Sequence[Task], prompt_token: float
    ) -> tuple[float, dict[str, float]]:
        """The same, from short and long answers to these prompts: reading takes as long for both."""
        prompts, most = [prompt.ids for prompt in asked], [self.study.answer_limit(task) for task in tasks]
        short, (begun,) = _timed(lambda: self._generate([()], prompts, [min(_SHORT, limit) for limit in most]))
        # At first, a generated token is assumed to take twice as long as a token that is read.
        step = 2 * prompt_token * len(prompts)
        longest = max(2 * _SHORT, min(_LONG, int((_ANSWERING * self.seconds / 2 - short) / step)))
        spent, (answers,) = _timed(lambda: self._generate([()], prompts, [min(longest, limit) for limit in most]))
        tokens = sum(len(answer.tokens) for answer in answers) - sum(len(answer.tokens) for answer in begun)
        lengths: dict[str, list[float]] = {}
        for task, answer, limit in zip(tasks, answers, most, strict=True):
            lengths.setdefault(task.name, []).append(_length(answer, limit))
        if tokens < len(prompts) or spent <= short:
            per_token = spent / max(1, sum(len(answer.tokens) for answer in answers))
        else:
            per_token = (spent - short) / tokens
        return per_token, {name: fmean(values) for name, values in lengths.items()}

    def _generate(
        self, variants: Sequence[tuple[int, ...]], prompts: Sequence[list[int]], limits: Sequence[int]
    ) -> list[list[Response]]:
        return self.engine.generate(variants, prompts, limits, self.study.config.decoding)

    def _variants(self, count: int) -> list[tuple[int, ...]]:
        """Single layers at equal distances."""
        depth = self.study.depth
        count = min(count, depth)
        return [(place * depth // count,) for place in range(count)]

    def _shared_choice(self, rows: Sequence[Continuation], prompt_token: float) -> float:
        if not self.choice:
            return 1.0
        alone = prompt_token * sum(map(_tokens, rows))
        return self._shared(alone, lambda variants: self.engine.loglikelihoods(variants, rows))

    def _shared_generation(self, prompt_token: float, new_token: float) -> float:
        if not self.generation:
            return 1.0
        # As many prompts as `_VARIANTS` variants can answer in this part of the time.
        seconds = _SHARING * self.seconds / _VARIANTS / 2
        answers = new_token * 2 * _SHORT
        prompts = self._prompts(self.generation, _PROMPTS * 2)
        prompts = self._affordable(prompts, prompt_token, seconds / 2)[: max(1, int(seconds / 2 / answers))]
        ids, limits = [prompt.ids for prompt in prompts], [2 * _SHORT] * len(prompts)
        alone, _ = _timed(lambda: self._generate([()], ids, limits))
        return self._shared(alone, lambda variants: self._generate(variants, ids, limits))

    def _shared(self, alone: float, run: Callable[[Sequence[tuple[int, ...]]], object]) -> float:
        """Seconds of a variant's answers, evaluated together, divided by those of the unpruned model."""
        shared = 1.0
        for count in (_VARIANTS, self.study.depth):
            variants = self._variants(count)
            if alone * len(variants) * shared > _SHARING * self.seconds:
                break
            began = time.perf_counter()
            run(variants)
            shared = min(1.0, (time.perf_counter() - began) / alone / len(variants))
        return shared

    def _training_token(self, prompt_token: float) -> float:
        """Seconds per token of a forward and a backward pass with all weights; gradients are discarded."""
        tokens = _TRAINING_SHAPE[0] * _TRAINING_SHAPE[1]
        if time.perf_counter() + _TRAINING_PASSES * tokens * prompt_token > self.deadline:
            return _TRAINING_PASSES * prompt_token
        model = self.evaluator.loaded.model
        ids = torch.arange(_TRAINING_SHAPE[0] * _TRAINING_SHAPE[1]).view(_TRAINING_SHAPE) % 1000
        ids = (ids % model.config.get_text_config().vocab_size).to(model.device)
        needed = [parameter.requires_grad for parameter in model.parameters()]
        model.requires_grad_(True)
        try:
            with torch.enable_grad():
                spent, _ = _timed(lambda: _train(model, ids))
        finally:
            model.zero_grad(set_to_none=True)
            for parameter, before in zip(model.parameters(), needed, strict=True):
                parameter.requires_grad_(before)
        return spent / tokens


def _tokens(row: Continuation) -> int:
    return len(row[0]) + len(row[1])


def _length(answer: Response, limit: int) -> float:
    tokens = max(1, len(answer.tokens))
    return tokens if answer.finish == "stop" else tokens + _CUT_ENDS_AT * (limit - tokens)


def _train(model: Any, ids: torch.Tensor) -> None:
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()


def _timed(run: Callable[[], Result]) -> tuple[float, Result]:
    began = time.perf_counter()
    result = run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began, result
