"""ARC, easy set: grade-school science questions (Clark et al., arXiv 1803.05457)."""

from layerlimits.tasks._choice_data import ChoiceBenchmark, labelled
from layerlimits.tasks._harness import harness_task

arc_easy = harness_task(
    ChoiceBenchmark(
        name="arc_easy",
        yaml="arc/arc_easy.yaml",
        hub="allenai/ai2_arc",
        config="ARC-Easy",
        columns={"question": str, "choices": dict, "answerKey": str},
        gold=labelled,
        question=lambda doc: str(doc["question"]),
        options=lambda doc: list(doc["choices"]["text"]),
    ),
    version=1,
    chance=0.25,
    summary="ARC, easy science questions, as in lm-evaluation-harness (arc_easy 1.0)",
)
