"""JSON lines that others wrote: every fault is one error with the file, the line and what is wrong. About 10 s."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from choice_rows import row as choice_row
from harness_tasks import write_rows

from layerlimits import jsonl
from layerlimits.errors import UserError
from layerlimits.plugins import find
from layerlimits.tasks._data import read_files
from layerlimits.tasks.arithmetic import arithmetic

GOOD = b'{"a": 1}\n'
DEEP = b"[" * 100_000 + b"]" * 100_000

BROKEN = {
    "cut": (b'{"a": ', "is not valid JSON: Expecting value at column 7"),
    "two": (b'{"a": 1} {"b": 2}', "is not valid JSON: Extra data at column 10"),
    "words": (b"Hello", "is not valid JSON: Expecting value at column 1"),
    "deep": (b'{"a": ' + DEEP + b"}", "is nested deeper than 100 levels"),
    "deep, open": (b'{"a":' * 100_000, "is nested deeper than 100 levels"),
    "just too deep": (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "is nested deeper than 100 levels"),
    "integer": (b'{"a": ' + b"7" * 5000 + b"}", "contains an integer of 5,000 digits"),
    "negative integer": (b'{"a": [-' + b"7" * 6000 + b"]}", "contains an integer of 6,000 digits"),
    "surrogate": (rb'{"a": "\ud800"}', r"contains the lone surrogate \ud800"),
    "surrogate in a key": (rb'{"a": [{"\uDFFF x": 1}]}', r"contains the lone surrogate \udfff"),
    "surrogate in bytes": (b'{"a": "\xed\xa0\x80"}', "is not UTF-8: byte 8 is 0xed"),
    "latin-1": (b'{"a": "caf\xe9"}', "is not UTF-8: byte 11 is 0xe9"),
    "NUL": (b'{"a": "x\0"}', "is not valid JSON: a NUL byte at column 9"),
    "NULs alone": (b"\0" * 4096, "is not valid JSON: a NUL byte at column 1"),
    "list": (b"[1]", "is not a JSON object but a list"),
    "number": (b"5", "is not a JSON object but a number"),
    "null": (b"null", "is not a JSON object but null"),
    "text": (b'"a"', "is not a JSON object but a string"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_line_is_named_with_its_number(name: str, tmp_path: Path) -> None:
    line, words = BROKEN[name]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD + b"\n" + line + b"\n" + GOOD)
    with pytest.raises(UserError) as refused:
        list(jsonl.rows(path))
    assert refused.value.problem.startswith(f"{path}, line 3 {words}")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=repr)
def test_every_end_of_a_line_counts_the_same(end: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + end.join([b'{"a": 1}', b"", b'  {"a": 2}\t', b'{"a": 3}']))
    assert list(jsonl.rows(path)) == [(1, {"a": 1}), (3, {"a": 2}), (4, {"a": 3})]
    path.write_bytes(end.join([b'{"a": 1}', b"", b"{"]))
    with pytest.raises(UserError, match="line 3 is not valid JSON"):
        list(jsonl.rows(path))


def test_compressed_lines_are_read_and_broken_files_are_one_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    packed = gzip.compress(b'{"a": 1}\n\n{"a": 2}\n' + b" " * 100)
    path.write_bytes(packed)
    assert list(jsonl.rows(path)) == [(1, {"a": 1}), (3, {"a": 2})]
    torn = {
        "half": packed[: len(packed) // 2],
        "no end": packed[:-8],
        "flipped": packed[:-8] + bytes([packed[-8] ^ 255]) + packed[-7:],
        "plain": b'{"a": 1}\n',
        "another format": b"PK\x03\x04" + b"0" * 50,
    }
    for name, content in torn.items():
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"cannot read .*rows.jsonl.gz") as refused:
            list(jsonl.rows(path))
        assert "decompress it" in refused.value.fix, name
    path.write_bytes(gzip.compress(b'{"a": 1}\n{'))
    with pytest.raises(UserError, match="line 2 is not valid JSON"):
        list(jsonl.rows(path))


def test_what_expands_beyond_the_limits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "LONGEST_LINE_BYTES", 1000)
    monkeypatch.setattr(jsonl, "MOST_BYTES", 10_000)
    path = tmp_path / "rows.jsonl.gz"
    for content, words in ((b"a" * 100_000, "line 1 is longer than"), (b'{"a": 1}\n' * 5000, "is larger than")):
        path.write_bytes(gzip.compress(content))
        with pytest.raises(UserError, match=words):
            list(jsonl.rows(path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n3\n", "line 3 has 1 cells, expected 2"),
        ("a,b\n1,2,3\n", "line 2 has 3 cells, expected 2"),
        ("a,a\n1,2\n", "line 1 names a column twice"),
        ('a,b\n"1"x,2\n', "line 2 is not valid CSV"),
        ('a,b\n1,"2\n', "line 2 is not valid CSV"),
    ],
)
def test_a_broken_row_of_csv_is_named_with_its_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        jsonl.csv_rows(path)


def test_cells_of_csv_may_have_line_ends_quotes_and_any_length(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'\xef\xbb\xbfa,b\r\n"x\ny","say ""so"", \xe2\x80\xa8"\r\n\r\n' + b"z" * 200_000 + b",\r\n")
    assert jsonl.csv_rows(path) == [{"a": "x\ny", "b": 'say "so", \u2028'}, {"a": "z" * 200_000, "b": ""}]
    path.write_text("")
    assert jsonl.csv_rows(path) == []


def test_what_is_unusual_and_right_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    texts = ["a\u2028b\u2029c", "a\x85b", "\N{GRINNING FACE}", "a\x7f", "", "a\nb\rc\0"]
    path.write_text("".join(json.dumps({"a": text}, ensure_ascii=False) + "\n" for text in texts), newline="")
    assert [row["a"] for _, row in jsonl.rows(path)] == texts
    path.write_bytes(rb'{"a": "\ud83d\ude00"}' + b"\n" + b'{"a": ' + b"[" * 99 + b"]" * 99 + b"}")
    assert [number for number, _ in jsonl.rows(path)] == [1, 2]
    path.write_bytes(b"\xef\xbb\xbf \n")
    assert list(jsonl.rows(path)) == []


def test_a_file_that_is_too_large_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, words in [
        (Path("/dev/zero"), "is not a regular file"),
        (tmp_path, "cannot read .*: it is a folder"),
        (tmp_path / "gone", "cannot read .*: No such file or directory"),
        (tmp_path / ("a" * 300), "cannot read .*: File name too long"),
        (Path("a\0b"), "cannot read .*: embedded null byte"),
    ]:
        with pytest.raises(UserError, match=words):
            list(jsonl.rows(path))
    monkeypatch.setattr(jsonl, "LONGEST_LINE_BYTES", 1 << 20)
    (tmp_path / "long.jsonl").write_bytes(GOOD + b"x" * (2 << 20))
    with pytest.raises(UserError, match=r"line 2 is longer than 1 MiB"):
        list(jsonl.rows(tmp_path / "long.jsonl"))
    monkeypatch.setattr(jsonl, "MOST_BYTES", 1 << 10)
    (tmp_path / "large.jsonl").write_bytes(GOOD * 200)
    with pytest.raises(UserError, match=r"large\.jsonl is larger than"):
        list(jsonl.rows(tmp_path / "large.jsonl"))


@pytest.mark.parametrize("name", [name for name in BROKEN if name not in ("two", "cut")])
def test_a_list_of_rows_has_the_same_faults(name: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b"\xef\xbb\xbf[" + GOOD + b"," + BROKEN[name][0] + b"]")
    with pytest.raises(UserError) as refused:
        jsonl.list_of_rows(path)
    # Bytes and columns are counted from the beginning of the file, and the list is a level of its own.
    words = re.split(r": (?:Exp|byte|a NUL)| deeper| a JSON object but", BROKEN[name][1])[0]
    assert refused.value.problem.startswith(f"{path} {words}")
    path.write_bytes(b'\xef\xbb\xbf[{"a": 1},\r\n {"a": 2}]')
    assert jsonl.list_of_rows(path) == [{"a": 1}, {"a": 2}]


Refused = Callable[..., str]


@pytest.mark.parametrize("name", ["cut", "deep", "integer", "surrogate", "NUL", "list"])
def test_every_reader_of_rows_names_the_line(name: str, refused: Refused, tmp_path: Path, tiny: Path) -> None:
    """The arithmetic set, a benchmark, a choice benchmark, calibration text and responses."""
    line, words = BROKEN[name]
    fact = {"context": "Q: What is 1 + 1 + 1?\nA:", "completion": " 3"}
    files = {
        "arithmetic/single_digit_three_ops": fact,
        "gsm8k/test": {"question": "What is 1 + 1?", "answer": "#### 2"},
        "piqa/validation": choice_row("piqa", 0),
        "text": {"text": "words"},
        "answers": {"index": 0, "response": "2"},
    }
    for file, good in files.items():
        path = tmp_path / f"{file}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(json.dumps(good).encode() + b"\n" + line + b"\n")

    def named(said: str, file: str) -> bool:
        return f"{tmp_path / file}.jsonl, line 2 {words}" in said

    data = ("--data-dir", tmp_path)
    for task, file in (
        ("arithmetic", "arithmetic/single_digit_three_ops"),
        ("gsm8k", "gsm8k/test"),
        ("piqa", "piqa/validation"),
    ):
        assert named(refused("evaluate", tiny, "--tasks", task, *data), file)
    assert named(refused("rank", tiny, "--method", "block_influence", "--calibration", tmp_path / "text.jsonl"), "text")
    (tmp_path / "gsm8k" / "test.jsonl").write_text(json.dumps(files["gsm8k/test"]))
    assert named(refused("score", "gsm8k", tmp_path / "answers.jsonl", *data), "answers")


def test_rows_of_a_benchmark_keep_their_signs(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_bytes('\ufeff{"a": "x\u2028y"}\r{"a": "z"}'.encode())
    assert read_files([tmp_path / "test.jsonl"])[1] == [{"a": "x\u2028y"}, {"a": "z"}]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"context": "Q: 1?\nA:"}, "item 2: no column completion"),
        ({"context": 3, "completion": "1"}, "item 2: context has type int, expected a string"),
        ({"context": "1 + 1", "completion": "2"}, "item 2: context contains no question: '1 [+] 1'"),
    ],
)
def test_the_arithmetic_set_names_the_number_of_an_item(row: dict[str, object], words: str, tmp_path: Path) -> None:
    good = {"context": "Q: What is 1?\nA:", "completion": " 1"}
    path = tmp_path / "arithmetic" / "single_digit_three_ops.jsonl"
    write_rows(path, [good, row])
    with pytest.raises(UserError, match=words):
        arithmetic.samples("evaluate", 10, tmp_path)
    assert len(arithmetic.samples("evaluate", 1, tmp_path)) == 1
    path.write_text("\n")
    with pytest.raises(UserError, match="is empty"):
        arithmetic.samples("evaluate", 10, tmp_path)


BLANK = {
    "piqa option": ("piqa", {"sol1": ""}, "item 3: sol1 is empty"),
    "piqa other option": ("piqa", {"sol2": " \n"}, "item 3: sol2 is empty"),
    "piqa goal": ("piqa", {"goal": "\t"}, "item 3: goal is empty"),
    "arc": ("arc_easy", {"choices": {"text": ["a", " "], "label": ["A", "B"]}}, "item 3: option 2 of choices is empty"),
    "arc, challenge": (
        "arc_challenge",
        {"choices": {"text": ["", "b"], "label": ["A", "B"]}},
        "item 3: option 1 of choices is empty",
    ),
    "openbookqa": (
        "openbookqa",
        {"choices": {"text": ["", "b"], "label": ["A", "B"]}},
        "item 3: option 1 of choices is empty",
    ),
    "openbookqa question": ("openbookqa", {"question_stem": " "}, "item 3: question_stem is empty"),
    "hellaswag": ("hellaswag", {"endings": ["a", "b", "", "d"]}, "item 3: option 3 of endings is empty"),
    "winogrande": ("winogrande", {"option2": ""}, "item 3: option2 is empty"),
    "winogrande end": ("winogrande", {"sentence": "It hit the _"}, "item 3: sentence ends with its blank"),
}


@pytest.mark.parametrize("name", BLANK)
def test_empty_texts_are_named_with_item_and_column(name: str, tmp_path: Path) -> None:
    task, columns, words = BLANK[name]
    asked = find("tasks", task)
    rows = [choice_row(task, number) for number in range(4)]
    path = tmp_path / task / f"{asked.samples.benchmark.split}.jsonl"
    write_rows(path, [*rows[:2], rows[2] | columns, rows[3]])
    with pytest.raises(UserError) as refused:
        asked.samples("evaluate", 10, tmp_path)
    assert refused.value.problem.startswith(f"{path}, {words}")
    assert refused.value.fix == "correct the item or remove it"


def test_texts_that_may_be_empty(tmp_path: Path) -> None:
    for task, columns in (("hellaswag", {"ctx_b": ""}), ("mmlu", {"choices": ["a", "", "c", "d"]})):
        asked = find("tasks", task)
        path = tmp_path / task / f"{asked.samples.benchmark.split}.jsonl"
        write_rows(path, [choice_row(task, number) | columns for number in range(12)])
        assert len(asked.samples("evaluate", 20, tmp_path)) >= 6
