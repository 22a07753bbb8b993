"""A whole study of a small model, its figures, its report and what each command prints."""

import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from layerlimits.api import open_run
from layerlimits.evaluation.artifacts import Artifacts
from layerlimits.evaluation.store import Store
from layerlimits.report.charts.options import pareto
from layerlimits.report.html import render
from layerlimits.results.document import StudyResults
from layerlimits.results.samples import AnsweredItem, ModelAnswer
from layerlimits.study.config import study_config
from layerlimits.study.pipeline import study
from layerlimits.study.presets import PRESETS

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
def results(run: Path) -> StudyResults:
    return open_run(run)


@pytest.fixture(scope="module")
def printed(results: StudyResults) -> dict[str, Any]:
    """The results as `--json` prints them."""
    content: dict[str, Any] = json.loads(json.dumps(results.to_json()))
    return content


def test_a_study_measures_every_layer_task_method_and_ratio(printed: dict[str, Any]) -> None:
    assert {(row["layer"], row["task"]) for row in printed["sweep"]} == {(n, task) for n in range(6) for task in TASKS}
    assert {row["method"] for row in printed["methods"]} == set(METHODS)
    counts = {row["layers"] for row in printed["pruned"]}
    assert counts == {1, 2}
    planned = [(row["method"], row["layers"], row["task"]) for row in printed["pruned"]]
    # Two of the three ratios mean one layer of six.
    assert sorted(planned) == sorted((method, count, task) for method in METHODS for count in counts for task in TASKS)
    assert printed["speed"][0]["removed"] == []
    assert all(row["tokens_per_s"]["estimate"] > 0 and row["peak_bytes"] > 0 for row in printed["speed"])
    stages = {stage["stage"] for stage in printed["stages"]}
    assert stages == {"base", "sweep", "rank", "prune", "diagnose", "recover", "speed"}


def test_every_figure_has_an_interval_and_n(printed: dict[str, Any]) -> None:
    def figures(value: Any) -> Any:
        if isinstance(value, dict):
            # A finding that cannot be measured has none, and says why.
            if value.get("estimate") is not None:
                yield value
            for inner in value.values():
                yield from figures(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from figures(inner)

    estimates = list(figures(printed))
    assert len(estimates) > 100
    assert all(row["low"] <= row["estimate"] <= row["high"] and row["n"] >= 1 for row in estimates)


def test_the_speed_chart_has_a_point_for_every_timed_removal(results: StudyResults) -> None:
    timed = [row.removed for row in results.speed if row.removed]
    assert timed
    assert all(list(removed) == sorted(removed) for removed in timed)
    # Quality can be drawn only where the unpruned model is above chance.
    measured = [row for row in results.classes if row.adjusted_retention and len(row.removed) in map(len, timed)]
    chart = pareto(results)
    assert (chart is None) == (not measured)


def test_the_time_to_the_first_token_is_stored_with_the_prompts(run: Path, results: StudyResults) -> None:
    with Store(run) as store:
        for record in Artifacts(store).speed:
            assert len(record["first_token_s"]) == len(record["tokens_per_s"])
            total_s = record["prompts"] * record["new_tokens"] / max(record["tokens_per_s"])
            assert 0 < min(record["first_token_s"]) < total_s
    rows = [row for row in results.diagnostics if row.measure == "ms to first token"]
    assert len(rows) == len(results.speed)
    assert all("with 16 prompts of 64 tokens at once, 48 new tokens each" in row.sentence for row in rows)


def test_choice_retention_is_corrected_for_chance_and_generation_is_not(printed: dict[str, Any]) -> None:
    chances = {task["name"]: task["chance"] for task in printed["tasks"]}
    assert {name: chance > 0 for name, chance in chances.items()} == {
        "facts": False,
        "facts_choice": True,
        "word_problems": False,
    }
    base = {task["name"]: task["score"] for task in printed["tasks"]}
    for row in [*printed["pruned"], *printed["sweep"]]:
        chance, whole = chances[row["task"]], base[row["task"]]
        assert row["chance"] == chance
        # What is not significantly above nothing, or above chance, cannot be kept.
        assert (row["retention"] is None) == (whole["low"] <= 0)
        assert (row["corrected"] is None) == (not chance or whole["low"] <= chance)
        if row["retention"]:
            assert row["retention"]["estimate"] == pytest.approx(row["score"]["estimate"] / whole["estimate"])


def test_the_verdict_on_a_model_that_knows_nothing(results: StudyResults) -> None:
    assert results.verdict
    assert {card.verdict for card in results.verdict.cards} == {"too few items"}
    for card in results.verdict.cards:
        assert "cannot be judged on 90% of choice: the unpruned model is not above chance on" in card.sentence
    assert results.answer == " ".join(results.verdict.sentences)
    assert "\n" not in results.answer


def test_the_report_is_one_file_with_everything_in_it(run: Path, results: StudyResults) -> None:
    page = (run / "report.html").read_text()
    for name in (*TASKS, *METHODS, results.model.fingerprint):
        assert name in page
    assert "<code><span>layerlimits</span> <span>study</span> <span>it</span></code>" in page
    (differ, few, idle) = results.warnings
    assert "differ in protocol" in differ
    assert few.startswith("n = 12 is too small to detect a 5-point difference")
    assert "not above chance" in idle
    assert few in page

    links: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attributes: Any) -> None:
            links.extend(value for name, value in attributes if name in ("src", "href") and not value.startswith("#"))

    Links().feed(page)
    assert links == []
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_a_report_escapes_what_models_and_users_write(results: StudyResults) -> None:
    evil = "</script><script>alert(1)</script>"
    spoiled = replace(
        results,
        model=replace(results.model, name=evil),
        command=evil,
        answer=evil,
        tasks=(replace(results.tasks[0], name=evil), *results.tasks[1:]),
        sweep=(replace(results.sweep[0], task=evil), *results.sweep[1:]),
        samples=(AnsweredItem(evil, evil, evil, (ModelAnswer(evil, evil, "wrong", 0.0),)),),
    )
    page = render(spoiled)
    assert evil not in page
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in page
    assert page.count("</script>") == page.count("<script")


def test_a_report_of_an_unfinished_study_says_what_is_missing(results: StudyResults) -> None:
    part = replace(results, sweep=(), classes=(), pruned=(), recovery=(), speed=(), diagnostics=(), samples=())
    page = render(part)
    assert page.count("No results yet") == 6


def test_report_reads_only_the_run_folder(run: Path, tmp_path: Path, says: Callable[..., Any]) -> None:
    import shutil

    alone = Path(shutil.copytree(run, tmp_path / "alone"))
    (alone / "report.html").unlink()
    printed = says("report", alone, "--out", tmp_path / "new.html")
    assert printed["answer"]
    assert printed["answer"] in (tmp_path / "new.html").read_text().replace("&#39;", "'")
    assert {path.name for path in alone.iterdir()} <= {"run.sqlite", "manifest.json", "results.json"} | {
        "run.sqlite-wal",
        "run.sqlite-shm",
    }


def test_evaluate_prints_scores_with_intervals(says: Callable[..., Any], tiny: Path) -> None:
    results = says("evaluate", tiny, "--tasks", "facts,facts_choice", "--limit", 8)
    assert results["model"] == str(tiny)
    assert set(results["scores"]) == {"facts", "facts_choice"}
    assert set(results["scores"]["facts"]) >= {"score", "low", "high", "n"}
    assert results["scores"]["facts"]["n"] == 8


def test_sweep_prints_every_layer(says: Callable[..., Any], tiny: Path) -> None:
    results = says("sweep", tiny, "--tasks", "facts_choice", "--limit", 8)
    assert results["model"] == str(tiny)
    assert "facts_choice" in json.dumps(results)
    assert {row["layer"] for row in results["sweep"]} == set(range(6))


def test_rank_and_prune_agree(says: Callable[..., Any], tiny: Path, tmp_path: Path) -> None:
    ranked = says("rank", tiny, "--method", "block_influence", "--items", 8)
    assert (ranked["model"], ranked["method"], len(ranked["scores"])) == (str(tiny), "block_influence", 6)
    pruned = says("prune", tiny, "--method", "block_influence", "--items", 8, "--ratio", 0.34, "--out", tmp_path / "p")
    assert pruned["removed"] == sorted(ranked["order"][:2])
    assert says("evaluate", tmp_path / "p", "--tasks", "facts_choice", "--limit", 4)["scores"]["facts_choice"]["n"] == 4
    listed = says("prune", tiny, "--remove", "4,1-2", "--out", tmp_path / "q")
    assert (listed["removed"], listed["kept"]) == ([1, 2, 4], [0, 3, 5])


def test_plan_counts_and_runs_nothing(says: Callable[..., Any], tiny: Path, tmp_path: Path) -> None:
    results = says("study", tiny, "--plan", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    by_stage = {row["stage"]: row for row in results["stages"]}
    assert by_stage["sweep"]["responses"] == 6 * 8 * 48
    assert results["seconds"] > 0


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_whole(preset: str) -> None:
    config = study_config(preset)
    assert config.preset == preset
    assert set(config.recovery_ratios) <= set(config.ratios)
    assert config.recovery_methods == ("task_score",)


def test_flags_beat_the_file_and_the_file_beats_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text('limit = 7\nseed = 3\nmethods = ["random"]\n')
    config = study_config("standard", file, seed=9)
    assert (config.limit, config.seed, config.methods, config.select_items) == (7, 9, ("random",), 32)
    assert config.recovery_methods == ("random",)


def test_other_ratios_choose_other_models_to_recover() -> None:
    assert study_config("quick").recovery_ratios == (0.25, 0.4)
    assert study_config("paper").recovery_ratios == (0.25,)
    assert study_config("paper", ratios=(0.1, 0.3)).recovery_ratios == (0.3,)
    assert study_config("standard", ratios=(0.2, 0.4)).recovery_ratios == (0.2, 0.4)
