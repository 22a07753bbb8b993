"""Batches of prompts for all variants with missing responses, and how the engine is asked for them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from layerlimits.engines import Engine, Likelihood, Recorder
from layerlimits.evaluation.batch import Batch
from layerlimits.evaluation.ledger import Ledger
from layerlimits.evaluation.lengths import AnswerLengths
from layerlimits.evaluation.prompts import batches
from layerlimits.evaluation.recording import ChoiceRecorder, Progress, ResponseRecorder
from layerlimits.stopping import deferred
from layerlimits.types import GREEDY, Drafts, Response, Sample, Task, Variant, content_hash

Asked = Sequence[tuple[Task, Sequence[Sample]]]


class VariantBatcher:
    """Computes the responses that are missing in the store.

    Args:
        ledger: determines which responses are missing, and stores the computed ones.
        engine: computes responses.
    """

    def __init__(self, ledger: Ledger, engine: Engine) -> None:
        self.ledger, self.engine = ledger, engine
        self._lengths: dict[tuple[str, int, int], AnswerLengths] = {}

    def ask(
        self,
        variants: Sequence[Sequence[int]],
        asked: Asked,
        on_progress: Progress | None = None,
        draws: int | None = None,
    ) -> None:
        """Compute and commit missing responses, and score stored ones again whose verdict is of an older scorer.

        Responses are committed every few seconds while the engine computes. If this is interrupted, the next call
        computes only what is missing, and reads what had been written of an unfinished greedy response instead of
        writing it again.

        Args:
            variants: the removed layers of each.
            asked: tasks with their samples.
            on_progress: called with the number of responses just computed; parts of a response count as fractions, and
                the sum is exact.
            draws: responses per sample; as in the options if None.
        Raises:
            UserError: removing a variant's layers changes no logit, or a program cannot be run safely on this machine.
        """
        distinct = list(dict.fromkeys(tuple(sorted(variant)) for variant in variants))
        incomplete = [batch for task, samples in asked for batch in self._batches(distinct, task, samples, draws)]
        for group in self._groups(incomplete):
            whole = self._computed_whole(group[0].task)
            with (
                deferred(),
                ResponseRecorder(self.ledger, group, self._lengths_of, on_progress, whole=whole) as recorder,
            ):
                self._compute(group, recorder)

    def _computed_whole(self, task: Task) -> bool:
        """Whether a batch is computed as a whole even if a part of it is stored: sampled answers, and all answers of
        some engines, depend on their batch.
        """
        return self.ledger.decoding(task).temperature > 0 or not self.engine.joins_batches

    def _batches(
        self, variants: Sequence[Variant], task: Task, samples: Sequence[Sample], draws: int | None
    ) -> Iterator[Batch]:
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
        # An item that occurs twice is asked once.
        prompts = [ledger.prompt(task, sample) for sample in {sample.id: sample for sample in samples}.values()]
        formed = list(batches(prompts, ledger.options.batch_size, ledger.limit(task), ledger.positions))
        for draw in every_draw:
            columns = {variant: {key.sample: key for key in keys[variant, draw]} for variant in variants}
            for max_new_tokens, batch in formed:
                own = {variant: [column[prompt.sample.id] for prompt in batch] for variant, column in columns.items()}
                yield from self._incomplete(Batch(task, draw, batch, max_new_tokens, own, missing))

    def _incomplete(self, batch: Batch) -> Iterator[Batch]:
        """What is missing of a batch: the variants and, unless it is computed as a whole, the prompts that lack
        responses. The items of a choice task are divided by the variants that lack them.
        """
        lacking = [
            tuple(variant for variant in batch.variants if batch.keys[variant][place] in batch.missing)
            for place in range(len(batch.prompts))
        ]
        any_lacks = tuple(variant for variant in batch.variants if any(variant in group for group in lacking))
        if not any_lacks:
            return
        parts: dict[tuple[Variant, ...], list[int]]
        if self._computed_whole(batch.task):
            parts = {any_lacks: list(range(len(batch.prompts)))}
        elif batch.task.generates:
            parts = {any_lacks: [place for place, group in enumerate(lacking) if group]}
        else:
            parts = {
                group: [place for place in range(len(lacking)) if lacking[place] == group]
                for group in dict.fromkeys(lacking)
                if group
            }
        for variants, places in parts.items():
            keys = {variant: [batch.keys[variant][place] for place in places] for variant in variants}
            yield replace(batch, prompts=[batch.prompts[place] for place in places], keys=keys)

    def _groups(self, incomplete: Sequence[Batch]) -> Iterator[list[Batch]]:
        """Batches to compute together: small ones of the same variants, if answers do not depend on the batch."""
        group: list[Batch] = []
        for batch in incomplete:
            prompts = sum(len(member.prompts) for member in group) + len(batch.prompts)
            joins = bool(group) and self._joins(group[0], batch) and prompts <= self.ledger.options.batch_size
            if group and not joins:
                yield group
                group = []
            group.append(batch)
        if group:
            yield group

    def _joins(self, batch: Batch, other: Batch) -> bool:
        generated = batch.task.generates and other.task.generates
        return generated and not self._computed_whole(batch.task) and batch.variants == other.variants

    def _compute(self, group: Sequence[Batch], recorder: ResponseRecorder) -> None:
        """Ask the engine for the responses of a group; they reach the store through the recorder."""
        first, variants = group[0], group[0].variants
        prompts = [prompt for batch in group for prompt in batch.prompts]
        if not first.task.generates:
            rows = [row for prompt in prompts for row in prompt.rows]
            choices = ChoiceRecorder(recorder, prompts)
            _record_all(choices, self.engine.loglikelihoods(variants, rows, choices))
            return
        ids = [prompt.ids for prompt in prompts]
        decoding = self.ledger.decoding(first.task)
        if decoding.temperature:
            # The seed depends on the batch and the draw, not on the model.
            seeded_by = [decoding.seed, first.draw, [prompt.hash for prompt in prompts]]
            seed = int(content_hash(seeded_by, 15), 16)
            _record_all(
                recorder,
                self.engine.generate(variants, ids, first.max_new_tokens, decoding, seed, recorder=recorder),
            )
            return
        limits = [batch.max_new_tokens for batch in group for _ in batch.prompts]
        drafts = self._drafts(variants, group)
        _record_all(recorder, self.engine.generate(variants, ids, limits, GREEDY, drafts=drafts, recorder=recorder))

    def _drafts(self, variants: Sequence[Variant], group: Sequence[Batch]) -> Drafts:
        """The stored answers of the model without the layers removed in all variants; None if one is missing."""
        common = tuple(sorted(set(variants[0]).intersection(*variants)))
        keys = [
            key
            for batch in group
            for key in self.ledger.keys(common, batch.task, [prompt.sample for prompt in batch.prompts])
        ]
        stored = self.ledger.store.responses(keys)
        return [stored[key].tokens for key in keys] if all(key in stored for key in keys) else None

    def _lengths_of(self, batch: Batch) -> AnswerLengths:
        """The lengths of the answers to a batch's task; those in the store are known at first."""
        task, limit = batch.task, batch.max_new_tokens
        key = (task.name, task.version, limit)
        if key not in self._lengths:
            self._lengths[key] = AnswerLengths(limit)
            self._lengths[key].add(self.ledger.store.lengths(task))
        return self._lengths[key]


def _record_all(recorder: Recorder, columns: Sequence[Sequence[Response | Likelihood]]) -> None:
    """Record the answers that an engine returns, for engines that report nothing while they compute."""
    for variant, column in enumerate(columns):
        for place, answer in enumerate(column):
            recorder.finished(variant, place, answer)
