"""The `advise` command: the deepest cut that keeps what is required, by method."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from layerlimits.cli.options import Json, Require
from layerlimits.cli.printing import say, show_json

if TYPE_CHECKING:
    from layerlimits.results.gate import AdviseResults


def advise(
    run: Annotated[Path, typer.Argument(help="Run folder of a finished study.", show_default=False)],
    require: Require = None,
    as_json: Json = False,
) -> None:
    """Name the deepest cut that keeps what is required, by method, or say that none does or that n is too small."""
    from layerlimits import api

    results = api.advise(run, tuple(require or ()))
    show_json(results) if as_json else _show(results)


def _show(results: "AdviseResults") -> None:
    """Print a line per method, and the verdict."""
    for advice in results.methods:
        say(f"{advice.method}: {advice.verdict}: {advice.sentence}")
    for sentence in results.sentences:
        say(sentence)
