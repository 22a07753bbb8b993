"""The command line interface. Commands import heavy packages when they run, so that `--help` is fast."""

import gc
import sys
from pathlib import Path

import typer

from layerlimits.cli import (
    carry,
    evaluate,
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
from layerlimits.errors import UserError
from layerlimits.resources import full, is_full
from layerlimits.stopping import Stopped, stoppable

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
    score.score,
    rank.rank,
    prune.prune,
    methods.methods,
    recover.recover,
    report.report,
    record.verify,
    record.merge,
):
    app.command()(command)
# `import` is no name for a function.
app.command("export")(carry.export_run)
app.command("import")(carry.import_run)
app.add_typer(reference.app, name="reference")


def main() -> None:
    """Run the command line interface. A `UserError` is printed without a traceback; the exit status is then 2.

    The status is 130 after Ctrl-C, and after SIGTERM 75 if the same command resumes.
    """
    # Importing torch and transformers creates millions of objects, none of them garbage. At the default thresholds,
    # garbage collection takes a sixth of the import time (LOG.md, "prune").
    gc.set_threshold(100_000, 50, 50)
    try:
        with stoppable():
            app()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        # Whatever library wrote the file.
        if not is_full(error):
            raise
        print(full(Path(getattr(error, "filename", None) or ".")), file=sys.stderr)
        sys.exit(2)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.status)
