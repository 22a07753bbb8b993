"""How many layers a language model can lose, by which method, before it stops reasoning.

Example:
    >>> import layerlimits as ll
    >>> ll.sweep("reference", ll.get_tasks("arithmetic", "facts"), ll.EvalOptions(limit=20)).to_frame()
"""

from typing import TYPE_CHECKING, Any

from layerlimits.optional import quiet_optional_packages
from layerlimits.version import __version__

# transformers loads them.
quiet_optional_packages()

if TYPE_CHECKING:
    from layerlimits.api import (
        AdviseResults,
        Calibration,
        CarryResults,
        Catalogue,
        ChatOptions,
        CompareResults,
        Decoding,
        DefaultTasks,
        DiagnoseResults,
        Estimate,
        EvalOptions,
        EvaluateResults,
        FinetuneConfig,
        GateResults,
        MergeResults,
        Model,
        ModelOptions,
        PlanResults,
        PruneOptions,
        PruneResults,
        RankingsComparison,
        RankOptions,
        RankResults,
        RecoverOptions,
        RecoverResults,
        RecoverySettings,
        ScoreResults,
        StudyConfig,
        StudyResults,
        SweepResults,
        Task,
        UserError,
        VerifyResults,
        advise,
        calibration,
        catalogue,
        compare,
        compare_methods,
        diagnose,
        evaluate,
        export_run,
        finetune_config,
        gate,
        get_tasks,
        import_run,
        load,
        markdown_tables,
        merge_runs,
        open_run,
        plan,
        prune,
        push_to_hub,
        rank,
        recover,
        recover_options,
        run_study,
        score,
        study_config,
        sweep,
        verify_run,
        without_layers,
        write_comparison,
        write_figures,
        write_report,
    )

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
    "__version__",
    "advise",
    "calibration",
    "catalogue",
    "compare",
    "compare_methods",
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
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from layerlimits import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return __all__
