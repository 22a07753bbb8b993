"""The tables that people see hold the numbers of --json, and no text of others is read as markup."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recovery_models import QUESTIONS
from stored_runs import finished_study

from layerlimits.api import open_run
from layerlimits.cli import main
from layerlimits.cli.study import show_answer
from layerlimits.progress import Bar

pytest_plugins = ["recovery_fixtures"]

Says = Callable[..., Any]
Shows = Callable[..., str]

# Read as markup, the first two end or begin a style, and the last is a face. The first is a folder in a folder.
NAMES = ("[/b]", "[bold red]", ":smile:")


@pytest.fixture
def shows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shows:
    """Run a command for people on a wide terminal, which must succeed; returns all of stdout."""

    def call(*arguments: object) -> str:
        monkeypatch.setenv("COLUMNS", "400")
        monkeypatch.setattr(sys, "argv", ["layerlimits", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr().out

    return call


def rows(shown: str) -> list[list[str]]:
    """The cells of every line of all tables, below their headings."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in shown.splitlines() if line[:1] == "│"]


def headings(shown: str) -> list[list[str]]:
    """The headings of every table."""
    return [[cell.strip() for cell in line.strip("┃").split("┃")] for line in shown.splitlines() if line[:1] == "┃"]


def joined(text: str) -> str:
    """A text without its blanks and line ends: titles are wrapped at the width of their table."""
    return "".join(text.split())


def test_evaluate(says: Says, shows: Shows, tiny: Path, tmp_path: Path) -> None:
    asked = (
        "evaluate",
        tiny,
        "--tasks",
        "facts_choice",
        "--limit",
        9,
        "--protocol",
        "likelihood,free",
        "--out",
        tmp_path,
    )
    results, shown = says(*asked), shows(*asked)
    assert headings(shown) == [["task", "score", "interval", "strict", "n", "metric", "outcomes"]]
    assert joined(f"{tiny}: scores with 95% confidence intervals") in joined(shown)
    expected = []
    for name, score in results["scores"].items():
        strict = "-" if score["strict"] is None else f"{score['strict']['estimate']:.3f}"
        outcomes = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in score["outcomes"].items())
        if score["truncated"]:
            outcomes += f"; {score['truncated']} at the token limit"
        interval = f"{score['low']:.3f} to {score['high']:.3f}"
        expected.append([name, f"{score['score']:.3f}", interval, strict, "9", score["metric"], outcomes])
    assert rows(shown) == expected
    assert len(expected) == 2
    only = results["protocols"]["facts_choice"]["recognition_only"]
    assert joined(
        f"facts_choice: {only['estimate']:.1%} ({only['low']:.1%} to {only['high']:.1%}) of 9 items"
    ) in joined(shown)
    assert [line for line in shown.splitlines() if line.startswith("warning: ")] == [
        f"warning: {warning}" for warning in results["warnings"]
    ]
    assert len(results["warnings"]) == 2


def test_sweep(says: Says, shows: Shows, tiny: Path, tmp_path: Path) -> None:
    asked = ("sweep", tiny, "--tasks", "facts_choice,inference_choice,facts", "--limit", 12, "--out", tmp_path)
    results, shown = says(*asked), shows(*asked)
    assert headings(shown) == [["layer", "facts_choice", "inference_choice", "facts"]]

    def cell(score: dict[str, Any]) -> str:
        star = "*" if score["test"]["p_holm"] <= 0.05 else ""
        return f"{score['retention']['estimate']:.2f}{star}" if score["retention"] else "-"

    expected = [[str(row["layer"]), *map(cell, row["scores"].values())] for row in results["sweep"]]
    assert rows(shown) == expected
    assert len(expected) == 6
    # An untaught model guesses choices, and writes nothing right.
    assert {line[3] for line in expected} == {"-"}
    assert any(re.match(r"\d\.\d\d", line[1]) for line in expected)
    assert results["warnings"]
    assert [line for line in shown.splitlines() if line.startswith("warning: ")] == [
        f"warning: {warning}" for warning in results["warnings"]
    ]


def test_rank_by_one_method(says: Says, shows: Shows, tiny: Path) -> None:
    asked = ("rank", tiny, "--method", "block_influence", "--items", 4)
    results, shown = says(*asked), shows(*asked)
    assert joined(f"{tiny}: removal order by block_influence") in joined(shown)
    assert rows(shown) == [
        [str(place), str(layer), f"{results['scores'][layer]:.4g}"] for place, layer in enumerate(results["order"], 1)
    ]
    assert len(rows(shown)) == 6


def test_rank_by_all_methods(says: Says, shows: Shows, tiny: Path) -> None:
    asked = ("rank", tiny, "--method", "all", "--layers", 2, "--items", 4, "--tasks", "facts_choice")
    results, shown = says(*asked), shows(*asked)
    methods = list(results["rankings"])
    lines = rows(shown)
    assert len(methods) > 5
    assert len(lines) == 3 * len(methods)
    orders, taus, overlaps = (lines[start::1][: len(methods)] for start in range(0, len(lines), len(methods)))
    for number, method in enumerate(methods, 1):
        shared = list(results["overlap"][method].values())
        order = ", ".join(map(str, results["rankings"][method]["order"]))
        assert orders[number - 1] == [method, order, f"{sum(shared) / len(shared):.0%}"]
        for table, values, form in ((taus, "kendall_tau", "{:.2f}"), (overlaps, "overlap", "{:.0%}")):
            figures = [results[values][method].get(other) for other in methods]
            cells = ["" if figure is None else form.format(figure) for figure in figures]
            assert table[number - 1] == [f"{number} {method}", *cells]
    assert joined(f"chain_loss cannot rank this model: {results['failed']['chain_loss']}") in joined(shown)


def test_prune(says: Says, shows: Shows, tiny: Path, tmp_path: Path) -> None:
    asked = ("prune", tiny, "--method", "reverse", "--layers", 2, "--items", 4)
    removed = ", ".join(map(str, says(*asked, "--out", tmp_path / "a")["removed"]))
    first = tmp_path / "b"
    assert shows(*asked, "--out", first) == f"{first}: 4 layers; removed layers {removed} of {tiny} by reverse\n"
    filled = ("prune", tiny, "--remove", "2,3", "--replacement", "linear:alpha=0.5", "--items", 4)
    second = tmp_path / "c"
    shown = shows(*filled, "--out", second)
    assert shown == f"{second}: 4 layers; removed layers 2, 3 of {tiny}; replacement: linear:alpha=0.5\n"


def test_methods(says: Says, shows: Shows) -> None:
    results, shown = says("methods"), shows("methods")
    assert headings(shown) == [["name", "options", "source", "cost"]] * 2
    entries = [*results["methods"], *results["replacements"]]
    # Options stand below each other; long sources go on in further lines.
    named = [line for line in rows(shown) if line[0]]
    assert [line[0] for line in named] == [entry["name"] for entry in entries]
    everything = " ".join(shown.replace("│", " ").split())
    for entry, (_, _, source, cost) in zip(entries, named, strict=True):
        assert all(f"{option}={default}" in everything for option, default in entry["options"].items())
        assert cost
        assert entry["cost"].startswith(cost)
        assert source
        assert entry["source"].startswith(source)


def test_score(says: Says, shows: Shows, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    items = [{"question": f"What is {n} + 1?", "answer": f"{n} + 1\n#### {n + 1}"} for n in range(5)]
    (folder / "test.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    (folder / "train.jsonl").write_text(json.dumps({"question": "What is 9 + 9?", "answer": "#### 18"}) + "\n")
    answers = [
        {"index": 0, "response": "#### 1"},
        {"index": 1, "response": "#### 9"},
        {"index": 4, "response": "It is 5."},
    ]
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    asked = ("score", "gsm8k", file, "--data-dir", tmp_path / "data")
    results, shown = says(*asked), shows(*asked)
    assert (results["score"], results["strict"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert joined(f"gsm8k, version {results['version']}") in joined(shown)
    assert headings(shown) == [["score", "strict", "n", "of", "metric", "outcomes"]]
    assert rows(shown) == [["0.667", "0.333", "3", "5", results["metric"], "2 correct, 1 wrong"]]


SETTINGS = """methods = ["reverse"]
ratios = [0.2]
calibration_items = 4
select_items = 4
speed_repeats = 3
[recovery]
kinds = []
"""


def test_study_and_its_plan(says: Says, shows: Shows, tiny: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "study.toml", tmp_path / "run"
    file.write_text(SETTINGS)
    asked = ("study", tiny, "--config", file, "--tasks", "facts_choice", "--limit", 4, "--out", out)
    planned, shown = says(*asked, "--plan"), shows(*asked, "--plan")
    assert joined(f"{tiny}, preset quick, run folder {out}") in joined(shown)
    # Times are measured anew by each call.
    assert [line[:3] for line in rows(shown)] == [
        [row["stage"], str(row["models"]), f"{row['responses']:,}"] for row in planned["stages"]
    ]
    assert [row["responses"] for row in planned["stages"]] == [4, 24, 0, 4, 0, 0]
    assert re.search(r"^Estimated total: \d+ minutes\. Nothing was run\.$", shown, re.MULTILINE)
    assert not out.exists()
    results, ended = says(*asked), shows(*asked)
    panel = " ".join(" ".join(line.strip("│ ") for line in ended.splitlines() if line[:1] == "│").split())
    assert panel == results["answer"]
    assert ended.splitlines()[-1] == f"report: {out / 'report.html'}"


def test_report(says: Says, shows: Shows, tmp_path: Path) -> None:
    finished_study(tmp_path)
    results = says("report", tmp_path)
    assert shows("report", tmp_path) == f"report: {tmp_path / 'report.html'}\n"
    page = (tmp_path / "report.html").read_text()
    cells = re.findall(r'<td class="estimate">(\d\.\d{3}) <span class="interval">([\d.]+)\u2013([\d.]+)</span>', page)
    for row in (*results["tasks"], *results["pruned"]):
        figure = row["score"]
        assert (f"{figure['estimate']:.3f}", f"{figure['low']:.2f}", f"{figure['high']:.2f}") in cells
    assert [row["strict"]["estimate"] for row in results["pruned"] if row["strict"]] == [0.25, 0.25]


@pytest.mark.usefixtures("taught")
def test_recover(says: Says, shows: Shows, pruned: Path, taught: Any, tmp_path: Path) -> None:
    file = tmp_path / "colours.py"
    file.write_text(
        "from recovery_models import QUESTIONS, listed, prompts\n"
        "from layerlimits.types import Sample\n"
        "colours = listed('colours', prompts(*QUESTIONS), (Sample('else', '', 'evaluate'),))\n"
    )
    asked = ("recover", pruned, "--parent", taught.folder, "--tasks", file, "--items", len(QUESTIONS))
    results = says(*asked, "--out", tmp_path / "a")
    shown = shows(*asked, "--out", tmp_path / "b")
    tokens, dropped = f"{results['trained_tokens']:,}", results["dropped"]
    words = f"{tmp_path / 'b'}: {pruned} finetuned on {results['examples']} responses of {taught.folder} "
    assert re.fullmatch(re.escape(f"{words}({tokens} response tokens; {dropped} dropped; ") + r"\d+ s\)\n", shown)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_models_are_no_markup(
    name: str, shows: Shows, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    Path("study.toml").write_text(SETTINGS)
    few = ("--tasks", "facts_choice", "--limit", 2)
    assert joined(f"{name}: scores") in joined(shows("evaluate", name, *few))
    assert joined(f"{name}: retention") in joined(shows("sweep", name, *few))
    assert joined(f"{name}: removal order") in joined(shows("rank", name, "--method", "reverse"))
    assert joined(f"{name}: removal orders") in joined(shows("rank", name, "--method", "reverse,random"))
    assert joined(f"removed layer 1 of {name}") in joined(
        shows("prune", name, "--remove", "1", "--out", f"pruned{name}")
    )
    studied = ("study", name, "--config", "study.toml", *few, "--out", f"run{name}")
    assert joined(f"{name}, preset quick, run folder run{name}") in joined(shows(*studied, "--plan"))
    assert joined(f"report: run{name}/report.html") in joined(shows(*studied))
    assert joined(f"report: run{name}/report.html") in joined(shows("report", f"run{name}"))


@pytest.mark.parametrize("name", ["[red]", "[bold]"])
def test_names_of_methods_are_no_markup(name: str, shows: Shows, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.py"
    # A module may set names that are no identifiers.
    file.write_text(f"from layerlimits.methods.reverse import reverse\nglobals()[{name!r}] = reverse\n")
    assert joined(f"removal order by {name}") in joined(shows("rank", tiny, "--method", file))
    lines = rows(shows("rank", tiny, "--method", f"{file},random"))
    assert [line[0] for line in lines] == [name, "random", f"1 {name}", "2 random", f"1 {name}", "2 random"]


def test_the_verdict_is_no_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished_study(tmp_path)
    answer = "[/b] keeps :smile: of [red]all[/red]."
    show_answer(replace(open_run(tmp_path), answer=answer), tmp_path / "report.html")
    assert answer in capsys.readouterr().out


def test_the_name_of_what_is_done_is_no_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Bar(1.0) as bar, bar.stage("ranking by [/b]"):
        bar.advance(1.0)
    assert "ranking by [/b]" in capsys.readouterr().err
