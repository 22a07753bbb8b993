"""The last resort of the command line: every failure becomes one message and an exit status, never a traceback."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from layerlimits.errors import UserError
from layerlimits.foreign import reason
from layerlimits.resources import full, is_full
from layerlimits.stopping import Stopped

# Shows the traceback of a fault.
DEBUG = "LAYERLIMITS_DEBUG"
# Newer versions of typer have their own copy of click.
_ClickException: type[Exception] = typer.BadParameter.__mro__[2]
_PACKAGE = Path(__file__).resolve().parents[1]


@contextmanager
def reported() -> Iterator[None]:
    """Inside the block, a failure is printed on stderr as an error with its fix, and ends the process.

    The exit status is 2 for errors in the input, including those in the command line itself, and 1 for faults of
    layerlimits; with LAYERLIMITS_DEBUG set, the traceback of a fault follows its message. It is 130 after Ctrl-C, and
    after SIGTERM 75 if the same command resumes.

    Raises:
        SystemExit: The block raised an exception.
    """
    # A path that is not UTF-8 cannot be printed otherwise.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except _ClickException as error:
        print(_usage(error), file=sys.stderr)
        sys.exit(2)
    except typer.Abort:
        sys.exit(1)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.status)
    except Exception as error:
        if is_full(error):
            # Whatever library wrote the file.
            print(full(Path(getattr(error, "filename", None) or ".")), file=sys.stderr)
            sys.exit(2)
        print(_fault(error), file=sys.stderr)
        if os.environ.get(DEBUG):
            traceback.print_exception(error)
        sys.exit(1)


def _usage(error: Any) -> UserError | str:
    """The error for an option or argument that the command line rejects; without any argument, the help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(error.format_message())
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "layerlimits"
    return UserError(error.format_message().rstrip("."), f"see {command} --help")


def _fault(error: Exception) -> UserError:
    """The message for an exception that no part of layerlimits expected."""
    if isinstance(error, MemoryError):
        return UserError(
            "this machine's memory is not sufficient", "use a smaller batch (--batch-size), model or number of items"
        )
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)] or frames
    place = f" ({Path(inside[-1].filename).name}, line {inside[-1].lineno})" if inside else ""
    return UserError(
        f"layerlimits failed unexpectedly{place}: {type(error).__name__}: {reason(error)}",
        f"please report this with the traceback, which {DEBUG}=1 shows; stored results are kept",
    )
