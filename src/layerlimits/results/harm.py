"""Harm done by finetuning, in one sentence."""

from layerlimits.results.rows import PairedTest, Recovery, Regained

# Words for the objectives of finetuning.
OBJECTIVES = {
    "own": "answers of the data set",
    "self": "self-generated answers",
    "distill": "distillation from the unpruned model",
}
# A class whose mean falls by less is unchanged.
_NOTICEABLE = 0.01


def objective_words(entry: Recovery) -> str:
    """The objective of a finetuning in words."""
    return OBJECTIVES.get(entry.objective, entry.objective)


def harm(entry: Recovery) -> str:
    """A sentence if scores are lower after finetuning than before, with the paired tests; empty otherwise."""
    worse = [row for row in entry.tasks if row.change and row.change.estimate < 0]
    proven = [row for row in worse if _significant(row)]
    falling = [row for row in entry.classes if row.change.estimate <= -_NOTICEABLE]
    model = f"the model with {_layers(entry.layers)} removed by {entry.method} ({entry.name}, {objective_words(entry)})"
    if proven:
        worst = min(proven, key=_change)
        others = len(proven) - 1
        more = f"; so it did on {others} more task{'s' * (others > 1)}" if others else ""
        return f"Finetuning made it worse: {model} {_fall(worst)}{more}."
    if falling and worse:
        means = " and ".join(f"{row.change.estimate:+.3f} in {row.kind}" for row in falling)
        return (
            f"Finetuning may have made it worse: the mean score of {model} changed by {means}, and no task by a "
            f"significant difference; at most, it {_fall(min(worse, key=_change))}."
        )
    return ""


def _significant(row: Regained) -> bool:
    return row.pruned_test is not None and row.pruned_test.significant


def _change(row: Regained) -> float:
    return row.change.estimate if row.change else 0.0


def _fall(row: Regained) -> str:
    return (
        f"falls on {row.task} from {row.pruned.estimate:.3f} pruned to {row.recovered.estimate:.3f} "
        f"(unpruned {row.base.estimate:.3f}, n = {row.base.n}; paired test against the pruned model: "
        f"{_tested(row.pruned_test)}; against the unpruned model: {_tested(row.base_test)})"
    )


def _tested(test: PairedTest | None) -> str:
    if test is None:
        return "none"
    return f"{test.lost} items lost, {test.won} won, p = {test.p if test.p_holm is None else test.p_holm:.2g}"


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"
