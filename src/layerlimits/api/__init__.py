"""What the command line does, as functions with typed options and typed results.

Everything is imported when it is first used: `import layerlimits` takes no time, and a command imports only its own.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layerlimits.api.listing import catalogue
    from layerlimits.api.measuring import evaluate, sweep
    from layerlimits.api.options import EvalOptions, ModelOptions, PruneOptions, RankOptions, RecoverOptions
    from layerlimits.api.pruning import prune
    from layerlimits.api.ranking import rank
    from layerlimits.api.recovering import recover
    from layerlimits.api.scoring import score
    from layerlimits.api.studying import default_folder, open_run, plan, report_file, run_study, write_report
    from layerlimits.sampling import Decoding
    from layerlimits.study.config import StudyConfig, study_config

_MODULES = {
    "api.listing": ("catalogue",),
    "api.measuring": ("evaluate", "sweep"),
    "api.options": ("EvalOptions", "ModelOptions", "PruneOptions", "RankOptions", "RecoverOptions"),
    "api.pruning": ("prune",),
    "api.ranking": ("rank",),
    "api.recovering": ("recover",),
    "api.scoring": ("score",),
    "api.studying": ("default_folder", "open_run", "plan", "report_file", "run_study", "write_report"),
    "sampling": ("Decoding",),
    "study.config": ("StudyConfig", "study_config"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Decoding",
    "EvalOptions",
    "ModelOptions",
    "PruneOptions",
    "RankOptions",
    "RecoverOptions",
    "StudyConfig",
    "catalogue",
    "default_folder",
    "evaluate",
    "open_run",
    "plan",
    "prune",
    "rank",
    "recover",
    "report_file",
    "run_study",
    "score",
    "study_config",
    "sweep",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"layerlimits.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
