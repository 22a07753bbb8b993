"""Tiny models with random weights, one of each architecture that removal is proved on, and some that it must refuse.

Six layers; windows of 8 tokens, so that they matter on prompts of 37; kinds of layers in no regular order, so that a
field cut off at the front, or a pattern worked out anew, gives another model.
"""

import copy
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

LAYERS = 6
VOCABULARY = 96
PROMPT = torch.arange(3, 40)[None]
_BASE = {
    "vocab_size": VOCABULARY,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,  # No answer ends early.
    "tie_word_embeddings": False,  # Tied, a random model repeats its last token.
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
}
_WINDOW, _FULL = "sliding_attention", "full_attention"
_TYPES = [_WINDOW, _FULL, _FULL, _WINDOW, _FULL, _WINDOW]
_WINDOWS = {"sliding_window": 8, "layer_types": _TYPES}
_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
_LATENT = {"kv_lora_rank": 16, "q_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8}

# Model type: what its configuration has besides `_BASE`.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": 8},
    "qwen2": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 2},
    "qwen3": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 4, "head_dim": 16},
    "gemma": {"head_dim": 16},
    "gemma2": {**_WINDOWS, "head_dim": 16, "query_pre_attn_scalar": 16},
    "gemma3_text": {**_WINDOWS, "head_dim": 16, "query_pre_attn_scalar": 16},
    "phi3": {"sliding_window": 8},
    "olmo2": {},
    "olmo3": _WINDOWS,
    "granite": {
        "tie_word_embeddings": True,
        "residual_multiplier": 0.7,
        "attention_multiplier": 0.3,
        "embedding_multiplier": 2.0,
    },
    "cohere2": {**_WINDOWS, "logit_scale": 1.0},
    "starcoder2": {"sliding_window": 8},
    "smollm3": {
        "no_rope_layers": [1, 0, 0, 1, 0, 1],
        "use_sliding_window": True,
        "sliding_window": 8,
        "layer_types": [_FULL, _WINDOW, _WINDOW, _FULL, _WINDOW, _FULL],
    },
    "gpt2": {"n_inner": 48},
    "gpt_neox": {},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "falcon": {"new_decoder_architecture": True, "num_kv_heads": 2},
    "deepseek_v3": {
        **_EXPERTS,
        **_LATENT,
        "num_key_value_heads": 4,
        "first_k_dense_replace": 2,
        "n_routed_experts": 4,
        "n_group": 1,
        "topk_group": 1,
    },
    "mixtral": {"num_local_experts": 4},
    "qwen3_moe": {**_EXPERTS, "num_experts": 4, "mlp_only_layers": [3], "decoder_sparse_step": 2, "head_dim": 16},
    "gpt_oss": {**_WINDOWS, "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 16},
    "lfm2": {"layer_types": ["conv", _FULL, _FULL, "conv", _FULL, "conv"], "block_auto_adjust_ff_dim": False},
    # Beyond the common ones: each has a rule of its own in `models.fields`.
    "afmoe": {**_WINDOWS, **_EXPERTS, "num_experts": 4, "num_dense_layers": 2, "head_dim": 16},
    "ernie4_5_moe": {"moe_num_experts": 4, "moe_intermediate_size": 16, "moe_k": 2, "moe_layer_start_index": 2},
    "gpt_neo": {
        "attention_types": [[["global", "local"], 1], [["local", "local", "global", "local"], 1]],
        "window_size": 8,
    },
    "llama4_text": {
        "intermediate_size_mlp": 48,
        "num_local_experts": 4,
        "moe_layers": [1, 4, 5],
        "no_rope_layers": [1, 0, 0, 1, 0, 1],
        "attention_chunk_size": 8,
        "head_dim": 8,
    },
    "minicpm3": {**_LATENT, "num_key_value_heads": 4, "scale_depth": 1.4, "dim_model_base": 16},
    "recurrent_gemma": {"block_types": ["attention", "recurrent", "recurrent"], "attention_window_size": 8},
    "gemma4_text": {
        **_WINDOWS,
        "head_dim": 8,
        "global_head_dim": 16,
        "hidden_size_per_layer_input": 0,
        "num_kv_shared_layers": 0,
    },
}

# Model type: its configuration, and the words that say why it cannot lose layers.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "gpt2": ({"n_inner": 48, "scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
    "gemma3n_text": (
        {"num_kv_shared_layers": 2, "layer_types": _TYPES, "head_dim": 8, "intermediate_size": [48] * 6},
        "num_kv_shared_layers = 2",
    ),
    "rwkv": ({"rescale_every": 2}, "rescale_every = 2"),
    "diffllama": ({}, "lambda_init"),
    "zamba2": (
        {
            "layers_block_type": ["linear_attention", "hybrid", "hybrid"] * 2,
            "num_mem_blocks": 1,
            "tie_word_embeddings": True,
        },
        "shares weights",
    ),
    "jamba": ({}, "attn_layer_period"),
    "bart": ({"encoder_layers": 6, "decoder_layers": 6, "d_model": 32}, "encoder-decoder"),
}


def tiny_config(name: str, **fields: Any) -> Any:
    """The configuration of `tiny_model(name)`; `fields` replaces or adds some."""
    # Copied: Gemma 4 writes into the list of layer types it is given.
    return CONFIG_MAPPING[name](**copy.deepcopy({**_BASE, **ARCHITECTURES.get(name, {}), **fields}))


def tiny_model(name: str, **fields: Any) -> PreTrainedModel:
    """A model of that type, always the same weights, ready to answer."""
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(tiny_config(name, **fields))
    return model.eval()
