"""The recovery curve: evaluation while training, the best weights, resuming, and losses that are not finite."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from recovery_models import (
    EXAMPLES,
    LEARNING,
    QUESTIONS,
    QUICK,
    QUICK_LORA,
    answer_loss,
    listed,
    stop_at,
    weights,
)
from torch.profiler import ProfilerActivity, profile

import layerlimits.recovery.trainer as trainer_module
from layerlimits.engines._trial import run_trial
from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded, load
from layerlimits.models.save import read_recipe
from layerlimits.recovery.context import CurvePlan, TrainingContext, best_point
from layerlimits.recovery.finetune import finetune
from layerlimits.recovery.rows import end_of_turn, to_rows
from layerlimits.recovery.selection import heldout_split, scores_on
from layerlimits.recovery.settings import FinetuneConfig
from layerlimits.types import Response, Sample, Verdict

pytest_plugins = ["recovery_fixtures"]

TRAINED, HELD_OUT = EXAMPLES[:5], EXAMPLES[5:]


def _says_the_colour(sample: Sample, response: Response) -> Verdict:
    right = response.text == sample.target
    return Verdict("correct" if right else "wrong", float(right))


ITEMS = [Sample(question, known.answer, "select") for question, known in zip(QUESTIONS, EXAMPLES, strict=True)]
COLOURS = replace(listed("colours", []), score=_says_the_colour, max_new_tokens=8)


def plan(loaded: Loaded, folder: Path, points: int = 3, engine: str = "sweep") -> CurvePlan:
    return CurvePlan(HELD_OUT, points, scores_on([(COLOURS, ITEMS)], loaded, folder, AskOptions(engine=engine)))


def curve_of(out: Path) -> list[dict[str, Any]]:
    recipe = read_recipe(out) or {}
    points: list[dict[str, Any]] = recipe["finetune"]["curve"]
    return points


def scored(points: list[dict[str, Any]]) -> list[float]:
    return [sum(point["scores"]["colours"]) for point in points]


def test_milestones_double_up_to_the_end() -> None:
    curve = CurvePlan(HELD_OUT, 4, lambda *_: {})
    assert curve.steps([10 * step for step in range(1, 81)]) == [10, 20, 40, 80]
    assert curve.steps([100, 200]) == [1, 2]
    with pytest.raises(UserError, match="cannot evaluate at 0 milestones"):
        CurvePlan(HELD_OUT, 0, lambda *_: {})
    with pytest.raises(UserError, match="there are 0 held-out examples"):
        CurvePlan([], 3, lambda *_: {})


def test_the_best_point_is_that_of_the_best_mean_score_then_of_the_lowest_loss() -> None:
    def point(tokens: int, loss: float, *scores: float) -> dict[str, Any]:
        return {"tokens": tokens, "heldout_loss": loss, "scores": {"a": [scores[0]], "b": [scores[1], scores[1]]}}

    untrained = point(0, 0.0, 1.0, 1.0)
    assert best_point([untrained, point(1, 2.0, 0.0, 0.5), point(2, 1.0, 0.5, 0.0), point(4, 3.0, 0.1, 0.1)]) == 2
    assert best_point([untrained]) is None


def test_heldout_prompts_are_apart_from_training() -> None:
    twice = [*EXAMPLES, *(replace(known, draw=1) for known in EXAMPLES)]
    trained, apart = heldout_split(twice)
    assert (len(trained), len(apart)) == (10, 2)
    assert {known.prompt_ids for known in apart} == {EXAMPLES[-1].prompt_ids}
    assert heldout_split(EXAMPLES[:1]) == (EXAMPLES[:1], [])


@pytest.mark.parametrize("settings", [LEARNING, replace(LEARNING, kind="lora", lora_rank=16)], ids=["full", "lora"])
def test_the_curve_is_what_saved_models_score(settings: FinetuneConfig, base: Loaded, tmp_path: Path) -> None:
    context = TrainingContext(curve=plan(base, tmp_path / "answers", 3))
    out = finetune(base, (), TRAINED, settings, tmp_path / "work", tmp_path / "out", {}, context)
    points = curve_of(out)
    tokens = settings.epochs * sum(known.tokens + 1 for known in TRAINED)
    # A milestone is the first step that reaches its tokens.
    steps = tokens // settings.epochs
    shares = [0, tokens / 4, tokens / 2, tokens]
    assert [point["tokens"] for point in points] == pytest.approx(shares, abs=steps)
    assert points[0]["train_loss"] > 4 > points[-1]["train_loss"]
    assert scored(points)[0] == 0
    # The saved model is that of the best point, by the stock way of loading and another engine.
    best = (read_recipe(out) or {})["finetune"]["best_tokens"]
    (kept,) = [point for point in points if point["tokens"] == best]
    saved = load(str(out), device="cpu")
    with Store(tmp_path / "check") as store:
        (verdicts,) = Evaluator(saved, store, AskOptions(engine="transformers")).verdicts([()], COLOURS, ITEMS)
    assert [verdict.value for verdict in verdicts] == kept["scores"]["colours"]
    assert sum(kept["scores"]["colours"]) >= 4
    (row,) = to_rows(base.tokenizer, end_of_turn(base.model, base.tokenizer), HELD_OUT, 128)
    assert kept["heldout_loss"] == pytest.approx(answer_loss(saved.model, row).item(), abs=1e-4)


@pytest.mark.parametrize("settings", [QUICK, QUICK_LORA], ids=["full", "lora"])
def test_evaluating_does_not_change_the_training(settings: FinetuneConfig, base: Loaded, tmp_path: Path) -> None:
    """Dropout draws random numbers, and the last point is the best here because only its loss decides."""
    losses = iter([0.0, 0.0, 0.0, 1.0])
    curve = CurvePlan(HELD_OUT, 3, lambda *_: {"colours": [next(losses)]})
    watched = finetune(
        base, (1,), TRAINED, settings, tmp_path / "a", tmp_path / "watched", {}, TrainingContext(curve=curve)
    )
    alone = finetune(base, (1,), TRAINED, settings, tmp_path / "b", tmp_path / "alone", {})
    assert weights(watched) == weights(alone)
    assert not (tmp_path / "a").exists()


def test_the_best_weights_are_saved_not_the_last(base: Loaded, tmp_path: Path) -> None:
    def finetuned(name: str, scores: list[float], settings: FinetuneConfig = QUICK) -> Path:
        remaining = iter(scores)
        curve = CurvePlan(HELD_OUT, 3, lambda *_: {"colours": [next(remaining)]})
        context = TrainingContext(curve=curve)
        return finetune(base, (1,), TRAINED, settings, tmp_path / "work", tmp_path / name, {}, context)

    # Half of the training with a constant rate is a training of half the epochs.
    constant = replace(QUICK, schedule="constant", warmup_steps=0)
    middle = finetuned("middle", [1.0, 0.1, 0.9, 0.5], constant)
    recipe = (read_recipe(middle) or {})["finetune"]
    assert recipe["best_tokens"] == recipe["curve"][2]["tokens"] < recipe["trained_tokens"]
    last = finetuned("last", [0.0, 0.1, 0.5, 0.9], constant)
    assert weights(middle) != weights(last)


@pytest.mark.usefixtures("save_each_step")
def test_an_interrupted_curve_resumes_to_the_same(base: Loaded, tmp_path: Path) -> None:
    whole = finetune(
        base, (1,), TRAINED, QUICK_LORA, tmp_path / "a", tmp_path / "whole", {},
        TrainingContext(curve=plan(base, tmp_path / "x")),
    )  # fmt: skip
    for stop in (2, 7):
        with pytest.raises(KeyboardInterrupt):
            finetune(
                base, (1,), TRAINED, QUICK_LORA, tmp_path / "b", tmp_path / "out", {},
                TrainingContext(stop_at(stop), plan(base, tmp_path / f"y{stop}")),
            )  # fmt: skip
    out = finetune(
        base, (1,), TRAINED, QUICK_LORA, tmp_path / "b", tmp_path / "out", {},
        TrainingContext(curve=plan(base, tmp_path / "z")),
    )  # fmt: skip
    assert curve_of(out) == curve_of(whole)
    assert weights(out) == weights(whole)


@pytest.mark.usefixtures("save_each_step")
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    base: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    original = trainer_module.SFTTrainer.compute_loss

    def spoil(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal steps
        steps += 1
        loss = original(self, *args, **kwargs)
        return loss * float("nan") if steps == 6 else loss

    monkeypatch.setattr(trainer_module.SFTTrainer, "compute_loss", spoil)
    with pytest.raises(UserError) as caught:
        finetune(base, (1,), EXAMPLES, QUICK, tmp_path / "work", tmp_path / "out", {})
    kept = tmp_path / "work" / "checkpoint-5"
    assert f"diverged: the loss of step 6 of 12 is nan; the last good checkpoint is {kept}" in caught.value.problem
    assert caught.value.fix == "lower lr (--lr)"
    assert not (tmp_path / "out").exists()
    assert json.loads((kept / "trainer_state.json").read_text())["global_step"] == 5
    assert trainer_module.is_complete(kept)
    # The fix works.
    finetune(base, (1,), EXAMPLES, replace(QUICK, lr=1e-4), tmp_path / "work", tmp_path / "out", {})


@pytest.mark.usefixtures("save_each_step")
def test_weights_that_are_not_finite_are_never_a_checkpoint(
    base: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[Any] = []
    original = trainer_module.SFTTrainer.compute_loss

    def spy(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        models[:] = [model]
        return original(self, model, *args, **kwargs)

    def spoil(done: int, total: int) -> None:
        if done == 4:
            next(models[0].parameters()).data.fill_(float("inf"))

    monkeypatch.setattr(trainer_module.SFTTrainer, "compute_loss", spy)
    with pytest.raises(UserError, match=r"weights are not finite; the last good checkpoint is .*checkpoint-3"):
        finetune(base, (1,), EXAMPLES, QUICK, tmp_path / "work", tmp_path / "out", {}, TrainingContext(spoil))
    assert not (tmp_path / "work" / "checkpoint-4").exists()


def test_evaluating_does_not_copy_frozen_weights_for_each_row(base: Loaded, tmp_path: Path) -> None:
    words, seen = base.model.config.vocab_size, []

    def scores(model: Any, key: str) -> dict[str, list[float]]:
        assert not model.get_output_embeddings().weight.requires_grad
        with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], record_shapes=True) as record:
            model(torch.tensor([[5, 6, 7], [8, 9, 10]]), logits_to_keep=1)
        products = [event for event in record.events() if event.name in ("aten::mm", "aten::bmm", "aten::addmm")]
        seen.extend(event.name for event in products if any(words in shape for shape in event.input_shapes))
        return {"none": [0.0]}

    context = TrainingContext(curve=CurvePlan(HELD_OUT, 1, scores))
    finetune(base, (1,), TRAINED, QUICK_LORA, tmp_path / "work", tmp_path / "out", {}, context)
    # A batched product would have one copy of the head's weights for each row.
    assert set(seen) == {"aten::mm"}


def test_models_in_training_are_evaluated_by_the_engine_of_sweeps(base: Loaded, tmp_path: Path) -> None:
    refusals: list[str | None] = []

    def scores(model: Any, key: str) -> dict[str, list[float]]:
        refusals.append(run_trial(model).refusal)
        return {"none": [0.0]}

    half = replace(base, ref=replace(base.ref, dtype="bfloat16"), model=copy.deepcopy(base.model).bfloat16())
    context = TrainingContext(curve=CurvePlan(HELD_OUT, 1, scores))
    finetune(half, (), TRAINED, QUICK_LORA, tmp_path / "work", tmp_path / "out", {}, context)
    assert refusals == [None, None]
