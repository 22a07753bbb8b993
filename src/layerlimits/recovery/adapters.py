"""Which weights LoRA adapts in an architecture, known before any weight loads."""

import re
import warnings
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.models.skeleton import skeleton

TARGETS = "all-linear"


@dataclass(frozen=True)
class Adapters:
    """What LoRA does with an architecture.

    Args:
        adapted: weight matrices of layers that get adapters, by their names without the layer's number.
        left_out: those that get none.
        dropout: whether adapters may drop inputs out; those of experts that are one tensor may not.
    """

    adapted: tuple[str, ...]
    left_out: tuple[str, ...]
    dropout: bool


def adapters_of(config: Any) -> Adapters:
    """What LoRA adapts in a model of this configuration; the output head and embeddings are never adapted.

    Raises:
        UserError: PEFT cannot adapt the architecture.
    """
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora.layer import ParamWrapper

    model = skeleton(config)
    matrices = _matrices(model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapped: Any = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", target_modules=TARGETS, r=1))
    # PEFT refuses architectures with errors of several kinds.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"LoRA cannot adapt {config.model_type}: {reason}", "finetune all weights: --kind full"
        ) from None
    left = _unadapted(wrapped, ParamWrapper)
    fused = any(isinstance(module, ParamWrapper) for module in wrapped.modules())
    return Adapters(tuple(sorted(matrices - left)), tuple(sorted(matrices & left)), not fused)


def _matrices(model: PreTrainedModel) -> set[str]:
    return {_name(name) for name, weight in model.named_parameters() if _is_matrix(name, weight)}


def _unadapted(wrapped: Any, wrapper: type) -> set[str]:
    """Matrices of the wrapped model that no adapter stands beside."""
    adapted = set()
    for name, module in wrapped.named_modules():
        if isinstance(module, wrapper):
            adapted.add(_name(f"{name}.{module.parameter_name}"))  # type: ignore[attr-defined]  # PEFT's own
        elif hasattr(module, "lora_A"):
            adapted.add(_name(f"{name}.weight"))
    every = {_name(name) for name, weight in wrapped.named_parameters() if _is_matrix(name, weight)}
    return every - adapted


def _is_matrix(name: str, weight: Tensor) -> bool:
    """Whether a parameter is a weight matrix of a layer; fused experts' biases have two dimensions, too."""
    return weight.ndim >= 2 and re.search(r"\.\d+\.", name) is not None and not re.search(r"lora_|bias$", name)


def _name(name: str) -> str:
    """The name inside a layer: without what PEFT adds, the path to the layer, and its number."""
    plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
    return re.sub(r"^.*?\.\d+\.", "", plain)
