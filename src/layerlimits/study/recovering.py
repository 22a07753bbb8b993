"""The recovery stage: finetune pruned models on responses of the unpruned model, then evaluate them again."""

import time
from dataclasses import asdict, dataclass, replace
from typing import Literal

from layerlimits.errors import StorageError, UserError
from layerlimits.evaluation.artifacts import Plan, RecoveredRecord
from layerlimits.evaluation.options import AskOptions
from layerlimits.models.load import load
from layerlimits.models.save import read_recipe
from layerlimits.recovery.answers import Answers, generate_answers, own_answers
from layerlimits.recovery.settings import Objective
from layerlimits.study import fitting
from layerlimits.study.config import StudyConfig
from layerlimits.study.estimate import finetuning_cost, training_answer_cost
from layerlimits.study.resolved import PlannedRecovery
from layerlimits.study.room import check_training_memory
from layerlimits.study.second_chances import evaluator_again
from layerlimits.study.session import Run, ask_options
from layerlimits.types import Decoding, Sample, Task


def recover(run: Run) -> None:
    """Finetune the pruned models selected by the settings; a failed finetuning is skipped with a warning."""
    seconds = run.share("recover")
    if seconds is not None and not run.artifacts.recovered:
        run.study, left_out = fitting.recovery(run.study, run.cost, seconds)
        run.leave_out(left_out)
    recovery = run.study.recovery
    if recovery is None:
        return
    wanted = [
        plan for plan in run.artifacts.plans if plan["method"] in recovery.methods and plan["layers"] in recovery.counts
    ]
    for method in recovery.methods:
        if method not in {plan["method"] for plan in wanted}:
            run.skip(f"recovery after {method}", f"{method} has no pruned model to finetune")
    if not wanted:
        return
    if run.clock and run.artifacts.recovered:
        # What a former command chose to finetune within its budget stays.
        return
    for objective in recovery.objectives:
        try:
            answers = _answers(run, recovery, objective)
        except UserError as error:
            run.skip(f"recovery with the objective {objective}", error.problem)
            continue
        for plan in wanted:
            for kind in recovery.kinds:
                try:
                    _recover_one(run, plan, _Lesson(kind, objective, recovery.milestones), answers)
                except StorageError:
                    raise
                except UserError as error:
                    what = _Lesson(kind, objective).name
                    run.skip(f"recovery ({what}) of {plan['method']} without {plan['layers']} layers", error.problem)


@dataclass(frozen=True)
class _Lesson:
    """How a pruned model is finetuned, and how many times it is evaluated meanwhile."""

    kind: Literal["full", "lora"]
    objective: Objective
    milestones: int = 0

    @property
    def name(self) -> str:
        """The name in results: the kind alone for the usual objective."""
        return self.kind if self.objective == "self" else f"{self.kind}-{self.objective}"


def _answers(run: Run, recovery: PlannedRecovery, objective: Objective) -> Answers:
    """The training examples of an objective; responses that are stored are not computed again."""
    if objective == "own":
        return own_answers(run.evaluator, recovery.prompts)
    each = training_answer_cost(run.study, run.cost)
    return generate_answers(
        run.evaluator, recovery.prompts, recovery.max_new_tokens, lambda done: run.bar.advance(done * each)
    )


def _recover_one(run: Run, plan: Plan, lesson: _Lesson, answers: Answers) -> None:
    # Imported here because it takes seconds and only this stage needs it.
    from layerlimits.recovery.context import CurvePlan, TrainingContext
    from layerlimits.recovery.finetune import finetune, training_key
    from layerlimits.recovery.selection import heldout_split, scores_on
    from layerlimits.recovery.settings import FinetuneConfig

    name = f"{plan['method']}-{plan['layers']}-{lesson.name}"
    out, work = run.folder / "models" / name, run.folder / "work" / name
    settings = FinetuneConfig(
        kind=lesson.kind, objective=lesson.objective, epochs=run.config.recovery.epochs, seed=run.config.seed
    )
    examples, curve, unpruned, dropped = answers.examples, None, dict[str, list[float]](), answers.dropped
    if lesson.milestones:
        examples, heldout = heldout_split(examples)
        # The answers of models in training are not part of the run.
        scores = scores_on(_select_items(run), run.loaded, work / "curve", _curve_options(run.config))
        curve = CurvePlan(heldout, lesson.milestones, scores)
        unpruned = scores(run.loaded.model, run.loaded.ref.fingerprint)
    records = run.artifacts.recovered
    key = training_key(run.loaded, tuple(plan["removed"]), examples, settings)
    if name in records and _is_evaluated(run, records[name], key):
        # Its weights are not needed, which an imported run does not have.
        run.artifacts.recovered = records | {name: {**records[name], **plan, "dropped": dropped}}
        return
    check_training_memory(run, lesson.kind)
    assert run.study.recovery
    share = finetuning_cost(run.study, run.study.recovery, plan["layers"], run.cost)
    done = 0

    def on_step(step: int, steps: int) -> None:
        nonlocal done
        run.bar.advance((step - done) / steps * share)
        done = step

    about = {"base": run.loaded.ref.path, "base_fingerprint": run.loaded.ref.base_fingerprint, **plan}
    began = time.perf_counter()
    context = TrainingContext(on_step, curve, run.loaded.model)
    finetune(run.loaded, tuple(plan["removed"]), examples, settings, work, out, about, context)
    # After a resume, the measured time covers the last part only.
    before = records[name]["seconds"] if name in records else 0.0
    spent = max(time.perf_counter() - began, before)
    recovered = load(str(out), dtype=run.loaded.ref.dtype, device=str(run.loaded.model.device))
    evaluator = run.like(recovered)
    for task in run.study.measured:
        run.ask("recover", [()], task, run.pruned_items(task), evaluator)
    evaluator.ask([()], run.probes)
    evaluator_again(run, recovered).ask([()], run.again)
    trained = (read_recipe(out) or {})["finetune"]
    record: RecoveredRecord = {
        "method": plan["method"],
        "ratio": plan["ratio"],
        "layers": plan["layers"],
        "removed": plan["removed"],
        "name": lesson.name,
        "fingerprint": recovered.ref.fingerprint,
        "key": key,
        "settings": asdict(settings),
        "examples": trained["examples"],
        "dropped": dropped,
        "trained_tokens": trained["trained_tokens"],
        "seconds": spent,
    }
    if curve:
        record["curve"], record["best_tokens"] = trained["curve"], trained["best_tokens"]
        record["curve_base"] = unpruned
    run.artifacts.recovered = records | {name: record}


def _select_items(run: Run) -> list[tuple[Task, list[Sample]]]:
    return [(task, run.study.select_items[task.name]) for task in run.study.select_tasks]


def _curve_options(config: StudyConfig) -> AskOptions:
    """How a model in training is asked: greedily, because it is compared with itself."""
    return replace(ask_options(config), decoding=Decoding(max_new_tokens=config.max_new_tokens))


def _is_evaluated(run: Run, record: RecoveredRecord, key: str) -> bool:
    """Whether the record is of this finetuning, and all answers of the finetuned model are stored."""
    if record.get("key") != key:
        return False
    model = record["fingerprint"]
    asked = [*((task, run.pruned_items(task)) for task in run.study.measured), *run.probes]
    ways = ((run.evaluator, asked), (evaluator_again(run, run.loaded), run.again))
    return not any(evaluator.missing_of(model, task, items) for evaluator, part in ways for task, items in part)
