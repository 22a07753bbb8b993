"""The public functions, their typed options and their typed results; the command line calls these.

Modules are imported when a name is first used, so that `import layerlimits` is fast and each command imports only what
it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layerlimits.api.carrying import export_run, import_run
    from layerlimits.api.comparing import compare
    from layerlimits.api.diagnosing import diagnose
    from layerlimits.api.judging import advise, gate
    from layerlimits.api.listing import catalogue
    from layerlimits.api.measuring import evaluate, sweep
    from layerlimits.api.models import Model, load, without_layers
    from layerlimits.api.options import DefaultTasks, EvalOptions, ModelOptions, PruneOptions, RankOptions
    from layerlimits.api.pruning import prune
    from layerlimits.api.publishing import push_to_hub
    from layerlimits.api.ranking import compare_methods, rank
    from layerlimits.api.record import merge_runs, verify_run
    from layerlimits.api.recovering import RecoverOptions, recover, recover_options
    from layerlimits.api.scoring import score
    from layerlimits.api.studying import (
        default_folder,
        markdown_tables,
        open_run,
        plan,
        report_file,
        run_study,
        write_comparison,
        write_figures,
        write_report,
    )
    from layerlimits.api.tasks import get_tasks
    from layerlimits.api.texts import calibration
    from layerlimits.chat_options import ChatOptions
    from layerlimits.errors import UserError
    from layerlimits.evaluation.calibration import Calibration
    from layerlimits.recovery.settings import FinetuneConfig, finetune_config
    from layerlimits.results.carried import CarryResults
    from layerlimits.results.catalogue import Catalogue
    from layerlimits.results.diagnose import DiagnoseResults
    from layerlimits.results.document import (
        EvaluateResults,
        PlanResults,
        PruneResults,
        ScoreResults,
        StudyResults,
        SweepResults,
    )
    from layerlimits.results.gate import AdviseResults, GateResults
    from layerlimits.results.pair import CompareResults
    from layerlimits.results.rankings import RankingsComparison, RankResults
    from layerlimits.results.record import MergeResults, VerifyResults
    from layerlimits.results.recovered import RecoverResults
    from layerlimits.sampling import Decoding
    from layerlimits.study.config import RecoverySettings, StudyConfig, study_config
    from layerlimits.types import Estimate, Task

_MODULES = {
    "api.carrying": (
        "export_run",
        "import_run",
    ),
    "api.comparing": ("compare",),
    "api.diagnosing": ("diagnose",),
    "api.judging": (
        "advise",
        "gate",
    ),
    "api.listing": ("catalogue",),
    "api.measuring": (
        "evaluate",
        "sweep",
    ),
    "api.models": (
        "Model",
        "load",
        "without_layers",
    ),
    "api.options": (
        "DefaultTasks",
        "EvalOptions",
        "ModelOptions",
        "PruneOptions",
        "RankOptions",
    ),
    "api.pruning": ("prune",),
    "api.publishing": ("push_to_hub",),
    "api.ranking": (
        "compare_methods",
        "rank",
    ),
    "api.record": (
        "merge_runs",
        "verify_run",
    ),
    "api.recovering": (
        "RecoverOptions",
        "recover",
        "recover_options",
    ),
    "api.scoring": ("score",),
    "api.studying": (
        "default_folder",
        "markdown_tables",
        "open_run",
        "plan",
        "report_file",
        "run_study",
        "write_comparison",
        "write_figures",
        "write_report",
    ),
    "api.tasks": ("get_tasks",),
    "api.texts": ("calibration",),
    "chat_options": ("ChatOptions",),
    "errors": ("UserError",),
    "evaluation.calibration": ("Calibration",),
    "recovery.settings": (
        "FinetuneConfig",
        "finetune_config",
    ),
    "results.carried": ("CarryResults",),
    "results.catalogue": ("Catalogue",),
    "results.diagnose": ("DiagnoseResults",),
    "results.document": (
        "EvaluateResults",
        "PlanResults",
        "PruneResults",
        "ScoreResults",
        "StudyResults",
        "SweepResults",
    ),
    "results.gate": ("AdviseResults", "GateResults"),
    "results.pair": ("CompareResults",),
    "results.recovered": ("RecoverResults",),
    "results.record": (
        "MergeResults",
        "VerifyResults",
    ),
    "results.rankings": ("RankResults", "RankingsComparison"),
    "sampling": ("Decoding",),
    "study.config": (
        "RecoverySettings",
        "StudyConfig",
        "study_config",
    ),
    "types": (
        "Estimate",
        "Task",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AdviseResults",
    "Calibration",
    "CarryResults",
    "Catalogue",
    "ChatOptions",
    "CompareResults",
    "Decoding",
    "DefaultTasks",
    "DiagnoseResults",
    "Estimate",
    "EvalOptions",
    "EvaluateResults",
    "FinetuneConfig",
    "GateResults",
    "MergeResults",
    "Model",
    "ModelOptions",
    "PlanResults",
    "PruneOptions",
    "PruneResults",
    "RankOptions",
    "RankResults",
    "RankingsComparison",
    "RecoverOptions",
    "RecoverResults",
    "RecoverySettings",
    "ScoreResults",
    "StudyConfig",
    "StudyResults",
    "SweepResults",
    "Task",
    "UserError",
    "VerifyResults",
    "advise",
    "calibration",
    "catalogue",
    "compare",
    "compare_methods",
    "default_folder",
    "diagnose",
    "evaluate",
    "export_run",
    "finetune_config",
    "gate",
    "get_tasks",
    "import_run",
    "load",
    "markdown_tables",
    "merge_runs",
    "open_run",
    "plan",
    "prune",
    "push_to_hub",
    "rank",
    "recover",
    "recover_options",
    "report_file",
    "run_study",
    "score",
    "study_config",
    "sweep",
    "verify_run",
    "without_layers",
    "write_comparison",
    "write_figures",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"layerlimits.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
