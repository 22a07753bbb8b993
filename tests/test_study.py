"""A whole study of a small model, its figures, its report and what each command prints."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from layerlimits.evaluation.store import Store
from layerlimits.report import figures as charts
from layerlimits.report.html import render
from layerlimits.results.document import findings
from layerlimits.results.headline import answer, limit
from layerlimits.study.config import PRESETS, study_config
from layerlimits.study.pipeline import study

TASKS = ("facts", "facts_choice", "word_problems")
METHODS = ("reverse", "block_influence", "task_score", "random")


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a study without recovery: an untaught model finishes no answer to train on."""
    out = tmp_path_factory.mktemp("study") / "run"
    settings = {"tasks": TASKS, "methods": METHODS, "select_tasks": ("facts_choice",), "limit": 12, "select_items": 12}
    settings["ratios"] = (0.0625, 0.125, 0.25)
    config = study_config("quick", model=str(tiny), recovery={"kinds": ()}, calibration_items=8, **settings)
    study(config, out, "layerlimits study it")
    return out


@pytest.fixture(scope="module")
def results(run: Path) -> dict[str, Any]:
    with Store(run) as store:
        return findings(store)


def test_a_study_measures_every_layer_task_method_and_ratio(results: dict[str, Any]) -> None:
    assert {(row["layer"], row["task"]) for row in results["sweep"]} == {(n, task) for n in range(6) for task in TASKS}
    assert {row["method"] for row in results["methods"]} == set(METHODS)
    counts = {row["layers"] for row in results["pruned"]}
    assert counts == {1, 2}
    planned = [(row["method"], row["layers"], row["task"]) for row in results["pruned"]]
    # Two of the three ratios mean one layer of six.
    assert sorted(planned) == sorted((method, count, task) for method in METHODS for count in counts for task in TASKS)
    assert results["speed"][0]["removed"] == []
    assert all(row["tokens_per_s"]["estimate"] > 0 and row["peak_bytes"] > 0 for row in results["speed"])
    assert {stage["stage"] for stage in results["stages"]} == {"base", "sweep", "rank", "prune", "recover", "speed"}


def test_every_figure_has_an_interval_and_n(results: dict[str, Any]) -> None:
    def figures(value: Any) -> Any:
        if isinstance(value, dict):
            if "estimate" in value:
                yield value
            for inner in value.values():
                yield from figures(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from figures(inner)

    found = list(figures(results))
    assert len(found) > 100
    assert all(one["low"] <= one["estimate"] <= one["high"] and one["n"] >= 1 for one in found)


def test_the_speed_chart_has_a_point_for_every_timed_removal(results: dict[str, Any]) -> None:
    chart = charts.speed(results)
    assert chart is not None
    timed = [row["removed"] for row in results["speed"] if row["removed"]]
    assert all(removed == sorted(removed) for removed in timed)
    assert {len(line.x) for line in chart.data} == {len(timed)}


def test_choice_retention_is_given_with_and_without_chance(results: dict[str, Any]) -> None:
    for row in results["pruned"]:
        assert (row["corrected"] is not None) <= (row["task"] == "facts_choice")


def test_the_report_is_one_file_with_everything_in_it(run: Path, results: dict[str, Any]) -> None:
    page = (run / "report.html").read_text()
    for name in (*TASKS, *METHODS, "layerlimits study it", results["model"]["fingerprint"]):
        assert name in page
    (differ, few, idle) = results["warnings"]
    assert "differ in protocol" in differ
    assert few.startswith("12 items cannot tell 5 points apart")
    assert "not above chance" in idle
    assert few in page

    found: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attributes: Any) -> None:
            found.extend(value for name, value in attributes if name in ("src", "href") and not value.startswith("#"))

    Links().feed(page)
    assert found == []
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_a_report_escapes_what_models_and_users_write(results: dict[str, Any]) -> None:
    evil = "</script><script>alert(1)</script>"
    spoiled = json.loads(json.dumps(results))
    spoiled["model"]["name"] = spoiled["command"] = spoiled["answer"] = evil
    spoiled["tasks"][0]["name"] = spoiled["sweep"][0]["task"] = evil
    spoiled["samples"] = [
        {
            "task": evil,
            "prompt": evil,
            "target": evil,
            "answers": [{"model": evil, "text": evil, "outcome": "wrong", "value": 0.0}],
        }
    ]
    page = render(spoiled)
    assert evil not in page
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in page
    assert page.count("</script>") == page.count("<script>")


def test_a_report_of_an_unfinished_study_says_what_is_missing(results: dict[str, Any]) -> None:
    part = {
        **results,
        "sweep": [],
        "classes": [],
        "pruned": [],
        "recovery": [],
        "speed": [],
        "diagnostics": [],
        "samples": [],
    }
    page = render({**part, "answer": answer(part)})
    assert page.count("Not there yet") == 6


def test_report_reads_only_the_run_folder(run: Path, tmp_path: Path, says: Callable[..., Any]) -> None:
    import shutil

    alone = Path(shutil.copytree(run, tmp_path / "alone"))
    (alone / "report.html").unlink()
    told = says("report", alone, "--out", tmp_path / "new.html")
    assert told["answer"]
    assert (tmp_path / "new.html").stat().st_size > 1e6
    assert {path.name for path in alone.iterdir()} <= {"run.sqlite", "manifest.json"} | {
        "run.sqlite-wal",
        "run.sqlite-shm",
    }


def _classes(kept: dict[tuple[str, int], float]) -> list[dict[str, Any]]:
    return [
        {"kind": "generation", "method": method, "layers": layers, "retention": {"estimate": share}, "chance": 0.0}
        for (method, layers), share in kept.items()
    ]


def test_the_limit_is_the_last_count_before_the_first_that_loses_too_much() -> None:
    kept = {("a", 1): 0.95, ("b", 1): 0.5, ("a", 2): 0.91, ("b", 2): 0.97, ("a", 3): 0.8, ("b", 4): 0.99}
    assert limit({"classes": _classes(kept)}, "generation") == (2, "b")
    assert limit({"classes": _classes({("a", 1): 0.2})}, "generation") == (0, "")
    assert limit({"classes": []}, "generation") is None


def test_the_answer_is_a_paragraph_with_the_numbers(results: dict[str, Any]) -> None:
    told = answer(results)
    # An untaught model has nothing to lose.
    assert told.count("gets nothing right beyond chance") == 2
    assert "\n" not in told


def _recovery(*scores: tuple[str, float, float, float]) -> dict[str, Any]:
    names = ("base", "pruned", "recovered")
    tasks = [
        {"kind": kind} | {name: {"estimate": score} for name, score in zip(names, three, strict=True)}
        for kind, *three in scores
    ]
    entry = {"name": "full", "examples": 9, "layers": 2, "method": "a", "tasks": tasks}
    return _pruned() | {"recovery": [entry]}


def test_what_came_back_is_told_of_classes_that_lost_something() -> None:
    lost = ("generation", 0.9, 0.5, 0.7)
    assert answer(_recovery(lost)).endswith("brings back 20 of the 40 points lost in generation.")
    both = answer(_recovery(lost, ("choice", 0.8, 0.795, 0.8)))
    assert both.endswith("20 of the 40 points lost in generation; choice lost less than a point.")
    assert "had nothing to bring back" in answer(_recovery(("choice", 0.8, 0.8, 0.7)))


def test_the_limit_is_told_with_its_figure() -> None:
    row = {"kind": "generation", "method": "a", "layers": 2, "chance": 0.0}
    row |= {"retention": {"estimate": 0.94, "low": 0.91, "high": 0.96, "n": 80}}
    told = answer(_pruned() | {"classes": [row]})
    kept = "m keeps 90% of generation with up to 2 of 8 layers removed: 94% (91% to 96%, n = 80) by a."
    assert told == kept
    # Where guessing is as good, retention of the raw score is no measure of what is kept.
    guessed = row | {"kind": "choice", "chance": 0.25, "corrected": None}
    told = answer(_pruned() | {"classes": [row, guessed]})
    assert told.startswith(kept)
    assert told.endswith(
        "In choice the unpruned model gets nothing right beyond chance, so it has nothing to lose there."
    )


def _pruned(*rows: tuple[str, int, str, float, float]) -> dict[str, Any]:
    pruned = [
        {"method": method, "layers": layers, "task": task, "chance": 0.0}
        | {"retention": {"estimate": share, "low": share - 0.1, "high": high, "n": 50}}
        for method, layers, task, share, high in rows
    ]
    return {"model": {"name": "m", "layers": 8}, "classes": [], "pruned": pruned, "sweep": [], "recovery": []}


def test_what_breaks_first_is_the_first_loss_beyond_doubt_by_the_gentlest_method() -> None:
    one = [
        ("good", 1, "a", 1.0, 1.1),
        ("good", 1, "b", 0.85, 1.05),
        ("bad", 1, "a", 0.1, 0.2),
        ("bad", 1, "b", 0.1, 0.2),
    ]
    two = [
        ("good", 2, "a", 0.6, 0.7),
        ("good", 2, "b", 0.5, 1.05),
        ("bad", 2, "a", 0.0, 0.1),
        ("bad", 2, "b", 0.0, 0.1),
    ]
    told = answer(_pruned(*one, *two))
    assert "What breaks first is a: without 2 layers it keeps 60% (50% to 70%, n = 50) by good" in told
    assert "Nothing has broken yet: without 1 layer by good" in answer(_pruned(*one))


def test_evaluate_prints_scores_with_intervals(says: Callable[..., Any], tiny: Path) -> None:
    told = says("evaluate", tiny, "--tasks", "facts,facts_choice", "--limit", 8)
    assert told["model"] == str(tiny)
    assert set(told["scores"]) == {"facts", "facts_choice"}
    assert set(told["scores"]["facts"]) >= {"score", "low", "high", "n"}
    assert told["scores"]["facts"]["n"] == 8


def test_sweep_prints_every_layer(says: Callable[..., Any], tiny: Path) -> None:
    told = says("sweep", tiny, "--tasks", "facts_choice", "--limit", 8)
    assert told["model"] == str(tiny)
    assert "facts_choice" in json.dumps(told)
    assert {row["layer"] for row in told["sweep"]} == set(range(6))


def test_rank_and_prune_agree(says: Callable[..., Any], tiny: Path, tmp_path: Path) -> None:
    ranked = says("rank", tiny, "--method", "block_influence", "--items", 8)
    assert (ranked["model"], ranked["method"], len(ranked["scores"])) == (str(tiny), "block_influence", 6)
    pruned = says("prune", tiny, "--method", "block_influence", "--items", 8, "--ratio", 0.34, "--out", tmp_path / "p")
    assert pruned["removed"] == sorted(ranked["order"][:2])
    assert says("evaluate", tmp_path / "p", "--tasks", "facts_choice", "--limit", 4)["scores"]["facts_choice"]["n"] == 4
    listed = says("prune", tiny, "--remove", "4,1-2", "--out", tmp_path / "q")
    assert (listed["removed"], listed["kept"]) == ([1, 2, 4], [0, 3, 5])


def test_plan_counts_and_runs_nothing(
    says: Callable[..., Any], tiny: Path, tmp_path: Path, results: dict[str, Any]
) -> None:
    told = says("study", tiny, "--plan", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    by_stage = {row["stage"]: row for row in told["stages"]}
    assert by_stage["sweep"]["responses"] == 6 * 8 * 48
    assert told["seconds"] > 0


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_whole(preset: str) -> None:
    config = study_config(preset)
    assert config.preset == preset
    assert set(config.recovery_ratios) <= set(config.ratios)
    assert config.recovery_method == "task_score"


def test_flags_beat_the_file_and_the_file_beats_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text('limit = 7\nseed = 3\nmethods = ["random"]\n')
    config = study_config("standard", file, seed=9)
    assert (config.limit, config.seed, config.methods, config.select_items) == (7, 9, ("random",), 32)
    assert config.recovery_method == "random"


def test_other_ratios_choose_other_models_to_recover() -> None:
    assert study_config("quick").recovery_ratios == (0.25, 0.4)
    assert study_config("paper").recovery_ratios == (0.25,)
    assert study_config("paper", ratios=(0.1, 0.3)).recovery_ratios == (0.3,)
    assert study_config("standard", ratios=(0.2, 0.4)).recovery_ratios == (0.2, 0.4)
