"""The probe of `accumulation`: log-probabilities along the unpruned model's own right answers, and its findings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from layerlimits.analysis.segments import segment_rows
from layerlimits.diagnostics import (
    DiagnosedModel,
    Finding,
    Probe,
    ProbeContext,
    RunView,
    Source,
    correct,
    interval,
)
from layerlimits.diagnostics._amounts import amount, not_asked
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.statistics import intervals
from layerlimits.types import Sample, content_hash

EXCESS, BY_POSITION, GROWTH = "excess loss", "excess loss by position", "growth of the excess loss"
_NAME = "accumulation"
# A chain is cut into this many parts; shorter answers are not asked.
SEGMENTS = 8
# Fewer answers show no change along an answer, whatever their interval is.
_FEWEST = 8
_AXIS = "eighth of the answer"


def _items(context: ProbeContext) -> Iterator[Sample]:
    """An item per right answer of the unpruned model."""
    view = context.view
    chains = [
        (task, answer)
        for task in view.tasks
        if task["kind"] == "generation"
        for answer in view.answers(view.base, task).values()
        if correct(answer) and len(answer.response.tokens) >= SEGMENTS
    ]
    for task, answer in sorted(chains, key=lambda pair: content_hash([pair[0]["name"], pair[1].item])):
        prompt = context.prompt_ids(task, answer.item)
        if prompt is None:
            continue
        rows = segment_rows(prompt, answer.response.tokens, SEGMENTS)
        sizes = [len(segment) for _, segment in rows]
        about = {"task": task["name"], "item": answer.item, "tokens": sizes}
        parts = tuple(f"part {number + 1}" for number in range(SEGMENTS))
        name = f"answer to {answer.item} in {task['name']}"
        yield Sample(name, parts[0], "evaluate", parts, {"probe": about}, rows=rows)


probe = Probe("chains_probe", 1, _items)


@dataclass(frozen=True)
class _Chain:
    """The excess loss of a model along an answer: in nats per token, by segment, and the segments' lengths."""

    item: str
    losses: Sequence[float]
    sizes: Sequence[int]

    def mean(self, start: int = 0, stop: int = SEGMENTS) -> float:
        """The excess loss per token of some segments."""
        tokens = sum(self.sizes[start:stop])
        parts = zip(self.losses[start:stop], self.sizes[start:stop], strict=True)
        return sum(loss * size for loss, size in parts) / tokens

    @property
    def growth(self) -> float:
        """The excess loss per token in the second half less that in the first half."""
        return self.mean(SEGMENTS // 2) - self.mean(0, SEGMENTS // 2)


def findings(view: RunView, models: Sequence[DiagnosedModel]) -> Iterator[Finding]:
    """The findings of the probe by model and task."""
    source = Source(_NAME, "base", "", EXCESS)
    record = view.probe(probe.name)
    if record is None:
        yield source.not_measurable(not_asked(probe.name))
        return
    others = [model for model in models if model.stage != "base"]
    chains = {model.label: _chains(view, model, record) for model in others}
    if not any(chains.values()):
        stored = any(view.answers(model, record) for model in models)
        why = f"the unpruned model has no right answer of {SEGMENTS} tokens or more, or there is no other model"
        yield source.not_measurable("the items of the probe are not stored" if stored and others else why)
        return
    tasks = {task["name"]: task for task in view.tasks}
    for model in others:
        for name, members in chains[model.label].items():
            free = view.answers(model, tasks[name]) if name in tasks else {}
            running = [float(correct(free[chain.item])) for chain in members if chain.item in free]
            yield from _of_task(model.label, name, members, running)


def _chains(view: RunView, model: DiagnosedModel, record: TaskRecord) -> Mapping[str, list[_Chain]]:
    """The chains by task that both models have read, with finite losses."""
    chains: dict[str, list[_Chain]] = {}
    for base, other in view.pairs(model, record):
        about = (base.content or {}).get("probe")
        before, after = base.response.logprobs, other.response.logprobs
        if about is None or len(before) != SEGMENTS or len(after) != SEGMENTS or not all(map(isfinite, before + after)):
            continue
        sizes = about["tokens"]
        losses = [(one - two) / size for one, two, size in zip(before, after, sizes, strict=True)]
        chains.setdefault(about["task"], []).append(_Chain(about["item"], losses, sizes))
    return chains


def _of_task(model: str, task: str, chains: Sequence[_Chain], running: Sequence[float]) -> Iterator[Finding]:
    begin = f"{model.capitalize()}: along the unpruned model's right answers to {task}, a token"
    excess = intervals.mean([chain.mean() for chain in chains])
    words = f"{begin} costs {amount(excess, 'nats')} more than the unpruned model gives it."
    yield Source(_NAME, model, task, EXCESS).measured(excess, words)
    growth = intervals.mean([chain.growth for chain in chains])
    verdict = (
        "damage grows along the answer"
        if growth.low > 0 and growth.n >= _FEWEST
        else "damage is smaller once the answer has begun"
        if growth.high < 0 and growth.n >= _FEWEST
        else "damage acts at each token, without a change along the answer that n shows"
    )
    free = f"; on its own, the model has {interval(intervals.mean(running))} right" if running else ""
    words = f"{begin} costs {amount(growth, 'nats')} more in the second half than in the first: {verdict}{free}."
    items = [chain.item for chain in chains if chain.growth > 0]
    yield Source(_NAME, model, task, GROWTH).measured(growth, words, items)
    for place in range(SEGMENTS):
        loss = intervals.mean([chain.losses[place] for chain in chains])
        words = f"{begin} in part {place + 1} of {SEGMENTS} costs {amount(loss, 'nats')} more."
        yield Source(_NAME, model, task, BY_POSITION, _AXIS, place + 1).measured(loss, words)
