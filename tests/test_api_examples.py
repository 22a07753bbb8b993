"""The notebook and the README's Python code run from top to bottom, as a user would run them."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"

# Runs cells in one namespace as a notebook does, and shows the value of a last expression as its HTML, if it has one.
RUNNER = """
import ast, json, sys
cells, shown, scope = json.load(sys.stdin), [], {"__name__": "__main__"}
for cell in cells:
    body = ast.parse(cell).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), scope)
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), scope) if last else None
    form = getattr(value, "_repr_html_", None)
    shown.append(None if value is None else form() if form else repr(value))
print("SHOWN " + json.dumps(shown))
"""


def shown(cells: list[str], folder: Path) -> list[str]:
    """What each cell shows, "" where it shows nothing; run in a process of its own, in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps(cells),
        cwd=folder,
        env=os.environ | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [text or "" for text in json.loads(done.stdout.rpartition("SHOWN ")[2])]


def code_cells() -> list[str]:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    cells = code_cells()
    forms = dict(zip(cells, shown(cells, tmp_path), strict=True))
    by_last_line = {cell.splitlines()[-1]: form for cell, form in forms.items()}
    assert by_last_line["model"].startswith("Model('reference', layers=12")
    chart = by_last_line["swept"]
    assert chart.count("<circle") == 24
    assert "http" not in chart.replace("http://www.w3.org/2000/svg", "")
    assert len(chart) < 20_000
    assert "removal order by block_influence" in by_last_line["ranked"]
    assert "<td>pruned</td>" not in by_last_line["pruned"]
    assert "block_influence" in by_last_line["pruned"]
    assert by_last_line["ll.evaluate(folder, tasks, options)"].count("<td>facts</td>") == 1
    assert "recover" in by_last_line['ll.plan(ll.StudyConfig(model="reference"))']
    assert (tmp_path / next(tmp_path.glob("tmp*")) / "pruned" / "model.safetensors").exists()


def test_the_notebook_is_committed_without_outputs() -> None:
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_ten_lines_load_a_model_sweep_two_tasks_and_show_the_curve(tmp_path: Path) -> None:
    section = re.search(r"^## From Python\n(.*?)^## ", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert section
    (block,) = re.findall(r"```python\n(.*?)```", section[1], re.DOTALL)
    statements = ast.parse(block).body
    assert len(statements) <= 10
    cells = [ast.unparse(statement) for statement in statements]
    forms = dict(zip(cells, shown(cells, tmp_path), strict=True))
    assert "<svg" in forms["results"]
    assert "retention" in forms["results.to_frame()"]
    assert (tmp_path / "pruned" / "config.json").exists()
