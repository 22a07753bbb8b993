"""The first thing that runs inside: seal, then be the program's process or the test's."""

import json
import os
import sys

from . import program, trial
from .seal import seal


def main() -> None:
    """Arguments: settings as JSON."""
    settings = json.loads(sys.argv[1])
    # Nothing that is printed, or read from the standard input, reaches the channels.
    given, answers = os.dup(0), os.dup(1)
    nowhere = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    sys.path[:] = [*sys.path[1:], settings["packages"]]
    seal(settings)
    if settings["role"] == "program":
        program.serve(given, answers)
    else:
        trial.judge(given, answers, *settings["channels"])
    # Threads and exit handlers that were left are not waited for.
    os._exit(0)
