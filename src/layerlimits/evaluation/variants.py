"""Several variants asked together, on several tasks at once: each batch is committed for all variants."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from layerlimits.evaluation.prompts import Prompt, batches
from layerlimits.evaluation.store import Key
from layerlimits.types import Drafts, ManyVariants, Response, Sample, Task

if TYPE_CHECKING:
    from layerlimits.evaluation.evaluator import Evaluator

Variant = tuple[int, ...]
Asked = Sequence[tuple[Task, Sequence[Sample]]]


@dataclass(frozen=True)
class _Batch:
    """Prompts of one task, what their answers may take, and which variants lack one; keys by variant and sample."""

    task: Task
    prompts: Sequence[Prompt]
    tokens: int
    lacking: tuple[int, ...]
    keys: Sequence[dict[str, Key]]


class Together:
    """Asks several variants of an evaluator's model.

    Args:
        evaluator: whose store and prompts are used.
        engine: its engine.
        variants: the layers each lacks, no two alike.
    """

    def __init__(self, evaluator: "Evaluator", engine: ManyVariants, variants: Sequence[Variant]) -> None:
        self.evaluator, self.engine, self.variants = evaluator, engine, variants
        self.refs = [evaluator.loaded.ref.without(variant) for variant in variants]

    def answer(self, asked: Asked, tick: Callable[[int], None] | None) -> None:
        """Ask what is not stored; `tick` is called with the number of responses newly there."""
        for group in self._groups([batch for task, samples in asked for batch in self._batches(task, samples)]):
            began = time.perf_counter()
            answers = self._ask(group)
            spent = time.perf_counter() - began
            for batch, responses, share in zip(group, answers, _shares(group, answers), strict=True):
                self._keep(batch, responses, spent * share)
                if tick:
                    tick(len(batch.prompts) * len(batch.lacking))

    def _batches(self, task: Task, samples: Sequence[Sample]) -> list[_Batch]:
        """The task's batches of which a variant lacks an answer."""
        evaluator = self.evaluator
        ids = [sample.id for sample in samples]
        keys = [dict(zip(ids, evaluator.keys(ref, task, samples), strict=True)) for ref in self.refs]
        prompts = [evaluator.prompt(task, sample) for sample in samples]
        found = []
        for tokens, batch in batches(prompts, evaluator.batch_size, evaluator.wanted(task), evaluator.positions):
            lacking = tuple(at for at in range(len(keys)) if self._unasked(keys[at], batch))
            found += [_Batch(task, batch, tokens, lacking, keys)] if lacking else []
        for at in sorted({at for batch in found for at in batch.lacking}):
            evaluator.register(self.refs[at], task, samples, prompts)
        return found

    def _unasked(self, keys: dict[str, Key], batch: Sequence[Prompt]) -> bool:
        return any(self.evaluator.store.response(keys[prompt.sample.id]) is None for prompt in batch)

    def _groups(self, found: Sequence[_Batch]) -> Iterator[list[_Batch]]:
        """Batches asked at once: generated ones of the same variants, as long as they are small."""
        group: list[_Batch] = []
        for batch in found:
            prompts = sum(len(one.prompts) for one in group) + len(batch.prompts)
            alike = bool(group) and batch.lacking == group[0].lacking and batch.task.kind == group[0].task.kind
            if group and not (alike and batch.task.kind == "generation" and prompts <= self.evaluator.batch_size):
                yield group
                group = []
            group.append(batch)
        if group:
            yield group

    def _ask(self, group: Sequence[_Batch]) -> list[list[list[Response]]]:
        """The responses to each batch, [batch][variant][prompt]."""
        variants = [self.variants[at] for at in group[0].lacking]
        prompts = [prompt for batch in group for prompt in batch.prompts]
        if group[0].task.kind == "choice":
            return [self._weighed(variants, prompts)]
        most = [batch.tokens for batch in group for _ in batch.prompts]
        drafts = self._drafts(variants, group)
        found = self.engine.generate_many(variants, [prompt.ids for prompt in prompts], most, drafts)
        starts = [sum(len(batch.prompts) for batch in group[:at]) for at in range(len(group) + 1)]
        return [[responses[start:end] for responses in found] for start, end in pairwise(starts)]

    def _weighed(self, variants: list[Variant], prompts: Sequence[Prompt]) -> list[list[Response]]:
        found = []
        for sums in self.engine.loglikelihoods_many(variants, [row for prompt in prompts for row in prompt.rows]):
            each = iter(sums)
            found.append([Response("", (), "likelihood", tuple(next(each) for _ in prompt.rows)) for prompt in prompts])
        return found

    def _drafts(self, variants: Sequence[Variant], group: Sequence[_Batch]) -> Drafts:
        """What the model without that which all variants lack answered, if it was asked before."""
        ref = self.evaluator.loaded.ref.without(tuple(sorted(set(variants[0]).intersection(*variants))))
        found = []
        for batch in group:
            keys = self.evaluator.keys(ref, batch.task, [prompt.sample for prompt in batch.prompts])
            found += [self.evaluator.store.response(key) for key in keys]
        return [response.tokens for response in found if response] if all(found) else None

    def _keep(self, batch: _Batch, answers: Sequence[Sequence[Response]], spent: float) -> None:
        asked = len(batch.prompts) * len(batch.lacking)
        written = sum(len(response.tokens) for responses in answers for response in responses)
        self.evaluator.computed += asked
        self.evaluator.store.add_time(batch.task.name, spent, asked, written)
        fresh = []
        for at, responses in zip(batch.lacking, answers, strict=True):
            fresh += self.evaluator.judged(batch.task, batch.prompts, batch.keys[at], responses)
        self.evaluator.store.add(fresh, batch.task.scorer)


def _shares(group: Sequence[_Batch], answers: Sequence[Sequence[Sequence[Response]]]) -> list[float]:
    """What part of a group's time each batch took, by the tokens read and written."""
    tokens = [
        sum(prompt.tokens for prompt in batch.prompts) * len(batch.lacking)
        + sum(len(response.tokens) for responses in mine for response in responses)
        for batch, mine in zip(group, answers, strict=True)
    ]
    return [count / max(1, sum(tokens)) for count in tokens]
