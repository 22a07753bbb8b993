"""Made-up answers to the probes of diagnostics, as a run folder has them."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fake_run import BASE, FakeRun, answer, pruned, skipped, task

from layerlimits.diagnostics import Answer, Finding

RESULTS, CHAINS = task("results_probe", "choice"), task("chains_probe", "choice")
CUT, ALONE = pruned("reverse", 2, 3), skipped(1)
GSM8K = task("gsm8k")
PROBES = {"results_probe": RESULTS, "chains_probe": CHAINS}


def result(right: str = "42", kinds: Sequence[str] = ("off by one",), **about: Any) -> dict[str, Any]:
    """What is stored of a result; `about` replaces some of it."""
    has_digits = about.get("has_digits", True)
    rows = 1 + (1 + len(kinds) if kinds else 0) + 10 * has_digits
    usual = {"signs": ["+"], "digits": 2, "carries": 1, "has_digits": has_digits}
    return {"right": right, "rows": rows, "kinds": list(kinds), **usual, **about}


def rows(
    right: float, misses: Sequence[float] = (-5.0,), digits: Mapping[int, float] | None = None, *, ended: float = -0.1
) -> tuple[float, ...]:
    """Log-probabilities of a result: the right one, with its end, near misses, and the ten digits (-9 if not given)."""
    first = tuple((digits or {}).get(digit, -9.0) for digit in range(10)) if digits is not None else ()
    return (right, *((right + ended, *misses) if misses else ()), *first)


def result_answer(
    item: str, results: Sequence[Mapping[str, Any]], logprobs: Sequence[float], name: str = "gsm8k", **about: Any
) -> Answer:
    """The answer to the probe of results of an item."""
    probe = {"task": name, "item": item, "grouping": "one digit", "results": list(results), **about}
    return answer(f"r-{item}", logprobs=logprobs, prompt="", target="", probe=probe)


def chain_answer(item: str, logprobs: Sequence[float], name: str = "gsm8k", tokens: Sequence[int] = (1,) * 8) -> Answer:
    """The answer to the probe of chains of an item."""
    probe = {"task": name, "item": item, "tokens": list(tokens)}
    return answer(f"c-{item}", logprobs=logprobs, prompt="", target="", probe=probe)


def probed_run(name: str, base: Sequence[Answer], /, *others: Sequence[Answer], **stored: Sequence[Answer]) -> FakeRun:
    """A run in which the models have answered a probe; `stored` has their answers to gsm8k."""
    models = [CUT, ALONE][: len(others)]
    answers = {("base", name): base, **{(model.label, name): rows for model, rows in zip(models, others, strict=True)}}
    free = {(model.label, "gsm8k"): stored[stage] for model in (BASE, *models) if (stage := model.stage) in stored}
    return FakeRun({**answers, **free}, [GSM8K], models, probes=[PROBES[name]])


def one_of(found: Sequence[Finding], measure: str, model: str = CUT.label, x: float | None = None) -> Finding:
    """The only finding with this measure, model and place; its sentence contains its estimate."""
    (finding,) = [row for row in found if (row.measure, row.model, row.x) == (measure, model, x)]
    assert finding.estimate is not None
    numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", finding.sentence)]
    assert any(
        math.isclose(number, form, rel_tol=0.006, abs_tol=0.06)
        for number in numbers
        for form in (finding.estimate, 100 * finding.estimate)
    )
    assert f"n = {finding.n}" in finding.sentence
    return finding
