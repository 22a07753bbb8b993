"""What the tests of programs share: running an extracted function, and skipping where no sandbox is possible."""

import pytest

from layerlimits.errors import UserError
from layerlimits.scoring import sandbox

BODY = "    total = x\n    return total + 1"
CODE = f"def f(x):\n{BODY}"


def need_sandbox() -> None:
    try:
        sandbox.enclosure()
    except UserError as error:
        pytest.skip(f"no sandbox on this machine: {error.problem}")


def f_of_1(code: str | None) -> object:
    """What the extracted function returns for 1; the code is the test's own."""
    assert code is not None
    names: dict[str, object] = {}
    exec(code, names)
    return names["f"](1)  # type: ignore[operator]  # a dict of anything
