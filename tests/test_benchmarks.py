"""The one reader of benchmarks: files, the hub and splits, the same for text and for code. About 10 s."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layerlimits.errors import UserError
from layerlimits.plugins import find
from layerlimits.tasks import _benchmark
from layerlimits.tasks._benchmark import Benchmark
from layerlimits.tasks._data import check_columns, distinct, in_turn, key_of, read_files
from layerlimits.types import Sample, Split, content_hash

CODE = "def add(a, b):\n    return a + b\n"
# A good item of each benchmark.
GOOD: dict[str, dict[str, Any]] = {
    "gsm8k": {"question": "What is 1 + 1?", "answer": "1 + 1 = <<1+1=2>>2\n#### 2"},
    "math500": {"problem": "What is $1 + 1$?", "answer": "2"},
    "xsum": {"document": "It rained all day. The river rose.", "summary": "The river rose in the rain."},
    "gpt3_arithmetic": {"context": "\n\nQ: What is 1 plus 1?\n\nA:", "completion": " 2"},
    "humanevalplus": {
        "prompt": "def add(a, b):\n",
        "entry_point": "add",
        "canonical_solution": "    return a + b\n",
        "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    },
    "mbppplus": {
        "prompt": "Write a function that adds.",
        "code": CODE,
        "test_list": ["assert add(1, 2) == 3"],
        "test": "assert add(3, 4) == 7",
    },
}
NAMES = tuple(GOOD)
PROGRAMS = ("humanevalplus", "mbppplus")


def benchmark(name: str) -> Benchmark:
    samples = find("tasks", name).samples
    assert isinstance(samples, Benchmark)
    return samples


def written(folder: Path, name: str, rows: list[Any]) -> Path:
    """A data folder whose files of this benchmark hold these rows; texts stand as they are."""
    items = benchmark(name)
    for part in (*items.test, *([items.train] if items.train else [])):
        path = folder / items.folder / f"{part.file}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_good_item_is_read(name: str, tmp_path: Path) -> None:
    samples = benchmark(name).whole(written(tmp_path, name, [GOOD[name], "", " "]))
    assert len(samples) == len(benchmark(name).test)
    assert samples[0].shown


# What must be said of a file that holds, after a good item, this one instead.
BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("gsm8k", {"answer": "#### two"}, "item 2: answer does not end in '#### number': '#### two'"),
    ("gsm8k", {"question": None}, "item 2: question has type NoneType, expected a string"),
    ("math500", {"answer": "\\frac{1}{2"}, "item 2: answer is not a formula: '\\\\frac{1}{2'"),
    ("xsum", {"summary": " "}, "item 2: summary is empty"),
    ("gpt3_arithmetic", {"completion": " two"}, "item 2: completion is not a number: ' two'"),
    ("gpt3_arithmetic", {"context": "1 + 1"}, "item 2: context contains no question: '1 + 1'"),
    ("humanevalplus", {"canonical_solution": "    return (a"}, "is not valid Python: '(' was never closed"),
    ("humanevalplus", {"entry_point": "sub"}, "item 2: the reference solution does not define the function sub"),
    ("humanevalplus", {"test": 3}, "item 2: test has type int, expected a string"),
    ("mbppplus", {"code": "def add(a, b:"}, "item 2: 'def add(a, b:' is not valid Python"),
    ("mbppplus", {"test_list": "assert add(1, 2) == 3"}, "item 2: test_list is not a list of strings"),
    (
        "mbppplus",
        {"test_list": ["assert 3"]},
        "item 2: test_list calls none of the functions in the reference solution: add",
    ),
    ("mbppplus", {"test_list": ["assert ("]}, "item 2: 'assert (' is not valid Python"),
    ("mbppplus", {"test_imports": "import re"}, "item 2: test_imports is not a list of strings"),
    ("mbppplus", {"entry_point": 3}, "item 2: the reference solution does not define the function 3"),
]


@pytest.mark.parametrize(("name", "change", "words"), BROKEN)
def test_a_broken_item_is_refused_with_its_number(
    name: str, change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as refused:
        benchmark(name).whole(written(tmp_path, name, [GOOD[name], GOOD[name] | change]))
    assert words in refused.value.problem
    assert str(tmp_path) in refused.value.problem
    assert refused.value.fix.startswith("correct the item")


@pytest.mark.parametrize("name", NAMES)
def test_broken_files_are_refused(name: str, tmp_path: Path) -> None:
    items, good = benchmark(name), GOOD[name]
    with pytest.raises(UserError, match=f"no such folder: {tmp_path / items.folder}") as refused:
        items("evaluate", 5, tmp_path)
    assert f"datasets--{items.hub.replace('/', '--')}" in refused.value.problem
    assert f"hf download --repo-type dataset {items.hub}" in refused.value.fix
    (tmp_path / items.folder).mkdir()
    with pytest.raises(UserError, match=rf"{items.folder} has no \w+\.jsonl \(nor \.json, \.parquet, ") as refused:
        items("evaluate", 5, tmp_path)
    assert "--data-dir" in refused.value.fix
    with pytest.raises(UserError, match=r"\.jsonl is empty"):
        items("evaluate", 5, written(tmp_path, name, ["", " "]))
    with pytest.raises(UserError, match="line 3 is not valid JSON"):
        items("evaluate", 5, written(tmp_path, name, [good, good, '{"prompt": ']))
    for column in items.columns:
        rest = {key: value for key, value in good.items() if key != column}
        with pytest.raises(UserError, match=rf"item 2 has no column {column}: it has {next(iter(rest))}") as refused:
            items("evaluate", 5, written(tmp_path, name, [good, rest]))
        assert all(column in refused.value.fix for column in items.columns)


OFFLINE = """
import sys
from layerlimits.errors import UserError
from layerlimits.plugins import find
for name in sys.argv[1:]:
    try:
        find("tasks", name).samples("evaluate", 1, None)
    except UserError as error:
        print(name, str(error).replace(chr(10), " "))
"""


def test_offline_every_benchmark_names_its_data_set_and_the_way_out(tmp_path: Path) -> None:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", OFFLINE, *NAMES], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    said = ran.stdout.splitlines()
    assert [line.split()[0] for line in said] == list(NAMES)
    for line, name in zip(said, NAMES, strict=True):
        assert f"dataset {benchmark(name).hub} cannot be read from the hub: " in line
        assert "--data-dir" in line
    assert "Traceback" not in ran.stderr


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, real_data: Path) -> Callable[[str], list[tuple[object, ...]]]:
    """A hub that serves the files of a benchmark of programs, and what it was asked."""

    def serve(name: str) -> list[tuple[object, ...]]:
        asked: list[tuple[object, ...]] = []

        def load_dataset(*wanted: object, split: str) -> list[dict[str, Any]]:
            asked.append((*wanted, split))
            _, rows = read_files([real_data / name / "test.jsonl"])
            # The hub's MBPP+ does not name the function.
            return [{key: row[key] for key in row if key != "entry_point" or name == "humanevalplus"} for row in rows]

        monkeypatch.setattr("datasets.load_dataset", load_dataset)
        monkeypatch.setattr("layerlimits.hub.unreachable", lambda: "")
        _benchmark._made.cache_clear()
        return asked

    yield serve
    _benchmark._made.cache_clear()


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_hub_holds_the_same_items_and_is_asked_once(
    name: str, real_data: Path, hub: Callable[[str], list[tuple[object, ...]]]
) -> None:
    asked = hub(name)
    assert benchmark(name).whole() == benchmark(name).whole(real_data)
    assert benchmark(name)("select", 10**6) == benchmark(name)("select", 10**6, real_data)
    assert asked == [(f"evalplus/{name}", None, "test")]


# Of each split the number of items and a hash of their ids in order, as they were when the splits were first cut.
SPLITS: dict[str, dict[Split, tuple[int, str]]] = {
    "gsm8k": {
        "train": (6519, "2ce01f56dce8411f"),
        "select": (592, "399abb6a75888914"),
        "calibrate": (362, "28ffe6bea004ac17"),
        "evaluate": (1319, "30b4bbb1a2e66d09"),
    },
    "math500": {
        "train": (77, "2ab475695abde9e3"),
        "select": (54, "e5c87e509bb668d8"),
        "calibrate": (37, "15cd56a7565f128e"),
        "evaluate": (332, "092d799fb963100e"),
    },
    "xsum": {
        "train": (76, "220d13ffce3a392f"),
        "select": (37, "18201a7e8909f039"),
        "calibrate": (20, "afdef0d8c1bc9de3"),
        "evaluate": (367, "f92be448de245e24"),
    },
    "gpt3_arithmetic": {
        "train": (3612, "cf51b5841f84a03a"),
        "select": (2422, "361a268392f09339"),
        "calibrate": (1208, "030af46338cf7472"),
        "evaluate": (18749, "d5a0115e4326524d"),
    },
    "humanevalplus": {
        "select": (31, "d0b459efcfb882d5"),
        "calibrate": (16, "529b53c102d706d5"),
        "evaluate": (117, "eee402096aa8609c"),
    },
    "mbppplus": {
        "select": (78, "7dd1dd5afe51ed82"),
        "calibrate": (44, "374d1ccc050763d1"),
        "evaluate": (285, "f9f4cfb27c46c39e"),
    },
}


@pytest.mark.parametrize("name", NAMES)
def test_no_item_ever_moves_to_another_split(name: str, real_data: Path) -> None:
    splits = {split: benchmark(name)(split, 10**6, real_data) for split in SPLITS[name]}
    assert {s: (len(made), content_hash([sample.id for sample in made])) for s, made in splits.items()} == SPLITS[name]
    ids = [sample.id for made in splits.values() for sample in made]
    assert len(ids) == len(set(ids))
    assert all(sample.split == split for split, made in splits.items() for sample in made)
    assert benchmark(name)("evaluate", 5, real_data) == splits["evaluate"][:5]


@pytest.mark.parametrize(("name", "count"), [("humanevalplus", 164), ("mbppplus", 407)])
def test_programs_evaluate_on_their_own_split_and_the_whole_is_there_to_compare(
    name: str, count: int, real_data: Path
) -> None:
    whole = benchmark(name).whole(real_data)
    cut = [sample for split in SPLITS[name] for sample in benchmark(name)(split, 10**6, real_data)]
    assert len(whole) == len(cut) == count
    assert {sample.id for sample in whole} == {sample.id for sample in cut}
    _, rows = read_files([real_data / name / "test.jsonl"])
    assert all(row["prompt"].strip() in sample.prompt for row, sample in zip(rows, whole, strict=True))


@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_is_trained_on_a_test_set(name: str, tmp_path: Path) -> None:
    assert benchmark(name)("train", 5, written(tmp_path, name, [GOOD[name]])) == []


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    items = benchmark("math500")
    assert [s.target for s in items.whole(written(tmp_path, "math500", [GOOD["math500"]]))] == ["2"]
    assert [s.target for s in items.whole(written(tmp_path, "math500", [GOOD["math500"] | {"answer": "33"}]))] == ["33"]


def test_rows_and_their_file_are_told(tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text('[{"a": "1"}]')
    assert read_files([tmp_path / "dev.json"]) == (str(tmp_path / "dev.json"), [{"a": "1"}])
    (tmp_path / "more.jsonl").write_text('{"a": "2"}')
    where, rows = read_files([tmp_path / "dev.json", tmp_path / "more.jsonl"])
    assert (where, rows) == (f"{tmp_path / 'dev.json'} and 1 more", [{"a": "1"}, {"a": "2"}])
    (tmp_path / "bad.parquet").write_text("no parquet")
    with pytest.raises(UserError, match=r"bad\.parquet cannot be read"):
        read_files([tmp_path / "bad.parquet"])
    (tmp_path / "list.json").write_text('{"a": 1}')
    with pytest.raises(UserError, match="is not a list of JSON objects"):
        read_files([tmp_path / "list.json"])


def test_columns_need_not_be_texts() -> None:
    rows = [{"a": "x", "b": [1]}]
    check_columns("here", rows, ("a", "b"), texts=("a",))
    with pytest.raises(UserError, match="here, item 1: b has type list, expected a string"):
        check_columns("here", rows, ("a", "b"))


def test_files_come_in_turn_and_near_copies_have_one_key() -> None:
    a, b, c, d = (Sample(text, "1", "evaluate", meta={"set": text}) for text in "abcd")
    assert in_turn([[a, b, c], [d], []]) == [a, d, b, c]
    assert in_turn([]) == []
    again = Sample("a", "2", "evaluate")
    assert distinct([a, b, again, c]) == [b, a, c]
    assert key_of(" What  is\nIT? ") == key_of("what is it?")
