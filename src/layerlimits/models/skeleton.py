"""A model without its weights: its full structure in almost no memory."""

import copy
import math
from typing import Any

import torch
from accelerate import init_empty_weights  # type: ignore[import-untyped]  # ships none
from torch.overrides import TorchFunctionMode
from transformers import AutoModelForCausalLM, PreTrainedModel

from layerlimits.errors import UserError

# Buffers have fewer elements.
_LARGE = 1 << 24


class _NoMemory(TorchFunctionMode):
    """Creates uninitialized and large zero tensors on the meta device: a mixture of experts can exceed memory."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        sizes = args[0] if args and isinstance(args[0], list | tuple) else args
        if function is torch.empty or (function is torch.zeros and math.prod(sizes) > _LARGE):
            kwargs["device"] = "meta"
        return function(*args, **kwargs)


def skeleton(config: Any) -> PreTrainedModel:
    """The model with its parameters on the meta device. Buffers have values, because some depend on the layer.

    Raises:
        UserError: transformers cannot build it.
    """
    try:
        with torch.random.fork_rng(devices=[]), init_empty_weights(include_buffers=False), _NoMemory():
            model: PreTrainedModel = AutoModelForCausalLM.from_config(copy.deepcopy(config), trust_remote_code=False)
        # Moving parameters to the meta device separates tied ones.
        model.tie_weights()
    except Exception as error:  # Architectures reject configurations with errors of many kinds.
        raise unbuildable(config, error) from None
    return model


def unbuildable(config: Any, error: Exception) -> UserError:
    """The error for a configuration from which transformers cannot build a model."""
    reason = " ".join(str(error).split())[:200]
    return UserError(
        f"transformers cannot build {config.model_type} with {config.num_hidden_layers} layers: "
        f"{type(error).__name__}: {reason}",
        "remove other layers, or report this architecture",
    )
