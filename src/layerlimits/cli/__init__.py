"""The command line interface. Commands import heavy packages when they run, so that `--help` is fast."""

import gc
import sys
from typing import Annotated

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
from layerlimits.version import __version__

app = typer.Typer(
    help="Measure how many layers a language model can lose before it stops reasoning, what is lost, and what "
    "finetuning recovers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    # Of every command.
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"layerlimits {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


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
        sys.exit(app(prog_name="layerlimits", standalone_mode=False) or 0)
