"""How items and answers are sampled: the settings, and the one place that says which values are possible."""

import math
from dataclasses import dataclass

from layerlimits.errors import UserError

# numpy takes no seed beyond 32 bits, and transformers seeds numpy with the rest.
MAX_SEED = 2**32 - 1
# Logits are divided by the temperature in float32: below the smallest one probabilities are those of greedy decoding
# or not finite at all, and above the largest all tokens are equally likely.
MIN_TEMPERATURE = 1e-3
MAX_TEMPERATURE = 1e3
MAX_SAMPLES = 10_000
# The bundled world generates items without end, and all of a task's items are in memory at once.
MAX_ITEMS = 100_000
# The order of all training rows is drawn ahead.
MAX_EPOCHS = 1_000


def check_seed(seed: int) -> int:
    """The seed, if every generator of random numbers takes it.

    Raises:
        UserError: it is not within 0 to 4294967295.
    """
    if not 0 <= seed <= MAX_SEED:
        raise UserError(f"seed {_shown(seed)} is outside 0 to {MAX_SEED}", f"set the seed to 0 to {MAX_SEED}")
    return seed


def check_temperature(temperature: float) -> float:
    """The temperature, if probabilities can be computed with it.

    Raises:
        UserError: it is neither 0 nor within `MIN_TEMPERATURE` to `MAX_TEMPERATURE`.
    """
    if temperature != 0 and not MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE:
        allowed = f"{MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g}"
        raise UserError(
            f"temperature {temperature:g} is neither 0 nor within {allowed}",
            f"set the temperature to 0 for greedy decoding, or to {allowed}",
        )
    return temperature


def check_top_p(top_p: float) -> float:
    """The share of probability that is drawn from.

    Raises:
        UserError: it is not above 0 and up to 1.
    """
    if not 0 < top_p <= 1:
        raise UserError(f"top_p {top_p:g} is not above 0 and up to 1", "set top_p to 1 to draw from all tokens")
    return top_p


def check_samples(samples: int, temperature: float) -> int:
    """The number of responses drawn of each item.

    Raises:
        UserError: it is not within 1 to `MAX_SAMPLES`, or several greedy ones, which would all be the same.
    """
    if not 1 <= samples <= MAX_SAMPLES:
        allowed = f"1 to {MAX_SAMPLES}"
        raise UserError(f"{_shown(samples)} samples of each item are outside {allowed}", f"set samples to {allowed}")
    if samples > 1 and temperature == 0:
        raise UserError(f"{samples} samples at temperature 0 are all the same", "set a temperature, such as 0.7")
    return samples


def check_items(count: int, name: str = "items") -> int:
    """The number of items of a task, of calibration texts or of training prompts.

    Args:
        name: what the setting is called.
    Raises:
        UserError: it is not within 1 to `MAX_ITEMS`.
    """
    if not 1 <= count <= MAX_ITEMS:
        raise UserError(f"{name} {_shown(count)} is outside 1 to {MAX_ITEMS}", f"set {name} to 1 to {MAX_ITEMS}")
    return count


def _shown(number: int) -> str:
    """A number for a message: Python refuses to write out those of thousands of digits."""
    return str(number) if abs(number) < 10**30 else f"of about 10^{int(math.log10(abs(number)))}"


@dataclass(frozen=True)
class Decoding:
    """How responses are drawn: greedily at temperature 0, else `samples` seeded draws of each.

    `top_k` 0 and `top_p` 1 leave the distribution whole. `max_new_tokens` stands instead of the task's, if not None.

    Raises:
        UserError: settings that no model can be sampled with: the first that is outside its range, with the range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    samples: int = 1
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_top_p(self.top_p)
        if self.top_k < 0:
            raise UserError(f"top_k {_shown(self.top_k)} is below 0", "set top_k to 0 to draw from all tokens")
        check_seed(self.seed)
        check_samples(self.samples, self.temperature)
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise UserError(
                f"max_new_tokens is {_shown(self.max_new_tokens)}, so no answer fits", "set max_new_tokens to 1 or more"
            )

    def name(self, draw: int) -> str:
        """What a response's key says of its decoding."""
        most = "" if self.max_new_tokens is None else f" max={self.max_new_tokens}"
        if not self.temperature:
            return f"greedy{most}"
        told = f"t={self.temperature:g} p={self.top_p:g} k={self.top_k} seed={self.seed}"
        return f"{told}{most} #{draw}"


GREEDY = Decoding()
