"""Batches of prompts for all variants with missing responses; each batch is committed in one transaction."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from layerlimits.engines import Engine
from layerlimits.evaluation.ledger import Ledger
from layerlimits.evaluation.prompts import Prompt, batches
from layerlimits.evaluation.store import Key
from layerlimits.types import GREEDY, Drafts, Response, Sample, Task, Variant, content_hash

Asked = Sequence[tuple[Task, Sequence[Sample]]]
Progress = Callable[[int], None]


@dataclass(frozen=True)
class _Batch:
    """Prompts of one task and draw, and the variants with missing responses to them.

    `keys` has one key per prompt for each of these variants; keys in `missing` are not stored yet. A batch is computed
    as a whole even if part of it is stored, because rounding depends on the batch.
    """

    task: Task
    draw: int
    prompts: Sequence[Prompt]
    max_new_tokens: int
    keys: Mapping[Variant, Sequence[Key]]
    missing: Mapping[Key, Sample]

    @property
    def variants(self) -> list[Variant]:
        """The variants with missing responses."""
        return list(self.keys)

    @property
    def responses(self) -> int:
        """Number of responses to compute."""
        return len(self.prompts) * len(self.keys)


class VariantBatcher:
    """Computes the responses that are missing in the store.

    Args:
        ledger: determines which responses are missing, and stores the computed ones.
        engine: computes responses.
    """

    def __init__(self, ledger: Ledger, engine: Engine) -> None:
        self.ledger, self.engine = ledger, engine

    def ask(
        self,
        variants: Sequence[Sequence[int]],
        asked: Asked,
        on_progress: Progress | None = None,
        draws: int | None = None,
    ) -> None:
        """Compute and commit missing responses, and score stored ones again whose verdict is of an older scorer.

        Args:
            variants: the removed layers of each.
            asked: tasks with their samples.
            on_progress: called with the number of responses just committed.
            draws: responses per sample; as in the options if None.
        Raises:
            UserError: removing a variant's layers changes no logit, or a program cannot be run safely on this machine.
        """
        distinct = list(dict.fromkeys(tuple(sorted(variant)) for variant in variants))
        incomplete = [batch for task, samples in asked for batch in self._batches(distinct, task, samples, draws)]
        for group in self._groups(incomplete):
            for batch, responses in zip(group, self._compute(group), strict=True):
                self._commit(batch, responses)
                if on_progress:
                    on_progress(batch.responses)

    def _batches(
        self, variants: Sequence[Variant], task: Task, samples: Sequence[Sample], draws: int | None
    ) -> Iterator[_Batch]:
        """The batches of a task with missing responses. Also scores again, and rejects prompts that do not fit."""
        ledger = self.ledger
        ledger.record(task, samples)
        every_draw = range(ledger.draws(task) if draws is None else draws)
        keys = {
            (variant, draw): ledger.keys(variant, task, samples, draw) for variant in variants for draw in every_draw
        }
        sample_of = {key: sample for column in keys.values() for key, sample in zip(column, samples, strict=True)}
        missing = ledger.missing(task, sample_of)
        if not missing:
            return
        models = {key.model for key in missing}
        ledger.register([variant for variant in variants if keys[variant, 0][0].model in models])
        ledger.refuse(task, missing)
        prompts = [ledger.prompt(task, sample) for sample in samples]
        formed = list(batches(prompts, ledger.options.batch_size, ledger.limit(task), ledger.positions))
        for draw in every_draw:
            columns = {variant: {key.sample: key for key in keys[variant, draw]} for variant in variants}
            for max_new_tokens, batch in formed:
                own = {variant: [column[prompt.sample.id] for prompt in batch] for variant, column in columns.items()}
                incomplete = {variant: row for variant, row in own.items() if any(key in missing for key in row)}
                if incomplete:
                    yield _Batch(task, draw, batch, max_new_tokens, incomplete, missing)

    def _groups(self, incomplete: Sequence[_Batch]) -> Iterator[list[_Batch]]:
        """Batches to compute together: small ones of the same variants, if answers do not depend on the batch."""
        group: list[_Batch] = []
        for batch in incomplete:
            prompts = sum(len(member.prompts) for member in group) + len(batch.prompts)
            joins = bool(group) and self._joins(group[0], batch) and prompts <= self.ledger.options.batch_size
            if group and not joins:
                yield group
                group = []
            group.append(batch)
        if group:
            yield group

    def _joins(self, batch: _Batch, other: _Batch) -> bool:
        greedy = not self.ledger.options.decoding.temperature
        generated = batch.task.kind == other.task.kind == "generation"
        return self.engine.joins_batches and greedy and generated and batch.variants == other.variants

    def _compute(self, group: Sequence[_Batch]) -> list[list[list[Response]]]:
        """The responses of each batch, [batch][variant][prompt]."""
        first, variants = group[0], group[0].variants
        prompts = [prompt for batch in group for prompt in batch.prompts]
        if first.task.kind == "choice":
            return [self._weigh(variants, prompts)]
        ids = [prompt.ids for prompt in prompts]
        decoding = self.ledger.decoding(first.task)
        if decoding.temperature:
            # The seed depends on the batch and the draw, not on the model.
            seeded_by = [decoding.seed, first.draw, [prompt.hash for prompt in prompts]]
            seed = int(content_hash(seeded_by, 15), 16)
            return [self.engine.generate(variants, ids, first.max_new_tokens, decoding, seed)]
        limits = [batch.max_new_tokens for batch in group for _ in batch.prompts]
        responses = self.engine.generate(variants, ids, limits, GREEDY, drafts=self._drafts(variants, group))
        starts = [sum(len(batch.prompts) for batch in group[:place]) for place in range(len(group) + 1)]
        return [[column[start:end] for column in responses] for start, end in pairwise(starts)]

    def _weigh(self, variants: Sequence[Variant], prompts: Sequence[Prompt]) -> list[list[Response]]:
        """One log-probability per choice of each prompt."""
        responses = []
        for column in self.engine.loglikelihoods(variants, [row for prompt in prompts for row in prompt.rows]):
            sums = iter(column)
            responses.append(
                [Response("", (), "likelihood", tuple(next(sums)[0] for _ in prompt.rows)) for prompt in prompts]
            )
        return responses

    def _drafts(self, variants: Sequence[Variant], group: Sequence[_Batch]) -> Drafts:
        """The stored answers of the model without the layers removed in all variants; None if one is missing."""
        common = tuple(sorted(set(variants[0]).intersection(*variants)))
        keys = [
            key
            for batch in group
            for key in self.ledger.keys(common, batch.task, [prompt.sample for prompt in batch.prompts])
        ]
        stored = self.ledger.store.responses(keys)
        return [stored[key].tokens for key in keys] if all(key in stored for key in keys) else None

    def _commit(self, batch: _Batch, responses: Sequence[Sequence[Response]]) -> None:
        samples = [prompt.sample for prompt in batch.prompts]
        answered = [
            triple
            for keys, column in zip(batch.keys.values(), responses, strict=True)
            for triple in zip(keys, samples, column, strict=True)
        ]
        self.ledger.add_computed(batch.task, answered, batch.missing.keys())
