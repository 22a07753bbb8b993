"""From a model's verdicts to the figures of a task: score, strict score, further measures, parts, outcomes."""

from collections.abc import Iterable, Sequence
from typing import Any

from layerlimits.statistics import intervals
from layerlimits.statistics.significance import holm, mcnemar
from layerlimits.types import Finding, Verdict

Figure = dict[str, Any]


def figure(finding: Finding | None) -> Figure | None:
    """A finding as the report's JSON has it."""
    if finding is None:
        return None
    return {"estimate": finding.estimate, "low": finding.low, "high": finding.high, "n": finding.n}


def by_item(values: Sequence[float], n: int) -> list[list[float]]:
    """The values of k draws of n items, which come draw after draw, as (n, k)."""
    return [list(values[item::n]) for item in range(n)]


def mean(what: str, values: Sequence[float], n: int) -> Finding:
    """The mean over n items and their draws, with its interval over both."""
    return intervals.mean(what, values) if len(values) == n else intervals.sampled_mean(what, by_item(values, n))


def summary(verdicts: Sequence[Verdict], n: int, sets: Sequence[str | None]) -> dict[str, Any]:
    """Everything a task's verdicts say of one model.

    Args:
        verdicts: of n items, draw after draw.
        n: how many items.
        sets: the part of the benchmark each item belongs to, None where it has no parts.
    Returns:
        {"score": figure, "strict": figure or None, "measures": {name: figure}, "sets": {part: figure},
        "outcomes": {outcome: count}, "draws": k, "graded": whether values lie between 0 and 1, "refused": items whose
        prompt did not fit}.
    """
    outcomes = [verdict.outcome for verdict in verdicts]
    strict = [verdict.strict for verdict in verdicts if verdict.strict is not None]
    names = sorted({name for verdict in verdicts for name in verdict.measures})
    values = [verdict.value for verdict in verdicts]
    return {
        "score": figure(mean("score", values, n)),
        # What has no strict reading, such as an error, is not in the form asked for.
        "strict": figure(mean("strict", [verdict.strict or 0.0 for verdict in verdicts], n)) if strict else None,
        "measures": {
            name: figure(mean(name, [verdict.measures.get(name, 0.0) for verdict in verdicts], n)) for name in names
        },
        "sets": _sets(values, n, sets),
        "outcomes": {name: outcomes.count(name) for name in sorted(set(outcomes))},
        "draws": len(verdicts) // n,
        "graded": any(0 < value < 1 for value in values),
        "refused": sum(verdict.why.startswith("context too long") for verdict in verdicts[:n]),
    }


def _sets(values: Sequence[float], n: int, sets: Sequence[str | None]) -> dict[str, Figure | None]:
    found: dict[str, Figure | None] = {}
    for name in sorted({part for part in sets if part is not None}):
        mine = [at for at in range(len(values)) if sets[at % n] == name]
        found[name] = figure(mean(name, [values[at] for at in mine], sets.count(name)))
    return found


def recognized_only(likelihood: Sequence[float], free: Sequence[float]) -> Finding:
    """The share of items that are right by likelihood and wrong when the model writes the answer itself.

    The mean of l (1 - f) over items, l being 1 where the right choice is likeliest and f the (mean) value of what is
    written: what a score by likelihood shows and no user gets.

    Raises:
        ValueError: unlike numbers of items, or none.
    """
    pairs = zip(likelihood, free, strict=True)
    return intervals.mean("recognition only", [known * (1 - written) for known, written in pairs])


def compared(base: Sequence[float], other: Sequence[float]) -> dict[str, Any] | None:
    """McNemar's exact test of two models on the same items: {"lost", "won", "p"}; None where values are graded."""
    if any(value not in (0, 1) for value in (*base, *other)):
        return None
    test = mcnemar(base, other)
    return {"lost": test.b, "won": test.c, "p": test.p}


def correct(tests: Iterable[dict[str, Any] | None]) -> None:
    """Put Holm's adjusted p-value beside that of each test of one family, as "p_holm"."""
    found = [test for test in tests if test]
    for test, adjusted in zip(found, holm([test["p"] for test in found]), strict=True):
        test["p_holm"] = adjusted
