"""The layout the design promises: dependencies point one way, files stay short, the command line starts at once."""

import ast
import resource
import subprocess
import sys
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "layerlimits"
FILES = sorted(SOURCE.rglob("*.py"))

# Every part of the package (a folder, or a file at its root), from the top down. A part may import what stands on a
# lower level, and on its own level where that forms no circle.
LEVELS: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("cli",),
    ("api",),
    ("study",),
    ("recovery", "methods", "results", "report"),
    ("evaluation", "replacements", "diagnostics"),
    ("engines", "tasks"),
    ("models", "scoring", "statistics", "reference", "lm_eval_bridge", "analysis"),
    ("types", "plugins", "paths", "progress", "jsonl", "hub", "chat", "resources"),
    ("sampling", "chat_options", "foreign", "stopping"),
    ("errors", "version", "optional"),
)
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts}


def part_of(file: Path) -> str:
    """The part a file belongs to."""
    first = file.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def module_of(file: Path) -> str:
    """The dotted name of a file's module."""
    parts = ("layerlimits", *file.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in FILES}


def imported_modules(file: Path) -> set[str]:
    """Modules of the package that a file imports anywhere: inside functions and under TYPE_CHECKING, too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            # Relative imports are those of programs that run inside the sandbox, where there is no package.
            base = ".".join(["layerlimits", *file.relative_to(SOURCE).parts][: -node.level]) if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            names |= {f"{source}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    ours = {name for name in names if name.split(".")[0] == "layerlimits"}
    # "layerlimits.types.Sample" is an object of the module "layerlimits.types".
    return {name if name in MODULES else name.rpartition(".")[0] for name in ours}


IMPORTS: Mapping[str, set[str]] = {name: imported_modules(file) - {name} for name, file in MODULES.items()}


def test_every_part_has_its_level() -> None:
    parts = {part_of(file) for file in FILES} - {"__init__"}
    assert parts == set(LEVEL)


@pytest.mark.parametrize("name", [name for name in MODULES if name != "layerlimits"])
def test_imports_never_point_up(name: str) -> None:
    level = LEVEL[part_of(MODULES[name])]
    unknown = IMPORTS[name] - set(MODULES)
    assert not unknown, f"{name} imports {', '.join(sorted(unknown))}, which no file defines"
    # The package's root exports everything lazily, so what imports it can depend on anything.
    above = {used for used in IMPORTS[name] if used == "layerlimits" or LEVEL[part_of(MODULES[used])] < level}
    assert not above, f"{name} imports {', '.join(sorted(above))}, above its own level"


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """A circle of a graph, empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: used for name, used in IMPORTS.items() if name != "layerlimits"}
    assert not circle(graph)


def test_no_parts_import_each_other_in_a_circle() -> None:
    parts: dict[str, set[str]] = {}
    for name, used in IMPORTS.items():
        if name != "layerlimits":
            mine = part_of(MODULES[name])
            parts.setdefault(mine, set()).update({part_of(MODULES[module]) for module in used} - {mine})
    assert not circle(parts)


def test_a_circle_is_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not circle({"a": {"b", "c"}, "b": {"c"}, "c": set()})


COMMANDS = (
    "advise",
    "carry",
    "compare",
    "diagnose",
    "evaluate",
    "figures",
    "gate",
    "methods",
    "prune",
    "rank",
    "record",
    "recover",
    "reference",
    "report",
    "score",
    "study",
    "sweep",
)


def test_only_the_command_line_knows_typer() -> None:
    using = {file.relative_to(SOURCE).as_posix() for file in FILES if "typer" in file.read_text()}
    assert {name.partition("/")[0] for name in using} == {"cli"}


def test_every_command_has_its_file() -> None:
    helpers = {"__init__", "options", "faults", "parse", "printing"}
    assert {file.stem for file in (SOURCE / "cli").glob("*.py")} == {*COMMANDS, *helpers}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(SOURCE).as_posix())
def test_files_are_short_and_say_what_they_are(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= 300
    assert ast.get_docstring(ast.parse(text))
    assert file.stem not in {"utils", "util", "helpers", "common", "misc"}


# Functions that take more, each to be mended where it stands.
TOO_MANY_PARAMETERS: set[str] = set()


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many arguments a call may give, without the instance or class."""
    args = function.args
    names = [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg) if arg]
    return len([name for name in names if name not in ("self", "cls")])


def functions(file: Path) -> dict[str, int]:
    """The parameters of every function of a file, nested ones and methods too."""
    tree = ast.walk(ast.parse(file.read_text()))
    nodes = [node for node in tree if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return {f"{file.relative_to(SOURCE).as_posix()}:{node.name}": parameters(node) for node in nodes}


def test_no_function_outside_the_command_line_takes_more_than_eight_arguments() -> None:
    counts = [functions(file) for file in FILES if part_of(file) != "cli"]
    many = {name for count in counts for name, number in count.items() if number > 8}
    assert many == TOO_MANY_PARAMETERS


def test_parameters_are_counted() -> None:
    (function,) = ast.parse("def f(self, a, /, b, *c, d, e=1, **g): ...").body
    assert isinstance(function, ast.FunctionDef)
    assert parameters(function) == 6


def test_only_one_module_names_the_artifacts_of_a_run() -> None:
    users = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            # The store is called so wherever it is: `store`, `self.store`, `evaluator.store`, `run.store`.
            if isinstance(node, ast.Attribute) and node.attr in ("get", "put"):
                owner = ast.unparse(node.value).rpartition(".")[2].lstrip("_")
                users |= {file.relative_to(SOURCE).as_posix()} if owner == "store" else set()
    assert users == {"evaluation/artifacts.py"}


def test_no_file_names_a_registry() -> None:
    hosts = ("pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "download.pytorch" + ".org")
    listed = subprocess.run(["git", "ls-files"], check=False, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("needs git, which lists the committed files: this is no checkout")
    names = listed.stdout.splitlines()
    assert "pyproject.toml" in names
    for name in names:
        if (ROOT / name).is_file() and not name.endswith((".safetensors", ".png", ".html")):
            assert not any(host in (ROOT / name).read_text(errors="replace") for host in hosts), name


HEAVY = "{'torch', 'transformers', 'numpy', 'scipy', 'vl_convert', 'datasets', 'pydantic'} & set(sys.modules)"


def test_the_package_is_imported_at_once_and_exports_everything_when_used() -> None:
    code = (
        "import sys, layerlimits as ll\n"
        "from layerlimits import api\n"
        f"assert not {HEAVY}, {HEAVY}\n"
        "assert ll.__version__ and ll.EvalOptions(limit=20).limit == 20 and callable(ll.Decoding)\n"
        f"assert not {HEAVY}, {HEAVY}\n"
        "assert set(ll.__all__) - {'__version__'} <= set(api.__all__) == set(dir(api))\n"
        "assert all(getattr(ll, name) for name in ll.__all__) and all(getattr(api, name) for name in api.__all__)\n"
        "assert not hasattr(ll, 'nothing') and not hasattr(api, 'nothing')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['layerlimits', '--help']\n"
        "from layerlimits.cli import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        f"assert not {HEAVY}, {HEAVY}\n"
    )
    # Of the processor, not of the clock: tests run beside each other. 0.2 s.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
