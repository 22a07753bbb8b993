"""Values between the processes of a sandbox: plain ones cross unchanged, others are refused."""

import math
import os
from collections import Counter, OrderedDict, deque
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from layerlimits.scoring.sandbox.inside import wire

PLAIN = [
    None,
    True,
    1,
    -(2**70),
    0.1,
    -0.0,
    math.inf,
    "é\ud800",
    b"\0\xff",
    1 + 2j,
    complex("nan+infj"),
    range(1, 9, 2),
    Fraction(1, 3),
    Fraction(-(2**80), 7),
    Decimal("0.10"),
    Decimal("nan"),
]
NESTED = [(1, [2, {3, 4}], frozenset({5})), {"a": (1,), (2, 3): {1: 2}}, {"list": [1]}, bytearray(b"x")]


@pytest.mark.parametrize("value", PLAIN + NESTED, ids=repr)
def test_plain_values_cross_unchanged(value: Any) -> None:
    read, write = os.pipe()
    wire.send(write, wire.encode(value))
    decoded = wire.decode(wire.receive(read))
    assert repr(decoded) == repr(value)
    assert type(decoded) is type(value)


def test_subclasses_do_not_cross() -> None:
    for value in (object(), deque([1]), type("I", (int,), {})(1), {1: type("L", (list,), {})()}, lambda: 1, iter([])):
        with pytest.raises(wire.RefusedError):
            wire.encode(value)
    assert wire.decode(wire.encode(Counter("aab"))) == {"a": 2, "b": 1}
    assert type(wire.decode(wire.encode(OrderedDict(a=1)))) is dict


@pytest.mark.parametrize(
    "form",
    [
        {"fraction": [1, 0]},
        {"fraction": [1]},
        {"fraction": ["1", 2]},
        {"decimal": "x"},
        {"decimal": [0, [1], 2]},
        [1],
        {"a": 1, "b": 2},
        {"pickle": "x"},
        {"set": [{"list": []}]},
        {"float": "1"},
        {"int": 3},
        {"dict": [1]},
    ],
)
def test_forms_outside_the_rules_are_refused(form: Any) -> None:
    with pytest.raises(wire.FrameError):
        wire.decode(form)
