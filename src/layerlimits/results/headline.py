"""The one paragraph at the top of a report, made from its figures."""

import math
from typing import Any

_KEPT = 0.9
_CLASS_WORDS = {"choice": "multiple choice (corrected for chance)", "generation": "generation"}


def answer(results: dict[str, Any]) -> str:
    """How many layers can go, what breaks first, and what finetuning brings back, in plain English."""
    model = results["model"]
    parts = [_limits(results, model["name"], model["layers"]), _first_to_break(results), _single(results)]
    parts += [_recovered(results)]
    return " ".join(part for part in parts if part)


def _kept(row: dict[str, Any]) -> dict[str, Any] | None:
    """What counts as kept: retention above chance where something can be guessed; None where nothing can be kept."""
    found: dict[str, Any] | None = row["corrected"] if row["chance"] else row["retention"]
    return found


def limit(results: dict[str, Any], kind: str) -> tuple[int, str] | None:
    """The largest number of removed layers with which some method keeps 90% of a class, at it and at every smaller one.

    Returns:
        (layers, method); (0, "") if even the smallest number loses more; None where nothing was measured.
    """
    rows = [row for row in results["classes"] if row["kind"] == kind and _kept(row)]
    if not rows:
        return None
    best = (0, "")
    for count in sorted({row["layers"] for row in rows}):
        there = [row for row in rows if row["layers"] == count]
        top = max(there, key=lambda row: (_kept(row) or {})["estimate"])
        if (_kept(top) or {})["estimate"] < _KEPT:
            break
        best = (count, top["method"])
    return best


def _limits(results: dict[str, Any], name: str, depth: int) -> str:
    parts = []
    for kind, words in _CLASS_WORDS.items():
        found = limit(results, kind)
        if found is None:
            continue
        layers, method = found
        if layers:
            row = next(
                row for row in results["classes"] if (row["kind"], row["layers"], row["method"]) == (kind, *found)
            )
            there = f"{_with_interval(_kept(row) or {})} by {method}"
            parts.append(f"{_KEPT:.0%} of {words} with up to {layers} of {depth} layers removed: {there}")
        else:
            fewest = min(row["layers"] for row in results["classes"] if row["kind"] == kind)
            parts.append(f"less than {_KEPT:.0%} of {words} with {fewest} of {depth} layers removed, by any method")
    said = [f"{name} keeps " + ", and ".join(parts) + "."] if parts else []
    return " ".join(said + [_at_chance(kind) for kind in _CLASS_WORDS if _unmeasurable(results, kind)])


def _unmeasurable(results: dict[str, Any], kind: str) -> bool:
    """Whether a class was asked, and the unpruned model is no better than chance in all of it."""
    rows = [row for row in results["classes"] if row["kind"] == kind]
    return bool(rows) and not any(_kept(row) for row in rows)


def _at_chance(kind: str) -> str:
    return f"In {kind} the unpruned model gets nothing right beyond chance, so it has nothing to lose there."


def _with_interval(share: dict[str, Any]) -> str:
    return f"{share['estimate']:.0%} ({share['low']:.0%} to {share['high']:.0%}, n = {share['n']})"


def _first_to_break(results: dict[str, Any]) -> str:
    """The worst-hit task at the smallest removal that surely costs one over a tenth, by the gentlest method there."""
    rows = [row for row in results["pruned"] if _kept(row)]
    if not rows:
        return ""
    counts = sorted({row["layers"] for row in rows})
    found = [_gentlest([row for row in rows if row["layers"] == count]) for count in counts]
    worst = next((row for row in found if _lost(row) and (_kept(row) or {})["estimate"] < _KEPT), None)
    share = _kept(worst or found[-1]) or {}
    figures = _with_interval(share)
    if worst is None:
        last = found[-1]
        return (
            f"Nothing has broken yet: without {_layers(last['layers'])} by {last['method']}, the worst-hit task, "
            f"{last['task']}, keeps {figures}; larger ratios would show where it ends."
        )
    return (
        f"What breaks first is {worst['task']}: without {_layers(worst['layers'])} it keeps {figures} "
        f"by {worst['method']}, the gentlest method there."
    )


def _gentlest(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the method that keeps most over all tasks, the task that keeps least, doubtful losses last."""
    by_method: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_method.setdefault(row["method"], []).append(row)
    best = max(by_method.values(), key=lambda there: sum((_kept(row) or {})["estimate"] for row in there) / len(there))
    return min(best, key=lambda row: (not _lost(row), (_kept(row) or {})["estimate"]))


def _lost(row: dict[str, Any]) -> bool:
    """Whether the interval excludes that nothing was lost."""
    return bool((_kept(row) or {})["high"] < 1)


def _single(results: dict[str, Any]) -> str:
    """The layer that costs most and the one that costs least, over all tasks."""
    by_layer: dict[int, list[float]] = {}
    for row in results["sweep"]:
        if share := _kept(row):
            by_layer.setdefault(row["layer"], []).append(share["estimate"])
    if not by_layer:
        return ""
    means = {layer: sum(values) / len(values) for layer, values in by_layer.items()}
    dear, cheap = min(means, key=lambda layer: means[layer]), max(means, key=lambda layer: means[layer])
    return (
        f"Of single layers, layer {dear} costs most (mean retention over tasks {means[dear]:.0%}) "
        f"and layer {cheap} least ({means[cheap]:.0%})."
    )


def _recovered(results: dict[str, Any]) -> str:
    """Lost and regained points of each class, for the finetuned model that came back furthest."""
    if not results["recovery"]:
        return ""
    entry = max(results["recovery"], key=lambda entry: (entry["layers"], _gain(entry)))
    regained, unhurt = [], []
    for kind in _CLASS_WORDS:
        rows = [row for row in entry["tasks"] if row["kind"] == kind]
        lost, back = _points(rows) if rows else (0.0, 0.0)
        # Where nothing noteworthy was lost, a share of it means nothing.
        if lost >= 1:
            regained.append(f"{back:.0f} of the {lost:.0f} points lost in {kind}")
        elif rows:
            unhurt.append(kind)
    model = f"the model without {_layers(entry['layers'])} ({entry['method']})"
    how = f"Finetuning ({entry['name']}, {entry['examples']} answers of the unpruned model)"
    if not regained:
        return f"{how} had nothing to bring back: {model} lost less than a point."
    kept = f"; {' and '.join(unhurt)} lost less than a point" if unhurt else ""
    return f"{how} of {model} brings back {' and '.join(regained)}{kept}."


def _points(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Mean points (of 100) lost by pruning and regained by finetuning."""
    lost = sum(row["base"]["estimate"] - row["pruned"]["estimate"] for row in rows) / len(rows)
    back = sum(row["recovered"]["estimate"] - row["pruned"]["estimate"] for row in rows) / len(rows)
    return 100 * lost, 100 * back


def _gain(entry: dict[str, Any]) -> float:
    return math.fsum(row["recovered"]["estimate"] - row["pruned"]["estimate"] for row in entry["tasks"])


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"
