"""Tiny multimodal models with random weights and the reference tokenizer, one of each layout of names."""

from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForImageTextToText, PreTrainedModel

from layerlimits.reference.tokenizer import build

LAYERS = 6
_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_HEADS = {**_TEXT, "head_dim": 8}
_SIGLIP = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
_SIGLIP |= {"image_size": 28, "patch_size": 14}
_QWEN = {"depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 32, "patch_size": 4}
_AXES = {"rope_type": "default", "rope_theta": 10000.0}
_SLIDING, _FULL, _LINEAR = "sliding_attention", "full_attention", "linear_attention"

# Model type: its configuration, and the model type of the text-only checkpoint.
MULTIMODAL: dict[str, tuple[dict[str, Any], str]] = {
    "gemma3": (
        {
            "text_config": {
                **_HEADS,
                "sliding_window": 16,
                "layer_types": [_SLIDING, _FULL, _SLIDING, _SLIDING, _FULL, _SLIDING],
            },
            "vision_config": _SIGLIP,
            "mm_tokens_per_image": 4,
        },
        "gemma3_text",
    ),
    "qwen2_5_vl": (
        {
            "text_config": {**_TEXT, "rope_parameters": {**_AXES, "mrope_section": [1, 1, 2]}},
            "vision_config": {**_QWEN, "spatial_patch_size": 4},
        },
        "qwen2",
    ),
    "qwen3_vl": (
        {
            "text_config": {
                **_HEADS,
                "rope_parameters": {**_AXES, "mrope_section": [2, 1, 1], "mrope_interleaved": True},
            },
            "vision_config": {**_QWEN, "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 16},
        },
        "qwen3",
    ),
    "qwen3_5": (
        {
            "text_config": {
                **_HEADS,
                "layer_types": [_LINEAR, _FULL, _LINEAR, _LINEAR, _FULL, _LINEAR],
                "linear_num_value_heads": 2,
                "linear_num_key_heads": 2,
                "linear_key_head_dim": 8,
                "linear_value_head_dim": 8,
                "linear_conv_kernel_dim": 2,
                "mtp_num_hidden_layers": 1,
            },
            "vision_config": {**_QWEN, "num_position_embeddings": 16},
        },
        "qwen3_5_text",
    ),
    "llama4": (
        {
            "text_config": {
                **_HEADS,
                "intermediate_size_mlp": 48,
                "num_local_experts": 2,
                "moe_layers": [1, 4, 5],
                "no_rope_layers": [1, 0, 0, 1, 0, 1],
                "attention_chunk_size": 16,
            },
            "vision_config": {
                **_SIGLIP,
                "vision_output_dim": 16,
                "projector_input_dim": 16,
                "projector_output_dim": 16,
                "num_channels": 3,
                "pixel_shuffle_ratio": 0.5,
            },
        },
        "llama4_text",
    ),
    "mistral3": (
        {
            "text_config": {**_HEADS, "model_type": "mistral"},
            "vision_config": {**_SIGLIP, "model_type": "pixtral", "head_dim": 8},
        },
        "mistral",
    ),
}


def multimodal_model(name: str) -> PreTrainedModel:
    """A model of that type, always with the same weights."""
    tokens = {"vocab_size": len(build())}
    fields, _ = MULTIMODAL[name]
    torch.manual_seed(0)
    config = CONFIG_MAPPING[name](**{**fields, "text_config": {**fields["text_config"], **tokens}})
    model: PreTrainedModel = AutoModelForImageTextToText.from_config(config)
    return model.eval()


def saved_multimodal(name: str, folder: Path) -> Path:
    """The folder of that model, with a tokenizer and the settings of an image processor."""
    multimodal_model(name).save_pretrained(folder)
    build().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"image_processor_type": "SiglipImageProcessor"}')
    return folder
