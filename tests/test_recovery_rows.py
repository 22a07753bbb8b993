"""Recovery in results and report: the table by objective, the closed gap, harm in one sentence, and the curves."""

import re
from pathlib import Path
from typing import Any

import pytest
from stored_runs import BASE, add_items, finished_study, milestones, put, record

from layerlimits.api import open_run, write_report
from layerlimits.evaluation.artifacts import Artifacts, RecoveredRecord
from layerlimits.evaluation.store import Store
from layerlimits.report.charts.curves import recovery_curves
from layerlimits.report.study_tables import recovery_tables
from layerlimits.results.milestones import recovery_curve
from layerlimits.results.recovery import recovery_rows
from layerlimits.results.rows import Recovery
from layerlimits.results.stored_answers import StoredAnswers
from layerlimits.statistics.significance import mcnemar
from layerlimits.types import Estimate, ModelRef

KINDS: Any = {"facts@likelihood": "choice", "facts@free": "generation", "word_problems": "generation"}
CHANCES = {"facts@likelihood": 0.25}


def trained(fingerprint: str, **changes: Any) -> RecoveredRecord:
    plain: dict[str, Any] = {
        "method": "random",
        "ratio": 0.3,
        "layers": 3,
        "removed": [1],
        "name": "lora",
        "fingerprint": fingerprint,
        "settings": {},
        "examples": 30,
        "dropped": 0,
        "trained_tokens": 900,
        "seconds": 1.0,
    }
    return {**plain, **changes}  # type: ignore[typeddict-item]  # its keys are those of the record


def values(right: int, n: int = 48) -> list[float]:
    return [1.0] * right + [0.0] * (n - right)


def rows(folder: Path, *right: tuple[int, int], **changes: Any) -> tuple[Recovery, ...]:
    """Finetuned models, each with so many right items of 48 in a choice and in a generation task."""
    choice = record("facts", 48)
    words = record("word_problems", 48, kind="generation", protocol="free", chance=0.0)
    models = [ModelRef(f"finetuned-{number}", f"f{number}") for number in range(len(right))]
    with Store(folder) as store:
        for task, base, pruned, number in ((choice, 40, 38, 0), (words, 44, 20, 1)):
            put(store, BASE, task, values(base))
            put(store, BASE.without((1,)), task, values(pruned))
            for model, counts in zip(models, right, strict=True):
                put(store, model, task, values(counts[number]))
        answers = StoredAnswers(store, BASE, [choice, words])
        return recovery_rows(answers, [trained(model.fingerprint, **changes) for model in models])


def test_the_gap_is_closed_by_task_and_class(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, (38, 32))
    choice, words = row.tasks
    # Two of 48 items are no significant loss, of which nothing can be regained.
    assert choice.regained is None
    assert words.regained is not None
    assert words.regained.estimate == pytest.approx(12 / 24)
    assert words.change is not None
    assert words.change.estimate == pytest.approx(12 / 48)
    assert [part.kind for part in row.classes] == ["choice", "generation"]
    assert row.classes[1].regained == words.regained
    assert row.harm == ""
    assert row.objective == "self"


def test_harm_is_a_sentence_with_both_tests(tmp_path: Path) -> None:
    # The case of the issue: .833 unpruned, .792 pruned, .646 finetuned.
    (row,) = rows(tmp_path, (31, 32))
    against_pruned, against_base = mcnemar(values(38), values(31)), mcnemar(values(40), values(31))
    assert row.harm == (
        "Finetuning made it worse: the model with 3 layers removed by random (lora, self-generated answers) falls on "
        "facts from 0.792 pruned to 0.646 (unpruned 0.833, n = 48; paired test against the pruned model: 7 items "
        f"lost, 0 won, p = {against_pruned.p:.2g}; against the unpruned model: 9 items lost, 0 won, "
        f"p = {against_base.p:.2g})."
    )


def test_several_finetuned_models_are_corrected_together(tmp_path: Path) -> None:
    row, other = rows(tmp_path, (32, 20), (38, 30))
    test = row.tasks[0].pruned_test
    assert test is not None
    # Of the four tests, two find no difference; .03 is the second smallest.
    assert test.p == mcnemar(values(38), values(32)).p == pytest.approx(1 / 32)
    assert test.p_holm == pytest.approx(3 / 32)
    assert row.harm.startswith("Finetuning may have made it worse: the mean score of the model with 3 layers")
    assert "changed by -0.125 in choice, and no task by a significant difference" in row.harm
    assert other.harm == ""


def test_a_study_says_harm_in_its_verdict_and_report(tmp_path: Path) -> None:
    finished_study(tmp_path)
    with Store(tmp_path) as store:
        artifacts = Artifacts(store)
        worse = ModelRef("worse", "worse")
        for task in artifacts.tasks or []:
            put(store, worse, task, values(0, 20))
        entry = artifacts.recovered["random-1-full"]
        objective = {"settings": {"objective": "distill"}, "fingerprint": worse.fingerprint}
        artifacts.recovered = artifacts.recovered | {"worse": {**entry, **objective}}  # type: ignore[typeddict-item]  # JSON
    results = write_report(tmp_path)
    assert results.recovery[0].harm == ""
    # Five of 20 items are lost in each of three tasks: p = .0625 before the correction.
    assert results.recovery[1].harm.startswith("Finetuning may have made it worse: ")
    assert results.recovery[1].harm in results.answer
    page = (tmp_path / "report.html").read_text()
    # In the answer, on the cards of the pruned and of the finetuned model, and in the part on finetuning.
    assert page.count("Finetuning may have made it worse") == 4
    assert "gap closed: self-generated answers, full (95% CI)" in page
    assert "gap closed: distillation from the unpruned model, full (95% CI)" in page


def test_the_table_has_a_column_per_objective(tmp_path: Path) -> None:
    finished_study(tmp_path)
    (table,) = recovery_tables(open_run(tmp_path))
    assert table.caption == "Unpruned, pruned and finetuned scores: 1 layer removed by random"
    assert [column.title for column in table.columns[3:5]] == [
        "self-generated answers, full (95% CI)",
        "gap closed: self-generated answers, full (95% CI)",
    ]
    assert [row[0] for row in table.rows] == [
        "choice (mean over tasks)",
        "generation (mean over tasks)",
        "facts@likelihood",
        "facts@free",
        "word_problems",
    ]
    closed = table.rows[1][4]
    assert isinstance(closed, Estimate)
    assert closed.estimate == pytest.approx((12 - 5) / (19 - 5))


def test_the_curve_is_drawn_with_losses_and_projection(tmp_path: Path) -> None:
    finished_study(tmp_path)
    ((figure, sentences),) = recovery_curves(open_run(tmp_path))
    titles = [re.search('class="h"[^>]*>([^<]*)<', panel.body)[1] for panel in figure.panels]  # type: ignore[index]  # all have one
    assert titles == ["generation (mean)", "facts@likelihood", "facts@free", "word_problems", "loss"]
    tips = re.findall("<title>([^<]*)</title>", figure.panels[3].body)
    # The projection, then the pruned model and five milestones.
    assert tips[0].startswith("word_problems, projected for 31,000 tokens: ")
    shares = [re.fullmatch(r"word_problems, ([\d,]+) tokens: (\d.\d\d) .*", tip) for tip in tips[1:]]
    assert [match and match[1] for match in shares] == ["0", "100", "300", "700", "1,500", "3,100"]
    assert [float(match[2]) for match in shares if match] == [count / 20 for count in (5, 8, 10, 11, 12, 12)]
    assert "retention 0.26" in tips[1]
    sentence = next(text for text in sentences if text.startswith("word_problems: projected ceiling 0."))
    assert "ten times the tokens would bring" in sentence
    assert "half of the loss is regained" in sentence
    page = write_report(tmp_path) and (tmp_path / "report.html").read_text()
    assert f'id="chart-{figure.name}"' in page
    assert sentence in page


def test_a_curve_without_the_unpruned_scores_has_no_retention() -> None:
    curve = recovery_curve(trained("f", curve=milestones([5, 8, 12])), KINDS, CHANCES)
    assert curve is not None
    assert [line.name for line in curve.lines] == ["generation", "facts@likelihood", "facts@free", "word_problems"]
    for line in curve.lines:
        assert all(point.retention is None for point in line.points)
        assert line.saturation.half is None
        assert line.saturation.reason == "3 milestones, and a fit takes 4"
    assert [loss.tokens for loss in curve.losses] == [0, 100, 300]


def test_retention_on_a_curve_is_corrected_for_chance() -> None:
    base = {"facts@likelihood": values(20, 20)}
    curve = recovery_curve(trained("f", curve=milestones([5, 10, 15, 20]), curve_base=base), KINDS, CHANCES)
    assert curve is not None
    line = next(line for line in curve.lines if line.name == "facts@likelihood")
    retained = [point.retention.estimate for point in line.points if point.retention]
    assert retained == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_no_milestones_no_curve(tmp_path: Path) -> None:
    assert recovery_curve(trained("f"), KINDS, CHANCES) is None
    finished_study(tmp_path)
    with Store(tmp_path) as store:
        artifacts = Artifacts(store)
        entry = dict(artifacts.recovered["random-1-full"])
        del entry["curve"]
        artifacts.recovered = {"old": entry}  # type: ignore[dict-item]  # as stored by a former version
    results = write_report(tmp_path)
    assert results.recovery[0].curve is None
    assert "Scores and losses during finetuning" not in (tmp_path / "report.html").read_text()


def test_items_of_a_stored_study_are_those_of_its_models(tmp_path: Path) -> None:
    # The finetuned model has answered less: it has no row, and the study is still read.
    finished_study(tmp_path)
    with Store(tmp_path) as store:
        artifacts = Artifacts(store)
        extra = record("arithmetic", 20, kind="generation", protocol="free", chance=0.0)
        for model in (BASE, BASE.without((1,))):
            put(store, model, extra, values(10, 20))
        add_items(store, extra)
        artifacts.tasks = [*(artifacts.tasks or []), extra]
    (row,) = open_run(tmp_path).recovery
    assert "arithmetic" not in [task.task for task in row.tasks]
