"""Quantization of the weights of a model's layers with torchao, which the extra `quantize` installs.

Only linear layers of the decoder are quantized; embeddings, norms and the output head keep their type, as is usual.
8 bits are symmetric per output channel. 4 bits are asymmetric in groups of 32 weights, packed two to a byte.
"""

from dataclasses import replace
from importlib.util import find_spec
from typing import Any, Literal

from torch import nn

from layerlimits.errors import UserError
from layerlimits.foreign import refusing
from layerlimits.models.load import Loaded, load
from layerlimits.models.stack import find_stack

Bits = Literal[8, 4]
# torchao's kernels for 4 bits need rows in groups of this many weights, and multiples of this many rows.
_GROUP, _ROWS = 32, 16


def check_quantizer() -> None:
    """Check that torchao is installed.

    Raises:
        UserError: It is not.
    """
    if find_spec("torchao") is None:
        raise UserError(
            "quantized models need the package torchao, which is not installed",
            "pip install layerlimits[quantize], or omit quantized (--quantized)",
        )


def quantized_type(dtype: str, bits: Bits) -> str:
    """The number type in the key of a quantized model: the type it computes in, and that of its weights."""
    return f"{dtype}, {bits}-bit weights (torchao)"


def quantized(source: Loaded, bits: Bits) -> Loaded:
    """A copy of a model with quantized weights, loaded from its files again.

    Args:
        source: The model; it stays as it is.
        bits: Bits per weight.
    Raises:
        UserError: torchao is not installed, the copy does not fit into memory, or torchao cannot quantize the model.
    """
    check_quantizer()
    ref, device = source.ref, source.model.device
    copy = load(ref.path, revision=ref.revision, dtype=ref.dtype, device=str(device))
    from torchao.quantization import quantize_

    layers = find_stack(copy.model).layers
    if not any(_fits(module) for layer in layers for module in layer.modules()):
        raise UserError(
            f"no weight matrix in the layers of {ref.path} can be quantized: inputs must be multiples of {_GROUP}, "
            f"and outputs of {_ROWS}",
            "omit quantized (--quantized)",
        )
    with refusing(
        f"torchao cannot quantize {ref.path} to {bits} bits on {device.type}", "omit these bits (--quantized)"
    ):
        config = _config(bits, device.type)
        for layer in layers:
            quantize_(layer, config, lambda module, _: _fits(module))
    return replace(copy, ref=replace(ref, dtype=quantized_type(ref.dtype, bits)))


def _fits(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) and module.in_features % _GROUP == 0 and module.out_features % _ROWS == 0


def _config(bits: Bits, device: str) -> Any:
    if bits == 8:
        from torchao.quantization import Int8WeightOnlyConfig

        return Int8WeightOnlyConfig(set_inductor_config=False)
    if device == "cpu":
        # torchao has its kernel for CPUs here; that in torchao.quantization is for GPUs.
        from torchao.prototype.quantization.int4 import PrototypeInt4WeightOnlyConfig

        return PrototypeInt4WeightOnlyConfig(group_size=_GROUP, set_inductor_config=False)
    from torchao.quantization import Int4WeightOnlyConfig

    return Int4WeightOnlyConfig(group_size=_GROUP, int4_packing_format="tile_packed_to_4d", set_inductor_config=False)
