"""ARC, challenge set: science questions that retrieval methods answer incorrectly (Clark et al., arXiv 1803.05457)."""

from layerlimits.tasks._choice_data import ChoiceBenchmark, labelled
from layerlimits.tasks._harness import harness_task

arc_challenge = harness_task(
    ChoiceBenchmark(
        name="arc_challenge",
        yaml="arc/arc_challenge.yaml",
        hub="allenai/ai2_arc",
        config="ARC-Challenge",
        columns={"question": str, "choices": dict, "answerKey": str},
        gold=labelled,
        question=lambda doc: str(doc["question"]),
        options=lambda doc: list(doc["choices"]["text"]),
    ),
    version=1,
    chance=0.25,
    summary="ARC, hard science questions, as in lm-evaluation-harness (arc_challenge 1.0)",
)
