"""How many layers a language model can lose, by which method, before it stops reasoning."""

from typing import TYPE_CHECKING, Any

from layerlimits.version import __version__

if TYPE_CHECKING:
    from layerlimits.api import (
        Decoding,
        EvalOptions,
        ModelOptions,
        PruneOptions,
        RankOptions,
        RecoverOptions,
        StudyConfig,
        catalogue,
        evaluate,
        open_run,
        plan,
        prune,
        rank,
        recover,
        run_study,
        score,
        study_config,
        sweep,
        write_report,
    )

__all__ = [
    "Decoding",
    "EvalOptions",
    "ModelOptions",
    "PruneOptions",
    "RankOptions",
    "RecoverOptions",
    "StudyConfig",
    "__version__",
    "catalogue",
    "evaluate",
    "open_run",
    "plan",
    "prune",
    "rank",
    "recover",
    "run_study",
    "score",
    "study_config",
    "sweep",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from layerlimits import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return __all__
