"""Which weights LoRA adapts in an architecture, determined before loading weights."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.models.skeleton import skeleton

_ALL = "all-linear"


@dataclass(frozen=True)
class Adapters:
    """The weights of an architecture that LoRA adapts.

    Args:
        adapted: Names of the layers' weight matrices that get adapters, without the layer number.
        left_out: Names of the weight matrices that do not.
        dropout: Whether the adapters support dropout; adapters of fused experts do not.
    """

    adapted: tuple[str, ...]
    left_out: tuple[str, ...]
    dropout: bool


def target_modules(targets: Sequence[str]) -> str | list[str]:
    """The setting of PEFT for these names of modules; every matrix of the layers if there are none."""
    return list(targets) or _ALL


def adapters_of(config: Any, targets: Sequence[str] = ()) -> Adapters:
    """The weights that LoRA adapts in a model with this configuration; never the output head or the embeddings.

    Args:
        config: The configuration of the model.
        targets: Names of the modules to adapt, such as q_proj; empty for every matrix that PEFT supports.
    Raises:
        UserError: PEFT does not support the architecture, or a layer has no module of a name.
    """
    from peft import get_peft_model
    from peft.tuners.lora.layer import ParamWrapper

    model = skeleton(config)
    matrices = _matrices(model)
    _check_targets(matrices, targets, config.model_type)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapped: Any = get_peft_model(model, _smallest(targets))
    # PEFT raises several types of exceptions for unsupported architectures.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"LoRA cannot adapt {config.model_type}: {reason}", "finetune all weights (--kind full)"
        ) from None
    left = _unadapted(wrapped, ParamWrapper)
    fused = any(isinstance(module, ParamWrapper) for module in wrapped.modules())
    return Adapters(tuple(sorted(matrices - left)), tuple(sorted(matrices & left)), not fused)


def _smallest(targets: Sequence[str]) -> Any:
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", target_modules=target_modules(targets), r=1)


def _check_targets(matrices: set[str], targets: Sequence[str], architecture: str) -> None:
    """Check that layers have modules of these names.

    Raises:
        UserError: They do not; names the modules that they have.
    """
    modules = {name.removesuffix(".weight") for name in matrices}
    for target in targets:
        if not any(module == target or module.endswith(f".{target}") for module in modules):
            known = ", ".join(sorted({module.rpartition(".")[2] for module in modules}))
            raise UserError(
                f"LoRA target {target!r} is not a module of the layers of {architecture}",
                f"set lora_targets (--lora-targets) to some of: {known}",
            )


def _matrices(model: PreTrainedModel) -> set[str]:
    return {_name(name) for name, weight in model.named_parameters() if _is_matrix(name, weight)}


def _unadapted(wrapped: Any, wrapper: type) -> set[str]:
    """Matrices of the wrapped model without an adapter."""
    adapted = set()
    for name, module in wrapped.named_modules():
        if isinstance(module, wrapper):
            adapted.add(_name(f"{name}.{module.parameter_name}"))  # type: ignore[attr-defined]  # PEFT's own
        elif hasattr(module, "lora_A"):
            adapted.add(_name(f"{name}.weight"))
    every = {_name(name) for name, weight in wrapped.named_parameters() if _is_matrix(name, weight)}
    return every - adapted


def _is_matrix(name: str, weight: Tensor) -> bool:
    """Whether a parameter is a weight matrix of a layer. Biases of fused experts also have two dimensions."""
    return weight.ndim >= 2 and re.search(r"\.\d+\.", name) is not None and not re.search(r"lora_|bias$", name)


def _name(name: str) -> str:
    """The parameter name within its layer, without PEFT's additions, the path to the layer and the layer number."""
    plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
    return re.sub(r"^.*?\.\d+\.", "", plain)
