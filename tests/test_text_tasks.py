"""Benchmarks of text: what their files must hold, which split an item is in, and scores of whole test sets."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layerlimits.api import score
from layerlimits.plugins import find
from layerlimits.tasks._data import split_of
from layerlimits.types import Response, Sample, Task

NAMES = ("gsm8k", "math500", "xsum", "gpt3_arithmetic")
SPLITS = ("train", "select", "calibrate", "evaluate")
Says = Callable[..., Any]
Refused = Callable[..., str]


def whole(name: str, data: Path) -> tuple[Task, list[Sample]]:
    task = find("tasks", name)
    return task, task.samples.whole(data)


def lines(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A data folder with 40 made-up items of gsm8k, and 60 to train on, some of them test items."""
    rows = [
        {"question": f"What is {n} + {n}?", "answer": f"{n} + {n} = {2 * n}\n#### {2 * n:,}"} for n in range(600, 690)
    ]
    lines(tmp_path / "data" / "gsm8k" / "test.jsonl", rows[:40])
    lines(tmp_path / "data" / "gsm8k" / "train.jsonl", rows[30:])
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("name", "count"), [("gsm8k", 1319), ("math500", 500), ("xsum", 500), ("gpt3_arithmetic", 26_000)]
)
def test_gold_answers_as_examples_show_them_are_right_everyone(real_data: Path, name: str, count: int) -> None:
    task, samples = whole(name, real_data)
    verdicts = [task.score(sample, Response(sample.shown, (), "stop")) for sample in samples]
    assert len(verdicts) == count
    assert [verdict for verdict in verdicts if verdict.outcome != "correct" or verdict.value != pytest.approx(1)] == []
    assert {verdict.strict for verdict in verdicts} == ({None} if name == "xsum" else {1.0})


def test_examples_show_the_answer_as_the_prompt_asks_for_it(real_data: Path) -> None:
    _, samples = whole("gsm8k", real_data)
    assert samples[0].shown.split("\n")[0] == "Janet sells 16 - 3 - 4 = 9 duck eggs a day."
    for sample in samples:
        assert "<<" not in sample.shown
        assert re.fullmatch(r"#### -?[\d,.]+", sample.shown.split("\n")[-1])
    _, formulas = whole("math500", real_data)
    assert all(sample.shown == f"The final answer is $\\boxed{{{sample.target}}}$." for sample in formulas)
    for name in ("xsum", "gpt3_arithmetic"):
        assert all(sample.shown == sample.target for sample in whole(name, real_data)[1])


def _wrong_numbers(gold: str) -> list[str]:
    """Off by one, the other sign, a digit less or more, half more, two digits swapped, a seventh."""
    digits = gold.replace(",", "")
    value = int(digits)
    made = [str(value + 1), str(value - 1), str(-value), digits[:-1], f"{digits}0", f"{digits}.5"]
    if abs(value) > 9:
        made.append(digits[:-2] + digits[-1] + digits[-2])
    made += [f"{digits}/7"] if value else []
    return [text for text in made if text.strip("-") and ("." in text or "/" in text or int(text) != value)]


@pytest.mark.parametrize("name", ["gsm8k", "gpt3_arithmetic"])
def test_wrong_numbers_made_from_every_gold_answer_are_wrong(real_data: Path, name: str) -> None:
    task, samples = whole(name, real_data)
    accepted = []
    for sample in samples[:: 1 if name == "gsm8k" else 13]:
        gold = sample.target.rpartition("####")[2].strip()
        for wrong in _wrong_numbers(gold):
            text = f"#### {wrong}" if name == "gsm8k" else wrong
            verdict = task.score(sample, Response(text, (), "stop"))
            accepted += [(gold, wrong)] if verdict.value or verdict.strict else []
    assert accepted == []


def test_wrong_formulas_made_from_every_gold_answer_are_wrong(real_data: Path) -> None:
    task, samples = whole("math500", real_data)
    accepted = []
    for sample in samples:
        gold = sample.target
        made = {re.sub(r"\d(?!.*\d)", lambda match: str((int(match[0]) + 1) % 10), gold, flags=re.DOTALL)}
        if re.fullmatch(r"-?[\d.,\\! ]+", gold):
            made |= {gold[1:] if gold[0] == "-" else f"-{gold}", f"{gold}1", gold[:-1]}
        elif not re.search("text|mbox|=", gold):
            made |= {f"{gold} + 1", f"2({gold})"}
        for wrong in made - {gold, "", "-", "-0"}:
            verdict = task.score(sample, Response(f"\\boxed{{{wrong}}}", (), "stop"))
            accepted += [(gold, wrong)] if verdict.value or verdict.strict else []
    assert accepted == []


@pytest.mark.parametrize("name", NAMES)
def test_splits_are_disjoint_and_never_change(real_data: Path, name: str) -> None:
    task, samples = whole(name, real_data)
    cut = {split: task.samples(split, 10**6, real_data) for split in SPLITS}
    assert all(cut.values())
    ids = [sample.id for split in SPLITS for sample in cut[split]]
    assert len(ids) == len(set(ids))
    assert all(sample.split == split for split in SPLITS for sample in cut[split])
    assert {sample.id for sample in samples} <= set(ids)
    assert len(cut["evaluate"]) > 0.6 * len(samples)
    assert task.samples("select", 20, real_data) == cut["select"][:20]
    if name == "gsm8k":
        assert len(cut["evaluate"]) == 1319


def test_arithmetic_sets_come_in_turn_and_are_named(real_data: Path) -> None:
    task = find("tasks", "gpt3_arithmetic")
    assert len({sample.meta["set"] for sample in task.samples("evaluate", 13, real_data)}) == 13
    others = [sample for split in SPLITS[:3] for sample in task.samples(split, 10**6, real_data)]
    assert {sample.id for sample in others} & {
        s.id for s in find("tasks", "arithmetic").samples("evaluate", 2000, real_data)
    } == set()


def test_the_split_hangs_on_the_question_alone() -> None:
    shares = (("evaluate", 500), ("train", 500))
    assert {split_of(str(number), shares) for number in range(50)} == {"evaluate", "train"}


def test_training_items_that_are_test_items_are_left_out(small: Path) -> None:
    task = find("tasks", "gsm8k")
    cut = [sample.id for split in SPLITS[:3] for sample in task.samples(split, 1000, small)]
    assert len(cut) == 50
    assert not set(cut) & {sample.id for sample in task.samples("evaluate", 1000, small)}


@pytest.mark.parametrize("suffix", ["json", "parquet"])
def test_other_kinds_of_file_hold_the_same_items(small: Path, suffix: str) -> None:
    from datasets import Dataset

    path = small / "gsm8k" / "test.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    expected = find("tasks", "gsm8k").samples.whole(small)
    path.unlink()
    if suffix == "json":
        path.with_suffix(".json").write_text(json.dumps(rows))
    else:
        Dataset.from_list(rows).to_parquet(str(path.with_suffix(".parquet")))
    assert find("tasks", "gsm8k").samples.whole(small) == expected


GOOD = {"question": "What is 1 + 1?", "answer": "#### 2"}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "is empty"),
        (["", " "], "is empty"),
        ([GOOD, "", '{"question": '], "line 3 is not valid JSON"),
        ([GOOD, "[1]"], "line 2 is not a JSON object but a list"),
        ([GOOD, {"question": "?"}], "item 2 has no column answer: it has question"),
        ([GOOD, {"problem": "?", "x": 1}], "item 2 has no column question, answer: it has problem, x"),
        ([GOOD, GOOD | {"answer": 2}], "item 2: answer has type int, expected a string"),
        ([GOOD, GOOD | {"answer": "two"}], "item 2: answer does not end in '#### number': 'two'"),
    ],
)
def test_a_broken_file_is_refused_with_the_place(rows: list[Any], words: str, refused: Refused, tmp_path: Path) -> None:
    lines(tmp_path / "gsm8k" / "test.jsonl", rows)
    answers = lines(tmp_path / "answers.jsonl", [{"index": 0, "response": "2"}])
    assert words in refused("score", "gsm8k", answers, "--data-dir", tmp_path)


def test_a_missing_file_and_an_unreachable_hub(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = lines(tmp_path / "answers.jsonl", [{"index": 0, "response": "2"}])
    assert f"no such folder: {tmp_path / 'gsm8k'}" in refused("score", "gsm8k", answers, "--data-dir", tmp_path)
    (tmp_path / "gsm8k").mkdir()
    assert "has no test.jsonl (nor .json, .parquet, .jsonl.gz, .csv)" in refused(
        "score", "gsm8k", answers, "--data-dir", tmp_path
    )

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the Hub\nand more")

    monkeypatch.setattr("datasets.load_dataset", unreachable)
    monkeypatch.setattr("layerlimits.hub.unreachable", lambda: "")
    said = refused("score", "gsm8k", answers)
    assert "openai/gsm8k cannot be read from the hub: Couldn't reach the Hub\n" in said
    monkeypatch.setattr("layerlimits.hub.unreachable", lambda: "HF_HUB_OFFLINE is set")
    said = refused("score", "gsm8k", answers)
    assert "cannot be read from the hub: HF_HUB_OFFLINE is set, and the local cache does not contain it\n" in said
    assert "set --data-dir to a folder of local files, or unset HF_HUB_OFFLINE" in said


def test_score_counts_the_lines_given(small: Path, tmp_path: Path, says: Says) -> None:
    rows = [
        {"index": 3, "response": "so #### 1,206"},
        {"index": 1, "response": "It is 1202."},
        {"index": 0, "response": ""},
        {"index": 2, "response": "600 + 602", "finish": "length"},
    ]
    answers = lines(tmp_path / "answers.jsonl", rows)
    results = says("score", "gsm8k", answers, "--data-dir", small)
    assert (results["task"], results["score"], results["strict"], results["n"], results["of"]) == (
        "gsm8k",
        0.5,
        0.0,
        4,
        40,
    )
    assert results["verdicts"] == {"correct": 2, "no_answer": 1, "truncated": 1}
    assert [item["index"] for item in results["items"]] == [0, 1, 2, 3]
    assert results["items"][1]["answer"] == "1202"
    assert results == json.loads(json.dumps(score("gsm8k", answers, small).to_json()))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "is empty"),
        ([{"index": 0, "response": ""}, "{"], "line 2 is not valid JSON"),
        ([{"index": 40, "response": ""}], "line 1: index 40 is out of range; the test set has items 0 to 39"),
        ([{"index": -1, "response": ""}], "index -1 is out of range"),
        ([{"index": 0, "response": ""}, {"index": 0, "response": "1"}], "line 2: index 0 is duplicated"),
        ([{"index": "0", "response": ""}], "line 1 has no integer index and string response"),
        ([{"index": True, "response": ""}], "line 1 has no integer index and string response"),
        ([{"index": 0, "response": None}], "line 1 has no integer index and string response"),
        ([[0, ""]], "line 1 is not a JSON object but a list"),
        ([{"index": 0, "response": "", "finish": "eos"}], "line 1: invalid finish 'eos'"),
    ],
)
def test_broken_responses_are_refused(
    rows: list[Any], words: str, small: Path, refused: Refused, tmp_path: Path
) -> None:
    answers = lines(tmp_path / "answers.jsonl", rows)
    assert words in refused("score", "gsm8k", answers, "--data-dir", small)


def test_a_task_without_a_test_file_or_without_responses_is_refused(refused: Refused, tmp_path: Path) -> None:
    assert "word_problems has no test file" in refused("score", "word_problems", tmp_path / "gone.jsonl")
    assert "facts_choice is scored by likelihood" in refused("score", "facts_choice", tmp_path / "gone.jsonl")
    assert "did you mean gsm8k" in refused("score", "gsm8", tmp_path / "gone.jsonl")


def test_missing_responses_are_refused(small: Path, refused: Refused, tmp_path: Path) -> None:
    assert "cannot read" in refused("score", "gsm8k", tmp_path / "gone.jsonl", "--data-dir", small)
