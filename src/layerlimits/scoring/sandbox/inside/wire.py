"""Exchange plain values between program and test as length-prefixed JSON, which cannot execute code.

None, bools, strings, finite floats and 64-bit integers are encoded unchanged; every other value is an object with one
key, its type: {"list": [...]}, {"dict": [[key, value], ...]}, {"int": "0x..."}, {"float": "nan"}, {"bytes": "00ff"},
{"fraction": [1, 3]}, {"decimal": "0.10"}. Members of integer and string enumerations are encoded as their value.
"""

import collections
import enum
import json
import math
import os
import re
import sys
from typing import Any

LARGEST_FRAME = 16 * 2**20
# The message of a FrameError at the end of the stream.
END = "end of stream"
_LARGEST_PLAIN_INT = 2**63
_SEQUENCES: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
# Equal to a dict with the same items, so converting them to a dict does not change the result of a comparison.
_DICTS = (dict, collections.Counter, collections.OrderedDict, collections.defaultdict)


class RefusedError(Exception):
    """A value that cannot be encoded: unsupported type, too large or too deeply nested."""


class FrameError(Exception):
    """The other process did not send a valid frame."""


class Opaque:
    """Placeholder for a match object: truthy, and equal to nothing."""

    __hash__ = None  # type: ignore[assignment]  # Python's way to make a class unhashable

    def __eq__(self, other: object) -> bool:
        return False


def encode(value: Any) -> Any:
    """Encode a value of a builtin type (not of a subclass) as JSON.

    Counter, OrderedDict, defaultdict, Fraction, Decimal, members of IntEnum, IntFlag and StrEnum, and numpy scalars and
    zero-dimensional arrays are supported, too.

    Raises:
        RefusedError: The value, or something in it, has an unsupported type.
    """
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if abs(value) < _LARGEST_PLAIN_INT else {"int": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if kind.__name__ in _SEQUENCES and kind is _SEQUENCES[kind.__name__]:
        return {kind.__name__: [encode(item) for item in value]}
    if kind in _DICTS:
        return {"dict": [[encode(key), encode(item)] for key, item in dict.items(value)]}
    return _encode_rare(value, kind)


def _encode_rare(value: Any, kind: type) -> Any:
    if kind is bytes or kind is bytearray:
        return {kind.__name__: value.hex()}
    if kind is complex:
        return {"complex": [encode(value.real), encode(value.imag)]}
    if kind is range:
        return {"range": [encode(number) for number in (value.start, value.stop, value.step)]}
    if kind is re.Match:
        return {"opaque": None}
    if kind is _imported("fractions", "Fraction"):
        return {"fraction": [encode(value.numerator), encode(value.denominator)]}
    if kind is _imported("decimal", "Decimal"):
        return {"decimal": str(value)}
    if isinstance(value, enum.Enum) and isinstance(value, (int, str)):
        return encode(int.__int__(value) if isinstance(value, int) else str.__str__(value))
    generic, array = _imported("numpy", "generic"), _imported("numpy", "ndarray")
    if (generic and isinstance(value, generic)) or (array and kind is array and value.ndim == 0):
        item = value.item()
        if type(item) is not kind:
            return encode(item)
    raise RefusedError(f"a value of type {kind.__name__}")


def _imported(module: str, name: str) -> Any:
    """A type from a module, or None if the program has not imported it (then no value can have that type)."""
    return getattr(sys.modules.get(module), name, None)


def decode(form: Any) -> Any:
    """Decode a JSON form into a value; only builtin types and Opaque are produced.

    Raises:
        FrameError: The form is invalid.
    """
    if form is None or type(form) in (bool, str, int, float):
        return form
    if type(form) is not dict or len(form) != 1:
        raise FrameError("invalid encoding of a value")
    [(kind, inner)] = form.items()
    try:
        return _decode_tagged(kind, inner)
    except (TypeError, ValueError, KeyError, ArithmeticError) as error:
        raise FrameError(f"invalid encoding of a value of type {kind[:20]}") from error


def _decode_tagged(kind: str, inner: Any) -> Any:
    if kind in _SEQUENCES:
        return _SEQUENCES[kind](decode(item) for item in inner)
    if kind == "dict":
        return {decode(key): decode(item) for key, item in inner}
    if kind == "int":
        return int(inner, 16)
    if kind == "float":
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[inner]
    if kind == "complex":
        return complex(*(float(decode(part)) for part in inner))
    if kind == "range":
        return range(*inner)
    if kind == "fraction" or (kind == "decimal" and type(inner) is str):
        return _decode_number(kind, inner)
    if kind in ("bytes", "bytearray"):
        return bytes.fromhex(inner) if kind == "bytes" else bytearray.fromhex(inner)
    if kind == "opaque":
        return Opaque()
    raise KeyError(kind)


def _decode_number(kind: str, inner: Any) -> Any:
    # Imported lazily, since few programs need them and every started process would pay for the import.
    import decimal
    import fractions

    if kind == "decimal":
        return decimal.Decimal(inner)
    numerator, denominator = (decode(part) for part in inner)
    return fractions.Fraction(numerator, denominator)


def send(channel: int, message: Any) -> None:
    """Write one frame.

    Raises:
        RefusedError: The message is too large or too deeply nested.
        OSError: The other end is closed.
    """
    try:
        body = json.dumps(message, allow_nan=False).encode()
    except RecursionError:
        raise RefusedError("a value nested too deeply") from None
    if len(body) > LARGEST_FRAME:
        raise RefusedError(f"a value of {len(body)} bytes")
    data = len(body).to_bytes(4, "big") + body
    while data:
        data = data[os.write(channel, data) :]


def receive(channel: int) -> Any:
    """Read one frame.

    Raises:
        FrameError: End of the stream, a frame that is too large, or invalid JSON.
    """
    size = int.from_bytes(_read(channel, 4), "big")
    if size > LARGEST_FRAME:
        raise FrameError(f"a frame of {size} bytes exceeds the limit of {LARGEST_FRAME}")
    try:
        return json.loads(_read(channel, size))
    except (ValueError, RecursionError):
        raise FrameError("a frame is not valid JSON") from None


def _read(channel: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.read(channel, min(size, 2**20))
        if not part:
            raise FrameError(END)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
