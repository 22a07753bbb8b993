"""Compare shapes before numpy compares values, in the test's process.

The tests of the EvalPlus datasets on the hub end in `numpy.allclose(out, exp)`. numpy broadcasts, so an empty list is
close to any number, and any number is close to an empty list. EvalPlus's own evaluator therefore compares types and
lengths first (github.com/evalplus/evalplus, evalplus/eval/__init__.py), and so does this module.
"""

import sys
from numbers import Number, Real
from typing import Any

# The numpy functions a test may use, and the parameter names of the two compared values.
_PREDICATES = ("allclose", "isclose")
_ASSERTIONS = (
    "assert_allclose",
    "assert_almost_equal",
    "assert_approx_equal",
    "assert_array_almost_equal",
    "assert_array_equal",
    "assert_equal",
)
_COMPARED = ("a", "b", "actual", "desired", "x", "y")


def same_shape(result: Any, expected: Any) -> bool:
    """Whether two values have the same nesting, lengths and kinds, regardless of the numbers in them.

    Integers and floats are the same kind; bools, lists, tuples and strings are kinds of their own. A numpy array is
    compared with any other value by its shape.
    """
    numpy = sys.modules["numpy"]
    if isinstance(result, numpy.ndarray) or isinstance(expected, numpy.ndarray):
        return _shape(result) is not None and _shape(result) == _shape(expected)
    if _is_number(result) and _is_number(expected):
        return isinstance(result, Real) == isinstance(expected, Real)
    if isinstance(result, dict) and isinstance(expected, dict):
        return result.keys() == expected.keys() and all(same_shape(result[key], expected[key]) for key in expected)
    if type(result) is not type(expected):
        return False
    if isinstance(result, (list, tuple)):
        return len(result) == len(expected) and all(map(same_shape, result, expected))
    return not hasattr(result, "__len__") or len(result) == len(expected)


def _is_number(value: Any) -> bool:
    return isinstance(value, Number) and not isinstance(value, bool)


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape numpy assigns to a value; None if nested lists have different lengths."""
    try:
        shape: tuple[int, ...] = sys.modules["numpy"].shape(value)
    except ValueError:
        return None
    return shape


def compare_shapes_first(test: str) -> None:
    """If the test uses numpy, make numpy's comparisons fail on values of different shapes."""
    if "numpy" not in test:
        return
    try:
        import numpy
    except ImportError:
        # The test's own import reports this.
        return
    for name in _PREDICATES:
        setattr(numpy, name, _guarded(getattr(numpy, name), numpy.False_))
    if "testing" in test:
        import numpy.testing

        for name in _ASSERTIONS:
            setattr(numpy.testing, name, _guarded(getattr(numpy.testing, name), None))


def _guarded(compare: Any, otherwise: Any) -> Any:
    """Wrap a comparison: on different shapes it returns `otherwise`, or raises AssertionError if that is None."""

    def guarded(*values: Any, **named: Any) -> Any:
        compared = [*values, *(named[name] for name in _COMPARED if name in named)][:2]
        if len(compared) == 2 and not same_shape(*compared):
            if otherwise is None:
                raise AssertionError("values of different shapes")
            return otherwise
        return compare(*values, **named)

    return guarded
