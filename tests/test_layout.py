"""The layout the design promises: dependencies point one way, files stay short, the command line starts at once."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "layerlimits"
FILES = sorted(SOURCE.rglob("*.py"))

# Each part may import itself and what is named here; nothing above it.
BASIS = {"types", "errors", "plugins", "stats", "progress", "paths", "jsonl", "layerlimits"}
MAY_IMPORT = {
    "world": {"world"},
    "scoring": BASIS,
    "models": BASIS | {"reference"},
    "engines": BASIS | {"harness", "models"},
    "tasks": BASIS | {"scoring", "world", "harness"},
    "harness": BASIS,
    "prompts": BASIS | {"harness"},
    "together": BASIS | {"evaluate", "prompts", "store"},
    "diagnostics": BASIS,
    "methods": BASIS | {"models", "tasks", "evaluate", "calibration"},
    "replacements": BASIS | {"models", "calibration"},
    "recovery": BASIS | {"models", "tasks", "evaluate", "prompts", "store"},
    "report": BASIS | {"findings", "answer", "store"},
    "reference": BASIS | {"world"},
    "store": BASIS,
    "stats": {"types"},
    "types": set(),
    "errors": set(),
    "jsonl": {"errors"},
}


def _part(name: str) -> str:
    """The part of the package a dotted name belongs to: "layerlimits.world.stories" to "world"."""
    words = name.split(".")
    return words[1] if len(words) > 1 else words[0]


def _imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names]
                if node.module == "layerlimits"
                else [node.module]
            )
            found |= set(names)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == "layerlimits"}


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_dependencies_point_one_way(part: str) -> None:
    files = [file for file in FILES if file.relative_to(SOURCE).parts[0] in (part, f"{part}.py")]
    assert files
    # "__version__" and the like come from the package itself.
    used = {_part(name) for file in files for name in _imports(file)}
    beyond = {name for name in used if not name.startswith("__")} - MAY_IMPORT[part] - {part}
    assert not beyond, f"{part} imports {', '.join(sorted(beyond))}"


CLI = ("choosing", "measuring", "options", "reference", "studying")


def test_only_the_command_line_knows_typer() -> None:
    using = {file.relative_to(SOURCE).as_posix() for file in FILES if "typer" in file.read_text()}
    assert using == {"cli/__init__.py", *(f"cli/{name}.py" for name in CLI)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(SOURCE).as_posix())
def test_files_are_short_and_say_what_they_are(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= 300
    assert ast.get_docstring(ast.parse(text))
    assert file.stem not in {"utils", "util", "helpers", "common", "misc"}


def test_no_file_names_a_registry() -> None:
    hosts = ("pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "download.pytorch" + ".org")
    listed = subprocess.run(["git", "ls-files"], check=False, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("needs git, which lists the committed files: this is no checkout")
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and not name.endswith((".safetensors", ".png", ".html")):
            assert not any(host in (ROOT / name).read_text(errors="replace") for host in hosts), name


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['layerlimits', '--help']\n"
        "from layerlimits.cli import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'scipy', 'plotly', 'datasets', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    times = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    # 0.13 s on an idle machine; tests run beside each other.
    assert min(times) < 1.0
