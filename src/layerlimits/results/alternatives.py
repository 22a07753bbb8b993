"""Rows on quality against memory and speed: the unpruned model, pruned ones, and what can be used instead."""

from dataclasses import dataclass

from layerlimits.results.rows import PairedTest
from layerlimits.types import Estimate, Kind


@dataclass(frozen=True)
class AlternativeTask:
    """A model's score on a task, and its paired difference from the unpruned model; see `pair.TaskDifference`."""

    task: str
    kind: Kind
    score: Estimate
    difference: Estimate
    test: PairedTest | None


@dataclass(frozen=True)
class AlternativeClass:
    """Mean score over the tasks of a class, difference from the unpruned model, and retention corrected for chance."""

    kind: Kind
    score: Estimate
    difference: Estimate
    retention: Estimate | None


@dataclass(frozen=True)
class Alternative:
    """A model as an option: its quality, memory and speed.

    Args:
        name: What it is.
        kind: unpruned, pruned, finetuned, quantized or sibling.
        bits: Bits per weight of a quantized model, else None.
        layers, parameters: Its size.
        weight_bytes, peak_bytes: Size of the weights; peak memory on a GPU, weights plus key-value cache on a CPU.
        tokens_per_s, speedup: Median and range over interleaved repeats; the speedup is over the unpruned model.
        tasks, classes: Its scores.
    """

    name: str
    kind: str
    bits: int | None
    layers: int
    parameters: int
    weight_bytes: int
    peak_bytes: int
    tokens_per_s: Estimate
    speedup: Estimate
    tasks: tuple[AlternativeTask, ...]
    classes: tuple[AlternativeClass, ...]
