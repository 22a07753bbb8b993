"""`gate` and `advise`: whether the models of a run keep what is required. No model is loaded."""

from collections.abc import Sequence
from pathlib import Path

from layerlimits.api.studying import check_run
from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import Artifacts
from layerlimits.evaluation.store import Store
from layerlimits.results.gate import AdviseResults, GateResults, advise_results, gate_results
from layerlimits.results.judge import study_verdict
from layerlimits.results.requirements import Requirement, parse_requirements
from layerlimits.results.stored_answers import StoredAnswers
from layerlimits.results.verdict import Verdict


def gate(run: str | Path, require: Sequence[str] = (), model: str | None = None) -> GateResults:
    """Whether a run has a pruned or finetuned model that keeps what is required.

    Args:
        run: Run folder of a finished study.
        require: Requirements such as "generation>=0.95@0.05"; if empty, those of the study, by default nine tenths of
            every class.
        model: Name of the model that must keep them, such as "task_score-3"; any model if None.

    Returns:
        `passed`, and the judgements of the model.

    Raises:
        UserError: A requirement is malformed or names a task or class that is not in the run; or the study is not
            finished, has no pruned model, or none of this name.

    Example:
        >>> gate("runs/reference", ["generation>=0.9", "facts>=0.8@0.1"]).passed
    """
    wanted = parse_requirements(require)
    return gate_results(str(run), _verdict(run, wanted), model)


def advise(run: str | Path, require: Sequence[str] = ()) -> AdviseResults:
    """The deepest cut that keeps what is required, by method; or that none does, or that there are too few items.

    Args:
        run, require: As for `gate`.

    Raises:
        UserError: As for `gate`.

    Example:
        >>> advise("runs/reference", ["mean>=0.9"]).to_frame()
    """
    wanted = parse_requirements(require)
    return advise_results(str(run), _verdict(run, wanted))


def _verdict(run: str | Path, requirements: Sequence[Requirement]) -> Verdict:
    folder = Path(run)
    check_run(folder)
    with Store(folder, read_only=True) as store:
        artifacts = Artifacts(store)
        manifest = artifacts.manifest
        answers = StoredAnswers.of_study(store).at("base")
        if manifest is None:
            raise UserError(f"{folder} does not contain a study", "give the run folder of `layerlimits study`")
        stored = parse_requirements(manifest.get("config", {}).get("require") or ())
        return study_verdict(answers, artifacts, requirements or stored)
