"""Approximates each gap by a linear map, folded into the MLP of the layer before it."""

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.models.probe import Call, observe, scaled, short_text, twin
from layerlimits.models.stack import find_stack
from layerlimits.models.writers import Writer, looked_for, writers
from layerlimits.replacements import ReplacementContext

# Tolerated relative difference between two computations of the same MLP output: float32 rounding when the stream is a
# thousand times larger than the output.
_TOLERANCE = 1e-3


def linear(context: ReplacementContext, *, alpha: float = 0.1) -> dict[str, Any]:
    """Fit each gap by a linear map of the output of the MLP before it, and fold the map into that MLP.

    T = argmin |M T - Y|^2 + alpha |T|^2 = (M^T M + alpha I)^-1 M^T Y,    Y = h_end - h_mid

    M (tokens, D) is the output of the MLP of the layer before the gap, h_mid the stream of that layer without the MLP
    output, and h_end the stream leaving the gap's last layer, before the final norm. Sums run over the real tokens of
    all texts, in float64, so alpha has less weight with more text (on the bundled model's 22638 calibration tokens,
    errors change by less than 0.3% from alpha = 0 to 1000). With alpha = 0, directions absent from M are mapped to 0.
    The MLP's output projection W and bias b become T^T W and b T, for every expert. All streams are those of the
    unpruned model, for every gap. The returned errors are |h_pruned - h_end|^2 / |Y|^2, for plain removal (T = I) and
    with T.

    Raises:
        UserError: A gap starts at layer 0, or the layer before a gap has no MLP or has a norm after it.
    Source: ReplaceMe, arXiv 2505.02819
    Cost: one forward pass over the calibration text
    """
    if not 0 <= alpha < math.inf:
        raise UserError(f"linear: invalid alpha = {alpha:g}", "set alpha to 0 or more")
    gaps = context.gaps_after_a_layer("linear")
    befores = [first - 1 for first, _ in gaps]
    probe = observe(context.model, short_text(context.model, context.texts), befores)
    mlps = [_Mlp.find(context.model, layer, probe[layer]) for layer in befores]
    sums = [_Sums(probe[layer].stream) for layer in befores]
    for batch in context.batches():
        seen = observe(context.model, batch, [*befores, *(last + 1 for _, last in gaps)])
        for (first, last), mlp, total in zip(gaps, mlps, sums, strict=True):
            written, middle = mlp.write(seen[first - 1])
            missing = seen[last + 1].stream.float() - middle
            total.add(written[batch.mask].double(), missing[batch.mask].double())
        context.on_progress(context.share(batch))
    report = []
    for gap, mlp, total in zip(gaps, mlps, sums, strict=True):
        best = total.solve(alpha)
        mlp.fold(best, probe[gap[0] - 1])
        report.append({"gap": list(gap), "error_before": total.error_before, "error_after": total.error(best)})
    return {"alpha": alpha, "tokens": sum(map(len, context.texts)), "gaps": report}


class _Sums:
    """Sums over tokens that determine the map and its errors, in float64; no per-token values are stored."""

    def __init__(self, like: Tensor) -> None:
        self.mm = torch.zeros(like.shape[-1], like.shape[-1], dtype=torch.float64, device=like.device)
        self.my = torch.zeros_like(self.mm)
        self.yy = 0.0
        self.plain = 0.0

    def add(self, written: Tensor, missing: Tensor) -> None:
        """Add tokens to the sums: M and Y, both (tokens, D)."""
        self.mm += written.T @ written
        self.my += written.T @ missing
        self.yy += float(missing.square().sum())
        self.plain += float((written - missing).square().sum())

    def solve(self, alpha: float) -> Tensor:
        """Solve for T (D, D) by eigendecomposition; directions absent from M are dropped instead of divided by zero.

        Raises:
            UserError: Activations are not finite.
        """
        if not (self.mm.isfinite().all() and self.my.isfinite().all()):
            raise UserError("linear: activations are not finite", "use float32 or different calibration text")
        values, vectors = torch.linalg.eigh(self.mm)
        values = values.clamp(min=0) + alpha
        least = float(values.max()) * len(values) * torch.finfo(torch.float64).eps
        inverse = torch.where(values > least, 1 / values.clamp(min=least or 1.0), 0.0)
        best: Tensor = vectors @ (inverse[:, None] * (vectors.T @ self.my))
        return best

    def error(self, best: Tensor) -> float:
        """|M T - Y|^2 / |Y|^2."""
        squared = float((best * (self.mm @ best)).sum() - 2 * (best * self.my).sum()) + self.yy
        return max(0.0, squared) / self.yy if self.yy else 0.0

    @property
    def error_before(self) -> float:
        """|M - Y|^2 / |Y|^2, the error of plain removal."""
        return self.plain / self.yy if self.yy else 0.0


@dataclass(frozen=True)
class _Mlp:
    """The MLP of a layer; `copy` is a float32 copy of the layer."""

    layer: nn.Module
    copy: nn.Module
    projections: tuple[Writer, ...]

    @classmethod
    @torch.no_grad()
    def find(cls, model: PreTrainedModel, number: int, probe: Call) -> "_Mlp":
        """The MLP of a layer, after checking that its output enters the stream unchanged: doubled weights double it.

        Raises:
            UserError: There is no MLP, or its output is transformed before it enters the stream.
        """
        layer, kind = find_stack(model).layers[number], type(model).__name__
        mlp = cls(layer, twin(layer), tuple(writer for writer in writers(layer, probe.stream.shape[-1]) if writer.mlp))
        if not mlp.projections:
            raise UserError(
                f"layer {number} of {kind} has no recognizable MLP output projection (expected parameters named "
                f"{looked_for(mlp_only=True)})",
                "remove other layers, or use a different replacement",
            )
        written, middle = mlp.write(probe)
        with scaled(mlp.copy, mlp.parameters, 2.0):
            doubled = probe.run(mlp.copy) - middle
        if not written.any():
            raise UserError(f"the MLP output of layer {number} of {kind} is zero", "remove other layers")
        if (doubled - 2 * written).norm() > _TOLERANCE * written.norm():
            raise UserError(
                f"linear cannot fold a map into layer {number} of {kind}: a norm follows the MLP (doubling its output "
                f"projection multiplies what it adds to the stream by {float(doubled.norm() / written.norm()):.2f})",
                "use a different replacement for this architecture",
            )
        return mlp

    @property
    def parameters(self) -> list[str]:
        """Parameter names of the weights and biases."""
        return [name for writer in self.projections for name in writer.parameters]

    @torch.no_grad()
    def write(self, call: Call) -> tuple[Tensor, Tensor]:
        """The MLP output, and the stream it is added to, both (N, T, D)."""
        with scaled(self.copy, self.parameters, 0.0):
            middle = call.run(self.copy)
        return call.run(self.copy) - middle, middle

    @torch.no_grad()
    def fold(self, best: Tensor, probe: Call) -> None:
        """Change the MLP's weights so that it outputs M T instead of M.

        Raises:
            UserError: No interpretation of the projections' axes gives that output.
        """
        written, middle = self.write(probe)
        expected = written.double() @ best
        size = expected.norm() + written.norm()
        for axes in product(*(writer.axes for writer in self.projections)):
            before = {name: self.copy.get_parameter(name).data for name in self.parameters}
            _fold(self.copy, self.projections, axes, best)
            if (probe.run(self.copy) - middle - expected).norm() <= _TOLERANCE * size:
                _fold(self.layer, self.projections, axes, best)
                return
            for name, data in before.items():
                self.copy.get_parameter(name).data = data
        raise UserError(
            f"cannot fold the map into {', '.join(writer.weight for writer in self.projections)}",
            "use a different replacement, or report this architecture",
        )


def _fold(layer: nn.Module, projections: tuple[Writer, ...], axes: tuple[int, ...], best: Tensor) -> None:
    for writer, axis in zip(projections, axes, strict=True):
        weight = layer.get_parameter(writer.weight)
        weight.data = (weight.double().movedim(axis, -1) @ best).movedim(-1, axis).to(weight.dtype).contiguous()
        if writer.bias:
            bias = layer.get_parameter(writer.bias)
            bias.data = (bias.double() @ best).to(bias.dtype)
