"""What a method may use: the model, calibration text, select items, and the model's answers without layers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from layerlimits.evaluation.artifacts import Artifacts
from layerlimits.evaluation.calibration import Calibration
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.types import Response, Sample, Task, Verdict, content_hash

# Rounding of shares is no work left.
_NOTHING_LEFT = 1e-9


@dataclass(frozen=True)
class Context:
    """What a method may look at.

    Args:
        _evaluator: asks the loaded model; methods use the members below.
        layers: how many layers are to be removed; None if that is open.
        calibration: calibration text as token ids.
        tasks: tasks whose select items score candidates, `items` of each.
        protected: layers never to remove; None leaves it to the method.
        data_dir: folder of the tasks' benchmark files; the hub if None.
        on_progress: called with the share of the method's work just done; see `progress`.
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
        """The unpruned model; a method leaves its weights as they are."""
        return self._evaluator.loaded.model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        return self._evaluator.loaded.tokenizer

    @property
    def depth(self) -> int:
        """Layers of the unpruned model."""
        return self._evaluator.loaded.depth

    @property
    def rounds(self) -> int:
        """How many layers a greedy method chooses: a quarter of them where that is left open."""
        return max(1, round(self.depth / 4)) if self.layers is None else self.layers

    def select_items(self, task: Task) -> list[Sample]:
        """The items of a task that may choose layers; they are never evaluated."""
        return task.samples("select", self.items, self.data_dir)

    def prompt_ids(self, task: Task, sample: Sample) -> tuple[int, ...]:
        """The token ids that the model is asked to continue; empty where a choice brings its own contexts."""
        return tuple(self._evaluator.prompt(task, sample).ids)

    def draws(self, task: Task) -> int:
        """How many responses each item gets."""
        return self._evaluator.draws(task)

    def ask(
        self,
        variants: Sequence[Sequence[int]],
        asked: Sequence[tuple[Task, Sequence[Sample]]],
        on_progress: Callable[[int], None] | None = None,
    ) -> None:
        """Compute and store what variants have not answered yet, all tasks together.

        Args:
            variants: the layers each lacks.
            asked: tasks with their samples.
            on_progress: called with the number of responses just computed.
        """
        self._evaluator.ask(variants, asked, on_progress)

    def verdicts(
        self,
        variants: Sequence[Sequence[int]],
        task: Task,
        samples: Sequence[Sample],
        on_progress: Callable[[int], None] | None = None,
        draws: int | None = None,
    ) -> list[list[Verdict]]:
        """The verdicts of each variant, [variant][sample]; of several draws all first ones, then all second ones.

        Args:
            variants, on_progress: as for `ask`.
            draws: responses of each item; `self.draws` if None.
        """
        return self._evaluator.verdicts(variants, task, samples, on_progress, draws)

    def responses(self, removed: Sequence[int], task: Task, samples: Sequence[Sample]) -> list[Response]:
        """The stored responses of the model without these layers, in the order of `samples`; `ask` first."""
        return self._evaluator.responses(removed, task, samples)

    def cached(self, name: str, compute: Callable[[], Any]) -> Any:
        """A JSON value computed from the model and the calibration text, stored in the run folder under its name.

        Methods that look at the same thing share it, and a killed run does not compute it again.
        """
        seen = [name, self._evaluator.loaded.ref.fingerprint, self.calibration.ids, self.calibration.starts]
        return Artifacts(self._evaluator.store).cached(content_hash(seen), compute)

    @contextmanager
    def progress(self, share: float = 1.0) -> Iterator[Callable[[float], None]]:
        """Progress of a part of the work, which is `share` of the whole.

        The block calls what it gets with the share of the part just done. What it does not report, since it was stored
        or left out, is reported at its end: the shares of all parts add up to 1.
        """
        done = 0.0

        def report(part: float) -> None:
            nonlocal done
            done += part
            self.on_progress(share * part)

        yield report
        if 1 - done > _NOTHING_LEFT:
            report(1 - done)
