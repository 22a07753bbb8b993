"""The numbers of the report equal those of independent queries on the database of the run folder."""

import base64
import gzip
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from stored_runs import BASE, FINETUNED, QUANTIZED, SIBLING, finished_study, put, record

from layerlimits import write_report
from layerlimits.evaluation.artifacts import Artifacts
from layerlimits.evaluation.store import Store

CHANCE = {"facts@likelihood": 0.25}


class Run:
    """A page, the rows of its tables as objects by column, and queries on the database it was made of."""

    def __init__(self, folder: Path) -> None:
        write_report(folder, folder.parent / "page.html")
        self.page = (folder.parent / "page.html").read_text()
        match = re.search('id="tables">([A-Za-z0-9+/=]*)</script>', self.page)
        assert match
        self.tables = json.loads(gzip.decompress(base64.b64decode(match[1])))
        self.database = sqlite3.connect(f"{(folder / 'run.sqlite').as_uri()}?mode=ro", uri=True)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a table by column; an estimate is its number."""
        titles = [title for title, _ in self.tables[name]["columns"]]
        return [
            {title: cell[0] if isinstance(cell, list) else cell for title, cell in zip(titles, row, strict=True)}
            for row in self.tables[name]["rows"]
        ]

    def mean(self, model: str, task: str) -> float:
        query = "SELECT AVG(value) FROM verdicts WHERE model = ? AND task = ?"
        return float(self.database.execute(query, (model, task)).fetchone()[0])

    def kept(self, model: str, task: str) -> float:
        """Retention, corrected for chance."""
        chance = CHANCE.get(task, 0.0)
        return (self.mean(model, task) - chance) / (self.mean(BASE.fingerprint, task) - chance)

    def one(self, query: str, *values: Any) -> Any:
        return self.database.execute(query, values).fetchone()[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished study in which every model answers each task differently."""
    folder = tmp_path_factory.mktemp("numbers") / "run"
    finished_study(folder)
    kinds = {"facts@likelihood": "choice", "facts@free": "generation", "word_problems": "generation"}
    with Store(folder) as store:
        known = {task["name"]: task for task in Artifacts(store).tasks or []}
        refs = [*(BASE.without((layer,)) for layer in range(3)), FINETUNED, QUANTIZED, SIBLING]
        for place, ref in enumerate(refs):
            for shift, name in enumerate(kinds):
                right = 3 + 2 * place + shift
                put(store, ref, known[name], [1.0] * right + [0.0] * (20 - right))
    return Run(folder)


def test_scores_of_the_unpruned_model(run: Run) -> None:
    for row in run.rows("base"):
        count = run.one("SELECT COUNT(*) FROM verdicts WHERE model = ? AND task = ?", BASE.fingerprint, row["task"])
        assert row["n"] == count == 20
        if row["metric"] == "accuracy":
            assert row["score (95% CI)"] == pytest.approx(run.mean(BASE.fingerprint, row["task"]), rel=1e-5)
            right = run.one(
                "SELECT COUNT(*) FROM verdicts WHERE model = ? AND task = ? AND outcome = 'correct'",
                BASE.fingerprint,
                row["task"],
            )
            assert f"{right} correct" in row["outcomes"]


def test_single_layers(run: Run) -> None:
    rows = run.rows("sweep")
    assert len(rows) == 9
    for row in rows:
        model = BASE.without((row["skipped layer"],)).fingerprint
        assert row["score (95% CI)"] == pytest.approx(run.mean(model, row["task"]), rel=1e-5)
        kept = run.kept(model, row["task"])
        assert row["corrected for chance (95% CI)" if row["task"] in CHANCE else "retention (95% CI)"] == pytest.approx(
            kept, rel=1e-5
        )
        # The chart says the same.
        assert f"{row['task']} without layer {row['skipped layer']}: retention {kept:.2f} (" in run.page
        lost = run.one(
            "SELECT COUNT(*) FROM verdicts a JOIN verdicts b USING (task, sample) "
            "WHERE a.model = ? AND b.model = ? AND task = ? AND a.value = 1 AND b.value = 0",
            BASE.fingerprint,
            model,
            row["task"],
        )
        assert row["lost"] == lost


def test_methods_and_classes(run: Run) -> None:
    model = BASE.without((1,)).fingerprint
    for row in run.rows("pruned"):
        assert row["score (95% CI)"] == pytest.approx(run.mean(model, row["task"]), rel=1e-5)
    written = [run.kept(model, task) for task in ("facts@free", "word_problems")]
    means = {"generation": sum(written) / 2, "choice": run.kept(model, "facts@likelihood")}
    for row in run.rows("classes"):
        value = row["corrected for chance (95% CI)"] if row["class"] == "choice" else row["retention (95% CI)"]
        assert value == pytest.approx(means[row["class"]], rel=1e-5)
        assert f"random, seed 1 of 1, 1 removed: {means[row['class']]:.2f} (" in run.page


def test_finetuned_models_and_alternatives(run: Run) -> None:
    (title,) = {key for key in run.rows("recovery_0")[0] if key.startswith("self-generated")}
    tasks = [row for row in run.rows("recovery_0") if not row["class or task"].endswith("(mean over tasks)")]
    assert len(tasks) == 3
    for row in tasks:
        task = row["class or task"]
        assert row["unpruned (95% CI)"] == pytest.approx(run.mean(BASE.fingerprint, task), rel=1e-5)
        assert row["pruned (95% CI)"] == pytest.approx(run.mean(BASE.without((1,)).fingerprint, task), rel=1e-5)
        assert row[title] == pytest.approx(run.mean(FINETUNED.fingerprint, task), rel=1e-5)
    models = {"4-bit weights": QUANTIZED.fingerprint, "small": SIBLING.fingerprint, "unpruned": BASE.fingerprint}
    for row in run.rows("option_tasks"):
        if row["model"] in models:
            expected = run.mean(models[row["model"]], row["task"])
            assert row["score (95% CI)"] == pytest.approx(expected, rel=1e-5)
    # Retention of the finetuned model, in the chart of quality against speed.
    kept = [run.kept(FINETUNED.fingerprint, task) for task in ("facts@free", "word_problems")]
    assert f"finetuned (full): retention {sum(kept) / 2:.2f} (" in run.page


def test_speed_is_the_median_of_its_repeats(run: Run) -> None:
    stored = json.loads(run.one("SELECT content FROM artifacts WHERE name = 'speed'"))
    for row, timing in zip(run.rows("speed"), stored, strict=True):
        rates = sorted(timing["tokens_per_s"])
        assert row["tokens/s (range)"] == pytest.approx(rates[len(rates) // 2], rel=1e-5)
        assert row["parameters"] == timing["parameters"]


def test_every_answer_is_in_the_page(run: Run) -> None:
    match = re.search('id="book">([A-Za-z0-9+/=]*)</script>', run.page)
    assert match
    book = json.loads(gzip.decompress(base64.b64decode(match[1])))
    values = [answer[3] for task in book["tasks"] for item in task["items"] for answer in item[4]]
    # Each model once: the plan's is also that of a skipped layer, and alternatives have no place among the answers.
    models = (BASE, *(BASE.without((layer,)) for layer in range(3)), BASE.without((1,)), FINETUNED)
    total = sum(run.one("SELECT SUM(value) FROM verdicts WHERE model = ?", ref.fingerprint) for ref in models)
    assert len(values) == 20 * 3 * len(models)
    assert sum(values) == total


def test_record_of_a_task_is_that_of_the_study() -> None:
    assert record("facts@likelihood", 20)["chance"] == CHANCE["facts@likelihood"]
