"""The command line. Heavy imports happen inside the commands, so that `--help` answers at once."""

import gc
import sys

import typer

from layerlimits.cli import evaluate, methods, prune, rank, recover, reference, report, score, study, sweep
from layerlimits.errors import UserError

app = typer.Typer(
    help="How many layers can a language model lose before it stops reasoning, what is lost, and does it come back?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    study.study,
    sweep.sweep,
    evaluate.evaluate,
    score.score,
    rank.rank,
    prune.prune,
    methods.methods,
    recover.recover,
    report.report,
):
    app.command()(command)
app.add_typer(reference.app, name="reference")


def main() -> None:
    """Run the command line; a user's mistake ends in one clear error and exit status 2."""
    # Importing torch and transformers makes millions of objects, none of them garbage: looking through them as often as
    # by default takes a sixth of the import (LOG.md, "prune").
    gc.set_threshold(100_000, 50, 50)
    try:
        app()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
