"""The folder is the registry: a plug-in is one file that exports one object named like the file."""

import importlib
import importlib.util
import pkgutil
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError, unknown

# What a folder's plug-ins are called in messages.
_WHAT = {"methods": "method", "tasks": "task", "diagnostics": "diagnostic", "engines": "engine"}


def names(folder: str) -> list[str]:
    """The plug-ins of a folder such as "methods", found by file name; nothing is imported."""
    path = Path(__file__).parent / folder
    return sorted(entry.name for entry in pkgutil.iter_modules([str(path)]) if not entry.name.startswith("_"))


def find(folder: str, name: str) -> Any:
    """The object a plug-in exports, by name or by the path of a Python file of your own ("./mine.py").

    Raises:
        UserError: no plug-in of that name, or the file does not export what it must.
    """
    if name.endswith(".py"):
        return _from_file(folder, Path(name))
    if name not in names(folder):
        raise unknown(_WHAT[folder], name, names(folder))
    return getattr(importlib.import_module(f"layerlimits.{folder}.{name}"), name)


def _from_file(folder: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.exists() or spec is None or spec.loader is None:
        raise UserError(f"no such file: {path}", f"give a {_WHAT[folder]} by name or by the path of its file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, path.stem):
        raise UserError(f"{path} exports nothing called {path.stem}", f"define {path.stem} in it")
    return getattr(module, path.stem)
