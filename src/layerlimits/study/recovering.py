"""The recovery stage: finetune pruned models on responses of the unpruned model, then evaluate them again."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

from layerlimits.errors import StorageError, UserError
from layerlimits.evaluation.artifacts import Plan, RecoveredRecord
from layerlimits.models.load import load
from layerlimits.models.save import read_recipe
from layerlimits.recovery.data import Example, generate_answers
from layerlimits.study import fitting
from layerlimits.study.estimate import finetuning_cost, training_answer_cost
from layerlimits.study.room import check_training_memory
from layerlimits.study.session import Run


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
        plan for plan in run.artifacts.plans if plan["method"] == recovery.method and plan["layers"] in recovery.counts
    ]
    if not wanted:
        run.skip("stage recover", f"{recovery.method} has no pruned model to finetune")
        return
    if run.clock and run.artifacts.recovered:
        # What a former command chose to finetune within its budget stays.
        return
    each = training_answer_cost(run.study, run.cost)
    examples, dropped = generate_answers(
        run.evaluator, recovery.prompts, recovery.max_new_tokens, lambda done: run.bar.advance(done * each)
    )
    for plan in wanted:
        for kind in recovery.kinds:
            try:
                _recover_one(run, plan, kind, examples, dropped)
            except StorageError:
                raise
            except UserError as error:
                run.skip(f"recovery ({kind}) of {plan['method']} without {plan['layers']} layers", error.problem)


def _recover_one(
    run: Run, plan: Plan, kind: Literal["full", "lora"], examples: Sequence[Example], dropped: int
) -> None:
    # Imported here because it takes seconds and only this stage needs it.
    from layerlimits.recovery.finetune import FinetuneConfig, finetune, training_key

    name = f"{plan['method']}-{plan['layers']}-{kind}"
    out, work = run.folder / "models" / name, run.folder / "work" / name
    settings = FinetuneConfig(kind=kind, epochs=run.config.recovery.epochs, seed=run.config.seed)
    records = run.artifacts.recovered
    key = training_key(run.loaded, tuple(plan["removed"]), examples, settings)
    if name in records and _is_evaluated(run, records[name], key):
        # Its weights are not needed, which an imported run does not have.
        run.artifacts.recovered = records | {name: {**records[name], **plan, "dropped": dropped}}
        return
    check_training_memory(run, kind)
    assert run.study.recovery
    share = finetuning_cost(run.study, run.study.recovery, plan["layers"], run.cost)
    done = 0

    def on_step(step: int, steps: int) -> None:
        nonlocal done
        run.bar.advance((step - done) / steps * share)
        done = step

    about = {"base": run.loaded.ref.path, "base_fingerprint": run.loaded.ref.base_fingerprint, **plan}
    began = time.perf_counter()
    finetune(run.loaded, tuple(plan["removed"]), examples, settings, work, out, about, on_step)
    # After a resume, the measured time covers the last part only.
    before = records[name]["seconds"] if name in records else 0.0
    spent = max(time.perf_counter() - began, before)
    recovered = load(str(out), dtype=run.loaded.ref.dtype, device=str(run.loaded.model.device))
    evaluator = run.like(recovered)
    for task in run.study.measured:
        run.ask("recover", [()], task, run.pruned_items(task), evaluator)
    trained = (read_recipe(out) or {})["finetune"]
    record: RecoveredRecord = {
        "method": plan["method"],
        "ratio": plan["ratio"],
        "layers": plan["layers"],
        "removed": plan["removed"],
        "name": kind,
        "fingerprint": recovered.ref.fingerprint,
        "key": key,
        "settings": asdict(settings),
        "examples": trained["examples"],
        "dropped": dropped,
        "trained_tokens": trained["trained_tokens"],
        "seconds": spent,
    }
    run.artifacts.recovered = records | {name: record}


def _is_evaluated(run: Run, record: RecoveredRecord, key: str) -> bool:
    """Whether the record is of this finetuning, and all answers of the finetuned model are stored."""
    if record.get("key") != key:
        return False
    model = record["fingerprint"]
    return not any(run.evaluator.missing_of(model, task, run.pruned_items(task)) for task in run.study.measured)
