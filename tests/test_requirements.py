"""How requirements are written, and what is refused."""

import pytest

from layerlimits.errors import UserError
from layerlimits.results.requirements import (
    Requirement,
    check_targets,
    default_requirements,
    parse_requirement,
    parse_requirements,
)
from layerlimits.study.config import StudyConfig
from layerlimits.types import Kind

TASKS: list[tuple[str, Kind]] = [("gsm8k", "generation"), ("facts@free", "generation"), ("mmlu", "choice")]


@pytest.mark.parametrize(
    ("text", "requirement"),
    [
        ("generation>=0.95@0.01", Requirement("generation", 0.95, 0.01)),
        ("gsm8k>=0.9", Requirement("gsm8k", 0.9, 0.05)),
        (" mean >= 1.1 @ 0.1 ", Requirement("mean", 1.1, 0.1)),
        ("facts@free>=9e-1", Requirement("facts@free", 0.9)),
        ("facts@free>=.9@.2", Requirement("facts@free", 0.9, 0.2)),
    ],
)
def test_a_requirement_is_a_target_a_retention_and_an_error(text: str, requirement: Requirement) -> None:
    assert parse_requirement(text) == requirement
    assert parse_requirement(str(requirement)) == requirement


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not of the form"),
        ("generation", "is not of the form"),
        ("generation>=", "is not of the form"),
        (">=0.9", "is not of the form"),
        ("generation<=0.9", "is not of the form"),
        ("generation>=0.9@", "is not of the form"),
        ("generation>=0.9 0.8", "is not of the form"),
        ("generation>=most", "the retention of the requirement 'generation>=most' is not a number: 'most'"),
        ("generation>=90%", "is not a number: '90%'"),
        ("generation>=nan", "is not a number"),
        ("generation>=inf", "is not a number"),
        ("generation>=0", "is not above 0"),
        ("generation>=-1", "is not above 0"),
        ("generation>=0.9@few", "the error of the requirement 'generation>=0.9@few' is not a number: 'few'"),
        ("generation>=0.9@0", "is not at least 0.001 and below 0.5"),
        ("generation>=0.9@0.5", "is not at least 0.001 and below 0.5"),
        ("generation>=0.9@5", "is not at least 0.001 and below 0.5"),
    ],
)
def test_what_is_malformed_is_refused_with_a_fix_that_works(text: str, problem: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_requirement(text)
    assert problem in refused.value.problem
    assert refused.value.fix == "write it as generation>=0.9, or generation>=0.95@0.01 for another error than 0.05"
    for form in ("generation>=0.9", "generation>=0.95@0.01"):
        assert parse_requirement(form).target == "generation"


def test_targets_are_tasks_and_classes_of_the_run_and_the_mean() -> None:
    known = parse_requirements(["gsm8k>=1", "facts@free>=1", "generation>=1", "choice>=1", "mean>=1"])
    check_targets(known, TASKS)
    with pytest.raises(UserError) as refused:
        check_targets([Requirement("gsm9k", 0.9)], TASKS)
    assert "gsm9k" in refused.value.problem
    assert refused.value.fix == "did you mean gsm8k?"
    with pytest.raises(UserError, match="choice"):
        check_targets([Requirement("choice", 0.9)], TASKS[:2])


def test_by_default_nine_tenths_of_every_class_are_required() -> None:
    assert [str(wanted) for wanted in default_requirements(kind for _, kind in TASKS)] == [
        "choice>=0.9@0.05",
        "generation>=0.9@0.05",
    ]


def test_equal_requirements_count_once() -> None:
    assert parse_requirements(["mean>=0.9", "mean>=0.90@0.05"]) == (Requirement("mean", 0.9),)


def test_a_study_takes_requirements_and_refuses_malformed_ones_with_all_other_mistakes() -> None:
    assert StudyConfig(require=("mean>=0.9",)).require == ("mean>=0.9",)
    with pytest.raises(UserError, match=r"2 invalid settings: limit: .*; require.0: .*is not of the form"):
        StudyConfig(limit=0, require=("mean",))
