"""The command line as a whole: version and help of every command."""

import subprocess
import sys

import pytest

from layerlimits.cli import app
from layerlimits.version import __version__

COMMANDS = sorted(command.name or command.callback.__name__ for command in app.registered_commands if command.callback)


def printed(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "layerlimits", *words], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_the_version() -> None:
    assert printed("--version") == f"layerlimits {__version__}\n"


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=["all", *COMMANDS])
def test_help_is_short_and_long(command: tuple[str, ...]) -> None:
    shown = printed(*command, "-h")
    assert shown == printed(*command, "--help")
    assert shown.startswith(f"Usage: layerlimits {' '.join((*command, '[OPTIONS]'))}")
    assert all(len(line) <= 80 for line in shown.splitlines())
