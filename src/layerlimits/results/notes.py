"""What a study's reader must know beside its figures: how tasks were asked, and what the numbers cannot show."""

from collections.abc import Iterator, Sequence
from typing import Any

from layerlimits.results import warnings as cautions
from layerlimits.results.figures import figure, mean, recognized_only
from layerlimits.results.stored_answers import Book
from layerlimits.types import Decoding


def protocols(book: Book) -> Iterator[dict[str, Any]]:
    """Scores of the same items by protocol, of the base and every pruned model, and what is recognized only."""
    by_name: dict[str, dict[str, dict[str, Any]]] = {}
    for task in book.tasks:
        by_name.setdefault(task["name"].replace(f"@{task['protocol']}", ""), {})[task["protocol"]] = task
    models = [("base", 0, ())]
    models += [(plan["method"], plan["layers"], tuple(plan["removed"])) for plan in book.store.get("plans") or []]
    for name, ways in by_name.items():
        if len(ways) < 2:
            continue
        for method, layers, removed in models:
            found = {way: book.values(book.fingerprint(removed), task) for way, task in ways.items()}
            values = {way: one for way, one in found.items() if one is not None}
            if len(values) < len(ways):
                continue
            known, written = values.get("likelihood"), values.get("free")
            only = figure(recognized_only(known, written)) if known and written else None
            scores = {way: figure(mean(way, one, len(one))) for way, one in values.items()}
            yield {"task": name, "method": method, "layers": layers, "scores": scores, "recognition_only": only}


def notes(book: Book) -> Iterator[str]:
    """Sentences for the end of a report."""
    calibration = book.store.get("calibration") or {}
    config = book.manifest["config"]
    yield f"Calibration text: {len(calibration['hashes'])} items of {calibration['source']}; none of them is evaluated."
    yield (f"{_decoding(config)} Selection, calibration, training and evaluation items are disjoint by content hash.")
    yield (
        "Intervals are 95%: Wilson's for rates, of the paired items' shares for retention (docs/statistics.md); "
        "speeds show median and range."
    )
    yield "p-values are of McNemar's exact test against the unpruned model, by Holm's correction over their table."


def warnings(book: Book, tasks: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What must be known before any figure is compared: ways of asking that differ, and what n cannot show."""
    yield from cautions.confounds(tasks)
    counted = [(task["name"], task["score"]["n"], task["score"]["estimate"]) for task in tasks if not task["graded"]]
    yield from cautions.too_few(counted, book.manifest["config"]["difference"])
    yield from cautions.refused(tasks)
    idle = [task["name"] for task in tasks if task["score"]["low"] <= task["chance"]]
    if idle:
        yield (
            f"The unpruned model is not above chance on {', '.join(idle)}: nothing can be kept of that, and the means "
            "over tasks leave it out."
        )


def _decoding(config: dict[str, Any]) -> str:
    if not config["temperature"]:
        return "Decoding is greedy."
    names = ("temperature", "top_p", "top_k", "seed", "samples")
    told = Decoding(**{name: config[name] for name in names})
    return f"Of each generated answer {told.samples} were drawn ({told.name(0).removesuffix(' #0')})."
