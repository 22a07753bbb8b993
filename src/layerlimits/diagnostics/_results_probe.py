"""The probe of `arithmetic`: log-probabilities of right results, near misses and first digits, and its findings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from typing import Any

from layerlimits.analysis.digits import grouping
from layerlimits.analysis.number_rows import (
    NumberRows,
    StatedResult,
    Written,
    number_rows,
    stated_answer,
    stated_results,
)
from layerlimits.analysis.operations import ERROR_KINDS, Node, carries, digits, parsed, question_tree, signs, value
from layerlimits.diagnostics import Answer, DiagnosedModel, Finding, Probe, ProbeContext, RunView, Source, interval
from layerlimits.diagnostics._amounts import amount, not_asked
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.statistics import intervals
from layerlimits.types import Estimate, Sample, content_hash

CHANGE, FIRST_DIGIT, RANK = "change in log-probability", "likeliest first digit", "rank of the right result"
PREFERRED = tuple(f"prefers: {kind}" for kind in ERROR_KINDS if kind != "not a number")
_NAME = "arithmetic"
_SPLITS = ("digits", "carries")
_LONGEST_QUESTION = 200


def asked_expression(answer: Answer) -> Node | None:
    """The expression that an item asks for, if its value is the item's target."""
    if len(answer.prompt) > _LONGEST_QUESTION or not answer.target:
        return None
    tree, right = question_tree(answer.prompt), parsed(answer.target)
    return tree if tree is not None and isinstance(right, Fraction) and value(tree) == right else None


def _items(context: ProbeContext) -> Iterator[Sample]:
    """An item per response of the unpruned model that states whole results; its rows are those of all of them, so that
    the response is read once.
    """
    writing = _Writing(context)
    view = context.view
    responses = [
        (task, answer)
        for task in view.tasks
        if task["kind"] == "generation" and task["metric"] != "pass rate"
        for answer in view.answers(view.base, task).values()
    ]
    for task, answer in sorted(responses, key=lambda pair: content_hash([pair[0]["name"], pair[1].item])):
        item = writing.item(task["name"], answer, context.prompt_ids(task, answer.item))
        if item is not None:
            yield item


def _stated(answer: Answer) -> list[StatedResult]:
    """The result that an item asks for, where the answer stands, or else the operations of a solution."""
    tree = asked_expression(answer)
    if tree is None:
        return list(stated_results(answer.response.text))
    given = parsed(answer.verdict.answer) if answer.verdict.answer else None
    stated = stated_answer(answer.response.text, tree, given) if isinstance(given, Fraction) else None
    return [] if stated is None else [stated]


class _Writing:
    """Makes the items of the probe with a model's tokenizer."""

    def __init__(self, context: ProbeContext) -> None:
        self._tokenizer = context.tokenizer
        self._end: int | None = context.tokenizer.eos_token_id
        self._grouping = grouping(self._encode, self._decode)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def item(self, task: str, answer: Answer, prompt: Sequence[int] | None) -> Sample | None:
        """The item of a response; None if it states no result whose tokens are known."""
        stated = _stated(answer)
        if prompt is None or not stated:
            return None
        response = answer.response
        written = Written(prompt, response.text, response.tokens, self._end if response.finish == "stop" else None)
        made = [(result.tree, number_rows(written, result, self._encode, self._decode)) for result in stated]
        results = [(tree, rows) for tree, rows in made if rows is not None]
        if not results:
            return None
        texts = tuple(text for _, rows in results for text in rows.texts)
        about = {"task": task, "item": answer.item, "grouping": self._grouping}
        every = {"probe": about | {"results": [_described(tree, rows) for tree, rows in results]}}
        continuations = tuple(row for _, rows in results for row in rows.rows)
        return Sample(f"results of {answer.item} in {task}", texts[0], "evaluate", texts, every, rows=continuations)


def _described(tree: Node, rows: NumberRows) -> dict[str, object]:
    """The meaning of the rows of a result, and the features of its expression."""
    return {
        "right": rows.texts[0],
        "rows": len(rows.rows),
        "kinds": list(rows.kinds),
        "has_digits": rows.has_digits,
        "signs": signs(tree),
        "digits": digits(tree),
        "carries": carries(tree),
    }


probe = Probe("results_probe", 1, _items)


@dataclass(frozen=True)
class _Asked:
    """What two models give the rows of a result: the unpruned one and another one."""

    task: str
    item: str
    grouping: str
    about: Mapping[str, Any]
    base: Sequence[float]
    other: Sequence[float]

    @property
    def change(self) -> float:
        """The change in the log-probability of the right result, in nats."""
        return self.other[0] - self.base[0]

    @property
    def finds_digit(self) -> bool | None:
        """Whether the first digit is the likeliest of ten; None if the tokens of the result do not begin with one."""
        if not self.about["has_digits"]:
            return None
        first, values = int(self.about["right"].lstrip("-")[0]), self.other[-10:]
        return values[first] == max(values)

    @property
    def outranking(self) -> list[tuple[float, str]]:
        """The near misses that are likelier than the right result, the likeliest first."""
        kinds = self.about["kinds"]
        ended = self.other[1 : 2 + len(kinds)]
        misses = zip(ended[1:], kinds, strict=True) if kinds else ()
        return sorted(((logprob, kind) for logprob, kind in misses if logprob > ended[0]), reverse=True)


def findings(view: RunView, models: Sequence[DiagnosedModel]) -> Iterator[Finding]:
    """The findings of the probe by model and task, after one about the tokenizer."""
    source = Source(_NAME, "base", "", CHANGE)
    record = view.probe(probe.name)
    if record is None:
        yield source.not_measurable(not_asked(probe.name))
        return
    asked = {model.label: list(_asked(view, model, record)) for model in models}
    if not any(asked.values()):
        why = "no answer of the unpruned model states a whole result of an operation"
        stored = any(view.answers(model, record) for model in models)
        yield source.not_measurable("the items of the probe are not stored" if stored else why)
        return
    yield _tokenizer(max(asked.values(), key=len))
    for model in models:
        for task in dict.fromkeys(each.task for each in asked[model.label]):
            members = [each for each in asked[model.label] if each.task == task]
            yield from _of_task(model, task, members)


def _asked(view: RunView, model: DiagnosedModel, record: TaskRecord) -> Iterator[_Asked]:
    """The results that both models were asked for, if all values are finite."""
    for base, other in view.pairs(model, record):
        about = (base.content or {}).get("probe")
        before, after = base.response.logprobs, other.response.logprobs
        if about is None or not before or len(before) != len(after) or not all(map(isfinite, (*before, *after))):
            continue
        start = 0
        for result in about["results"]:
            stop = start + result["rows"]
            rows = (before[start:stop], after[start:stop])
            yield _Asked(about["task"], about["item"], about["grouping"], result, *rows)
            start = stop


def _tokenizer(asked: Sequence[_Asked]) -> Finding:
    """How the tokenizer writes numbers, and how many results begin with the token of one digit."""
    shares = intervals.mean([float(bool(each.about["has_digits"])) for each in asked])
    ways = {
        "one digit": "one digit per token",
        "up to three digits": "up to three digits per token",
        "learned pieces": "pieces of several digits that it has learned",
    }
    way = ways.get(asked[0].grouping, "an unknown way")
    words = f"The tokenizer writes numbers as {way}; {interval(shares)} of the results begin with the token of a digit."
    return Source(_NAME, "base", "", "results that begin with a digit's token").measured(shares, words)


def _of_task(model: DiagnosedModel, task: str, asked: Sequence[_Asked]) -> Iterator[Finding]:
    name = model.label.capitalize()
    if model.stage != "base":
        yield from _changes(model.label, task, asked)
    found = [found for each in asked if (found := each.finds_digit) is not None]
    if found:
        share = intervals.mean([float(good) for good in found])
        words = f"{name}: the first digit of right results of {task} is the likeliest of ten in {interval(share)}."
        yield Source(_NAME, model.label, task, FIRST_DIGIT).measured(share, words)
    ranked = [each for each in asked if each.about["kinds"]]
    if not ranked:
        return
    above = intervals.mean([float(len(each.outranking)) for each in ranked])
    rank = Estimate(1 + above.estimate, 1 + above.low, 1 + above.high, above.n)
    lost = dict.fromkeys(each.item for each in ranked if each.outranking)
    words = f"{name}: right results of {task} have rank {amount(rank)} among their near misses, on average."
    yield Source(_NAME, model.label, task, RANK).measured(rank, words, lost)
    likeliest = [each.outranking[0][1] for each in ranked if each.outranking]
    for kind in dict.fromkeys(likeliest):
        share = intervals.mean([float(other == kind) for other in likeliest])
        words = f"{name}: where a near miss outranks the right result of {task}, it is {kind} in {interval(share)}."
        yield Source(_NAME, model.label, task, f"prefers: {kind}").measured(share, words)


def _changes(model: str, task: str, asked: Sequence[_Asked]) -> Iterator[Finding]:
    """The change in log-probability of all results, by digits and carries, and by operator."""
    change = intervals.mean([each.change for each in asked])
    items = dict.fromkeys(each.item for each in asked if each.change < 0)
    begin = f"{model.capitalize()}: the log-probability of right results of {task}"
    words = f"{begin} changes by {amount(change, 'nats')}."
    yield Source(_NAME, model, task, CHANGE).measured(change, words, items)
    for axis in _SPLITS:
        yield from _by_axis(Source(_NAME, model, task, f"{CHANGE} by {axis}", axis), begin, asked)
    for sign in "+-*/":
        yield from _of_part(
            Source(_NAME, model, task, f"{CHANGE}, operator {sign}"),
            f"{begin} with {sign}",
            [each for each in asked if sign in each.about["signs"]],
        )


def _by_axis(source: Source, begin: str, asked: Sequence[_Asked]) -> Iterator[Finding]:
    places = sorted({place for each in asked if isinstance(place := each.about[source.axis], int)})
    for place in places if len(places) > 1 else ():
        about = Source(source.diagnostic, source.model, source.task, source.measure, source.axis, place)
        members = [each for each in asked if each.about[source.axis] == place]
        yield from _of_part(about, f"{begin} at {source.axis} {place}", members)


def _of_part(source: Source, begin: str, asked: Sequence[_Asked]) -> Iterator[Finding]:
    if asked:
        change = intervals.mean([each.change for each in asked])
        yield source.measured(change, f"{begin} changes by {amount(change, 'nats')}.")
