"""LoRA on architectures with fused experts: adapted weights, messages, and early errors."""

from pathlib import Path

import pytest
import torch
from architectures import tiny_model
from recovery_models import EXAMPLES, QUICK, QUICK_LORA, listed, prompts

from layerlimits.errors import UserError
from layerlimits.models.load import load
from layerlimits.models.remove import without_layers
from layerlimits.models.save import read_recipe, save_pruned
from layerlimits.recovery import recover as recovery
from layerlimits.recovery.adapters import adapters_of
from layerlimits.recovery.finetune import finetune
from layerlimits.recovery.sources import RecoverConfig
from layerlimits.reference.tokenizer import build
from layerlimits.types import PrunePlan

ATTENTION = tuple(f"self_attn.{name}_proj.weight" for name in "koqv")
EXPERTS = ("mlp.experts.down_proj", "mlp.experts.gate_up_proj")


def test_what_is_adapted_in_each_architecture() -> None:
    llama = adapters_of(tiny_model("llama").config)
    assert llama.adapted == (*(f"mlp.{name}_proj.weight" for name in ("down", "gate", "up")), *ATTENTION)
    assert (llama.left_out, llama.dropout) == ((), True)
    for name in ("mixtral", "qwen3_moe"):
        mixture = adapters_of(tiny_model(name).config)
        assert {*EXPERTS, *ATTENTION} < set(mixture.adapted)
        assert not mixture.dropout
    assert "mlp.shared_experts.up_proj.weight" in adapters_of(tiny_model("deepseek_v3").config).left_out
    attention_only = adapters_of(tiny_model("gpt_oss").config)
    assert attention_only.adapted == ATTENTION
    assert attention_only.left_out == (*EXPERTS, "mlp.router.weight")


@pytest.fixture
def mixture(tmp_path: Path) -> Path:
    """A tiny Mixtral with the reference tokenizer."""
    tokenizer = build()
    model = tiny_model("mixtral", vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id)
    model.save_pretrained(tmp_path / "mixtral")
    tokenizer.save_pretrained(tmp_path / "mixtral")
    return tmp_path / "mixtral"


def test_experts_are_adapted_and_merged(mixture: Path, tmp_path: Path) -> None:
    loaded = load(str(mixture), device="cpu")
    out = finetune(loaded, (1,), EXAMPLES, QUICK_LORA, tmp_path / "work", tmp_path / "out", {})
    recovered = load(str(out), device="cpu").model
    with without_layers(loaded.model, (1,)) as pruned:
        assert pruned.state_dict().keys() == recovered.state_dict().keys()
        changed = {
            name.split(".", 3)[3]
            for name, weight in recovered.named_parameters()
            if name.startswith("model.layers.") and not torch.equal(weight, pruned.get_parameter(name))
        }
    trained = (read_recipe(out) or {})["finetune"]
    assert changed == set(trained["lora"]["adapted"]) >= {*EXPERTS, *ATTENTION}
    assert trained["lora"]["dropout"] == 0
    assert trained["settings"]["lora_dropout"] == QUICK_LORA.lora_dropout


def test_an_architecture_that_cannot_be_adapted_is_refused_before_answers_are_made(
    mixture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        UserError, match=r"LoRA cannot adapt falcon_mamba: .*\n  fix: finetune all weights \(--kind full\)"
    ):
        adapters_of(tiny_model("falcon_mamba").config)

    def refuse(config: object, targets: object) -> None:
        raise UserError("LoRA cannot adapt it", "finetune all weights (--kind full)")

    loaded = load(str(mixture), device="cpu")
    pruned = save_pruned(mixture, loaded.ref, PrunePlan((0, 1), 6), tmp_path / "pruned", "")
    monkeypatch.setattr(recovery, "adapters_of", refuse)
    monkeypatch.setattr(recovery, "load", lambda *_, **__: pytest.fail("weights were loaded"))
    config = RecoverConfig(items=2, device="cpu")
    tasks = [listed("colours", prompts("red?", "blue?"))]
    with pytest.raises(UserError, match="LoRA cannot adapt it"):
        recovery.recover(str(pruned), str(mixture), tmp_path / "out", tasks, QUICK_LORA, config)
    with pytest.raises(pytest.fail.Exception, match="weights were loaded"):
        recovery.recover(str(pruned), str(mixture), tmp_path / "out", tasks, QUICK, config)
