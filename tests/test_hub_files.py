"""Benchmark files as a download of the hub's dataset leaves them: every form has the same items. About 20 s."""

import csv
import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from choice_rows import TASKS, choice_folder
from harness_tasks import write_rows

from layerlimits.errors import UserError
from layerlimits.plugins import find
from layerlimits.tasks._benchmark import Benchmark
from layerlimits.tasks._files import Part, files_of, find_files

Row = dict[str, Any]
SPLITS = ("train", "select", "calibrate", "evaluate")
HASH = "-5973903632b82d40"
# The files of each dataset on the hub, as far as its splits are read.
LAYOUTS = {
    "gsm8k": "main/{}-00000-of-00001.parquet",
    "math500": "{}.jsonl",
    "xsum": "data/{}-00000-of-00001.parquet",
    "humanevalplus": f"data/{{}}-00000-of-00001{HASH}.parquet",
    "mbppplus": f"data/{{}}-00000-of-00001{HASH}.parquet",
    "gpt3_arithmetic": "data/{}.jsonl",
    "mmlu": "all/{}-00000-of-00001.parquet",
    "arc_challenge": "ARC-Challenge/{}-00000-of-00001.parquet",
    "arc_easy": "ARC-Easy/{}-00000-of-00001.parquet",
    "hellaswag": "data/{}-00000-of-00001.parquet",
    "winogrande": "winogrande_xl/{}-00000-of-00001.parquet",
    "piqa": "piqa_{}.parquet",
    "openbookqa": "main/{}-00000-of-00001.parquet",
}


def row(name: str, number: int) -> Row:
    """An item of a benchmark."""
    code = f"def add(a, b):\n    return a + b + {number}\n"
    return {
        "gsm8k": {"question": f"What is {number} + 1?", "answer": f"It is\n#### {number + 1}"},
        "math500": {"problem": f"What is ${number} + 1$?", "answer": str(number + 1)},
        "xsum": {"document": f"The river rose {number} metres.", "summary": f"It rose {number} m."},
        "gpt3_arithmetic": {"context": f"\n\nQ: What is {number} plus 1?\n\nA:", "completion": f" {number + 1}"},
        "humanevalplus": {
            "prompt": f'def add(a, b):\n    """Add {number}."""\n',
            "entry_point": "add",
            "canonical_solution": f"    return a + b + {number}\n",
            "test": "def check(candidate):\n    assert candidate(1, 2)\n",
        },
        "mbppplus": {
            "prompt": f"Write a function that adds {number}.",
            "code": code,
            "test_list": [f"assert add(1, 2) == {number + 3}"],
            "test": "assert add(3, 4)",
        },
    }[name]


def flat(data: Path, name: str) -> Path:
    """Write a benchmark as files named by their splits; returns its folder."""
    if name in TASKS:
        return choice_folder(data, name, 60, 60) / name
    items = find("tasks", name).samples
    for index, part in enumerate([*items.test, *([items.train] if items.train else [])]):
        if part.split:
            made = [row(name, number) for number in range(index * 1000, index * 1000 + 60)]
            write_rows(data / items.folder / f"{part.file}.jsonl", made)
    return data / items.folder


def rewritten(source: Path, target: Path) -> Path:
    """The rows of a .jsonl file in the form that the new name has; several shards if it has a "*"."""
    from datasets import Dataset

    rows = [json.loads(line) for line in source.read_text().splitlines()]
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".jsonl":
        shutil.copy(source, target)
    elif target.suffix == ".gz":
        target.write_bytes(gzip.compress(source.read_bytes()))
    elif target.suffix == ".csv":
        # An Excel file: a byte order mark, and lines that end in "\r\n".
        with target.open("w", encoding="utf-8-sig", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            for row in rows:
                cells = {name: cell if isinstance(cell, str) else json.dumps(cell) for name, cell in row.items()}
                writer.writerow(cells)
    elif target.suffix == ".json":
        target.write_text(json.dumps(rows))
    else:
        shards = ["00000-of-00003", "00001-of-00003", "00002-of-00003"] if "*" in target.name else [""]
        for index, shard in enumerate(shards):
            size = -(-len(rows) // len(shards))
            path = str(target).replace("*", shard)
            Dataset.from_list(rows[index * size : (index + 1) * size]).to_parquet(path)
    return target


def copied(source: Path, target: Path, layout: str) -> None:
    """Every file of a folder, in the layout of the hub."""
    for file in source.iterdir():
        rewritten(file, target / layout.format(file.stem))


def samples(name: str, data: Path) -> list[tuple[Any, ...]]:
    """What there is to know of the items of all splits, in order."""
    task = find("tasks", name)
    drawn = [sample for split in SPLITS for sample in task.samples(split, 10**6, data)]
    return [(item.id, item.split, item.prompt, item.target, item.choices, item.shown, item.pairs) for item in drawn]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_copy_of_the_hub_has_the_same_items_wherever_it_is(name: str, tmp_path: Path) -> None:
    task = find("tasks", name)
    items = task.samples if isinstance(task.samples, Benchmark) else task.samples.benchmark
    source = flat(tmp_path / "flat", name)
    expected = samples(name, tmp_path / "flat")
    assert len(expected) > 30
    # A benchmark's own folder, the dataset's id, the name of its repository, and the hub's cache.
    cached = f"datasets--{items.hub.replace('/', '--')}/snapshots/0f3a"
    for place in (source.name, items.hub, items.hub.partition("/")[2], cached):
        data = tmp_path / place.replace("/", "_")
        copied(source, data / place, LAYOUTS[name])
        assert samples(name, data) == expected, place


@pytest.mark.parametrize(
    "layout",
    [
        "{}.json",
        "{}.parquet",
        "{}.jsonl.gz",
        "{}.csv",
        "main/{}.jsonl",
        "main/{}.jsonl.gz",
        "main/{}.csv",
        "data/{}.csv",
        "main/{}.json",
        "main/{}.parquet",
        "main/{}-*.parquet",
        f"main/{{}}-*{HASH}.parquet",
        "main/{}/0000.parquet",
        "data/{}-*.parquet",
        "data/{}.parquet",
        "{}-*.parquet",
        "gsm8k-{}.parquet",
    ],
)
def test_every_form_of_a_file_has_the_same_items(layout: str, tmp_path: Path) -> None:
    source = flat(tmp_path / "flat", "gsm8k")
    copied(source, tmp_path / "data" / "openai" / "gsm8k", layout)
    assert samples("gsm8k", tmp_path / "data") == samples("gsm8k", tmp_path / "flat")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl.gz"])
@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "mmlu"])
def test_every_benchmark_is_read_from_csv_and_gzip(name: str, suffix: str, tmp_path: Path) -> None:
    source = flat(tmp_path / "flat", name)
    copied(source, tmp_path / "data" / source.name, f"{{}}{suffix}")
    assert samples(name, tmp_path / "data") == samples(name, tmp_path / "flat")


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


XSUM = ("xsum", "EdinburghNLP/xsum", Part("test", None, "test"))
GSM8K = ("gsm8k", "openai/gsm8k", Part("test", "main", "test"))


@pytest.mark.parametrize(
    ("names", "benchmark", "shown"),
    [
        (
            ["xsum/a/test-00000-of-00001.parquet", "xsum/b/test.jsonl"],
            XSUM,
            "a/test-00000-of-00001.parquet, b/test.jsonl",
        ),
        (
            ["gsm8k/main/test.parquet", "gsm8k/main/test/0000.parquet"],
            GSM8K,
            "main/test.parquet, main/test/0000.parquet",
        ),
        (
            ["gsm8k/main/test-00000-of-00001-aa.parquet", "gsm8k/main/test-00000-of-00001-bb.parquet"],
            GSM8K,
            "main/test-00000-of-00001-aa.parquet, main/test-00000-of-00001-bb.parquet",
        ),
    ],
)
def test_two_matches_are_listed_and_the_fix_works(
    names: list[str], benchmark: tuple[str, str, Part], shown: str, tmp_path: Path
) -> None:
    touched(tmp_path, *names)
    with pytest.raises(UserError) as refused:
        files_of(tmp_path, *benchmark)
    assert f"has 2 files that could be test: {shown}" in refused.value.problem
    assert f"name the right one test{Path(names[0]).suffix} and put it into" in refused.value.fix
    named = tmp_path / benchmark[0] / f"test{Path(names[0]).suffix}"
    shutil.copy(tmp_path / names[0], named)
    assert files_of(tmp_path, *benchmark) == (named,)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    touched(tmp_path / "xsum" / "data", "test-00000-of-00003.parquet", "test-00002-of-00003.parquet")
    with pytest.raises(UserError, match="has 2 of 3 shards of test: number 00001 is missing"):
        files_of(tmp_path, *XSUM)
    touched(tmp_path / "xsum" / "data", "test-00001-of-00003.parquet")
    assert [file.name[5:10] for file in files_of(tmp_path, *XSUM)] == ["00000", "00001", "00002"]


def test_another_configuration_is_not_taken_for_the_right_one(tmp_path: Path) -> None:
    touched(tmp_path / "gsm8k", "socratic/test-00000-of-00001.parquet", ".cache/main/test.parquet")
    assert find_files(tmp_path, *GSM8K) == ()
    with pytest.raises(UserError, match=r"has no test.jsonl .*, and no main/test-\*\.parquet"):
        files_of(tmp_path, *GSM8K)
    # Both ARC benchmarks are in one repository, so a file outside their folders could be of the other one.
    easy = ("arc_easy", "allenai/ai2_arc", Part("test", "ARC-Easy", "test"))
    touched(tmp_path / "ai2_arc", "test.jsonl", "data/test.jsonl", "ARC-Challenge/test.jsonl")
    assert find_files(tmp_path, *easy) == ()
    touched(tmp_path / "ai2_arc", "ARC-Easy/test.jsonl")
    assert find_files(tmp_path, *easy) == (tmp_path / "ai2_arc" / "ARC-Easy" / "test.jsonl",)
    touched(tmp_path / "arc_easy", "test.jsonl")
    assert find_files(tmp_path, *easy) == (tmp_path / "arc_easy" / "test.jsonl",)


def test_the_main_branch_of_the_cache_is_read_or_else_the_newest_snapshot(tmp_path: Path) -> None:
    cached = tmp_path / "datasets--EdinburghNLP--xsum"
    touched(cached / "snapshots", "old/test.jsonl", "new/test.jsonl")
    os.utime(cached / "snapshots" / "old", (1, 1))
    assert find_files(tmp_path, *XSUM) == (cached / "snapshots" / "new" / "test.jsonl",)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("old\n")
    assert find_files(tmp_path, *XSUM) == (cached / "snapshots" / "old" / "test.jsonl",)


@pytest.mark.parametrize("name", ["math500", "piqa"])
def test_a_changed_shard_is_read_again(name: str, tmp_path: Path) -> None:
    source = flat(tmp_path / "flat", name)
    file = next(file for file in source.iterdir() if file.stem in ("test", "validation"))
    target = rewritten(file, tmp_path / "data" / name / "data" / f"{file.stem}-00000-of-00001.parquet")
    whole = find("tasks", name).samples.whole
    before = [sample.id for sample in whole(tmp_path / "data")]
    write_rows(file, [json.loads(line) for line in file.read_text().splitlines()][:7])
    rewritten(file, target)
    assert [sample.id for sample in whole(tmp_path / "data")] == before[:7]
