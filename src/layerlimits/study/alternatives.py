"""Instead of pruning: the unpruned model in fewer bits, and a smaller sibling, measured on the same items.

The stage runs after the others, and only if the settings name alternatives. Each is timed in turns with the unpruned
model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from layerlimits.errors import StorageError, UserError
from layerlimits.evaluation.artifacts import AlternativeRecord
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.prompts import check_chat
from layerlimits.models.load import Loaded, load, read_tokenizer
from layerlimits.models.locate import check_complete, fingerprint, locate
from layerlimits.models.quantize import Bits, check_quantizer, quantized
from layerlimits.plugins import label
from layerlimits.study.config import StudyConfig
from layerlimits.study.session import Run, ask_options
from layerlimits.study.speed import interleaved
from layerlimits.types import Task, Variant, content_hash

STAGE = "alternatives"


@dataclass(frozen=True)
class _Wanted:
    """A model to measure: in fewer bits, and without some layers; or a sibling."""

    name: str
    bits: Bits | None
    path: str
    method: str = ""
    removed: Variant = ()


def check_alternatives(config: StudyConfig) -> None:
    """Check the alternatives before weights load.

    Raises:
        UserError: torchao is required and not installed, or the sibling is not a model that can be asked.
    """
    if config.quantized:
        check_quantizer()
    if config.versus:
        folder = locate(config.versus)
        check_complete(folder)
        check_chat(read_tokenizer(folder), config.chat, config.versus, config.template)


def measure_alternatives(run: Run) -> None:
    """Evaluate and time the alternatives; one that fails is skipped with a warning."""
    wanted = list(_wanted(run))
    if run.clock and wanted:
        run.leave_out([f"the alternatives to pruning ({', '.join(one.name for one in wanted)})"])
        return
    before = {record["name"]: record for record in run.artifacts.alternatives}
    for bits, group in _by_model(wanted):
        missing = [one for one in group if one.name not in before or before[one.name]["key"] != _key(run, one)]
        try:
            records = _measured(run, bits, missing) if missing else []
        except StorageError:
            raise
        except UserError as error:
            run.skip(", ".join(one.name for one in missing), error.problem)
            continue
        before |= {record["name"]: record for record in records}
    run.artifacts.alternatives = [before[one.name] for one in wanted if one.name in before]


def _wanted(run: Run) -> Iterator[_Wanted]:
    config = run.config
    plan = next(
        (
            plan
            for plan in run.artifacts.plans
            if plan["method"] == label(config.recovery_methods[0]) and plan["ratio"] == config.recovery_ratios[0]
        ),
        None,
    )
    for bits in config.quantized:
        yield _Wanted(f"{bits}-bit weights", bits, config.model)
        if plan:
            name = f"{bits}-bit weights, {plan['layers']} removed by {plan['method']}"
            yield _Wanted(name, bits, config.model, plan["method"], tuple(plan["removed"]))
    if config.versus:
        yield _Wanted(config.versus, None, config.versus)


def _by_model(wanted: Sequence[_Wanted]) -> list[tuple[Bits | None, list[_Wanted]]]:
    """What is loaded once: all variants of the model in the same number of bits, and the sibling."""
    groups: dict[Bits | None, list[_Wanted]] = {}
    for one in wanted:
        groups.setdefault(one.bits, []).append(one)
    return list(groups.items())


def _key(run: Run, one: _Wanted) -> str:
    """Identifies a measurement: the model, its type, and the items."""
    model = run.loaded.ref.base_fingerprint if one.bits else fingerprint(locate(one.path))
    items = [[task.name, [sample.id for sample in run.pruned_items(task)]] for task in _tasks(run)]
    return content_hash([model, run.loaded.ref.dtype, one.bits, one.removed, items, run.config.speed_repeats])


def _tasks(run: Run) -> list[Task]:
    """The tasks on which alternatives are compared; perplexities of other tokenizers are not comparable."""
    return [task for task in run.study.measured if task.kind != "text"]


def _measured(run: Run, bits: Bits | None, wanted: Sequence[_Wanted]) -> list[AlternativeRecord]:
    loaded, evaluator = _opened(run, bits, wanted[0].path)
    variants = [one.removed for one in wanted]
    tasks = []
    for task in _tasks(run):
        evaluator.ask(variants, [(task, run.pruned_items(task))])
        tasks.append(evaluator.described(task, run.pruned_items(task)))
    base, *timed = interleaved(
        [(run.loaded.model, ()), *((loaded.model, removed) for removed in variants)], run.config.speed_repeats
    )
    return [
        {
            "name": one.name,
            "key": _key(run, one),
            "path": one.path,
            "bits": one.bits,
            "method": one.method,
            "removed": list(one.removed),
            "fingerprint": loaded.ref.without(one.removed).fingerprint,
            "layers": loaded.depth - len(one.removed),
            "tasks": tasks,
            "parameters": timing.parameters,
            "weight_bytes": timing.weight_bytes,
            "memory_bytes": timing.memory_bytes,
            "tokens_per_s": list(timing.tokens_per_s),
            "base_tokens_per_s": list(base.tokens_per_s),
        }
        for one, timing in zip(wanted, timed, strict=True)
    ]


def _opened(run: Run, bits: Bits | None, path: str) -> tuple[Loaded, Evaluator]:
    if bits is None:
        sibling = load(path, dtype=run.loaded.ref.dtype, device=str(run.loaded.model.device))
        return sibling, run.like(sibling)
    copy = quantized(run.loaded, bits)
    # Other engines compute some products themselves, for which quantized weights have no kernel.
    options = replace(ask_options(run.config), engine="transformers")
    return copy, Evaluator(copy, run.store, options)
