"""What a study's reader must know beside its figures: how tasks were asked, and what the numbers cannot show."""

from collections.abc import Iterator, Mapping
from typing import Any

from layerlimits.evaluation.artifacts import CalibrationRecord
from layerlimits.types import Decoding


def notes(calibration: CalibrationRecord, config: Mapping[str, Any]) -> Iterator[str]:
    """Sentences for the end of a report."""
    yield f"Calibration text: {len(calibration['hashes'])} items of {calibration['source']}; none of them is evaluated."
    yield (f"{_decoding(config)} Selection, calibration, training and evaluation items are disjoint by content hash.")
    yield (
        "Intervals are 95%: Wilson's for rates, of the paired items' shares for retention (docs/statistics.md); "
        "speeds show median and range."
    )
    yield "p-values are of McNemar's exact test against the unpruned model, by Holm's correction over their table."


def _decoding(config: Mapping[str, Any]) -> str:
    if not config["temperature"]:
        return "Decoding is greedy."
    names = ("temperature", "top_p", "top_k", "seed", "samples")
    decoding = Decoding(**{name: config[name] for name in names})
    return f"Of each generated answer {decoding.samples} were drawn ({decoding.name(0).removesuffix(' #0')})."
