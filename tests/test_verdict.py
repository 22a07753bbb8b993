"""The verdict on a study from its stored answers: judgements, cards, sentences."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from stored_runs import BASE, FINETUNED, _describe, add_items, finished_study, put, record

from layerlimits.api import open_run
from layerlimits.cli import app
from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import Artifacts, Plan
from layerlimits.evaluation.store import Store
from layerlimits.results.judge import study_verdict
from layerlimits.results.requirements import parse_requirements
from layerlimits.results.stored_answers import StoredAnswers
from layerlimits.results.verdict import Card, Verdict

N = 300


def study(folder: Path, right: Mapping[tuple[int, ...], int], finetuned: int = 0, n: int = N) -> None:
    """A finished study of one choice and one generation task, on which models have this many of n items right.

    The base has all right; the first model's layers are chosen by two methods.
    """
    tasks = [record("quiz", n), record("essay", n, kind="generation", protocol="free", chance=0.0)]
    plans: list[Plan] = [
        {"method": f"method{place}", "ratio": 0.3, "layers": len(removed), "removed": list(removed)}
        for place, removed in enumerate(right)
    ]
    plans.append({**plans[0], "method": "another"})
    models = {(): n} | dict(right)
    with Store(folder) as store:
        for task in tasks:
            for removed, count in models.items():
                put(store, BASE.without(removed), task, [1.0] * count + [0.0] * (n - count))
            put(store, FINETUNED, task, [1.0] * finetuned + [0.0] * (n - finetuned))
            add_items(store, task)
        artifacts = Artifacts(store)
        _describe(artifacts, tasks, plans[0])
        artifacts.plans = plans
        artifacts.alternatives = []
        recovered = artifacts.recovered["random-1-full"]
        entry: Any = {**recovered, **plans[0]}
        entry.pop("curve")
        artifacts.recovered = {"method0-1-full": entry} if finetuned else {}


def judged(folder: Path, *requirements: str) -> Verdict:
    with Store(folder, read_only=True) as store:
        answers = StoredAnswers.of_study(store).at("base")
        return study_verdict(answers, Artifacts(store), parse_requirements(requirements))


def verdicts(verdict: Verdict) -> dict[str, str]:
    return {card.name: card.verdict for card in verdict.cards}


def test_models_keep_fail_or_leave_it_open_by_the_bounds(tmp_path: Path) -> None:
    study(tmp_path, {(1,): 297, (0, 1): 272, (2,): 200})
    verdict = judged(tmp_path)
    assert verdicts(verdict) == {"method0-1": "keeps", "method1-2": "too few items", "method2-1": "fails"}
    assert verdict.best == "method0-1"
    assert (verdict.compared, verdict.shared_by) == (3, 2)
    for card in verdict.cards:
        for row, wanted in zip(card.judgements, verdict.requirements, strict=True):
            assert row.low is not None
            assert row.high is not None
            assert (row.verdict == "keeps") == (row.low >= wanted.threshold)
            assert (row.verdict == "fails") == (row.high < wanted.threshold)
            # A model is named once in its sentence, and the numbers of a judgement are in it.
            assert f"n = {row.n}" in row.sentence
            assert row.sentence in card.sentence


def test_two_methods_with_the_same_layers_are_one_model(tmp_path: Path) -> None:
    study(tmp_path, {(1,): 297})
    (card,) = judged(tmp_path).cards
    assert card.methods == ("method0", "another")
    assert card.removed == (1,)


def test_the_error_is_shared_by_the_models_that_were_looked_at(tmp_path: Path) -> None:
    alone, many = tmp_path / "alone", tmp_path / "many"
    study(alone, {(1,): 285})
    study(many, {(1,): 285} | {(0, 2): 150, (0, 1): 150, (2,): 150, (0,): 150, (1, 2): 150})
    (one,) = judged(alone, "essay>=0.92").cards
    six = next(card for card in judged(many, "essay>=0.92").cards if card.name == "method0-1")
    low, shared = one.judgements[0].low, six.judgements[0].low
    assert low is not None
    assert shared is not None
    assert shared < low
    assert (one.verdict, six.verdict) == ("keeps", "too few items")
    assert one.judgements[0].error == 0.05
    assert six.judgements[0].error == pytest.approx(0.05 / 6)
    assert judged(many).choice.endswith("shared by all 6 models that were looked at (divided by 6).")
    assert "no choice to correct for" in judged(alone).choice


def test_the_items_that_would_tell_do_tell(tmp_path: Path) -> None:
    few, enough = tmp_path / "few", tmp_path / "enough"
    study(few, {(1,): 95}, n=100)
    (row,) = judged(few, "essay>=0.9").cards[0].judgements
    assert row.verdict == "too few items"
    assert row.items_needed
    assert f"about {row.items_needed:,} items a task would tell" in row.sentence
    study(enough, {(1,): round(0.95 * row.items_needed)}, n=row.items_needed)
    assert judged(enough, "essay>=0.9").cards[0].verdict == "keeps"


def test_the_deepest_cut_that_keeps_everything_is_named_with_its_layers(tmp_path: Path) -> None:
    study(tmp_path, {(1,): 300, (0, 1): 298, (0, 2): 100})
    verdict = judged(tmp_path, "essay>=0.9", "quiz>=0.8@0.1")
    assert verdict.best == "method1-2"
    first = verdict.sentences[0]
    assert first.startswith(
        "2 layers of 3 can be removed keeping at least 90% of essay and at least 80% of quiz: layers 0 and 1, by meth"
    )
    assert "One other model keeps it too." in first
    worst = verdict.cards[0].worst
    assert worst
    shown = re.search(r"Its worst task, (\w+), keeps at least ([0-9.]+)%", first)
    assert shown
    assert shown[1] == worst.task
    assert float(shown[2]) / 100 <= worst.retention.low


def test_none_keeps_it_and_why(tmp_path: Path) -> None:
    study(tmp_path, {(1,): 272, (0, 1): 150})
    verdict = judged(tmp_path)
    assert verdict.best is None
    assert verdict.sentences[0].startswith(
        "No model of this study is shown to keep at least 90% of choice and at least 90% of generation. "
        "1 of 2 models does not. For 1 of 2 models the number of items is too small to tell; about "
    )


def test_a_finetuned_model_has_a_card_and_its_harm_is_said(tmp_path: Path) -> None:
    study(tmp_path, {(1,): 290}, finetuned=240)
    results = open_run(tmp_path)
    assert results.verdict
    cards: dict[str, Card] = {card.name: card for card in results.verdict.cards}
    pruned, finetuned = cards["method0-1"], cards["method0-1-full"]
    assert pruned.finetuned == ("method0-1-full",)
    assert (pruned.finetuning, finetuned.finetuning) == ("", "full")
    assert finetuned.harm.startswith("Finetuning made it worse")
    assert pruned.harm == finetuned.harm
    assert finetuned.harm in results.answer


def test_the_gain_is_that_of_the_timed_models(tmp_path: Path) -> None:
    study(tmp_path, {(1,): 290, (2,): 290, (0, 1): 290})
    cards = {card.name: card for card in judged(tmp_path).cards}
    same, other, none = (cards[name].gain for name in ("method0-1", "method1-1", "method2-2"))
    assert same
    assert (same.weight_bytes, same.base_weight_bytes, same.timed) == (80, 120, (1,))
    assert same.speedup.estimate == pytest.approx(16 / 11)
    assert other
    assert other.timed == (1,)
    assert none is None


def test_the_commands_are_accepted_by_the_command_line(tmp_path: Path) -> None:
    import typer

    study(tmp_path, {(0, 2): 290}, finetuned=290)
    cards = {card.name: card for card in judged(tmp_path).cards}
    lines = cards["method0-1-full"].commands
    assert lines[0] == "layerlimits prune model --remove 0,2 --out method0-2"
    group: Any = typer.main.get_command(app)
    for line in lines:
        name, *rest = shlex.split(line)[1:]
        command = group.commands[name]
        command.make_context(name, rest)


@pytest.mark.parametrize("wanted", ["essays>=0.9", "generations>=0.9", "facts>=0.9"])
def test_an_unknown_target_is_refused(wanted: str, tmp_path: Path) -> None:
    study(tmp_path, {(1,): 290})
    with pytest.raises(UserError, match=re.escape(wanted.split(">")[0])):
        judged(tmp_path, wanted)


def test_a_study_that_is_not_finished_has_no_verdict(tmp_path: Path) -> None:
    finished_study(tmp_path)
    with Store(tmp_path) as store:
        Artifacts(store).finished = {}
    verdict = judged(tmp_path)
    assert not verdict.finished
    assert verdict.cards == ()
    assert verdict.sentences[0].startswith("The study is not finished")


def test_a_task_set_aside_cannot_be_judged(tmp_path: Path) -> None:
    study(tmp_path, {(1,): 290})
    with Store(tmp_path) as store:
        artifacts = Artifacts(store)
        first, second = artifacts.tasks or []
        aside: Any = {"counts": {"base": 24, "sweep": 0, "prune": 0}, "set_aside": "score 0.0% on the first 24 items"}
        artifacts.tasks = [first, {**second, **aside}]
    (card,) = judged(tmp_path, "essay>=0.9").cards
    assert card.verdict == "too few items"
    assert "essay was set aside, because score 0.0%" in card.sentence
    # By default, only classes that were measured are required.
    assert [row.requirement for row in judged(tmp_path).cards[0].judgements] == ["choice>=0.9@0.05"]


def test_the_numbers_are_those_of_the_answers(tmp_path: Path) -> None:
    study(tmp_path, {(1,): 270})
    rows: Sequence[Any] = judged(tmp_path, "essay>=0.9", "quiz>=0.9", "mean>=0.9").cards[0].judgements
    essay, quiz = 270 / 300, (270 / 300 - 0.25) / 0.75
    assert [row.estimate for row in rows] == pytest.approx([essay, quiz, (essay + quiz) / 2])
    assert [row.n for row in rows] == [300, 300, 600]
