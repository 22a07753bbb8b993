"""Types of a study's settings: no number is taken for another kind of value, and ranges are those of the flags."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from layerlimits.errors import UserError
from layerlimits.sampling import MAX_EPOCHS, MAX_SAMPLES, check_items, check_seed, check_temperature, check_top_p


def refusing(check: Callable[[Any], object]) -> AfterValidator:
    """A check that raises a UserError, for pydantic to collect with all others."""

    def validate(value: Any) -> Any:
        try:
            check(value)
        except UserError as error:
            raise ValueError(f"{error.problem}; {error.fix}") from None
        return value

    return AfterValidator(validate)


# Strict: TOML's `true` is no 1, and "3" no 3.
Flag = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]

Count = Annotated[Whole, Field(ge=1)]
Items = Annotated[Whole, refusing(check_items)]
Epochs = Annotated[Whole, Field(ge=1, le=MAX_EPOCHS)]
Repeats = Annotated[Whole, Field(ge=3, le=MAX_SAMPLES)]
Seed = Annotated[Whole, refusing(check_seed)]
# Not `Real`: what is not finite gets the same error as other temperatures outside the range.
Temperature = Annotated[float, Field(strict=True), refusing(check_temperature)]
TopP = Annotated[float, Field(strict=True), refusing(check_top_p)]
