"""The diagnose stage: ask the unpruned, the single-layer and the pruned models what the diagnostics require of them."""

import time
from collections.abc import Iterable, Mapping, Sequence

from layerlimits.analysis.segments import shared_tokens
from layerlimits.diagnostics import Probe, ProbeContext
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.results.diagnose import StoredRun, chosen
from layerlimits.study.estimate import PROBE_FRAC, READ_PER_WRITTEN, probe_costs
from layerlimits.study.second_chances import second_chances
from layerlimits.study.session import Run
from layerlimits.types import Sample, Variant

# Within a budget, items that all models answer before the time is checked again.
_CHUNK = 16

Questions = Sequence[tuple[Probe, Sequence[Sample]]]


def diagnose(run: Run) -> None:
    """Ask the probes of all diagnostics, and record them; finetuned models answer them when they are evaluated. Without
    a budget, what pruned models have lost is asked again.

    The items do not depend on the time that anything takes, so that two runs of a study ask the same ones: as many are
    asked as a model can read for `PROBE_FRAC` of the tokens of its answers and their prompts. Within a budget, fewer.
    """
    view = StoredRun.of(run.store)
    probes = [diagnostic.probe for diagnostic in chosen() if diagnostic.probe]
    variants = list(dict.fromkeys(model.removed for model in (view.base, *view.models) if model.stage != "recover"))
    questions = _fitting(run, view, probes)
    if run.clock:
        questions = _within_budget(run, questions, variants)
    else:
        _ask(run, questions, variants)
    run.probes = tuple((probe.task, items) for probe, items in questions if items)
    records = [run.evaluator.described(task, items) for task, items in run.probes]
    names = [record["name"] for record in records]
    earlier = [record for record in run.artifacts.probes if record["name"] not in names]
    run.artifacts.probes = [*records, *(earlier if run.clock else second_chances(run, view))]


def _fitting(run: Run, view: StoredRun, probes: Sequence[Probe]) -> Questions:
    """The first items of each probe that fit into an equal part of the tokens; what a probe does not need goes to the
    next ones.
    """
    context = ProbeContext(view, run.loaded.tokenizer, _Prompts(run).ids)
    left, questions = PROBE_FRAC * _answer_tokens(run, view), []
    for number, probe in enumerate(probes):
        items, spent = _first(probe.items(context), left / (len(probes) - number))
        left -= spent
        questions.append((probe, items))
    return questions


def _first(items: Iterable[Sample], most: float) -> tuple[list[Sample], float]:
    """The first items with at most so many tokens, and their number of tokens."""
    kept, total = list[Sample](), 0.0
    for item in items:
        tokens = shared_tokens(item.rows)
        if total + tokens > most:
            break
        kept.append(item)
        total += tokens
    return kept, total


class _Prompts:
    """The prompts of a study's tasks by item id."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._tasks = {task.name: task for task in run.study.measured}
        self._samples: dict[str, Mapping[str, Sample]] = {}

    def ids(self, record: TaskRecord, item: str) -> Sequence[int] | None:
        """See `ProbeContext`."""
        name = record["name"]
        if name not in self._samples:
            self._samples[name] = {sample.id: sample for sample in self._run.study.items.get(name, ())}
        if name not in self._tasks or item not in self._samples[name]:
            return None
        return self._run.evaluator.prompt(self._tasks[name], self._samples[name][item]).ids


def _answer_tokens(run: Run, view: StoredRun) -> float:
    """Tokens that a pruned model reads for all tasks, if its answers are as long as the unpruned model's; those that it
    writes count as `READ_PER_WRITTEN`.
    """
    records = {record["name"]: record for record in view.tasks}
    total = 0
    for task in run.study.measured:
        answers = view.answers(view.base, records[task.name]) if task.name in records else {}
        for sample in run.pruned_items(task):
            prompt = run.evaluator.prompt(task, sample)
            written = len(answers[sample.id].response.tokens) if sample.id in answers else 0
            total += shared_tokens(prompt.rows) if prompt.rows else len(prompt.ids) + READ_PER_WRITTEN * written
    return total


def _ask(run: Run, questions: Questions, variants: Sequence[Variant]) -> None:
    """Ask all items, and advance the progress bar."""
    total = sum(len(items) for _, items in questions) * len(variants)
    each = probe_costs(run.study, run.cost)[0] / max(1, total)

    def on_progress(count: float) -> None:
        run.bar.advance(count * each)
        run.record_time()

    run.evaluator.ask(variants, [(probe.task, items) for probe, items in questions if items], on_progress)


def _within_budget(run: Run, questions: Questions, variants: Sequence[Variant]) -> Questions:
    """Ask the first items of each probe, as many as the time of the stage allows; what an earlier command with a budget
    has asked stays.
    """
    recorded = {record["name"]: len(record["ids"]) for record in run.artifacts.probes}
    if recorded:
        known = [(probe, items[: recorded.get(probe.name, 0)]) for probe, items in questions]
        _ask(run, known, variants)
        return known
    share = run.share("diagnose") or 0.0
    began, asked = time.perf_counter(), list[tuple[Probe, Sequence[Sample]]]()
    for number, (probe, items) in enumerate(questions):
        deadline = began + share * (number + 1) / len(questions)
        asked.append((probe, _before(run, probe, items, variants, deadline)))
    if short := [
        probe.name for (probe, items), (_, some) in zip(questions, asked, strict=True) if len(some) < len(items)
    ]:
        run.leave_out([f"some items of {' and '.join(short)}"])
    return asked


def _before(
    run: Run, probe: Probe, items: Sequence[Sample], variants: Sequence[Variant], deadline: float
) -> Sequence[Sample]:
    """Ask the first items, in chunks, until another chunk would not be finished by the deadline."""
    done, slowest = 0, 0.0
    while done < len(items):
        now = time.perf_counter()
        if now + slowest > deadline:
            break
        _ask(run, [(probe, items[done : done + _CHUNK])], variants)
        done = min(len(items), done + _CHUNK)
        slowest = max(slowest, time.perf_counter() - now)
    return items[:done]
