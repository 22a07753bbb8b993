"""The inputs of a method: model, calibration text, selection items, and evaluation with layers removed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import Artifacts
from layerlimits.evaluation.calibration import Calibration
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.types import Response, Sample, Task, Verdict, content_hash

# Remaining shares below this are rounding errors.
_SHARE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Context:
    """The inputs of a method.

    Args:
        _evaluator: Evaluates the loaded model; methods use the members below instead.
        layers: Number of layers to remove; None if it is not fixed.
        calibration: Calibration text as token ids.
        tasks: Tasks whose selection items score candidates.
        items: Number of selection items per task.
        protected: Layers that are never removed; None uses the method's own default.
        seed: Seed of the run.
        data_dir: Folder with the tasks' benchmark files; None downloads them from the Hugging Face Hub.
        on_progress: Called with the fraction of the method's work just completed; see `progress`.
    """

    _evaluator: Evaluator
    layers: int | None
    calibration: Calibration
    tasks: tuple[Task, ...] = ()
    items: int = 32
    protected: tuple[int, ...] | None = None
    seed: int = 0
    data_dir: Path | None = None
    on_progress: Callable[[float], None] = field(default=lambda share: None)

    @property
    def model(self) -> PreTrainedModel:
        """The unpruned model. A method must leave its weights unchanged."""
        return self._evaluator.loaded.model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        return self._evaluator.loaded.tokenizer

    @property
    def depth(self) -> int:
        """The number of layers of the unpruned model."""
        return self._evaluator.loaded.depth

    @property
    def rounds(self) -> int:
        """The number of layers a greedy method removes: `layers`, or a quarter of the model if that is None."""
        return max(1, round(self.depth / 4)) if self.layers is None else self.layers

    def select_items(self, task: Task) -> list[Sample]:
        """The items of a task's select split. They choose layers and are never used for evaluation.

        Raises:
            UserError: The task has none.
        """
        samples = task.samples("select", self.items, self.data_dir)
        if not samples:
            raise UserError(f"{task.name} has no selection items", "choose other tasks (--tasks)")
        return samples

    def prompt_ids(self, task: Task, sample: Sample) -> tuple[int, ...]:
        """The token ids of the prompt; empty for choice items that bring their own contexts."""
        return tuple(self._evaluator.prompt(task, sample).ids)

    def draws(self, task: Task) -> int:
        """The number of responses sampled per item."""
        return self._evaluator.draws(task)

    def ask(
        self,
        variants: Sequence[Sequence[int]],
        asked: Sequence[tuple[Task, Sequence[Sample]]],
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        """Compute and store the responses that are still missing, for all tasks in one batch.

        Args:
            variants: The removed layers of each variant.
            asked: Tasks with their samples.
            on_progress: Called with the number of responses just computed, parts of responses included.
        """
        self._evaluator.ask(variants, asked, on_progress)

    def verdicts(
        self,
        variants: Sequence[Sequence[int]],
        task: Task,
        samples: Sequence[Sample],
        on_progress: Callable[[float], None] | None = None,
        draws: int | None = None,
    ) -> list[list[Verdict]]:
        """The verdicts of each variant, [variant][sample]. With several draws, all first draws precede all second ones.

        Args:
            variants, on_progress: As for `ask`.
            draws: Number of responses per item; `self.draws(task)` if None.
        """
        return self._evaluator.verdicts(variants, task, samples, on_progress, draws)

    def responses(self, removed: Sequence[int], task: Task, samples: Sequence[Sample]) -> list[Response]:
        """The stored responses of the model without the removed layers, in the order of `samples`; call `ask` first."""
        return self._evaluator.responses(removed, task, samples)

    def cached(self, name: str, compute: Callable[[], Any]) -> Any:
        """A JSON value computed from the model and the calibration text, cached in the run folder under its name.

        Methods that need the same value share it, and an interrupted run does not recompute it.
        """
        seen = [name, self._evaluator.loaded.ref.fingerprint, self.calibration.ids, self.calibration.starts]
        return Artifacts(self._evaluator.store).cached(content_hash(seen), compute)

    @contextmanager
    def progress(self, share: float = 1.0) -> Iterator[Callable[[float], None]]:
        """Report the progress of one part of the work, which makes up `share` of the whole.

        The context manager yields a function; call it with the fraction of this part just completed. The remainder,
        such as cached or skipped work, is reported when the block ends, so the fractions of all parts add up to 1.
        """
        done = 0.0

        def report(part: float) -> None:
            nonlocal done
            done += part
            self.on_progress(share * part)

        yield report
        if 1 - done > _SHARE_TOLERANCE:
            report(1 - done)
