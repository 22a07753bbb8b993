"""Objectives: the answers of the items, those of the unpruned model, distillation, and a control that must fail."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from recovery_models import EXAMPLES, LEARNING, QUESTIONS, QUICK, QUICK_LORA
from safetensors.torch import load_file
from torch.nn.functional import log_softmax

import layerlimits.recovery.trainer as trainer_module
from layerlimits.engines.transformers import TransformersEngine
from layerlimits.errors import UserError
from layerlimits.evaluation.prompts import encode
from layerlimits.models.load import Loaded, load
from layerlimits.models.remove import without_layers
from layerlimits.recovery.context import TrainingContext
from layerlimits.recovery.finetune import finetune
from layerlimits.recovery.packing import check_packing
from layerlimits.recovery.rows import IGNORED, end_of_turn, to_rows
from layerlimits.types import Sample

pytest_plugins = ["recovery_fixtures"]

REMOVED = (0, 1)


def right_answers(folder: Path) -> int:
    loaded = load(str(folder), device="cpu")
    ids = [encode(loaded.tokenizer, Sample(question, "", "evaluate")).ids for question in QUESTIONS]
    written = TransformersEngine(loaded.model, loaded.tokenizer).generate_batch(ids, 8)
    return sum(response.text == known.answer for response, known in zip(written, EXAMPLES, strict=True))


def test_distillation_recovers_and_shuffled_answers_do_not(taught: Loaded, tmp_path: Path) -> None:
    settings = replace(LEARNING, epochs=40)
    teacher = TrainingContext(teacher=taught.model)
    before = {name: weight.clone() for name, weight in taught.model.state_dict().items()}
    distilled = finetune(
        taught, REMOVED, EXAMPLES, replace(settings, objective="distill"), tmp_path / "a", tmp_path / "distilled", {},
        teacher,
    )  # fmt: skip
    assert all(torch.equal(weight, before[name]) for name, weight in taught.model.state_dict().items())
    # The control: the same prompts, answers, tokens and steps, in another assignment.
    answers = [known.answer for known in EXAMPLES]
    shuffled = [
        replace(known, answer=answer) for known, answer in zip(EXAMPLES, [*answers[1:], answers[0]], strict=True)
    ]
    control = finetune(taught, REMOVED, shuffled, settings, tmp_path / "b", tmp_path / "control", {})
    assert right_answers(distilled) == 6
    assert right_answers(control) == 0


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_the_loss_of_distillation_is_the_divergence_over_the_answers(
    beta: float, taught: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from layerlimits.recovery import distilling

    losses: list[float] = []
    original = distilling.GKDTrainer.compute_loss

    def spy(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = original(self, *args, **kwargs)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(distilling.GKDTrainer, "compute_loss", spy)
    settings = replace(QUICK, objective="distill", distill_beta=beta, batch_size=6, epochs=1)
    context = TrainingContext(teacher=taught.model)
    finetune(taught, REMOVED, EXAMPLES, settings, tmp_path / "work", tmp_path / "out", {}, context)
    rows = to_rows(taught.tokenizer, end_of_turn(taught.model, taught.tokenizer), EXAMPLES, 128)
    total = count = 0.0
    for row in rows:
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor(row["labels"][1:])
        with torch.no_grad():
            teacher = log_softmax(taught.model(ids).logits[0, :-1], -1)[labels != IGNORED]
            with without_layers(taught.model, REMOVED) as pruned:
                student = log_softmax(pruned(ids).logits[0, :-1], -1)[labels != IGNORED]
        first, second = (teacher, student) if beta == 0 else (student, teacher)
        total += float((first.exp() * (first - second)).sum())
        count += len(teacher)
    assert losses == pytest.approx([total / count], rel=1e-4)


def test_on_policy_batches_have_the_answers_of_the_model_in_training(
    taught: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from layerlimits.recovery import distilling

    fed: list[torch.Tensor] = []
    original = distilling.GKDTrainer.compute_loss

    def spy(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        fed.append(torch.where(inputs["labels"] == IGNORED, 0, inputs["labels"]))
        return original(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(distilling.GKDTrainer, "compute_loss", spy)
    settings = replace(QUICK, objective="distill", on_policy=1.0, batch_size=6, epochs=2)
    context = TrainingContext(teacher=taught.model)
    finetune(taught, REMOVED, EXAMPLES, settings, tmp_path / "work", tmp_path / "out", {}, context)
    known = {known.answer for known in EXAMPLES}
    written = {text for labels in fed for text in taught.tokenizer.batch_decode(labels, skip_special_tokens=True)}
    assert len(fed) == 2
    assert written
    assert not written & known


def test_distillation_without_a_teacher_is_refused(base: Loaded, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the objective distill needs a teacher"):
        finetune(base, (1,), EXAMPLES, replace(QUICK, objective="distill"), tmp_path / "work", tmp_path / "out", {})


@pytest.mark.usefixtures("save_each_step")
def test_distillation_resumes_to_the_same_bytes(taught: Loaded, tmp_path: Path) -> None:
    settings = replace(QUICK_LORA, objective="distill", on_policy=0.5)

    def run(name: str, stop: int | None = None) -> Path:
        def tick(done: int, total: int) -> None:
            if done == stop:
                raise KeyboardInterrupt

        context = TrainingContext(tick, teacher=taught.model)
        return finetune(taught, REMOVED, EXAMPLES, settings, tmp_path / "work", tmp_path / name, {}, context)

    whole = load_file(run("whole") / "model.safetensors")
    with pytest.raises(KeyboardInterrupt):
        run("out", 7)
    resumed = load_file(run("out") / "model.safetensors")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_packed_examples_give_the_same_loss(base: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses: list[float] = []
    shapes: list[tuple[int, ...]] = []
    original = trainer_module.SFTTrainer.compute_loss

    def spy(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        shapes.append(tuple(inputs["input_ids"].shape))
        loss = original(self, model, inputs, *args, **kwargs)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(trainer_module.SFTTrainer, "compute_loss", spy)
    plain = replace(QUICK, batch_size=6, epochs=1)
    finetune(base, (1,), EXAMPLES, plain, tmp_path / "a", tmp_path / "plain", {})
    block = replace(plain, packing=True, max_length=400, batch_size=1)
    finetune(base, (1,), EXAMPLES, block, tmp_path / "b", tmp_path / "block", {})
    # One block of all examples, without padding.
    assert [shape[0] for shape in shapes] == [6, 1]
    assert shapes[1][1] < shapes[0][0] * shapes[0][1]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("plain", "block"))
    # The first step of AdamW has the size of the learning rate even where a gradient is all rounding.
    apart = sum(int(((before[name] - after[name]).abs() > 1e-4).sum()) for name in before)
    assert apart < 0.01 * sum(weight.numel() for weight in before.values())


def test_packing_is_refused_where_examples_would_change_each_other(
    base: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = to_rows(base.tokenizer, base.tokenizer.eos_token_id, EXAMPLES, 128)
    check_packing(base.model, rows)
    original = type(base.model).forward

    def deaf(self: Any, *args: Any, position_ids: Any = None, **kwargs: Any) -> Any:
        return original(self, *args, **kwargs)

    monkeypatch.setattr(type(base.model), "forward", deaf)
    with pytest.raises(UserError, match="packing does not work with llama: examples in one block change each other"):
        check_packing(base.model, rows)
