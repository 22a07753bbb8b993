"""Which model a command opens, and how."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerlimits.evaluation.store import Store
from layerlimits.sampling import check_seed

if TYPE_CHECKING:
    from layerlimits.evaluation.evaluator import Evaluator


@dataclass(frozen=True)
class Opened:
    """Which model to open and how; `out` keeps the answers, else they are thrown away at the end.

    Greedy answers do not depend on `seed`; it is set for whatever a method or task of your own draws. `max_rows` bounds
    the answers under way where the engine asks variants together.

    Raises:
        UserError: a seed outside its range.
    """

    model: str
    revision: str | None
    dtype: str
    device: str
    out: Path | None
    batch_size: int
    seed: int = 0
    max_rows: int | None = None

    def __post_init__(self) -> None:
        check_seed(self.seed)

    @contextmanager
    def evaluator(self, engine: str = "sweep", **asked: Any) -> Iterator["Evaluator"]:
        """The loaded model over its store; `asked` is how it is asked, see `AskOptions`."""
        # Reading options and copying files must not wait for what only a loaded model needs.
        from transformers import set_seed

        from layerlimits.evaluation.evaluator import Evaluator
        from layerlimits.evaluation.options import AskOptions
        from layerlimits.models.load import load
        from layerlimits.study.session import check_run_folder, claim

        with tempfile.TemporaryDirectory() as thrown_away:
            folder = self.out or Path(thrown_away)
            check_run_folder(folder)
            set_seed(self.seed)
            loaded = load(self.model, revision=self.revision, dtype=self.dtype, device=self.device)
            with Store(folder) as store:
                claim(store, loaded, self.batch_size)
                options = AskOptions(engine, self.batch_size, max_rows=self.max_rows, **asked)
                yield Evaluator(loaded, store, options)
