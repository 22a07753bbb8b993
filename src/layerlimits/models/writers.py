"""The parameters of a layer that write to the residual stream: output projections, and norms after them.

Candidates are found by name. Code that uses one checks it by running the layer (`models.probe`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from layerlimits.errors import UserError
from layerlimits.models.probe import Call, scaled

# Names of output projections in transformers: of attention, convolutions and state spaces; of MLPs; of either.
_MIXERS = ("o_proj", "out_proj", "o_b_proj", "linear_out", "attention_out")
_MLPS = ("down_proj", "fc2", "w2", "dense_4h_to_h", "fc_out", "output_linear", "proj_down", "w_out")
_EITHER = ("c_proj", "dense", "Wo", "wo")
_MLP_PATHS = ("mlp", "ffn", "feed_forward", "moe", "expert")


@dataclass(frozen=True)
class Writer:
    """An output projection of a layer; of all experts, if their weights are one tensor.

    Args:
        weight: path of its parameter in the layer.
        bias: path of its bias, (D,) or one row per expert.
        axes: the axes of the weight that can belong to the stream, of size D; two if the projection is square and the
            kind of module is ambiguous.
        mlp: belongs to an MLP or to experts, not to attention, a convolution or a state space.
    """

    weight: str
    bias: str | None
    axes: tuple[int, ...]
    mlp: bool

    @property
    def parameters(self) -> tuple[str, ...]:
        """The paths of weight and bias."""
        return (self.weight, self.bias) if self.bias else (self.weight,)


def looked_for(mlp_only: bool = False) -> str:
    """The names of output projections, for error messages."""
    return ", ".join((*_MLPS, *_EITHER) if mlp_only else (*_MIXERS, *_MLPS, *_EITHER))


def writers(layer: nn.Module, width: int) -> list[Writer]:
    """The output projections of a layer with stream width `width`, in the order of its parameters."""
    present = dict(layer.named_parameters())
    projections = []
    for path, parameter in present.items():
        stem = path.removesuffix(".weight")
        if stem.rpartition(".")[2] not in (*_MIXERS, *_MLPS, *_EITHER):
            continue
        axes = _stream_axes(layer, path, parameter, width)
        if axes:
            bias = f"{stem}.bias" if stem != path else f"{stem}_bias"
            projections.append(Writer(path, bias if bias in present else None, axes, _is_mlp(stem)))
    return projections


def _stream_axes(layer: nn.Module, path: str, parameter: Tensor, width: int) -> tuple[int, ...]:
    owner = layer.get_submodule(path.rpartition(".")[0])
    if parameter.ndim == 2:
        axis = 1 if isinstance(owner, Conv1D) else 0
        return (axis,) if parameter.shape[axis] == width else ()
    # All experts in one tensor, (E, D, I) or (E, I, D).
    return tuple(axis for axis in (1, 2) if parameter.ndim == 3 and parameter.shape[axis] == width)


def _is_mlp(stem: str) -> bool:
    name = stem.rpartition(".")[2]
    if "att" in stem.lower() or name in _MIXERS:
        return False
    return name in _MLPS or any(word in stem.lower() for word in _MLP_PATHS)


@dataclass(frozen=True)
class Scale:
    """A parameter that scales the output of a layer, which is proportional to `offset` + parameter."""

    parameter: str
    offset: float = 0.0


def scales(layer: nn.Module, call: Call) -> list[Scale]:
    """The parameters to divide in order to divide what a layer writes to the stream: the gain of a norm after the
    output projection if there is one, otherwise the projection. `layer` is a float32 copy.

    Raises:
        UserError: the layer has no output projection.
    """
    width = call.stream.shape[-1]
    projections = writers(layer, width)
    if not projections:
        raise UserError(
            f"{type(layer).__name__} has no recognizable output projection: expected parameters of width {width} named "
            f"{looked_for()}",
            "use another replacement, or report this architecture",
        )
    chosen: list[Scale] = []
    for mlp in (True, False):
        group = [writer for writer in projections if writer.mlp == mlp]
        names = [name for writer in group for name in writer.parameters]
        norms = _post_norms(layer, call, names, width) if names else []
        chosen += norms or [Scale(name) for name in names]
    return chosen


def _post_norms(layer: nn.Module, call: Call, projections: list[str], width: int) -> list[Scale]:
    """The gains of norms that read only these projections: their input is zero if the projections are zero."""
    gained = {
        path: module
        for path, module in layer.named_modules()
        if "norm" in type(module).__name__.lower() and _gain(module) is not None and _gain(module).shape == (width,)
    }
    with scaled(layer, projections, 0.0), _inputs(gained) as read:
        call.run(layer)
    norm_scales = []
    for path, module in gained.items():
        if read.get(path) == 0.0:
            norm_scales.append(Scale(f"{path}.weight", _offset(module, width)))
            if getattr(module, "bias", None) is not None:
                norm_scales.append(Scale(f"{path}.bias"))
    return norm_scales


def _gain(module: nn.Module) -> Any:
    return module._parameters.get("weight")


def _offset(norm: nn.Module, width: int) -> float:
    """1 if the norm multiplies by 1 + weight (Gemma), 0 if by weight: with weight 0 the output is then constant."""
    weight = norm.get_parameter("weight")
    ramp = torch.arange(1, width + 1, dtype=weight.dtype, device=weight.device)
    with scaled(norm, ["weight"], 0.0):
        return float(not torch.equal(norm(ramp[None, None]), norm(ramp.flip(0)[None, None])))


@contextmanager
def _inputs(modules: dict[str, nn.Module]) -> Iterator[dict[str, float]]:
    """Inside the block, records the largest magnitude in the input of each of these modules."""
    read: dict[str, float] = {}

    def watch(path: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            value = args[0] if args else next(iter(kwargs.values()))
            read[path] = max(read.get(path, 0.0), float(value.abs().max()))

        return hook

    handles = [module.register_forward_pre_hook(watch(path), with_kwargs=True) for path, module in modules.items()]
    try:
        yield read
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def divide(layer: nn.Module, chosen: list[Scale], factor: float) -> None:
    """Divide the output that these parameters scale by `factor`, in float64."""
    for scale in chosen:
        parameter = layer.get_parameter(scale.parameter)
        parameter.copy_((parameter.double() + scale.offset) / factor - scale.offset)
