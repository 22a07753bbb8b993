"""Variants asked together are stored as if each had been asked alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored_rows import assert_same_rows

from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded
from layerlimits.tasks import choose
from layerlimits.tasks.facts import facts
from layerlimits.tasks.facts_choice import facts_choice
from layerlimits.types import Decoding, Task, Verdict

VARIANTS = [(), (1,), (4,), (2, 3), (0, 5)]


@pytest.mark.parametrize("task", [facts, facts_choice], ids=lambda task: task.name)
def test_together_is_as_alone(loaded: Loaded, tmp_path: Path, task: Task) -> None:
    samples = task.samples("evaluate", 20, None)
    together, alone = (
        Evaluator(loaded, Store(tmp_path / engine), AskOptions(engine, 8)) for engine in ("sweep", "transformers")
    )
    ticks: list[float] = []
    verdicts = together.verdicts(VARIANTS, task, samples, ticks.append)
    assert verdicts == [alone.verdicts([variant], task, samples)[0] for variant in VARIANTS]
    assert_same_rows(together.store, alone.store, "engine")
    assert sum(ticks) == together.computed == len(VARIANTS) * 20
    # Nothing is asked again, alone or together, and only what is missing is asked.
    assert together.verdicts(VARIANTS, task, samples) == verdicts
    assert together.verdicts([(1,)], task, samples) == [verdicts[1]]
    assert together.computed == len(VARIANTS) * 20
    together.verdicts([(1,), (2,), (2,)], task, samples)
    assert together.computed == len(VARIANTS) * 20 + 20


def test_an_older_scorers_verdicts_are_renewed_without_asking(loaded: Loaded, tmp_path: Path) -> None:
    samples = facts.samples("evaluate", 6, None)
    evaluator = Evaluator(loaded, Store(tmp_path))
    evaluator.verdicts(VARIANTS, facts, samples)
    before = evaluator.computed
    mended = replace(facts, scorer=facts.scorer + 1, score=lambda sample, response: Verdict("wrong", 0.25))
    columns = evaluator.verdicts(VARIANTS, mended, samples)
    assert [[verdict.value for verdict in column] for column in columns] == [[0.25] * 6] * len(VARIANTS)
    assert evaluator.computed == before


def test_draws_at_random_are_asked_one_variant_at_a_time(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = facts.samples("evaluate", 6, None)
    hot = Decoding(temperature=0.8, samples=2)
    evaluator = Evaluator(loaded, Store(tmp_path), AskOptions(decoding=hot))
    engine: Any = evaluator.engine
    asked: list[int] = []
    real = engine.generate_batch
    monkeypatch.setattr(engine, "generate_batch", lambda *given: (asked.append(len(given[0])), real(*given))[1])
    columns = evaluator.verdicts([(1,), (2,)], facts, samples)
    assert [len(verdicts) for verdicts in columns] == [12, 12]
    # Two variants, two draws of six items each.
    assert asked == [6] * 4


def test_layers_whose_removal_changes_nothing_stop_it(loaded: Loaded, tmp_path: Path) -> None:
    from layerlimits.errors import UserError

    layer: Any = loaded.model.model.layers[2]
    for weight in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight):
        weight.data.zero_()
    with pytest.raises(UserError, match="removing layer 2"):
        Evaluator(loaded, Store(tmp_path)).verdicts([(1,), (2,)], facts, facts.samples("evaluate", 2, None))


def test_few_rows_at_a_time_answer_the_same(loaded: Loaded, tmp_path: Path) -> None:
    samples = facts.samples("evaluate", 12, None)
    whole = Evaluator(loaded, Store(tmp_path / "whole"))
    # Fewer rows than variants: not even they fit in at once.
    few = Evaluator(loaded, Store(tmp_path / "few"), AskOptions(max_rows=3))
    assert few.verdicts(VARIANTS, facts, samples) == whole.verdicts(VARIANTS, facts, samples)
    assert few.engine._bounds.rows == 3  # type: ignore[attr-defined]  # of this engine only


def test_small_tasks_share_a_batch_and_stored_answers_are_drafts(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [(task, task.samples("evaluate", 5, None)) for task in choose(["facts", "brackets"])]
    options = AskOptions(batch_size=16)
    together, alone = (Evaluator(loaded, Store(tmp_path / name), options) for name in ("together", "alone"))
    calls: list[tuple[int, set[int], bool]] = []
    engine: Any = together.engine
    real = engine.generate

    def watched(variants: Any, prompts: Any, limits: Any, *more: Any, drafts: Any = None, recorder: Any) -> Any:
        calls.append((len(prompts), set(limits), drafts is not None))
        return real(variants, prompts, limits, *more, drafts=drafts, recorder=recorder)

    monkeypatch.setattr(engine, "generate", watched)
    limits = {task.max_new_tokens for task, _ in asked}
    assert len(limits) == 2
    ticks: list[float] = []
    together.ask([(1, 4), (2, 4)], asked, ticks.append)
    together.ask([(4,)], asked)
    together.ask([(3, 4), (4, 5)], asked)
    # The prompts of both tasks at once; the model without layer 4 is what the last two have in common.
    assert [call[:2] for call in calls] == [(10, limits)] * 3
    assert [call[2] for call in calls] == [False, False, True]
    assert sum(ticks) == 20
    for task, samples in asked:
        for variant in [(1, 4), (2, 4), (4,), (3, 4), (4, 5)]:
            assert together.verdicts([variant], task, samples) == alone.verdicts([variant], task, samples)
    assert together.computed == 50
