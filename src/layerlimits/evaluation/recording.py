"""Responses are committed while the engine computes: finished ones, what was begun of the others, and the progress."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from layerlimits.engines import Likelihood, Recorder, Unfinished
from layerlimits.evaluation.batch import Batch
from layerlimits.evaluation.ledger import Ledger
from layerlimits.evaluation.lengths import AnswerLengths, part_done
from layerlimits.evaluation.prompts import Prompt
from layerlimits.evaluation.store import Key
from layerlimits.stopping import stop_point
from layerlimits.types import Response

# Called with the number of responses just completed; parts of a response count as fractions.
Progress = Callable[[float], None]

# Seconds between commits of finished responses, between savings of unfinished ones, and between reports of progress.
_COMMIT_S, _SAVE_S, _REPORT_S = 5.0, 20.0, 1.0
# Progress is reported in multiples of 1 / `_PARTS`: sums of these are exact.
_PARTS = 1 << 20


class _Cell(NamedTuple):
    """The response of a variant to a prompt of a batch."""

    batch: Batch
    prompt: Prompt
    key: Key


class ResponseRecorder(Recorder):
    """Records the responses of one call of the engine. Use it as a context manager around the call.

    On leaving the block, whatever is finished is committed, and on an error also what was begun.

    Args:
        ledger: commits responses and scores them.
        group: the batches of the call; their prompts follow each other, and they have the same variants.
        lengths: lengths of the answers to a task, by task and limit; the responses are added.
        on_progress: receives the progress.
        whole: the engine computes the whole batch again, even if a part of it is stored.
    """

    def __init__(
        self,
        ledger: Ledger,
        group: Sequence[Batch],
        lengths: Callable[[Batch], AnswerLengths],
        on_progress: Progress | None,
        *,
        whole: bool,
    ) -> None:
        self._ledger, self._lengths, self._on_progress = ledger, lengths, on_progress
        self._cells = [
            [_Cell(batch, *pair) for batch in group for pair in zip(batch.prompts, batch.keys[variant], strict=True)]
            for variant in group[0].variants
        ]
        keys = [cell.key for row in self._cells for cell in row]
        self._missing = {key for batch in group for key in keys if key in batch.missing}
        stored = [key for key in keys if key not in self._missing]
        # Responses that the engine need not compute, and tokens that it need only verify.
        self._known: dict[Key, Response] = {} if whole else ledger.store.responses(stored)
        self._begun: Mapping[Key, Sequence[int]] = {} if whole else ledger.store.begun(keys)
        self._done: set[Key] = set()
        self._uncommitted: list[tuple[_Cell, Response]] = []
        self._unfinished: Callable[[], Iterable[Unfinished]] = lambda: ()
        self._reported = 0.0
        self._committed_at = self._saved_at = self._reported_at = time.monotonic()

    def __enter__(self) -> "ResponseRecorder":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._commit()
        if kind is None:
            self._report(len(self._done))
        else:
            self._save()

    def stored(self, variant: int, place: int) -> Response | None:
        """See `Recorder.stored`."""
        return self._known.get(self._cells[variant][place].key)

    def begun(self, variant: int, place: int) -> Sequence[int]:
        """See `Recorder.begun`."""
        return self._begun.get(self._cells[variant][place].key, ())

    def finished(self, variant: int, place: int, answer: Response | Likelihood) -> None:
        """See `Recorder.finished`; a response that is stored already is ignored."""
        cell = self._cells[variant][place]
        if not isinstance(answer, Response) or cell.key not in self._missing or cell.key in self._done:
            return
        self._done.add(cell.key)
        self._known[cell.key] = answer
        self._uncommitted.append((cell, answer))
        if cell.batch.task.generates:
            self._lengths(cell.batch).add([(len(answer.tokens), answer.finish)])
        if time.monotonic() - self._committed_at >= _COMMIT_S:
            self._commit()

    def working(self, unfinished: Callable[[], Iterable[Unfinished]]) -> None:
        """See `Recorder.working`; commits, saves and reports what is due."""
        self._unfinished = unfinished
        now = time.monotonic()
        if now - self._committed_at >= _COMMIT_S:
            self._commit()
        if now - self._saved_at >= _SAVE_S:
            self._save()
        if self._on_progress and now - self._reported_at >= _REPORT_S:
            self._report(len(self._done) + self._parts())
        # On leaving the block, what is finished is committed, and what is begun is saved.
        stop_point()

    def _commit(self) -> None:
        """Commit the finished responses, one transaction per task."""
        by_task: dict[str, list[tuple[_Cell, Response]]] = {}
        for cell, response in self._uncommitted:
            by_task.setdefault(cell.batch.task.name, []).append((cell, response))
        self._uncommitted = []
        for group in by_task.values():
            answered = [(cell.key, cell.prompt.sample, response) for cell, response in group]
            self._ledger.add_computed(group[0][0].batch.task, answered)
        self._committed_at = time.monotonic()

    def _save(self) -> None:
        """Save the tokens of unfinished responses; more tokens of a resumed response that are not verified yet stay."""
        written = {
            cell.key: state.written
            for cell, state in self._open()
            if tuple(self._begun.get(cell.key, ())[: len(state.written)]) != tuple(state.written)
        }
        self._ledger.store.add_begun(written)
        self._saved_at = time.monotonic()

    def _open(self) -> Iterable[tuple[_Cell, Unfinished]]:
        """The unfinished responses that are missing, with their state."""
        for state in self._unfinished():
            cell = self._cells[state.variant][state.place]
            if cell.key in self._missing and cell.key not in self._done:
                yield cell, state

    def _parts(self) -> float:
        """What has been computed of unfinished responses, in responses."""
        by_lengths: dict[AnswerLengths | None, list[tuple[_Cell, Unfinished]]] = {}
        for cell, state in self._open():
            lengths = self._lengths(cell.batch) if cell.batch.task.generates else None
            by_lengths.setdefault(lengths, []).append((cell, state))
        total = 0.0
        for lengths, group in by_lengths.items():
            expected = lengths.expected([state.tokens for _, state in group]) if lengths else [0.0] * len(group)
            for (cell, state), final in zip(group, expected, strict=True):
                begun = len(self._begun.get(cell.key, ()))
                total += part_done(cell.prompt.tokens, state.read_frac, state.tokens, final, begun)
        return total

    def _report(self, done: float) -> None:
        """Report progress up to `done` responses; an estimate that has become smaller waits."""
        self._reported_at = time.monotonic()
        done = min(int(done * _PARTS) / _PARTS, len(self._missing))
        if self._on_progress and done > self._reported:
            new, self._reported = done - self._reported, done
            self._on_progress(new)


class ChoiceRecorder(Recorder):
    """Makes one response per item of the log-likelihoods of its choices.

    Args:
        responses: records the responses.
        prompts: the items, whose rows follow each other.
    """

    def __init__(self, responses: ResponseRecorder, prompts: Sequence[Prompt]) -> None:
        self._responses = responses
        self._item_of = [(place, choice) for place, prompt in enumerate(prompts) for choice in range(len(prompt.rows))]
        self._choices = [len(prompt.rows) for prompt in prompts]
        self._sums: dict[tuple[int, int], dict[int, float]] = {}

    def finished(self, variant: int, place: int, answer: Response | Likelihood) -> None:
        """See `Recorder.finished`; `place` is the index of a row."""
        item, choice = self._item_of[place]
        sums = self._sums.setdefault((variant, item), {})
        assert not isinstance(answer, Response)
        sums[choice] = answer[0]
        if len(sums) == self._choices[item]:
            logprobs = tuple(sums[number] for number in range(len(sums)))
            self._responses.finished(variant, item, Response("", (), "likelihood", logprobs))

    def working(self, unfinished: Callable[[], Iterable[Unfinished]]) -> None:
        """See `Recorder.working`; what is unfinished follows from the rows."""
        self._responses.working(self._unfinished)

    def _unfinished(self) -> Iterable[Unfinished]:
        for (variant, item), sums in self._sums.items():
            if len(sums) < self._choices[item]:
                yield Unfinished(variant, item, 0, read_frac=len(sums) / self._choices[item])
