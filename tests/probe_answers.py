"""Made-up answers to the probes of diagnostics, as a run folder has them."""

from collections.abc import Mapping, Sequence
from typing import Any

from fake_run import answer, task

from layerlimits.diagnostics import Answer

RESULTS, CHAINS = task("results_probe", "choice"), task("chains_probe", "choice")


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
