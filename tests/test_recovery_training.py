"""Finetuning with TRL and PEFT: trained weights, training data, and the saved checkpoint."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from recovery_models import EXAMPLES, QUESTIONS, QUICK, QUICK_LORA, answer_loss, example, weights
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import layerlimits.recovery.trainer as trainer_module
from layerlimits.engines.transformers import TransformersEngine
from layerlimits.errors import UserError
from layerlimits.evaluation.prompts import encode
from layerlimits.models.load import Loaded, load
from layerlimits.models.remove import without_layers
from layerlimits.models.save import read_recipe, save_pruned
from layerlimits.recovery.context import TrainingContext
from layerlimits.recovery.finetune import finetune
from layerlimits.recovery.rows import IGNORED, end_of_turn, to_rows, training_order
from layerlimits.recovery.settings import FinetuneConfig
from layerlimits.types import PrunePlan, Sample

pytest_plugins = ["recovery_fixtures"]


def test_full_finetuning_learns_by_heart(base: Loaded, taught: Loaded) -> None:
    def loss(loaded: Loaded) -> float:
        rows = to_rows(loaded.tokenizer, end_of_turn(loaded.model, loaded.tokenizer), EXAMPLES, 128)
        return sum(answer_loss(loaded.model, row).item() for row in rows) / len(rows)

    assert loss(base) > 5
    assert loss(taught) < 0.05
    ids = [encode(taught.tokenizer, Sample(question, "", "train")).ids for question in QUESTIONS]
    for known, prompt in zip(EXAMPLES, ids, strict=True):
        (response,) = TransformersEngine(taught.model, taught.tokenizer).generate_batch([prompt], 10)
        assert (response.text, response.finish) == (known.answer, "stop")


def test_the_loss_is_the_answers_alone(base: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[list[int]], float]] = []
    original = trainer_module.SFTTrainer.compute_loss

    def spy(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        labels = inputs["labels"].tolist()
        loss = original(self, model, inputs, *args, **kwargs)
        seen.append((labels, loss.item()))
        return loss

    monkeypatch.setattr(trainer_module.SFTTrainer, "compute_loss", spy)
    two = [example("a long question?", "yes"), example("b", "no")]
    finetune(base, (1,), two, replace(QUICK, epochs=1), tmp_path / "work", tmp_path / "out", {})
    ((labels, loss),) = seen
    end = base.tokenizer.eos_token_id
    trained = sorted([label for label in row if label != IGNORED] for row in labels)
    assert trained == sorted([*base.tokenizer(text)["input_ids"], end] for text in ("yes", "no"))
    with without_layers(base.model, (1,)) as pruned:
        rows = to_rows(base.tokenizer, end, two, 128)
        total = sum(answer_loss(pruned, row) * count for row, count in zip(rows, (4, 3), strict=True))
    assert loss == pytest.approx(float(total) / 7, abs=1e-5)


def test_batches_come_in_the_training_order(base: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[list[int]] = []
    original = trainer_module.SFTTrainer.compute_loss

    def spy(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        fed.extend(inputs["input_ids"].tolist())
        return original(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(trainer_module.SFTTrainer, "compute_loss", spy)
    finetune(base, (1,), EXAMPLES, QUICK, tmp_path / "work", tmp_path / "out", {})
    rows = [row["input_ids"] for row in to_rows(base.tokenizer, base.tokenizer.eos_token_id, EXAMPLES, 128)]
    order = training_order([len(row) for row in rows], QUICK.batch_size, QUICK.epochs, QUICK.seed)
    pad = base.tokenizer.pad_token_id
    assert [[token for token in row if token != pad] for row in fed] == [rows[number] for number in order]


def test_the_result_is_a_stock_checkpoint_and_the_base_stays(base: Loaded, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    config = base.model.config.to_dict()
    steps: list[tuple[int, int]] = []
    out = finetune(
        base,
        (1, 2),
        EXAMPLES,
        QUICK,
        tmp_path / "work",
        tmp_path / "out",
        {"base": "x"},
        TrainingContext(lambda *step: steps.append(step)),
    )
    assert steps == [(step, 12) for step in range(1, 13)]
    assert all(torch.equal(value, before[name]) for name, value in base.model.state_dict().items())
    assert base.model.config.to_dict() == config
    assert not base.model.training
    stock = save_pruned(base.folder, base.ref, PrunePlan((1, 2), 4), tmp_path / "stock", "")
    for name in ("config.json", "generation_config.json", "tokenizer.json"):
        assert (out / name).read_text() == (stock / name).read_text()
    assert {path.name for path in out.iterdir()} == {path.name for path in stock.iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == {"out", "stock"}
    recipe = read_recipe(out) or {}
    assert recipe["base"] == "x"
    assert recipe["finetune"]["examples"] == 6
    assert recipe["finetune"]["trained_tokens"] == 4 * sum(example.tokens + 1 for example in EXAMPLES)
    assert recipe["finetune"]["settings"]["lr"] == 5e-3
    assert weights(out) != weights(stock)


def test_lora_is_merged(base: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peft.tuners.lora import LoraModel

    probe = torch.tensor([encode(base.tokenizer, Sample("colour 3?", "", "train")).ids])
    seen: dict[str, Any] = {}
    original = LoraModel.merge_and_unload

    def spy(self: Any, *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            seen["logits"] = self.eval()(probe).logits
        seen["adapted"] = {name.split(".lora_A")[0] for name, _ in self.named_parameters() if ".lora_A" in name}
        return original(self, *args, **kwargs)

    monkeypatch.setattr(LoraModel, "merge_and_unload", spy)
    out = finetune(base, (1,), EXAMPLES, QUICK_LORA, tmp_path / "work", tmp_path / "out", {})
    assert len(seen["adapted"]) == 3 * 7
    assert not any("head" in name for name in seen["adapted"])
    monkeypatch.setitem(sys.modules, "peft", None)
    with torch.no_grad():
        merged = AutoModelForCausalLM.from_pretrained(out)(probe).logits
        with without_layers(base.model, (1,)) as pruned:
            untrained = pruned(probe).logits
    assert torch.allclose(merged, seen["logits"], atol=1e-5, rtol=0)
    assert not torch.allclose(merged, untrained, atol=1e-2)


def test_short_types_train_in_float32_and_are_saved_as_they_were(
    base: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_in: set[torch.dtype] = set()
    original = trainer_module.SFTTrainer.compute_loss

    def spy(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        trained_in.update(parameter.dtype for parameter in model.parameters() if parameter.requires_grad)
        return original(self, model, *args, **kwargs)

    monkeypatch.setattr(trainer_module.SFTTrainer, "compute_loss", spy)
    half = load(str(base.folder), dtype="bfloat16", device="cpu")
    for settings in (QUICK, QUICK_LORA):
        out = finetune(half, (1,), EXAMPLES, settings, tmp_path / "work", tmp_path / settings.kind, {})
        trained = load(str(out), device="cpu", dtype="bfloat16").model
        assert trained.config.dtype == torch.bfloat16
        with without_layers(half.model, (1,)) as pruned:
            assert any(not torch.equal(a, b) for a, b in zip(pruned.parameters(), trained.parameters(), strict=True))
    assert trained_in == {torch.float32}


def test_training_is_silent_and_calls_nobody(
    base: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    calls: list[Any] = []
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", lambda *args, **kwargs: calls.append(kwargs))
    monkeypatch.chdir(tmp_path)
    finetune(base, (1,), EXAMPLES, QUICK, tmp_path / "work", tmp_path / "out", {})
    assert calls == []
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "Lora"}, "unknown kind of finetuning 'Lora'\n  fix: did you mean lora or qlora?"),
        ({"schedule": "cosine"}, "unknown schedule 'cosine'\n  fix: use one of: constant, linear"),
        ({"epochs": 0}, "epochs is 0, but must be above 0\n  fix: set epochs above 0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"warmup_steps": -1}, "warmup_steps is -1, but must be 0 or more\n  fix: set warmup_steps to 0 or more"),
        ({"lora_dropout": 1.0}, "lora_dropout is 1"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        FinetuneConfig(**settings)
    assert words in str(caught.value)


def test_learning_rate_and_schedule_follow_the_kind() -> None:
    assert (FinetuneConfig(kind="full").schedule, FinetuneConfig(kind="lora").schedule) == ("linear", "constant")
    assert (FinetuneConfig(kind="full").lr, FinetuneConfig(kind="lora").lr, FinetuneConfig(kind="lora", lr=1.0).lr) == (
        5e-4,
        2e-4,
        1.0,
    )


@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_the_learning_rate_moves_as_the_schedule_says(
    schedule: Any, base: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    original = trainer_module.SFTTrainer.compute_loss

    def spy(self: Any, *args: Any, **kwargs: Any) -> Any:
        rates.append(self.lr_scheduler.get_last_lr()[0])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(trainer_module.SFTTrainer, "compute_loss", spy)
    settings = FinetuneConfig(kind="full", lr=1e-3, schedule=schedule, batch_size=1, epochs=4, warmup_steps=0)
    two = [example("a", "yes"), example("b", "no")]
    finetune(base, (1,), two, settings, tmp_path / "work", tmp_path / "out", {})
    falling = [1e-3 * (1 - step / 8) for step in range(8)]
    assert rates == pytest.approx(falling if schedule == "linear" else [1e-3] * 8)


def test_nothing_to_train_on_and_divergence(base: Loaded, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are 0 examples"):
        finetune(base, (1,), [], QUICK, tmp_path / "work", tmp_path / "out", {})
    wild = replace(QUICK, lr=1e38, warmup_steps=0)
    with pytest.raises(UserError, match=r"finetuning with lr 1e\+38 diverged"):
        finetune(base, (1,), EXAMPLES, wild, tmp_path / "work", tmp_path / "out", {})
    assert not (tmp_path / "out").exists()


def _scarce(monkeypatch: pytest.MonkeyPatch, rows: int, after: int = 0) -> list[int]:
    """Memory runs out in batches of more than `rows` examples, after some of them; returns the sizes of all batches."""
    sizes: list[int] = []
    original = trainer_module.SFTTrainer.compute_loss

    def spy(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > rows and len(sizes) > after:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory")
        return original(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(trainer_module.SFTTrainer, "compute_loss", spy)
    return sizes


@pytest.mark.parametrize(("rows", "after"), [(2, 0), (1, 0), (3, 2)])
def test_short_memory_computes_the_same_batches_in_parts(
    rows: int,
    after: int,
    base: Loaded,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = replace(QUICK, batch_size=4, epochs=2)
    whole = finetune(base, (1,), EXAMPLES, settings, tmp_path / "work", tmp_path / "whole", {})
    with monkeypatch.context() as patch:
        sizes = _scarce(patch, rows, after)
        parts = finetune(base, (1,), EXAMPLES, settings, tmp_path / "work", tmp_path / "parts", {})
    fits = {2: 2, 1: 1, 3: 2}[rows]
    assert max(sizes[-2:]) <= fits
    assert f"note: out of memory; finetuning on {fits} of 4 examples at a time" in capsys.readouterr().err
    before, after_parts = (load_file(folder / "model.safetensors") for folder in (whole, parts))
    assert all(torch.allclose(before[name], after_parts[name], atol=2e-4) for name in before)


def test_memory_for_no_example_is_one_error(base: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _scarce(monkeypatch, 0)
    with pytest.raises(UserError, match="not enough memory to finetune on one example"):
        finetune(base, (1,), EXAMPLES, replace(QUICK, batch_size=4), tmp_path / "work", tmp_path / "out", {})
    assert not (tmp_path / "out").exists()
