"""`verify_run` and `merge_runs`: whether the record of a run is intact, and one run folder from several."""

from collections.abc import Sequence
from pathlib import Path

from layerlimits.api.studying import check_run
from layerlimits.errors import UserError
from layerlimits.evaluation.store import Store
from layerlimits.evaluation.verify import verify
from layerlimits.paths import check_new_folder, check_outside_run, new_folder
from layerlimits.results.record import Damage, MergeResults, VerifyResults
from layerlimits.study.merging import merge_into


def verify_run(run: str | Path) -> VerifyResults:
    """Recompute the hash of every row of a run folder, and find torn, altered and foreign rows. Nothing is changed.

    Args:
        run: The run folder.
    Raises:
        UserError: The folder is not a run folder, or of another version of layerlimits.

    Example:
        >>> verify_run("runs/reference").sound
        True
    """
    check_run(Path(run))
    found = verify(Path(run))
    damages = (
        Damage(table, problem, count, found.examples[table, problem])
        for (table, problem), count in found.problems.items()
    )
    return VerifyResults(str(run), found.version, dict(found.sound), tuple(damages), tuple(found.notes))


def merge_runs(runs: Sequence[str | Path], out: str | Path) -> MergeResults:
    """Merge run folders of the same study into a new one, in which the study's command continues.

    Damaged rows are left out; with a single run folder, this saves what is sound. The new folder appears when it is
    complete.

    Args:
        runs: The run folders, which are not changed; of responses that several have, the first one's is kept.
        out: The new run folder; must not exist, or be empty.
    Raises:
        UserError: A folder is not a run folder, the folders belong to different studies, or `out` cannot be written.

    Example:
        >>> merge_runs(["runs/first", "runs/second"], "runs/both").responses
    """
    sources, target = [Path(run) for run in runs], Path(out)
    if not sources:
        raise UserError("no run folder to merge is given", "give the run folders of a study")
    for source in sources:
        check_run(source)
    if len({source.resolve() for source in sources}) < len(sources):
        raise UserError("a run folder is given twice", "give each run folder once")
    check_new_folder(target)
    check_outside_run(target)
    with new_folder(target) as partial, Store(partial) as store:
        return merge_into(store, sources, target)
