"""The public API is typed and documented throughout, and a typed client passes mypy --strict."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import layerlimits as ll

ROOT = Path(__file__).resolve().parents[1]
CLIENT = ROOT / "tests" / "typed_client.py"
FUNCTIONS = [name for name in ll.__all__ if inspect.isfunction(inspect.unwrap(getattr(ll, name)))]
# Their keyword arguments are the settings of a preset.
PRESETS = ("finetune_config", "recover_options", "study_config")
SETTINGS = (
    "Decoding",
    "DefaultTasks",
    "EvalOptions",
    "FinetuneConfig",
    "ModelOptions",
    "PruneOptions",
    "RankOptions",
    "RecoverOptions",
)
# Each is wrong in one argument or result.
WRONG = """
import layerlimits as ll

ll.load(3)
ll.evaluate("reference", options=ll.RankOptions())
ll.EvalOptions(limit="many")
ll.rank("reference", "reverse").nothing
ll.StudyConfig(limmit=3)
for layer in ll.plan(ll.StudyConfig()).seconds: ...
"""


def test_mypy_accepts_the_typed_client_and_refuses_a_wrong_one(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong_client.py"
    wrong.write_text(WRONG)
    # The repository's own settings, which are strict, and its cache, which `make check` has filled.
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", str(CLIENT), str(wrong)]
    checked = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    errors = [line for line in checked.stdout.splitlines() if ": error:" in line]
    lines = [int(match[1]) for line in errors if (match := re.match(r".*wrong_client\.py:(\d+)", line))]
    assert (lines, len(errors)) == ([4, 5, 6, 7, 8, 9], 6), checked.stdout + checked.stderr
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["strict"] is True


def used(tree: ast.Module) -> set[str]:
    """The attributes of `ll` that a program uses."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return {node.attr for node in nodes if isinstance(node.value, ast.Name) and node.value.id == "ll"}


def test_the_typed_client_uses_everything_public() -> None:
    assert used(ast.parse(CLIENT.read_text())) == set(ll.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_typed_and_described(name: str) -> None:
    function = inspect.unwrap(getattr(ll, name))
    signature = inspect.signature(function)
    annotations = [signature.return_annotation, *(parameter.annotation for parameter in signature.parameters.values())]
    assert inspect.Signature.empty not in annotations
    assert not any(annotation in (Any, "Any") for annotation in annotations if name not in PRESETS)
    text = inspect.getdoc(function) or ""
    assert "Example:" in text
    assert "Raises:" in text or name == "catalogue"
    described = text.partition("Args:")[2].partition("Raises:")[0]
    for parameter in signature.parameters:
        assert re.search(rf"\b{parameter}\b", described or text), parameter


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_described(name: str) -> None:
    text = inspect.getdoc(getattr(ll, name)) or ""
    for parameter in inspect.signature(getattr(ll, name)).parameters:
        assert re.search(rf"\b{parameter}\b", text), parameter


def test_every_command_has_its_function() -> None:
    names = {"study": "run_study", "report": "write_report", "methods": "catalogue", "figures": "write_figures"}
    names |= {"carry": "export_run", "record": "verify_run"}
    commands = {file.stem for file in (ROOT / "src" / "layerlimits" / "cli").glob("*.py")}
    for command in commands - {"__init__", "faults", "options", "parse", "printing", "reference"}:
        assert names.get(command, command) in FUNCTIONS


def test_no_function_is_hidden_by_a_folder_or_module_of_its_name() -> None:
    package = ROOT / "src" / "layerlimits"
    modules = {path.stem for folder in (package, package / "api") for path in folder.iterdir()}
    assert not modules & set(ll.__all__)


def test_the_marker_of_typed_packages_ships() -> None:
    assert (files("layerlimits") / "py.typed").is_file()
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    # Everything in the folder that git does not ignore.
    assert wheel == {"packages": ["src/layerlimits"]}
