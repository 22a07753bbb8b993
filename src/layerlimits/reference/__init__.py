"""The bundled reference model: a 12-layer Llama checkpoint, its tokenizer and its training recipe."""

from pathlib import Path


def folder() -> Path:
    """The checkpoint folder inside the package, which `AutoModelForCausalLM` and `AutoTokenizer` can load."""
    return Path(__file__).parent / "model"
