"""Answers asked in different ways lie side by side in one run folder; a study's figures are of its own answers."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from choice_rows import choice_folder
from untimed import untimed

from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.store import LOGPROB_DIGITS, Store
from layerlimits.models.load import Loaded, load
from layerlimits.plugins import find
from layerlimits.study.config import study_config
from layerlimits.study.pipeline import study
from layerlimits.tasks.facts import facts

Says = Callable[..., Any]
Refused = Callable[..., str]

SETTINGS = """
tasks = ["facts", "facts_choice"]
methods = ["reverse"]
ratios = [0.25]
limit = 6
calibration_items = 8
speed_repeats = 3
recovery = { kinds = [] }
"""
OTHER_WAYS = {
    "plain text": ("evaluate", "--no-chat"),
    "plain text, every layer": ("sweep", "--no-chat"),
    "shots": ("evaluate", "--shots", 2),
    "shorter answers": ("evaluate", "--max-new-tokens", 2),
    "draws": ("evaluate", "--temperature", 1.2, "--samples", 2),
    "the harness's engine": (
        "evaluate",
        "--engine",
        "hflm",
    ),
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The settings of a study that takes seconds."""
    file = tmp_path_factory.mktemp("settings") / "study.toml"
    file.write_text(SETTINGS)
    return file


@pytest.fixture(scope="module")
def finished(tiny: Path, settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of that study."""
    out = tmp_path_factory.mktemp("finished") / "run"
    study(study_config("quick", settings, model=str(tiny)), out, "layerlimits study it")
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(copytree(finished, tmp_path / "run"))


def rows(run: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(run / "run.sqlite")) as database:
        return database.execute(query).fetchall()


@pytest.mark.parametrize("way", OTHER_WAYS)
def test_a_study_keeps_its_figures_whatever_else_is_asked_into_its_folder(
    way: str, tiny: Path, settings: Path, run: Path, says: Says
) -> None:
    before = untimed(says("report", run))
    stored = rows(run, "SELECT COUNT(*) FROM responses")
    name, *more = OTHER_WAYS[way]
    says(name, tiny, "--tasks", "facts,facts_choice", "--limit", 6, *more, "--out", run)
    assert rows(run, "SELECT COUNT(*) FROM responses") > stored
    assert untimed(says("report", run)) == before
    after = rows(run, "SELECT COUNT(*) FROM responses")
    assert untimed(says("study", tiny, "--config", settings, "--out", run)) == before
    assert rows(run, "SELECT COUNT(*) FROM responses") == after


def test_a_study_finds_its_own_answers_where_others_came_first(
    tiny: Path, settings: Path, finished: Path, tmp_path: Path, says: Says
) -> None:
    for name, *more in OTHER_WAYS.values():
        says(name, tiny, "--tasks", "facts,facts_choice", "--limit", 6, *more, "--out", tmp_path / "run")
    mine = says("study", tiny, "--config", settings, "--out", tmp_path / "run")
    alone = says("report", finished)
    assert len(mine["speed"]) == len(alone["speed"]) == 2
    assert untimed(mine) == untimed(alone)


@pytest.mark.parametrize(
    ("flags", "what"),
    [(("--no-chat",), "chat setting"), (("--chat",), "chat setting"), (("--temperature", 0.8), "decoding")],
)
def test_a_study_that_asks_in_another_way_is_refused_and_changes_nothing(
    flags: tuple[object, ...], what: str, tiny: Path, settings: Path, run: Path, refused: Refused
) -> None:
    def state() -> tuple[object, ...]:
        tables = [rows(run, f"SELECT * FROM {table} ORDER BY 1") for table in ("artifacts", "responses", "models")]
        return (*tables, (run / "manifest.json").read_bytes())

    before = state()
    said = refused("study", tiny, "--config", settings, "--out", run, *flags)
    assert f"contains a run with another {what}" in said
    assert state() == before


def test_evaluate_leaves_a_studys_manifest_as_it_is(tiny: Path, run: Path, tmp_path: Path, says: Says) -> None:
    before = rows(run, "SELECT content FROM artifacts WHERE name = 'manifest'")
    elsewhere = copytree(tiny, tmp_path / "same model, other place")
    says("evaluate", elsewhere, "--tasks", "facts", "--limit", 2, "--no-chat", "--out", run)
    assert rows(run, "SELECT content FROM artifacts WHERE name = 'manifest'") == before


@pytest.mark.parametrize("first", ["sweep", "hflm"])
def test_log_likelihoods_of_hflm_are_the_harness_s_whatever_came_first(
    first: str, tiny: Path, loaded: Loaded, tmp_path: Path, says: Says
) -> None:
    from lm_eval.models.huggingface import HFLM

    from layerlimits.lm_eval_bridge import quiet

    run, data = tmp_path / "run", choice_folder(tmp_path / "data", "arc_easy")
    asked = ("evaluate", tiny, "--tasks", "arc_easy", "--data-dir", data, "--limit", 6, "--out", run)
    printed = [says(*asked, *flags) for flags in [("--engine", "hflm"), ()][:: 1 if first == "hflm" else -1]]
    assert printed[0]["scores"] == printed[1]["scores"]
    base = loaded.ref.fingerprint
    by_engine: dict[str, dict[str, list[float]]] = {}
    for engine, sample, logprobs in rows(run, f"SELECT engine, sample, logprobs FROM responses WHERE model = '{base}'"):
        by_engine.setdefault(engine, {})[sample] = json.loads(logprobs)
    assert set(by_engine) == {"HflmEngine", "SweepEngine"}
    with quiet():
        harness: Any = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=1)
    task = find("tasks", "arc_easy")
    with Store(tmp_path / "other") as store:
        evaluator = Evaluator(loaded, store)
        for sample in task.samples("evaluate", 6, data):
            requests = [(None, *row) for row in evaluator.prompt(task, sample).rows]
            weighed = harness._loglikelihood_tokens(requests, disable_tqdm=True)
            assert by_engine["HflmEngine"][sample.id] == [round(logprob, LOGPROB_DIGITS) for logprob, _ in weighed]
            assert by_engine["SweepEngine"][sample.id] == pytest.approx(
                by_engine["HflmEngine"][sample.id], abs=1e-4, rel=0
            )


def test_evaluate_and_sweep_share_generated_answers(tiny: Path, loaded: Loaded, tmp_path: Path, says: Says) -> None:
    run = tmp_path / "run"
    for name in ("evaluate", "sweep"):
        says(name, tiny, "--tasks", "facts", "--limit", 3, "--out", run)
    assert rows(run, "SELECT engine, COUNT(*) FROM responses GROUP BY engine") == [
        ("SweepEngine", 3 * (1 + loaded.depth))
    ]


def test_the_number_type_is_in_the_key(tiny: Path, tmp_path: Path) -> None:
    samples = facts.samples("evaluate", 2, None)
    with Store(tmp_path) as store:
        for dtype in ("float32", "bfloat16"):
            Evaluator(load(str(tiny), dtype=dtype, device="cpu"), store).ask([(), (1,)], [(facts, samples)])
        assert len(list(store.export())) == 8
