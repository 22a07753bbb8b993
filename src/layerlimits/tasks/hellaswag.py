"""HellaSwag: how a description of an activity continues (Zellers et al., arXiv 1905.07830)."""

from layerlimits.tasks._choice_data import ChoiceBenchmark, check_texts, one_of
from layerlimits.tasks._data import Row
from layerlimits.tasks._harness import harness_task


def _gold(row: Row) -> int:
    check_texts("endings", row["endings"])
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
        # WikiHow items have no second part of the context; the activity label precedes both parts.
        may_be_blank=frozenset({"ctx_a", "ctx_b"}),
    ),
    version=1,
    chance=0.25,
    summary="HellaSwag, how an activity continues, as in lm-evaluation-harness (hellaswag 1.0)",
)
