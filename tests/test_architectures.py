"""Layer removal on tiny models of many architectures: at run time, on disk, in stock transformers it is the same."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import ARCHITECTURES, LAYERS, PROMPT, REFUSED, tiny_config, tiny_model
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.models.fields import pruned_fields
from layerlimits.models.remove import without_layers
from layerlimits.models.shards import prune_files
from layerlimits.models.stack import find_stack
from layerlimits.models.structure_check import check_structure

NAMES = sorted(ARCHITECTURES)
# Those whose configuration lists the type of every layer.
TYPED = set("afmoe cohere2 gemma2 gemma3_text gemma4_text gpt_oss lfm2 llama4_text olmo3 qwen2 qwen3 smollm3".split())
# Several architectures share a process: starting one costs more than what it does.
GROUPS = [NAMES[first : first + 4] for first in range(0, len(NAMES), 4)]
REMOVALS = [(3,), (5,), (0,), (4, 1, 3)]
NEW_TOKENS = 16

_STOCK = """
import json, sys, torch
from transformers import AutoModelForCausalLM
torch.set_num_threads(1)
prompt = torch.arange(3, 40)[None]
answers = {}
for folder in sys.argv[1:]:
    model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["mismatched_keys"], (folder, report)
    model.eval()
    with torch.no_grad():
        logits = model(prompt).logits.flatten().tolist()
        texts = [model.generate(prompt, max_new_tokens=16, do_sample=False, use_cache=cache)[0].tolist()
                 for cache in (True, False)]
    answers[folder] = {"logits": logits, "cached": texts[0], "uncached": texts[1]}
assert not any(name.startswith("layerlimits") for name in sys.modules)
print(json.dumps(answers))
"""


def _stock_answers(folders: list[Path]) -> dict[str, Any]:
    """What a process that knows nothing of this package makes of the folders."""
    ran = subprocess.run(
        [sys.executable, "-c", _STOCK, *map(str, folders)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    answers: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return answers


def _answer(model: PreTrainedModel, cache: bool) -> list[int]:
    return model.generate(PROMPT, max_new_tokens=NEW_TOKENS, do_sample=False, use_cache=cache)[0].tolist()


def _kept(removed: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(layer for layer in range(LAYERS) if layer not in removed)


@torch.no_grad()
def _logits(model: PreTrainedModel) -> torch.Tensor:
    return model(PROMPT).logits


@pytest.mark.parametrize("names", GROUPS, ids="-".join)
def test_skipped_at_run_time_equals_pruned_on_disk_and_loaded_by_stock_transformers(
    names: list[str], tmp_path: Path
) -> None:
    models = {name: tiny_model(name) for name in names}
    folders: dict[tuple[str, tuple[int, ...]], Path] = {}
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
        for removed in REMOVALS:
            check_structure(model.config, removed)
            out = folders[name, removed] = tmp_path / f"{name} without {removed}"
            out.mkdir()
            prune_files(tmp_path / name, removed, out)
    answers = _stock_answers(list(folders.values()))
    for (name, removed), folder in folders.items():
        stock, what = answers[str(folder)], f"{name} without {removed}"
        base = _logits(models[name])
        with without_layers(models[name], removed) as view:
            logits, texts = _logits(view), [_answer(view, cache) for cache in (True, False)]
        assert torch.allclose(logits.flatten(), torch.tensor(stock["logits"]), rtol=0, atol=1e-5), what
        assert texts[0] == texts[1] == stock["cached"] == stock["uncached"], what
        # Neither would show anything if the layers did nothing.
        assert not torch.allclose(logits, base, atol=1e-2), what
        assert len(set(texts[0][PROMPT.shape[1] :])) > 1, what


@pytest.mark.parametrize("name", NAMES)
def test_the_view_computes_what_the_whole_model_does_when_layers_hand_on_what_they_get(name: str) -> None:
    """The oracle: no layer is taken out, no field changed and none renumbered."""

    def hand_on(_: Any, given: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        stream = given[0] if given else named["hidden_states"]
        return stream if isinstance(output, torch.Tensor) else (stream, *output[1:])

    model = tiny_model(name)
    for removed in REMOVALS:
        hooks = [find_stack(model).layers[layer].register_forward_hook(hand_on, with_kwargs=True) for layer in removed]
        expected = _logits(model)
        for hook in hooks:
            hook.remove()
        with without_layers(model, removed) as view:
            assert torch.allclose(_logits(view), expected, rtol=0, atol=1e-5), removed


@pytest.mark.parametrize("name", NAMES)
def test_views_nest_in_the_numbering_of_the_shortened_model_and_end_with_the_model_as_it_was(name: str) -> None:
    model = tiny_model(name)
    base, config = _logits(model), model.config.to_dict()
    with without_layers(model, (4, 1, 3)) as view:
        at_once, fields = _logits(view), view.config.to_dict()
    with without_layers(model, (1,)), without_layers(model, (3, 2)) as view:
        assert torch.equal(_logits(view), at_once)
        assert view.config.num_hidden_layers == 3
        nested = view.config.to_dict()
    assert {name: nested[name] for name in nested if name != "scale_depth"} == {
        name: fields[name] for name in fields if name != "scale_depth"
    }
    assert nested.get("scale_depth") == pytest.approx(fields.get("scale_depth"))
    assert torch.equal(_logits(model), base)
    assert model.config.to_dict() == config


@pytest.mark.parametrize("name", NAMES)
def test_saving_the_view_writes_what_pruning_the_files_writes(name: str, tmp_path: Path) -> None:
    model = tiny_model(name)
    model.save_pretrained(tmp_path / "base")
    (tmp_path / "pruned").mkdir()
    prune_files(tmp_path / "base", (1, 4), tmp_path / "pruned")
    with without_layers(model, (4, 1)) as view:
        view.save_pretrained(tmp_path / "saved")
    pruned, saved = (load_file(tmp_path / folder / "model.safetensors") for folder in ("pruned", "saved"))
    assert pruned.keys() == saved.keys()
    assert all(torch.equal(tensor, saved[key]) for key, tensor in pruned.items())
    pruned_config, saved_config = (
        json.loads((tmp_path / folder / "config.json").read_text()) for folder in ("pruned", "saved")
    )
    assert pruned_config == saved_config


@pytest.mark.parametrize("removed", REMOVALS)
@pytest.mark.parametrize("name", NAMES)
def test_fields_with_one_entry_a_layer_hold_those_of_the_kept_layers(name: str, removed: tuple[int, ...]) -> None:
    config = tiny_config(name)
    fields = pruned_fields(config, _kept(removed))
    lists = {
        key: getattr(config, key) for key in ("layer_types", "no_rope_layers") if config.to_dict().get(key) is not None
    }
    assert ("layer_types" in lists) == (name in TYPED)
    assert ("no_rope_layers" in lists) == (name in ("llama4_text", "smollm3"))
    for key, value in lists.items():
        assert fields[key] == [value[layer] for layer in _kept(removed)]
    # By the architecture's own word, which may be a field or worked out.
    for key, value in fields.items():
        setattr(config, key, value)
    assert config.num_hidden_layers == len(_kept(removed))
    types = getattr(tiny_config(name), "layer_types", None)
    assert (types is not None) == (name in TYPED or name == "recurrent_gemma")
    if types is not None:
        assert list(config.layer_types) == [types[layer] for layer in _kept(removed)]


@pytest.mark.parametrize("name", ["cohere2", "gemma2", "gemma3_text", "gemma4_text", "gpt_oss", "olmo3"])
def test_a_kind_of_layer_may_vanish(name: str, tmp_path: Path) -> None:
    """Only windows are left: rotary embeddings and masks of full attention are not built any more."""
    model = tiny_model(name)
    check_structure(model.config, (1, 2, 4))
    with without_layers(model, (1, 2, 4)) as view:
        logits, text = _logits(view), _answer(view, True)
        assert text == _answer(view, False)
        view.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.allclose(_logits(again), logits, rtol=0, atol=1e-5)
    assert _answer(again, True) == text


@pytest.mark.parametrize("name", ["lfm2", "recurrent_gemma"])
def test_a_hybrid_model_keeps_at_least_one_attention_layer(name: str) -> None:
    kinds = tiny_config(name).layer_types
    attention = tuple(layer for layer, kind in enumerate(kinds) if kind in ("full_attention", "sliding_attention"))
    check_structure(tiny_config(name), attention[1:])
    with pytest.raises(UserError, match="no attention layer would be left"):
        check_structure(tiny_config(name), attention)


def test_gemma_4_keeps_a_layer_of_full_attention_last() -> None:
    """Its configuration makes the last layer one, whatever the list says."""
    assert tiny_config("gemma4_text").layer_types[3:] == ["sliding_attention", "full_attention", "full_attention"]
    check_structure(tiny_config("gemma4_text"), (5,))
    with pytest.raises(UserError, match="transformers cannot build gemma4_text with 4 layers"):
        check_structure(tiny_config("gemma4_text"), (4, 5))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_lose_layers_is_refused_by_name(name: str) -> None:
    fields, words = REFUSED[name]
    with pytest.raises(UserError, match=words) as refused:
        check_structure(tiny_config(name, **fields), (1, 3))
    assert name in refused.value.problem


def test_a_field_that_nobody_translates_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import layerlimits.models.structure_check as structure_check

    monkeypatch.setattr(
        structure_check, "pruned_fields", lambda config, kept_layers: {"num_hidden_layers": len(kept_layers)}
    )
    check_structure(tiny_config("deepseek_v3"), (3,))
    with pytest.raises(
        UserError, match="cannot remove these layers of deepseek_v3: layer 2 would change when it becomes layer 1"
    ):
        check_structure(tiny_config("deepseek_v3"), (0,))


@pytest.mark.parametrize("name", ["gpt2", "qwen3_moe", "gemma4_text"])
def test_a_configuration_from_a_folder_is_as_sound_as_one_made_here(name: str, tmp_path: Path) -> None:
    tiny_config(name).save_pretrained(tmp_path)
    check_structure(AutoConfig.from_pretrained(tmp_path), (1, 4))


def test_checking_leaves_the_configuration_and_the_random_numbers_alone() -> None:
    config = tiny_config("qwen3_moe")
    before, state = config.to_dict(), torch.get_rng_state()
    check_structure(config, (4, 1))
    assert config.to_dict() == before
    assert torch.equal(torch.get_rng_state(), state)
