"""The program's process: run the source, then serve calls of its function with plain values."""

import sys
import types
from typing import Any

from . import wire


def serve(requests: int, replies: int) -> None:
    """Reply ["ready"] to [source, function], then to every call with a value, an exception or a refusal."""
    source, function = wire.receive(requests)
    module = types.ModuleType("program")
    sys.modules["program"] = module
    try:
        exec(compile(source, "<program>", "exec"), module.__dict__)
        called = getattr(module, function)
        wire.send(replies, ["ready"])
    except BaseException as error:
        wire.send(replies, ["raised", *_described(error)])
        return
    while True:
        try:
            arguments, named = (wire.decode(part) for part in wire.receive(requests))
        except wire.FrameError:
            return
        _answer(replies, called, arguments, named)


def _answer(replies: int, called: Any, arguments: list[Any], named: dict[str, Any]) -> None:
    try:
        reply = ["value", wire.encode(called(*arguments, **named))]
    except wire.RefusedError as error:
        reply = ["refused", str(error)]
    except BaseException as error:
        reply = ["raised", *_described(error)]
    try:
        wire.send(replies, reply)
    except wire.RefusedError as error:
        wire.send(replies, ["refused", str(error)])
    except MemoryError:
        wire.send(replies, ["raised", "MemoryError", ""])


def _described(error: BaseException) -> tuple[str, str]:
    try:
        return str(type(error).__name__), str(error)[:200]
    except BaseException:
        return "Exception", "an exception that cannot be shown"
