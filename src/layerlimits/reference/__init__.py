"""The bundled reference model: a 12-layer Llama checkpoint, the tokenizer it uses and the recipe that trained it."""

from pathlib import Path


def folder() -> Path:
    """The checkpoint folder inside the package: `AutoModelForCausalLM` and `AutoTokenizer` load it as it is."""
    return Path(__file__).parent / "model"
