"""Presets and settings of finetuning, and settings that the machine or the model does not support."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import tiny_model
from recovery_models import EXAMPLES, QUICK_LORA
from safetensors.torch import load_file

import layerlimits as ll
from layerlimits.errors import UserError
from layerlimits.models.load import Loaded
from layerlimits.recovery.adapters import adapters_of
from layerlimits.recovery.finetune import finetune
from layerlimits.recovery.preflight import check_lengths, check_settings
from layerlimits.recovery.settings import FinetuneConfig, finetune_config

pytest_plugins = ["recovery_fixtures"]

HAS_BITSANDBYTES = importlib.util.find_spec("bitsandbytes") is not None


def test_the_preset_has_the_settings_of_the_paper() -> None:
    paper = finetune_config("paper")
    assert (paper.kind, paper.objective, paper.optimizer) == ("qlora", "self", "adamw")
    assert (paper.lora_rank, paper.lora_alpha, paper.lora_dropout) == (64, 16, 0.05)
    assert len(paper.lora_targets) == 7
    assert (paper.lr, paper.schedule, paper.warmup_steps) == (2e-4, "constant", 50)
    assert (paper.adam_beta1, paper.adam_beta2, paper.weight_decay) == (0.9, 0.99, 1e-4)
    assert (paper.batch_size, paper.epochs, paper.max_length) == (8, 1, 8192)
    answers = ll.recover_options("paper")
    assert (answers.decoding.temperature, answers.decoding.top_p, answers.max_new_tokens) == (0.9, 0.95, 8192)
    # The paper did not filter responses.
    assert answers.keep_truncated
    assert finetune_config("paper", kind="lora", lr=None).kind == "lora"
    own = ll.recover_options("paper", finetune_config("paper", objective="own"))
    assert (own.decoding, own.keep_truncated) == (ll.Decoding(), False)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"objective": "dpo"}, "unknown objective 'dpo'"),
        ({"optimizer": "sgd"}, "unknown optimizer 'sgd'"),
        ({"adam_beta2": 1.0}, "adam_beta2 is 1, but must be at least 0 and below 1"),
        ({"distill_beta": 1.5}, "distill_beta is 1.5, but must be 0 to 1"),
        ({"max_grad_norm": 0.0}, "max_grad_norm is 0, but must be above 0"),
        ({"distill_temperature": float("nan")}, "distill_temperature is nan"),
        ({"objective": "distill", "packing": True}, "packing does not work with the objective distill"),
        ({"on_policy": 0.5}, "on_policy is 0.5, but the objective is self"),
    ],
)
def test_settings_that_are_wrong_or_exclude_each_other(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        FinetuneConfig(**settings)
    assert words in caught.value.problem
    assert caught.value.fix


def test_an_unknown_preset() -> None:
    with pytest.raises(UserError, match="unknown preset 'papers'\n  fix: did you mean paper"):
        finetune_config("papers")


def test_a_target_that_the_model_lacks_is_refused_with_those_it_has() -> None:
    llama, gpt = tiny_model("llama").config, tiny_model("gpt_oss").config
    assert adapters_of(llama, ("q_proj", "self_attn.v_proj")).adapted == (
        "self_attn.q_proj.weight",
        "self_attn.v_proj.weight",
    )
    with pytest.raises(UserError) as caught:
        adapters_of(llama, ("q_proj", "c_attn"))
    assert "LoRA target 'c_attn' is not a module of the layers of llama" in caught.value.problem
    assert "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj" in caught.value.fix
    with pytest.raises(UserError, match="'gate_proj' is not a module of the layers of gpt_oss"):
        adapters_of(gpt, finetune_config("paper").lora_targets)


def test_only_the_targets_are_adapted(base: Loaded, tmp_path: Path) -> None:
    settings = finetune_config(kind="lora", lora_rank=4, batch_size=2, lr=5e-3, lora_targets=("q_proj",))
    out = finetune(base, (1,), EXAMPLES, settings, tmp_path / "work", tmp_path / "out", {})
    before, after = (load_file(folder / "model.safetensors") for folder in (base.folder, out))
    # Layers 0, 2 and 3 remain, renumbered.
    changed = {
        name.split(".", 3)[3]
        for name, weight in after.items()
        if name.startswith("model.layers.")
        and not weight.equal(before[name.replace("layers.2.", "layers.3.").replace("layers.1.", "layers.2.")])
    }
    assert changed == {"self_attn.q_proj.weight"}


@pytest.mark.skipif(HAS_BITSANDBYTES, reason="bitsandbytes is installed")
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "qlora"}, "QLoRA (--kind qlora) requires bitsandbytes, which is not installed"),
        ({"optimizer": "adamw_8bit"}, "--optimizer adamw_8bit requires bitsandbytes, which is not installed"),
    ],
)
def test_what_needs_bitsandbytes_is_refused_without_it(
    settings: dict[str, Any], words: str, base: Loaded, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        finetune(base, (1,), EXAMPLES, FinetuneConfig(**settings), tmp_path / "work", tmp_path / "out", {})
    assert words in caught.value.problem
    assert "install bitsandbytes" in caught.value.fix
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not HAS_BITSANDBYTES, reason="needs bitsandbytes")
def test_qlora_trains_in_4_bits_and_merges_into_the_weights_that_were_not_quantized(
    base: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bitsandbytes

    from layerlimits.recovery import trainer

    kinds: set[tuple[str, bool]] = set()
    original = trainer.SFTTrainer.compute_loss

    def spy(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        layers = [module for module in model.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]
        kinds.update((layer.weight.quant_type, layer.weight.quant_state.nested) for layer in layers)
        return original(self, model, *args, **kwargs)

    monkeypatch.setattr(trainer.SFTTrainer, "compute_loss", spy)
    settings = finetune_config("paper", lora_rank=4, batch_size=2, epochs=4, lr=5e-3)
    out = finetune(base, (1,), EXAMPLES, settings, tmp_path / "work", tmp_path / "out", {})
    assert kinds == {("nf4", True)}
    recovered = ll.load(out, device="cpu")
    assert recovered.network.dtype == base.model.dtype
    assert not hasattr(recovered.network.config, "quantization_config")
    before, after = (load_file(folder / "model.safetensors") for folder in (base.folder, out))
    # The embeddings have no adapters, and are exactly those of before.
    assert before["model.embed_tokens.weight"].equal(after["model.embed_tokens.weight"])
    # So are the projections, but for an update of the rank of the adapters.
    update = after["model.layers.0.mlp.up_proj.weight"] - before["model.layers.0.mlp.up_proj.weight"]
    assert torch.linalg.matrix_rank(update, tol=1e-4) == 4


@pytest.mark.skipif(not HAS_BITSANDBYTES, reason="needs bitsandbytes")
def test_the_8_bit_optimizer_trains(base: Loaded, tmp_path: Path) -> None:
    settings = replace(QUICK_LORA, kind="full", optimizer="adamw_8bit")
    out = finetune(base, (1,), EXAMPLES, settings, tmp_path / "work", tmp_path / "out", {})
    assert (out / "model.safetensors").exists()


def test_a_tracker_that_is_not_installed_is_refused_with_those_that_are() -> None:
    check_settings(FinetuneConfig(), "cpu")
    with pytest.raises(UserError) as caught:
        check_settings(FinetuneConfig(report_to="nowhere"), "cpu")
    assert caught.value.problem == "cannot report to 'nowhere': no such tracker is installed"
    assert "set report_to (--report-to) to one of: none" in caught.value.fix


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="started in 2 processes, but starts the processes of a training itself"):
        check_settings(FinetuneConfig(), "cpu")


def test_prompts_that_leave_no_room_are_refused() -> None:
    check_lengths([30, 10], 12)
    with pytest.raises(UserError, match="none of the 2 training prompts leaves room for an answer within 11 tokens"):
        check_lengths([30, 10], 11)


@pytest.mark.parametrize("change", [{"optimizer": "adafactor"}, {"gradient_checkpointing": True}])
def test_optimizers_and_checkpointing_train(change: dict[str, Any], base: Loaded, tmp_path: Path) -> None:
    for settings in (replace(QUICK_LORA, **change), replace(QUICK_LORA, kind="full", **change)):
        folder = tmp_path / settings.kind
        out = finetune(base, (1,), EXAMPLES, settings, folder / "work", folder / "out", {})
        assert (out / "model.safetensors").exists()


def test_checkpointing_changes_no_weight(base: Loaded, tmp_path: Path) -> None:
    plain, saving = (
        load_file(
            finetune(
                base,
                (1,),
                EXAMPLES,
                replace(QUICK_LORA, lora_dropout=0.0, gradient_checkpointing=on),
                tmp_path / f"work{on}",
                tmp_path / f"out{on}",
                {},
            )
            / "model.safetensors"
        )
        for on in (False, True)
    )
    assert all(plain[name].allclose(saving[name], atol=1e-5) for name in plain)
