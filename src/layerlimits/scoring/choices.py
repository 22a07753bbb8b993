"""Choice among given answers by their log-likelihood."""

from layerlimits.types import Response, Sample, Verdict


def judge(sample: Sample, response: Response) -> Verdict:
    """The choice of the largest summed log-probability; ties go to the first, as in lm-evaluation-harness."""
    best = max(range(len(sample.choices)), key=lambda choice: response.logprobs[choice])
    answer = sample.choices[best]
    right = answer == sample.target
    return Verdict("correct" if right else "wrong", float(right), answer)
