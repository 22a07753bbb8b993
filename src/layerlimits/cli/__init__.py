"""The command line interface. Commands import heavy packages when they run, so that `--help` is fast."""

import gc
import sys

import typer

from layerlimits.cli import (
    advise,
    carry,
    compare,
    diagnose,
    evaluate,
    figures,
    gate,
    methods,
    prune,
    rank,
    record,
    recover,
    reference,
    report,
    score,
    study,
    sweep,
)
from layerlimits.cli.faults import reported
from layerlimits.stopping import stoppable

app = typer.Typer(
    help="Measure how many layers a language model can lose before it stops reasoning, what is lost, and what "
    "finetuning recovers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    study.study,
    sweep.sweep,
    evaluate.evaluate,
    compare.compare,
    score.score,
    rank.rank,
    prune.prune,
    methods.methods,
    recover.recover,
    report.report,
    figures.figures,
    gate.gate,
    advise.advise,
    diagnose.diagnose,
    record.verify,
    record.merge,
):
    app.command()(command)
# `import` is no name for a function.
app.command("export")(carry.export_run)
app.command("import")(carry.import_run)
app.add_typer(reference.app, name="reference")


def main() -> None:
    """Run the command line interface; see `faults.reported` for errors and their exit status."""
    # Importing torch and transformers creates millions of objects, none of them garbage. At the default thresholds,
    # garbage collection takes a sixth of the import time (LOG.md, "prune").
    gc.set_threshold(100_000, 50, 50)
    with reported(), stoppable():
        sys.exit(app(standalone_mode=False) or 0)
