"""Alternating runs of two sides, and the file of their results."""

import json
import time
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any

import torch

RESULTS = Path(__file__).with_name("results.json")


def paired(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[list[float], Any, Any]:
    """Seconds of both, run one after the other, and both results."""
    began = time.perf_counter()
    first = ours()
    between = time.perf_counter()
    second = theirs()
    return [round(between - began, 3), round(time.perf_counter() - between, 3)], first, second


def saved(row: dict[str, Any], afresh: bool) -> dict[str, Any]:
    """Save the row with all its runs to the results file; `afresh` discards earlier runs of the same work."""
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    name = itemgetter("model", "against", "work")
    runs = [run for old in rows if name(old) == name(row) and not afresh for run in old["runs"]] + [row.pop("run")]
    ratios = [theirs / ours for ours, theirs in runs]
    row |= {"threads": torch.get_num_threads(), "ratio": median(ratios), "low": min(ratios), "high": max(ratios)}
    row["runs"] = runs
    rows = [old for old in rows if name(old) != name(row)] + [row]
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    return row
