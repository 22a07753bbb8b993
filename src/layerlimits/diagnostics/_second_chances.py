"""Second chances of `protocol`: what pruned models have lost is asked again, with one example or with more tokens."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from layerlimits.diagnostics import Answer, DiagnosedModel, Finding, RunView, Source, correct, interval, is_graded
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.statistics import intervals


@dataclass(frozen=True)
class Chance:
    """A way of asking again.

    Args:
        suffix: What the name of the task becomes: "gsm8k" is recorded as "gsm8k:one_example".
        measure: The measure of its finding.
        how: How it is asked, for sentences.
        cut: Whether only answers that were cut off at the limit of tokens are asked again.
    """

    suffix: str
    measure: str
    how: str
    cut: bool

    def name(self, task: str) -> str:
        """The name of the record of a task that is asked again."""
        return f"{task}:{self.suffix}"

    def concerns(self, base: Answer, other: Answer) -> bool:
        """Whether a pruned model's answer is asked again: the unpruned model is right, and it is wrong."""
        return correct(base) and not correct(other) and (other.response.finish == "length" or not self.cut)


ONE_EXAMPLE = Chance("one_example", "right with one example", "with one example before the question", cut=False)
LONGER = Chance("longer", "right with twice the tokens", "with twice the tokens", cut=True)
CHANCES = (ONE_EXAMPLE, LONGER)


def pruned_models(view: RunView) -> list[DiagnosedModel]:
    """The models that are asked again: the pruned ones, without those that a plan shares with another one."""
    return list({model.fingerprint: model for model in view.models if model.stage == "prune"}.values())


def _models_asked(view: RunView) -> list[DiagnosedModel]:
    """The models that may have been asked again: the pruned ones and, on the same items, the finetuned ones."""
    return [*pruned_models(view), *(model for model in view.models if model.stage == "recover")]


def concerned(view: RunView, task: TaskRecord, chance: Chance) -> list[str]:
    """The items that any pruned model is asked again, in the order of the task's items."""
    pairs = [view.pairs(model, task) for model in pruned_models(view)]
    if task["protocol"] != "free" or is_graded(answer for some in pairs for pair in some for answer in pair):
        return []
    items = {base.item for some in pairs for base, other in some if chance.concerns(base, other)}
    return [item for item in task["ids"] if item in items]


def findings(view: RunView, task: TaskRecord) -> Iterator[Finding]:
    """How many of the lost items a model has right when it is asked again, with the unpruned model as a control."""
    for chance in CHANCES:
        record = view.probe(chance.name(task["name"]))
        if record is None:
            continue
        again, control = set(record["ids"]), view.answers(view.base, record)
        for model in _models_asked(view):
            pairs = [pair for pair in view.pairs(model, task) if pair[0].item in again and chance.concerns(*pair)]
            answers = view.answers(model, record)
            items = [base.item for base, _ in pairs if base.item in answers]
            if items:
                yield _finding(model, task["name"], chance, [answers[item] for item in items], control)


def _finding(
    model: DiagnosedModel, task: str, chance: Chance, answers: Sequence[Answer], control: Mapping[str, Answer]
) -> Finding:
    share = intervals.mean([float(correct(answer)) for answer in answers])
    lost = f"items of {task} that {model.label} has lost" + (" and was cut off at" if chance.cut else "")
    words = f"Of the {lost}, it has {interval(share)} right {chance.how}"
    same = [float(correct(control[answer.item])) for answer in answers if answer.item in control]
    tail = f"; the unpruned model has {interval(intervals.mean(same))} of them right then." if same else "."
    return Source("protocol", model.label, task, chance.measure).measured(
        share, words + tail, [answer.item for answer in answers if correct(answer)]
    )
