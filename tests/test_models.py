"""Removing layers: at run time and on disk it is the same operation, and stock transformers agrees."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, GPT2Config, GPT2LMHeadModel

from layerlimits.errors import UserError
from layerlimits.models.load import Loaded, load, parameter_count
from layerlimits.models.locate import layer_count
from layerlimits.models.remove import (
    assert_removal_changes_logits,
    check_layers,
    layers_for_ratio,
    remove,
    without_layers,
)
from layerlimits.models.save import read_recipe, save_pruned
from layerlimits.models.stack import find_stack
from layerlimits.models.stream import batches, watching
from layerlimits.reference.tokenizer import build
from layerlimits.types import PrunePlan

REMOVALS = [(2,), (5,), (0,), (1, 3, 4)]
PROMPT = torch.arange(3, 40)[None]

# What a user without this package does; prints logits and two generations.
_STOCK = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
torch.set_num_threads(1)
answers = []
for folder in sys.argv[1:]:
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    AutoTokenizer.from_pretrained(folder)
    prompt = torch.arange(3, 40)[None]
    with torch.no_grad():
        logits = model(prompt).logits
    texts = [model.generate(prompt, max_new_tokens=24, do_sample=False, use_cache=cache)[0].tolist()
             for cache in (True, False)]
    answers.append({"logits": logits.flatten().tolist(), "cached": texts[0], "uncached": texts[1]})
assert not any(name.startswith("layerlimits") for name in sys.modules)
print(json.dumps(answers))
"""


def test_skipped_equals_saved_and_reloaded_by_stock_transformers(loaded: Loaded, tmp_path: Path) -> None:
    folders = [
        save_pruned(loaded.folder, loaded.ref, PrunePlan(gone, 6), tmp_path / f"{gone}", "") for gone in REMOVALS
    ]
    command = [sys.executable, "-c", _STOCK, *map(str, folders)]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    for gone, answer in zip(REMOVALS, json.loads(ran.stdout), strict=True):
        with without_layers(loaded.model, gone) as view, torch.no_grad():
            logits = view(PROMPT).logits
            text = view.generate(PROMPT, max_new_tokens=24, do_sample=False)[0].tolist()
        assert torch.allclose(logits.flatten(), torch.tensor(answer["logits"]), atol=1e-5)
        assert answer["cached"] == answer["uncached"] == text


def test_the_kept_tensors_are_byte_identical_and_the_recipe_says_what_was_done(loaded: Loaded, tmp_path: Path) -> None:
    plan = PrunePlan((1, 4), 6, "random", (0.5,) * 6, calibration=("abc",))
    out = save_pruned(loaded.folder, loaded.ref, plan, tmp_path / "out", "layerlimits prune it")
    before, after = load_file(loaded.folder / "model.safetensors"), load_file(out / "model.safetensors")
    for new, old in enumerate(plan.kept_layers):
        for name in ("self_attn.q_proj", "mlp.down_proj", "input_layernorm"):
            tensor = before[f"model.layers.{old}.{name}.weight"]
            assert torch.equal(after[f"model.layers.{new}.{name}.weight"], tensor)
    about = read_recipe(out)
    assert about is not None
    assert about["removed"] == [1, 4]
    assert about["base_fingerprint"] == loaded.ref.base_fingerprint
    assert (about["method"], about["calibration"], about["command"]) == ("random", ["abc"], "layerlimits prune it")
    assert (out / "LICENSE").read_text() == "The licence of the base model.\n"
    assert {"tokenizer.json", "tokenizer_config.json", "generation_config.json"} <= {
        file.name for file in out.iterdir()
    }


def test_a_view_ends_with_the_model_as_it_was_even_after_an_error(loaded: Loaded) -> None:
    with torch.no_grad():
        base = loaded.model(PROMPT).logits
        with pytest.raises(ZeroDivisionError), without_layers(loaded.model, (0, 3)) as view:
            _ = 1 // (view.config.num_hidden_layers - 4)
        assert torch.equal(loaded.model(PROMPT).logits, base)
    assert loaded.model.config.num_hidden_layers == 6
    assert [layer.self_attn.layer_idx for layer in find_stack(loaded.model).layers] == list(range(6))


def test_removing_for_good_equals_the_view(loaded: Loaded) -> None:
    with torch.no_grad(), without_layers(loaded.model, (2, 5)) as view:
        seen, small = view(PROMPT).logits, parameter_count(view)
    remove(loaded.model, (5, 2))
    with torch.no_grad():
        assert torch.equal(loaded.model(PROMPT).logits, seen)
    assert parameter_count(loaded.model) == small


def test_fields_with_one_entry_a_layer_keep_the_kept_entries(tmp_path: Path) -> None:
    config = Gemma3TextConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=6,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        sliding_window=8,
        layer_types=["sliding_attention"] * 2 + ["full_attention"] + ["sliding_attention"] * 2 + ["full_attention"],
    )
    torch.manual_seed(0)
    model = Gemma3ForCausalLM(config).eval()
    with torch.no_grad(), without_layers(model, (0, 2)) as view:
        assert view.config.layer_types == ["sliding_attention"] * 3 + ["full_attention"]
        logits = view(PROMPT % 64).logits
        view.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.allclose(again(PROMPT % 64).logits, logits, atol=1e-5)


def test_the_canary_stops_a_removal_that_changes_nothing(loaded: Loaded) -> None:
    layer = find_stack(loaded.model).layers[3]
    torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
    torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    with pytest.raises(UserError, match="removing layer 3 does not change any logit"):
        loaded.check_removal_changes_logits((3,))
    assert_removal_changes_logits(loaded.model, (3, 4))


def test_streams_are_what_each_layer_reads_and_writes(loaded: Loaded) -> None:
    network = loaded.model.model
    before: list[torch.Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, inputs: before.append(inputs[0])) for layer in network.layers]
    hooks.append(network.norm.register_forward_pre_hook(lambda _, inputs: before.append(inputs[0])))
    with torch.no_grad():
        loaded.model(PROMPT)
    for hook in hooks:
        hook.remove()
    seen: dict[int, torch.Tensor] = {}
    (batch,) = batches(loaded.model, [PROMPT[0].tolist()])
    with watching(loaded.model, seen.__setitem__), torch.no_grad():
        loaded.model(**batch.inputs)
    assert list(seen) == list(range(7))
    assert len(before) == 7
    assert all(torch.allclose(seen[number], stream, atol=1e-6) for number, stream in enumerate(before))
    assert not any(layer._forward_pre_hooks or layer._forward_hooks for layer in network.layers)


def test_batches_hold_every_text_once_padded_on_the_right(loaded: Loaded) -> None:
    texts = [[7] * length for length in (3, 0, 50, 20, 20, 1)]
    batch_list = list(batches(loaded.model, texts, tokens=60))
    assert sorted(row for batch in batch_list for row in batch.rows) == [0, 2, 3, 4, 5]
    for batch in batch_list:
        assert batch.mask.sum(1).tolist() == [len(texts[row]) for row in batch.rows]
        assert batch.ids.numel() <= 60
        assert (batch.ids[batch.mask] == 7).all()


@pytest.mark.parametrize(("ratio", "layers"), [(0.0625, 1), (0.25, 4), (0.01, 1), (0.33, 5)])
def test_a_ratio_means_rounded_layers_and_at_least_one(ratio: float, layers: int) -> None:
    assert layers_for_ratio(ratio, 16) == layers


def test_a_model_whose_file_calls_its_depth_otherwise(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = {"n_layer": 4, "n_embd": 16, "n_head": 2, "n_positions": 64, "vocab_size": len(build())}
    GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=1, eos_token_id=4)).save_pretrained(tmp_path / "gpt2")
    build().save_pretrained(tmp_path / "gpt2")
    assert "num_hidden_layers" not in json.loads((tmp_path / "gpt2" / "config.json").read_text())
    assert layer_count(tmp_path / "gpt2") == 4
    model = load(str(tmp_path / "gpt2"), device="cpu")
    save_pruned(model.folder, model.ref, PrunePlan((1, 2), 4), tmp_path / "pruned", "")
    assert layer_count(tmp_path / "pruned") == 2
    ids = torch.arange(5, 20)[None]
    with torch.no_grad(), without_layers(model.model, (1, 2)) as pruned:
        assert torch.equal(load(str(tmp_path / "pruned"), device="cpu").model(ids).logits, pruned(ids).logits)


def test_layers_come_back_ascending() -> None:
    assert check_layers((4, 1), 6) == (1, 4)


def test_the_fingerprint_follows_content_not_path(tiny: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(tiny, tmp_path / "elsewhere"))
    assert load(str(copy), device="cpu").ref.fingerprint == load(str(tiny), device="cpu").ref.fingerprint
    template = copy / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    assert load(str(copy), device="cpu").ref.fingerprint != load(str(tiny), device="cpu").ref.fingerprint
