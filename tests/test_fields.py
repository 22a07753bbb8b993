"""Configuration fields of a removal: what is translated, what is left alone and what is refused, each by name."""

import copy
import json
import math
from typing import Any

import pytest
from architectures import tiny_config
from transformers import CONFIG_MAPPING

from layerlimits.errors import UserError
from layerlimits.models.fields import pruned_fields

ALL = (0, 1, 2, 3, 4, 5)
KINDS = ["sliding_attention", "full_attention", "full_attention", "sliding_attention", "full_attention"]


def _pruned(config: Any, kept_layers: tuple[int, ...]) -> Any:
    """The configuration of the pruned model as it comes back from its file."""
    pruned = copy.deepcopy(config)
    for name, value in pruned_fields(config, kept_layers).items():
        setattr(pruned, name, value)
    return type(config).from_dict(json.loads(pruned.to_json_string()))


@pytest.mark.parametrize("kept_layers", [(0, 1, 2, 4, 5), (1, 2, 3, 4, 5), (0, 2, 5)])
@pytest.mark.parametrize("name", ["layer_types", "field_nobody_knows"])
def test_a_list_as_long_as_the_model_is_deep_is_indexed_whatever_its_name(
    name: str, kept_layers: tuple[int, ...]
) -> None:
    values = [*KINDS, "sliding_attention"]
    config = tiny_config("gemma3_text", **{name: values, "sliding_window": 8})
    assert pruned_fields(config, kept_layers)[name] == [values[layer] for layer in kept_layers]


@pytest.mark.parametrize("name", ["eos_token_id", "image_token_ids"])
def test_token_ids_that_are_as_many_as_the_layers_stay(name: str) -> None:
    config = tiny_config("llama", **{name: [7, 8, 9, 10, 11, 12]})
    assert name not in pruned_fields(config, (0, 2, 5))
    assert getattr(config, name) == [7, 8, 9, 10, 11, 12]


def test_a_list_whose_length_is_not_the_depth_in_the_architecture_itself_stays() -> None:
    """Falcon-H1 has five multipliers at any depth, Mamba 2 two limits of its time step."""
    config = CONFIG_MAPPING["falcon_h1"](num_hidden_layers=5, ssm_multipliers=[0.1, 0.2, 0.3, 0.4, 0.5])
    assert "ssm_multipliers" not in pruned_fields(config, (0, 4))
    config = CONFIG_MAPPING["mamba2"](num_hidden_layers=2, time_step_limit=(0.0, 8.0))
    assert "time_step_limit" not in pruned_fields(config, (1,))


def test_lists_inside_other_fields_and_lists_of_other_lengths_stay() -> None:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 1, 1, 1, 1]}
    config = tiny_config("llama", rope_parameters=rope, short=[1, 2, 3], id2label=dict.fromkeys(ALL, "x"))
    fields = pruned_fields(config, (0, 2))
    assert fields == {"num_hidden_layers": 2}


@pytest.mark.parametrize(
    ("kept_layers", "expected"), [((0, 1, 2), 2), ((1, 2, 3), 1), ((2, 3, 4, 5), 0), ((0, 1), 2), ((0, 3, 4), 1)]
)
@pytest.mark.parametrize(
    ("name", "field"),
    [("deepseek_v3", "first_k_dense_replace"), ("afmoe", "num_dense_layers"), ("qwen2", "max_window_layers")],
)
def test_counts_from_below_count_the_kept_ones(
    name: str, field: str, kept_layers: tuple[int, ...], expected: int
) -> None:
    config = tiny_config(name, **{field: 2})
    assert pruned_fields(config, kept_layers)[field] == expected
    assert getattr(_pruned(config, kept_layers), field) == expected


def test_a_layer_keeps_its_window_when_max_window_layers_made_the_list() -> None:
    config = tiny_config("qwen2", max_window_layers=2)
    assert config.layer_types == ["full_attention"] * 2 + ["sliding_attention"] * 4
    assert _pruned(config, (0, 2, 5)).layer_types == ["full_attention", "sliding_attention", "sliding_attention"]


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("dense", [[], [3], [0, 5], None])
@pytest.mark.parametrize("kept_layers", [(0, 1, 2, 4, 5), (1, 2, 3, 4, 5), (0, 2, 5), ALL])
def test_the_layers_with_experts_stay_those(step: int, dense: list[int] | None, kept_layers: tuple[int, ...]) -> None:
    def sparse(config: Any, layer: int) -> bool:  # as in Qwen3MoeDecoderLayer
        return layer not in config.mlp_only_layers and (layer + 1) % config.decoder_sparse_step == 0

    config = tiny_config("qwen3_moe", decoder_sparse_step=step, mlp_only_layers=dense)
    pruned = _pruned(config, kept_layers)
    assert [sparse(pruned, layer) for layer in range(len(kept_layers))] == [
        sparse(config, layer) for layer in kept_layers
    ]


@pytest.mark.parametrize(
    ("name", "field", "layers"),
    [
        ("lfm2", "full_attn_idxs", [1, 2, 4]),
        ("bamba", "attn_layer_indices", [1, 2, 4]),
        ("llama4_text", "moe_layers", [4, 2, 1]),
        ("inkling_text", "local_layer_ids", [1, 2, 4]),
    ],
)
def test_lists_of_layer_numbers_are_renumbered(name: str, field: str, layers: list[int]) -> None:
    config = CONFIG_MAPPING[name](num_hidden_layers=6, **{field: layers})
    assert pruned_fields(config, (0, 2, 3, 4))[field] == [1, 3]
    assert pruned_fields(config, (0, 3))[field] == []


@pytest.mark.parametrize("kept_layers", [(0, 2, 3, 5), (1, 4), (2, 4, 5), (0, 1)])
@pytest.mark.parametrize("end", [-1, 4])
def test_a_range_of_layers_with_experts_moves(end: int, kept_layers: tuple[int, ...]) -> None:
    def sparse(config: Any, layer: int) -> bool:  # as in Ernie4_5_MoeDecoderLayer
        inside = config.moe_layer_start_index <= layer <= config.moe_layer_end_index
        return inside and (layer + 1) % config.moe_layer_interval == 0

    config = tiny_config("ernie4_5_moe", moe_layer_end_index=end)
    pruned = _pruned(config, kept_layers)
    assert [sparse(pruned, layer) for layer in range(len(kept_layers))] == [
        sparse(config, layer) for layer in kept_layers
    ]


def test_experts_in_every_second_layer_move_only_where_they_leave_no_gap() -> None:
    config = tiny_config("ernie4_5_moe", moe_layer_interval=2)
    assert pruned_fields(config, (0, 2, 3, 5))["moe_layer_start_index"] == 2
    with pytest.raises(UserError, match=r"moe_layer_interval = 2 .* would be 2, 4, which are not consecutive"):
        pruned_fields(config, (0, 2, 3, 4, 5))


def test_patterns_that_repeat_are_written_out() -> None:
    config = tiny_config("recurrent_gemma")
    whole = config.layers_block_type
    assert _pruned(config, (0, 2, 3, 5)).layers_block_type == [whole[layer] for layer in (0, 2, 3, 5)]
    config = tiny_config("gpt_neo")
    whole = config.attention_layers
    assert _pruned(config, (0, 3, 4)).attention_layers == [whole[layer] for layer in (0, 3, 4)]


def test_the_scale_of_a_residual_branch_stays_though_the_depth_changes() -> None:
    config = tiny_config("minicpm3", scale_depth=1.4)
    pruned = _pruned(config, (0, 1, 4))
    assert pruned.scale_depth / math.sqrt(3) == pytest.approx(1.4 / math.sqrt(6))


def test_what_is_different_in_single_layers_moves_with_them() -> None:
    config = tiny_config("llama", per_layer_config={1: {"intermediate_size": 40}, 4: {"intermediate_size": 56}})
    assert pruned_fields(config, (0, 2, 4, 5))["per_layer_config"] == {2: {"intermediate_size": 56}}
    sizes = [_pruned(config, (1, 4, 5)).per_layer_config[layer].intermediate_size for layer in range(3)]
    assert sizes == [40, 56, 48]


def test_two_names_of_the_depth_change_together() -> None:
    config = CONFIG_MAPPING["xlstm"](num_hidden_layers=6, hidden_size=64)
    assert (_pruned(config, (0, 5)).num_hidden_layers, _pruned(config, (0, 5)).num_blocks) == (2, 2)
    assert _pruned(CONFIG_MAPPING["gpt2"](n_layer=6), (0, 5)).n_layer == 2


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("gemma3n_text", {"num_hidden_layers": 35}, "keys and values of earlier ones .num_kv_shared_layers = 15"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "its own number .scale_attn_by_inverse_layer_idx = True"),
        ("rwkv", {"rescale_every": 6}, "a power of two of its own number .rescale_every = 6"),
        ("gemma4_text", {"hidden_size_per_layer_input": 8}, "a part for every layer .hidden_size_per_layer_input = 8"),
        ("qwen4_exp_text", {"ple_layer_ids": [2], "eos_token_id": 1}, "are outside the layers .ple_layer_ids = "),
        (
            "llama",
            {"sliding_window_pattern": 3},
            "sliding_window_pattern = 3 of llama determines the kind of each layer",
        ),
        (
            "llama",
            {"no_rope_layer_interval": 4},
            "no_rope_layer_interval = 4 of llama determines the kind of each layer",
        ),
        ("llama", {"moe_layer_freq": 2}, "moe_layer_freq = 2 of llama determines the kind of each layer"),
        ("jamba", {}, "attn_layer_period = 8 and attn_layer_offset = 4 .* layer 4 would become layer 3"),
    ],
)
def test_what_cannot_be_translated_is_refused(name: str, fields: dict[str, Any], words: str) -> None:
    config = CONFIG_MAPPING[name](**fields)
    kept_layers = tuple(layer for layer in range(config.num_hidden_layers) if layer != 1)
    with pytest.raises(UserError, match=words) as refused:
        pruned_fields(config, kept_layers)
    assert name in refused.value.problem
    assert refused.value.fix


def test_a_layer_is_not_removed_while_another_shares_its_indexer() -> None:
    indexers = ["full", "full", "shared", "shared", "full", "shared"]
    config = CONFIG_MAPPING["glm_moe_dsa"](num_hidden_layers=6, indexer_types=indexers)
    with pytest.raises(UserError, match=r"indexer_types.: layer 3 uses the indexer of layer 1"):
        pruned_fields(config, (0, 3, 4, 5))
    assert pruned_fields(config, (1, 3))["indexer_types"] == ["full", "shared"]
    assert pruned_fields(config, (0, 4, 5))["indexer_types"] == ["full", "full", "shared"]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("gemma3n_text", {"num_kv_shared_layers": 0}),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": False}),
        ("llama", {"moe_layer_freq": 1}),
        ("cohere2", {"sliding_window_pattern": 3}),
        ("smollm3", {"no_rope_layer_interval": 4}),
    ],
)
def test_the_same_fields_are_harmless_when_unset_or_overridden_by_a_list(name: str, fields: dict[str, Any]) -> None:
    config = CONFIG_MAPPING[name](**fields)
    if name == "gemma3n_text":
        config.hidden_size_per_layer_input = 0
    assert pruned_fields(config, (0, 2))["num_hidden_layers"] == 2


def test_a_period_survives_the_removal_of_a_whole_one() -> None:
    config = CONFIG_MAPPING["jamba"](num_hidden_layers=24)
    kept_layers = tuple(layer for layer in range(24) if not 5 <= layer < 13)
    assert _pruned(config, kept_layers).layers_block_type == [config.layers_block_type[layer] for layer in kept_layers]


def test_keeping_every_layer_changes_no_list() -> None:
    config = tiny_config("gemma3_text")
    assert pruned_fields(config, ALL) == {"num_hidden_layers": 6, "layer_types": config.layer_types}
