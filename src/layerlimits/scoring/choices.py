"""Multiple choice by log-likelihood."""

from layerlimits.types import Response, Sample, Verdict


def judge(sample: Sample, response: Response) -> Verdict:
    """Pick the choice with the largest summed log-probability; the first wins ties, as in lm-evaluation-harness."""
    best = max(range(len(sample.choices)), key=lambda choice: response.logprobs[choice])
    answer = sample.choices[best]
    right = answer == sample.target
    return Verdict("correct" if right else "wrong", float(right), answer)
