"""Entry point inside the sandbox: drop privileges, then run as the program's or the test's process."""

import json
import os
import sys

from . import program, trial
from .seal import seal


def main() -> None:
    """Run the role given in the settings, the JSON of the first argument."""
    settings = json.loads(sys.argv[1])
    # Keep the channels separate from standard input and output.
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
    # Do not wait for leftover threads and exit handlers.
    os._exit(0)
