"""PIQA: which of two solutions achieves a practical goal (Bisk et al., arXiv 1911.11641)."""

from layerlimits.tasks._choice_data import ChoiceBenchmark, one_of
from layerlimits.tasks._harness import harness_task

piqa = harness_task(
    ChoiceBenchmark(
        name="piqa",
        yaml="piqa/piqa.yaml",
        hub="baber/piqa",
        config=None,
        columns={"goal": str, "sol1": str, "sol2": str, "label": int},
        gold=lambda row: one_of("label", row["label"], (0, 1)),
        question=lambda doc: str(doc["goal"]),
        options=lambda doc: [doc["sol1"], doc["sol2"]],
        split="validation",
    ),
    version=1,
    chance=0.5,
    summary="PIQA, physical common sense, as in lm-evaluation-harness (piqa 1.0)",
)
