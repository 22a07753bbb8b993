"""The number type in which a model computes: the checkpoint's own type where this machine multiplies it faster."""

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import torch

from layerlimits.errors import unknown
from layerlimits.models.safetensors_header import Header

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# "auto" takes a 16-bit type on a CPU if its products are this many times as fast as those of float32.
MIN_SPEEDUP = 1.2
# Rows of a product: one answer, a small and a full batch of answers that are decoded, and a text that is read.
ROWS = (1, 16, 64, 256)
# Weights of a measured matrix; of a larger matrix, some output columns are measured.
_MOST_WEIGHTS = 1 << 21
# Several matrices take turns, as in a model, so that weights come from memory rather than from a cache.
_MATRICES = 4
# Fewest timed products of each type, and seconds of all products, per number of rows.
_RUNS, _SECONDS = 3, 0.03
# Another process can take so much time that a rate is far too low; all are measured again then, up to so many times.
_PASSES, _NOT_SLOWER = 8, 0.7
_LAYER_NUMBER = re.compile(r"(^|\.)\d+\.")


@dataclass(frozen=True)
class ProductRate:
    """Speed of the product of `rows` rows with a weight matrix, in 10^9 floating-point operations per second."""

    dtype: str
    rows: int
    gflops: float


@dataclass(frozen=True)
class NumberType:
    """The number type of a model's weights and computations.

    Args:
        dtype: "float32", "bfloat16" or "float16".
        reason: why this type, as a clause.
        rates: the measured products; empty if the choice required no measurement.
    """

    dtype: str
    reason: str
    rates: tuple[ProductRate, ...] = ()


def choose(dtype: str, config: Mapping[str, Any], headers: Sequence[Header], device: str) -> NumberType:
    """Resolve the number type of a model.

    "auto" is the checkpoint's own type on a GPU. On a CPU it is the checkpoint's own type if its products are at least
    1.2 times as fast as those of float32, else float32. The speedup is the median over 1, 16, 64 and 256 rows,
    with matrices of the shape of a layer's largest one.

    Args:
        dtype: "auto", or one of `DTYPES`.
        config: the content of config.json.
        headers: headers of the weight files.
        device: the device of the model, resolved.
    Raises:
        UserError: the type is not one of float32, bfloat16, float16, auto.
    """
    if dtype != "auto":
        if dtype not in DTYPES:
            raise unknown("dtype", dtype, [*DTYPES, "auto"])
        return NumberType(dtype, "set explicitly")
    stored = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    if stored not in DTYPES:
        return NumberType("float32", f"the checkpoint's type, {stored}, is not supported")
    if stored == "float32" or torch.device(device).type != "cpu":
        return NumberType(stored, "the checkpoint's own type")
    rates = measured_rates(_largest_matrix(headers), stored)
    ratio = speedup(rates, stored)
    reason = f"on this CPU, products of the checkpoint's type, {stored}, are {ratio:.2g} times as fast as float32"
    return NumberType(stored if ratio >= MIN_SPEEDUP else "float32", reason, rates)


def speedup(rates: Sequence[ProductRate], dtype: str) -> float:
    """Speed of products of `dtype` divided by that of float32: the median over the numbers of rows, which one rate that
    another process has spoilt does not change much.
    """
    gflops = {(rate.dtype, rate.rows): rate.gflops for rate in rates}
    ratios = sorted(gflops[dtype, rows] / gflops["float32", rows] for rows in ROWS)
    return math.sqrt(ratios[(len(ratios) - 1) // 2] * ratios[len(ratios) // 2])


def _largest_matrix(headers: Sequence[Header]) -> tuple[int, int]:
    """The shape (output, input) of the largest matrix of a layer, or of the model if no layer has one."""
    tensors = [tensor for header in headers for tensor in header.tensors if len(tensor.shape) > 1]
    # Integers are packed weights and their scales.
    tensors = [tensor for tensor in tensors if tensor.dtype[:1] not in "IU"] or tensors
    in_layers = [tensor for tensor in tensors if _LAYER_NUMBER.search(tensor.name)]
    # The experts of a layer can be stacked in one tensor.
    shapes = [tensor.shape[-2:] for tensor in in_layers or tensors]
    outputs, inputs = max(shapes, key=math.prod, default=(1, 1))
    return outputs, inputs


@cache
@torch.no_grad()
def measured_rates(shape: tuple[int, int], dtype: str) -> tuple[ProductRate, ...]:
    """Measure products of float32 and of another type, in turn; the shortest time counts.

    One process measures a shape once, so all of its models of one architecture get the same type.

    Args:
        shape: outputs and inputs of the weight matrix.
        dtype: the other type.
    """
    inputs = max(1, min(shape[1], _MOST_WEIGHTS))
    outputs = max(1, min(shape[0], _MOST_WEIGHTS // inputs))
    kinds = ("float32", dtype)
    weights = {kind: [_filled(outputs, inputs, kind) for _ in range(_MATRICES)] for kind in kinds}
    best: dict[tuple[str, int], float] = {}
    for _ in range(_PASSES):
        for rows in ROWS:
            for kind, seconds in _shortest(weights, rows, dtype).items():
                gflops = 2e-9 * rows * inputs * outputs / seconds
                best[kind, rows] = max(gflops, best.get((kind, rows), 0.0))
        if _rising(best, kinds):
            break
    return tuple(ProductRate(kind, rows, float(f"{best[kind, rows]:.3g}")) for rows in ROWS for kind in kinds)


def _shortest(weights: Mapping[str, Sequence[torch.Tensor]], rows: int, dtype: str) -> dict[str, float]:
    """The shortest time of a product with `rows` rows by type, in seconds; the types take turns."""
    given = {kind: _filled(rows, matrices[0].shape[1], kind) for kind, matrices in weights.items()}
    seconds: dict[str, list[float]] = {kind: [] for kind in weights}
    while len(seconds[dtype]) < _RUNS or sum(map(sum, seconds.values())) < _SECONDS:
        for kind, matrices in weights.items():
            matrix = matrices[len(seconds[kind]) % _MATRICES]
            began = time.perf_counter()
            torch.nn.functional.linear(given[kind], matrix)
            seconds[kind].append(time.perf_counter() - began)
    return {kind: min(times) for kind, times in seconds.items()}


def _rising(rates: Mapping[tuple[str, int], float], kinds: Sequence[str]) -> bool:
    """Whether more rows are not slower, per operation, than fewer; if they are, another process took the time."""
    return all(
        rates[kind, more] >= _NOT_SLOWER * rates[kind, fewer] for kind in kinds for fewer, more in pairwise(ROWS)
    )


def _filled(rows: int, columns: int, dtype: str) -> torch.Tensor:
    return torch.full((rows, columns), 0.5, dtype=DTYPES[dtype])
