"""WinoGrande: which option fills the blank (Sakaguchi et al., arXiv 1907.10641).

The harness compares the likelihood of the rest of the sentence after each option.
"""

from layerlimits.tasks._choice_data import ChoiceBenchmark, one_of
from layerlimits.tasks._data import Row
from layerlimits.tasks._harness import harness_task


def _gold(row: Row) -> int:
    if "_" not in row["sentence"]:
        raise ValueError(f"the sentence has no blank '_': {row['sentence']!r}")
    if not row["sentence"].partition("_")[2].strip():
        raise ValueError(f"sentence ends with its blank '_', so there is no text to score: {row['sentence']!r}")
    return one_of("answer", row["answer"], ("1", "2"))


winogrande = harness_task(
    ChoiceBenchmark(
        name="winogrande",
        yaml="winogrande/default.yaml",
        hub="allenai/winogrande",
        config="winogrande_xl",
        columns={"sentence": str, "option1": str, "option2": str, "answer": str},
        gold=_gold,
        question=lambda doc: str(doc["sentence"]),
        options=lambda doc: [doc["option1"], doc["option2"]],
        split="validation",
    ),
    version=1,
    chance=0.5,
    summary="WinoGrande, which option fills the blank, as in lm-evaluation-harness (winogrande 1.0)",
)
