"""OpenBookQA: elementary science facts applied to new situations (Mihaylov et al., arXiv 1809.02789)."""

from layerlimits.tasks._choice_data import ChoiceBenchmark, labelled
from layerlimits.tasks._harness import harness_task

openbookqa = harness_task(
    ChoiceBenchmark(
        name="openbookqa",
        yaml="openbookqa/openbookqa.yaml",
        hub="allenai/openbookqa",
        config="main",
        columns={"question_stem": str, "choices": dict, "answerKey": str},
        gold=lambda row: labelled({**row, "answerKey": row["answerKey"].lstrip()}),
        question=lambda doc: str(doc["question_stem"]),
        options=lambda doc: list(doc["choices"]["text"]),
    ),
    version=1,
    chance=0.25,
    summary="OpenBookQA, elementary science, as in lm-evaluation-harness (openbookqa 1.0)",
)
