"""Field types of a study's settings: no implicit type conversion, and the same ranges as the command line flags."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from layerlimits.errors import UserError
from layerlimits.progress import seconds_of
from layerlimits.results.requirements import parse_requirement
from layerlimits.sampling import MAX_EPOCHS, MAX_SAMPLES, check_items, check_seed, check_temperature, check_top_p


def refusing(check: Callable[[Any], object]) -> AfterValidator:
    """A pydantic validator from a check that raises UserError, so that all errors are reported together."""

    def validate(value: Any) -> Any:
        try:
            check(value)
        except UserError as error:
            raise ValueError(f"{error.problem}; {error.fix}") from None
        return value

    return AfterValidator(validate)


# Strict: `true` is not accepted as 1, nor "3" as 3.
Flag = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]

Count = Annotated[Whole, Field(ge=1)]
Items = Annotated[Whole, refusing(check_items)]
Epochs = Annotated[Whole, Field(ge=1, le=MAX_EPOCHS)]
Repeats = Annotated[Whole, Field(ge=3, le=MAX_SAMPLES)]
Seed = Annotated[Whole, refusing(check_seed)]
# Not `Real`, so that infinite values get the same error as other temperatures outside the range.
Temperature = Annotated[float, Field(strict=True), refusing(check_temperature)]
TopP = Annotated[float, Field(strict=True), refusing(check_top_p)]


Requires = Annotated[str, refusing(parse_requirement)]


def _seconds(value: Any) -> Any:
    try:
        return seconds_of(value) if isinstance(value, str) else value
    except UserError as error:
        raise ValueError(f"{error.problem}; {error.fix}") from None


# Seconds; text such as "12m" is converted.
Budget = Annotated[Real, BeforeValidator(_seconds), Field(gt=0)]
