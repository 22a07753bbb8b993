"""Notes at the end of a report: decoding, separation of items, and statistical methods."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from layerlimits.chat_options import ChatOptions
from layerlimits.evaluation.artifacts import CalibrationRecord
from layerlimits.types import Decoding


def notes(calibration: CalibrationRecord, config: Mapping[str, Any]) -> Iterator[str]:
    """The notes of a study, one sentence or two each."""
    count, source = len(calibration["hashes"]), calibration["source"]
    yield f"Calibration text: {count} items from {source}; none of them is evaluated."
    yield from _chat(config)
    yield (f"{_decoding(config)} Selection, calibration, training and evaluation items are disjoint by content hash.")
    yield (
        "Intervals are 95% confidence intervals: Wilson's score interval for rates, an interval over paired items for "
        "retention (docs/statistics.md). Speeds are given as median and range."
    )
    yield "p-values are from McNemar's exact test against the unpruned model, with Holm's correction over each table."


def without_texts(tasks: Sequence[str]) -> Iterator[str]:
    """A note if items of tasks are not stored, as in an imported run folder."""
    if tasks:
        yield (
            f"The items of {', '.join(tasks)} are not in this run folder, which was imported: sample answers and "
            "diagnostics that require the items are left out. Resume the study with its data to add them."
        )


def _chat(config: Mapping[str, Any]) -> Iterator[str]:
    """A note on the settings of the chat template; studies recorded before there were any have none."""
    if options := ChatOptions(config.get("system", ""), config.get("chat_args", {})):
        yield f"Conversations are formatted by the model's chat template with {options}."


def _decoding(config: Mapping[str, Any]) -> str:
    if not config["temperature"]:
        return "Decoding is greedy."
    names = ("temperature", "top_p", "top_k", "seed", "samples")
    decoding = Decoding(**{name: config[name] for name in names})
    count = "One response was" if decoding.samples == 1 else f"{decoding.samples} responses were"
    return f"{count} sampled per generation item ({decoding.name(0).removesuffix(' #0')})."
