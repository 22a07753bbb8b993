"""Settings of item selection and decoding, and the valid range of each."""

import math
from dataclasses import dataclass

from layerlimits.errors import UserError

# transformers also seeds numpy, which accepts at most 32 bits.
MAX_SEED = 2**32 - 1
# Logits are divided by the temperature in float32. Below the minimum, sampling equals greedy decoding or overflows;
# above the maximum, all tokens are equally likely.
MIN_TEMPERATURE = 1e-3
MAX_TEMPERATURE = 1e3
MAX_SAMPLES = 10_000
# Bundled tasks can generate any number of items, and all items of a task are held in memory.
MAX_ITEMS = 100_000
# The order of all training examples over all epochs is computed in advance.
MAX_EPOCHS = 1_000


def check_seed(seed: int) -> int:
    """Check a random seed and return it.

    Raises:
        UserError: It is not between 0 and 4294967295.
    """
    if not 0 <= seed <= MAX_SEED:
        raise UserError(
            f"seed {_shown(seed)} is not between 0 and {MAX_SEED}", f"set the seed to a value between 0 and {MAX_SEED}"
        )
    return seed


def check_temperature(temperature: float) -> float:
    """Check a sampling temperature and return it.

    Raises:
        UserError: It is neither 0 nor between `MIN_TEMPERATURE` and `MAX_TEMPERATURE`.
    """
    if temperature != 0 and not MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE:
        allowed = f"between {MIN_TEMPERATURE:g} and {MAX_TEMPERATURE:g}"
        raise UserError(
            f"temperature {temperature:g} is neither 0 nor {allowed}",
            f"set the temperature to 0 for greedy decoding, or to a value {allowed}",
        )
    return temperature


def check_top_p(top_p: float) -> float:
    """Check the probability mass of nucleus sampling and return it.

    Raises:
        UserError: It is not in the interval (0, 1].
    """
    if not 0 < top_p <= 1:
        raise UserError(f"top_p {top_p:g} is not in the interval (0, 1]", "set top_p to 1 to sample from all tokens")
    return top_p


def check_samples(samples: int, temperature: float) -> int:
    """Check the number of sampled responses per item and return it.

    Raises:
        UserError: It is not between 1 and `MAX_SAMPLES`, or above 1 with greedy decoding.
    """
    if not 1 <= samples <= MAX_SAMPLES:
        allowed = f"between 1 and {MAX_SAMPLES}"
        raise UserError(f"samples {_shown(samples)} is not {allowed}", f"set samples to a value {allowed}")
    if samples > 1 and temperature == 0:
        raise UserError(
            f"{samples} samples at temperature 0 would be identical", "set a temperature above 0, such as 0.7"
        )
    return samples


def check_items(count: int, name: str = "items") -> int:
    """Check a number of items, calibration texts or training prompts and return it.

    Args:
        count: The number.
        name: Name of the setting.
    Raises:
        UserError: It is not between 1 and `MAX_ITEMS`.
    """
    if not 1 <= count <= MAX_ITEMS:
        allowed = f"between 1 and {MAX_ITEMS}"
        raise UserError(f"{name} {_shown(count)} is not {allowed}", f"set {name} to a value {allowed}")
    return count


def _shown(number: int) -> str:
    """A number as text; Python refuses to convert integers of thousands of digits."""
    return str(number) if abs(number) < 10**30 else f"of about 10^{int(math.log10(abs(number)))}"


@dataclass(frozen=True)
class Decoding:
    """Decoding settings: greedy at temperature 0, else `samples` seeded samples per item.

    Args:
        temperature: Sampling temperature; 0 decodes greedily.
        top_p: Probability mass of nucleus sampling; 1 samples from all tokens.
        top_k: Number of most likely tokens to sample from; 0 samples from all tokens.
        seed: Random seed.
        samples: Sampled responses per generation item.
        max_new_tokens: Replaces the task's own limit if not None.
    Raises:
        UserError: A setting is outside its range; names the first one and its range.
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
            raise UserError(f"top_k {_shown(self.top_k)} is negative", "set top_k to 0 to sample from all tokens")
        check_seed(self.seed)
        check_samples(self.samples, self.temperature)
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise UserError(
                f"max_new_tokens {_shown(self.max_new_tokens)} is less than 1", "set max_new_tokens to 1 or more"
            )

    def name(self, draw: int) -> str:
        """The name of the decoding of one draw, which is part of a response's key."""
        limit = "" if self.max_new_tokens is None else f" max={self.max_new_tokens}"
        if not self.temperature:
            return f"greedy{limit}"
        sampling = f"t={self.temperature:g} p={self.top_p:g} k={self.top_k} seed={self.seed}"
        return f"{sampling}{limit} #{draw}"


GREEDY = Decoding()
