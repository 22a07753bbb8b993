"""Prompts of instruction datasets, from files and the hub."""

import json
from pathlib import Path
from typing import Any

import pytest
from harness_tasks import write_rows

from layerlimits import hub
from layerlimits.errors import UserError
from layerlimits.recovery.instructions import instruction_prompts

ALPACA = [
    {"instruction": "Name a colour.", "input": "", "output": "Red."},
    {"instruction": " Translate. ", "input": "la mer\n", "output": "the sea"},
    {"instruction": " ", "input": "", "output": "nothing"},
    {"instruction": "Name a colour.", "input": "", "output": "Blue."},
    {"instruction": "Name a river.", "input": None},
]
EXPECTED = [("Name a colour.", "Red."), ("Translate.\n\nla mer", "the sea"), ("Name a river.", "")]
TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Name a sea."},
    {"role": "assistant", "content": "The North Sea."},
    {"role": "user", "content": "Another."},
]
# One row of OpenThoughts and of Dolci each has this form.
OPEN_THOUGHTS = [{"from": "human", "value": "Find y."}, {"from": "gpt", "value": "<think>hm</think> y = 3"}]
DOLCI = [
    {"role": "user", "content": "Write a poem.", "function_calls": None},
    {"role": "assistant", "content": "Roses.", "function_calls": None},
]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_distinct_prompts_come_in_order(limit: int, tmp_path: Path) -> None:
    drawn = instruction_prompts(write_rows(tmp_path / "alpaca.jsonl", ALPACA), limit)
    assert [(sample.prompt, sample.target) for sample in drawn] == EXPECTED[:limit]
    assert all(sample.split == "train" and sample.question == sample.prompt for sample in drawn)


@pytest.mark.parametrize(
    ("row", "prompt", "answer"),
    [
        ({"prompt": "Name a sea. ", "response": "One."}, "Name a sea.", "One."),
        ({"prompt": "Name a sea.", "completion": "Two."}, "Name a sea.", "Two."),
        ({"prompt": TURNS[:2]}, "Name a sea.", ""),
        ({"messages": TURNS, "id": 3}, "Name a sea.", "The North Sea."),
        ({"prompt": TURNS[:2], "response": "Three."}, "Name a sea.", "Three."),
        ({"question": "2 + 3?", "answer": "It is 2+3=<<2+3=5>>5.\n#### 5"}, "2 + 3?", "It is 2+3=5.\n#### 5"),
        ({"problem": "Find x.", "deepseek_solution": "x = 2", "domain": "math"}, "Find x.", "x = 2"),
        ({"system": "Think.", "conversations": OPEN_THOUGHTS}, "Find y.", "<think>hm</think> y = 3"),
        ({"id": "a", "messages": DOLCI, "source_dataset": "b"}, "Write a poem.", "Roses."),
    ],
)
def test_every_form_of_a_prompt(row: dict[str, Any], prompt: str, answer: str, tmp_path: Path) -> None:
    (sample,) = instruction_prompts(str(write_rows(tmp_path / "rows.jsonl", [row])), 5)
    assert (sample.prompt, sample.target) == (prompt, answer)


@pytest.mark.parametrize(
    "row",
    [{"text": "x"}, {"instruction": 3}, {"instruction": "x", "input": 3}, {"messages": [{"from": "a"}]}, {"prompt": 1}],
)
def test_other_columns_are_refused_with_their_line(row: dict[str, Any], tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", [ALPACA[0], "", row])
    with pytest.raises(UserError) as refused:
        instruction_prompts(file, 5)
    assert f"{file}, line 3 is not an instruction: it has the columns {', '.join(row)}" in refused.value.problem
    assert "instruction" in refused.value.fix
    assert len(instruction_prompts(file, 1)) == 1


def test_what_has_no_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot train on 0 prompts"):
        instruction_prompts(tmp_path / "gone.jsonl", 0)
    with pytest.raises(UserError, match=r"cannot read .*gone\.jsonl"):
        instruction_prompts(tmp_path / "gone.jsonl", 5)
    with pytest.raises(UserError, match="has no prompt that is not blank"):
        instruction_prompts(write_rows(tmp_path / "blank.jsonl", [ALPACA[2]]), 5)


def test_a_data_set_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*source: object, split: str, streaming: bool) -> list[dict[str, Any]]:
        asked.append((*source, split, streaming))
        return rows

    asked: list[tuple[object, ...]] = []
    rows: list[dict[str, Any]] = list(ALPACA)
    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    monkeypatch.setattr(hub, "unreachable", lambda: "")
    drawn = instruction_prompts("tatsu-lab/alpaca", 2)
    assert [(sample.prompt, sample.target) for sample in drawn] == EXPECTED[:2]
    assert asked == [("tatsu-lab/alpaca", None, "train", True)]
    rows[:] = [{"text": "x"}]
    with pytest.raises(UserError, match="dataset tatsu-lab/alpaca is not an instruction: it has the columns text"):
        instruction_prompts("tatsu-lab/alpaca", 2)
    monkeypatch.undo()
    monkeypatch.setattr(hub, "unreachable", lambda: "there is no network")
    with pytest.raises(
        UserError, match="dataset no-such/data cannot be read from the hub: there is no network"
    ) as said:
        instruction_prompts("no-such/data", 2)
    assert "use a local .jsonl file" in said.value.fix


def test_a_folder_of_data_files(tmp_path: Path) -> None:
    write_rows(tmp_path / "alpaca" / "train.jsonl", ALPACA)
    drawn = instruction_prompts(tmp_path / "alpaca", 100)
    assert [(sample.prompt, sample.target) for sample in drawn] == EXPECTED


def test_the_real_instructions(real_data: Path) -> None:
    file = real_data / "alpaca_seed" / "train.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    drawn = instruction_prompts(file, 1000)
    assert (
        len(drawn) == len({sample.id for sample in drawn}) == len({(row["instruction"], row["input"]) for row in rows})
    )
    assert [sample.target for sample in drawn[:5]] == [row["output"].strip() for row in rows[:5]]
    assert drawn[:20] == instruction_prompts(file, 20)
