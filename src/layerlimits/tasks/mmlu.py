"""MMLU: exam questions on 57 subjects (Hendrycks et al., arXiv 2009.03300)."""

from layerlimits.tasks._choice_data import ChoiceBenchmark, check_type, one_of
from layerlimits.tasks._data import Row
from layerlimits.tasks._harness import harness_task


def _gold(row: Row) -> int:
    # The harness's prompt lists four options.
    if len(row["choices"]) != 4:
        raise ValueError(f"it has {len(row['choices'])} choices, expected 4")
    for choice in row["choices"]:
        check_type("a choice", choice, str)
    return one_of("answer", row["answer"], (0, 1, 2, 3))


mmlu = harness_task(
    ChoiceBenchmark(
        name="mmlu",
        yaml="mmlu/default/mmlu_{}.yaml",
        hub="cais/mmlu",
        # All subjects in one configuration; the hub also has one per subject.
        config="all",
        columns={"question": str, "subject": str, "choices": list, "answer": int},
        gold=_gold,
        question=lambda doc: str(doc["question"]),
        options=lambda doc: list(doc["choices"]),
        examples="dev",
        train="validation",
        part="subject",
        # The likelihoods of letters are compared, so an option's own text may be empty.
        may_be_blank=frozenset({"question"}),
    ),
    version=1,
    chance=0.25,
    summary="MMLU, exam questions on 57 subjects, as in lm-evaluation-harness (mmlu 2)",
)
