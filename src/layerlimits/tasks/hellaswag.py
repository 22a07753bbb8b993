"""HellaSwag: how a description of an activity goes on (Zellers et al., arXiv 1905.07830)."""

from layerlimits.tasks._choice_data import ChoiceBenchmark, check_type, one_of
from layerlimits.tasks._data import Row
from layerlimits.tasks._harness import harness_task


def _gold(row: Row) -> int:
    for ending in row["endings"]:
        check_type("an ending", ending, str)
    return one_of("label", row["label"], [str(number) for number in range(len(row["endings"]))])


hellaswag = harness_task(
    ChoiceBenchmark(
        name="hellaswag",
        yaml="hellaswag/hellaswag.yaml",
        hub="Rowan/hellaswag",
        config=None,
        columns={"activity_label": str, "ctx_a": str, "ctx_b": str, "endings": list, "label": str},
        gold=_gold,
        question=lambda doc: str(doc["query"]),
        options=lambda doc: list(doc["choices"]),
        split="validation",
    ),
    version=1,
    chance=0.25,
    summary="HellaSwag, how a situation goes on, by lm-evaluation-harness's hellaswag 1.0",
)
