"""`diagnose`: what exactly the models of a run have lost."""

from collections.abc import Sequence
from pathlib import Path

from layerlimits.api.studying import check_run
from layerlimits.evaluation.store import Store
from layerlimits.results.diagnose import DiagnoseResults, StoredRun, chosen, findings


def diagnose(run: str | Path, only: Sequence[str] = ()) -> DiagnoseResults:
    """Diagnose what the pruned and finetuned models of a study have lost. No model is loaded.

    Args:
        run: Run folder of a finished or unfinished study, or of `sweep` or `evaluate`.
        only: Names of diagnostics, or paths of files that define one; all if empty.
    Raises:
        UserError: The folder contains no answers to tasks, or a diagnostic is unknown.

    Example:
        >>> diagnose("runs/reference", ["arithmetic"]).to_frame()
    """
    check_run(Path(run))
    # Unknown names are reported before anything is read.
    diagnostics = chosen(only)
    with Store(Path(run), read_only=True) as store:
        return DiagnoseResults(str(run), tuple(findings(StoredRun.of(store), diagnostics)))
