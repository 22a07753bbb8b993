"""Random Llamas of a few thousand weights with the reference tokenizer."""

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from layerlimits.reference.tokenizer import build


def small_llama(layers: int, **shape: Any) -> LlamaForCausalLM:
    """A 32 wide Llama; `shape` replaces or adds configuration fields. Always the same weights for one shape."""
    tokenizer = build()
    torch.manual_seed(0)
    fields = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_hidden_layers": layers,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "initializer_range": 0.3,
    }
    return LlamaForCausalLM(LlamaConfig(**fields | shape))


def talkative_llama(layers: int) -> LlamaForCausalLM:
    """An untaught Llama that writes characters and often ends its answers: recovery needs finished ones."""
    network, tokenizer = small_llama(layers, num_attention_heads=2), build()
    with torch.no_grad():
        head = network.lm_head.weight
        end, first_character = tokenizer.eos_token_id, len(tokenizer) - 96
        head[end] *= 2
        head[:end] = 0
        head[end + 1 : first_character] = 0
    return network


def saved(model: LlamaForCausalLM, folder: Path) -> Path:
    """The model's folder, tokenizer included."""
    model.save_pretrained(folder)
    build().save_pretrained(folder)
    return folder
