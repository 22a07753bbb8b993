"""How layers are chosen on the command line: a method with what it may look at."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from layerlimits import methods
from layerlimits.commands import flags
from layerlimits.evaluation.calibration import Calibration, calibration
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.methods import Context
from layerlimits.models.remove import check_count, check_protected
from layerlimits.paths import given_path
from layerlimits.sampling import check_items
from layerlimits.tasks import choose
from layerlimits.types import Ranking


@dataclass(frozen=True)
class Choice:
    """What `rank` and `prune` are told of how to choose."""

    method: str
    layers: int | None
    protect: str | None
    tasks: str
    items: int
    calibration: str | None
    seed: int
    data_dir: Path | None = None

    @property
    def protected(self) -> tuple[int, ...] | None:
        """The protected layers; None leaves it to the method."""
        return None if self.protect is None else flags.layers(self.protect)

    def check(self, depth: int) -> None:
        """Refuse what the settings and the number of layers alone show to be impossible.

        Raises:
            UserError: too many items, a protected layer that does not exist, or more layers than may go.
        """
        check_items(self.items)
        for path, option in ((self.data_dir, "--data-dir"), (self.calibration, "--calibration")):
            if path:
                given_path(path, option)
        check_protected(self.protected or (), depth)
        if self.layers is not None:
            check_count(self.layers, depth, self.protected or ())

    def text(self, evaluator: Evaluator) -> Calibration:
        """The calibration text as the model reads it."""
        return calibration(evaluator.loaded.tokenizer, self.items, self.calibration)

    def ranking(self, method: str, evaluator: Evaluator, text: Calibration, tick: Callable[[float], None]) -> Ranking:
        """What a method says of the model's layers.

        Raises:
            UserError: an unknown method or option, or more layers than it finds.
        """
        context = Context(
            evaluator=evaluator,
            layers=self.layers,
            calibration=text,
            tasks=tuple(choose(flags.words(self.tasks))),
            items=self.items,
            protected=self.protected,
            seed=self.seed,
            data_dir=self.data_dir,
            tick=tick,
        )
        return methods.rank(method, context)
