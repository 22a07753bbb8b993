"""Find plug-ins. The folder is the registry: a plug-in is a file that exports one object named like the file."""

import functools
import importlib
import importlib.util
import inspect
import pkgutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from layerlimits.errors import UserError, unknown
from layerlimits.foreign import reason

# What the plug-ins of each folder are called in messages.
_WHAT = {
    "methods": "method",
    "replacements": "replacement",
    "tasks": "task",
    "diagnostics": "diagnostic",
    "engines": "engine",
}
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def names(folder: str) -> list[str]:
    """The names of the plug-ins in a folder such as "methods", from the file names; nothing is imported."""
    path = Path(__file__).parent / folder
    return sorted(entry.name for entry in pkgutil.iter_modules([str(path)]) if not entry.name.startswith("_"))


def find(folder: str, spec: str) -> Any:
    """Load a plug-in by name or by the path of a Python file ("./mine.py").

    Options of a method or replacement follow its name, as in "magnitude:p=2:norms=true"; they are its keyword-only
    arguments.

    Args:
        folder: Folder of the plug-in, such as "methods".
        spec: Name or path, with options.
    Returns:
        The exported object, with the options bound.
    Raises:
        UserError: The plug-in does not exist, the file does not export the object, or an option is invalid.
    """
    name, *options = spec.split(":")
    plugin = _from_file(folder, Path(name)) if name.endswith(".py") else _from_folder(folder, name)
    return _with_options(plugin, _WHAT[folder], label(name), options) if options else plugin


def label(spec: str) -> str:
    """The name of a plug-in in results: its spec, with the path of a file reduced to its stem."""
    name, *options = spec.split(":")
    return ":".join([Path(name).stem if name.endswith(".py") else name, *options])


def described(plugin: Callable[..., Any], section: str) -> str:
    """The text after `section:` in a plug-in's docstring, such as its Source or Cost; empty if there is none."""
    for line in (inspect.getdoc(plugin) or "").splitlines():
        if line.startswith(f"{section}:"):
            return line.partition(":")[2].strip()
    return ""


def options_of(plugin: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keyword-only arguments of a method or replacement."""
    parameters = inspect.signature(plugin).parameters.values()
    return {parameter.name: parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def _from_folder(folder: str, name: str) -> Any:
    if name not in names(folder):
        raise unknown(_WHAT[folder], name, names(folder))
    return getattr(importlib.import_module(f"layerlimits.{folder}.{name}"), name)


def _from_file(folder: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.exists() or spec is None or spec.loader is None:
        raise UserError(f"no such file: {path}", f"give a {_WHAT[folder]} by name or by the path of its file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    # The file is the user's own program: it can raise anything, and end the process.
    except (Exception, SystemExit) as error:
        raise UserError(f"{path} cannot be imported: {_where(error, path)}", "correct the file") from None
    if not hasattr(module, path.stem):
        raise UserError(f"{path} does not define {path.stem}", f"define {path.stem} in this file")
    return getattr(module, path.stem)


def _where(error: BaseException, path: Path) -> str:
    """The last line of a file that is involved in an exception, and the exception."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    line = error.lineno if isinstance(error, SyntaxError) else (lines[-1] if lines else None)
    place = f"line {line}: " if line else ""
    return f"{place}{type(error).__name__}: {reason(error)}"


def called(plugin: Callable[..., Any], kind: type, spec: str, *arguments: Any) -> Any:
    """Call a plug-in and check the type of its result; failures of a plug-in from a file name the file.

    Args:
        plugin: The plug-in, as `find` returns it.
        kind: The type of the result.
        spec: The name or path of the plug-in, as for `find`.
        arguments: The arguments.

    Raises:
        UserError: A plug-in from a file raised an exception, or returned something else; names the file and the line.
    """
    name = spec.split(":")[0]
    if not name.endswith(".py"):
        return plugin(*arguments)
    try:
        result = plugin(*arguments)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{name} failed: {_where(error, Path(name))}", "correct the file") from None
    if not isinstance(result, kind):
        raise UserError(
            f"{name} returned a {type(result).__name__}, not a {kind.__name__}", f"return a {kind.__name__}"
        )
    return result


def _with_options(plugin: Callable[..., Any], what: str, name: str, options: list[str]) -> Any:
    known = options_of(plugin)
    values = {}
    for option in options:
        key, _, value = option.partition("=")
        if key not in known:
            if not known:
                raise UserError(f"{what} {name} takes no options, but {option!r} was given", "remove the option")
            raise unknown(f"option of {name}", key, known)
        values[key] = _value(name, known[key], value)
    return functools.update_wrapper(functools.partial(plugin, **values), plugin)


def _value(name: str, option: inspect.Parameter, text: str) -> Any:
    """Convert the text of an option to its annotated type: bool, int, float or str, each optionally with None."""
    kinds = [kind for kind in get_args(option.annotation) or (option.annotation,) if kind is not type(None)]
    kind = kinds[0]
    try:
        return _TRUTHS[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        raise UserError(
            f"invalid value {text!r} for option {option.name} of {name}: expected {kind.__name__}",
            f"write {name}:{option.name}={option.default}",
        ) from None
