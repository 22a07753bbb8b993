"""pass@k: the probability that at least one of k sampled answers is right."""

from math import comb


def pass_at_k(samples: int, right: int, k: int) -> float:
    """The unbiased estimate from `samples` answers of which `right` are right: 1 - C(n - c, k) / C(n, k).

    Source: Chen et al., arXiv 2107.03374, eq. 1.

    Raises:
        ValueError: k is not in 1..samples, or `right` is not in 0..samples.
    """
    if not 1 <= k <= samples or not 0 <= right <= samples:
        raise ValueError(f"pass@{k} of {right} right answers in {samples}")
    return 1 - comb(samples - right, k) / comb(samples, k)
