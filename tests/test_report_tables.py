"""Tables of the report as CSV, Markdown and LaTeX, the data that the page loads, and the files for papers."""

import base64
import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile_answers import HOSTILE, hostile_book
from page_studies import around, made_up
from stored_runs import finished_study

from layerlimits import markdown_tables, open_run, write_figures
from layerlimits.report.export import all_figures
from layerlimits.report.html import render
from layerlimits.report.payload import book_data, packed, table_data
from layerlimits.report.study_tables import tables
from layerlimits.report.tables import (
    Column,
    Table,
    estimates,
    numbers,
    texts,
    to_csv,
    to_latex,
    to_markdown,
    without_empty,
)

TABLE = Table(
    "t",
    "A & B_c",
    (*texts("name"), *estimates("score"), *numbers("n"), Column("share", "number", lambda value: f"{value:.0%}")),
    [["a|b_c", around(0.5), 48, 0.25], ["50% \\ #1\n<x>", None, None, None]],
)


def unpacked(page: str, name: str) -> Any:
    """The data of a script element of a page."""
    match = re.search(f'id="{name}">([A-Za-z0-9+/=]*)</script>', page)
    assert match
    return json.loads(gzip.decompress(base64.b64decode(match[1])))


def test_csv_has_all_digits_and_four_columns_per_estimate() -> None:
    rows = list(csv.reader(io.StringIO(to_csv(TABLE))))
    assert rows[0] == ["name", "score", "score low", "score high", "score n", "n", "share"]
    assert rows[1] == ["a|b_c", "0.5", "0.38", "0.62", "48", "48", "0.25"]
    assert rows[2] == ["50% \\ #1\n<x>", *[""] * 6]


def test_markdown_has_as_many_cells_in_each_row() -> None:
    lines = to_markdown(TABLE).strip().splitlines()
    assert lines[0] == "**A & B\\_c**"
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines[2:]} == {5}
    assert lines[4] == "| a\\|b\\_c | 0.500 (0.38–0.62) | 48 | 25% |"
    assert "&lt;x>" in lines[5]


def test_latex_escapes_its_characters() -> None:
    text = to_latex(TABLE)
    assert r"\caption{A \& B\_c}" in text
    assert r"a|b\_c & 0.500 (0.38--0.62) & 48 & 25\% \\" in text
    assert r"50\% \textbackslash{} \#1 <x> & -- & -- & -- \\" in text
    assert r"\begin{tabular}{lrrr}" in text


def test_empty_columns_are_omitted() -> None:
    table = without_empty(Table("t", "t", texts("a", "b", "c"), [["x", None, ""], ["y", "", "z"]]))
    assert [column.title for column in table.columns] == ["a", "c"]
    assert table.rows == [["x", ""], ["y", "z"]]


def test_the_page_carries_every_row_of_every_table() -> None:
    results = made_up(12, 4, 4)
    data = unpacked(render(results), "tables")
    made = tables(results)
    assert data == json.loads(json.dumps({name: table_data(table) for name, table in made.items()}))
    assert {name: len(table["rows"]) for name, table in data.items()} == {
        name: len(table.rows) for name, table in made.items()
    }
    assert data["sweep"]["rows"][0][2] == [
        pytest.approx(value, rel=1e-5) for value in (0.8 * kept(results), *bounds(results))
    ]


def kept(results: Any) -> float:
    return float(results.sweep[0].retention.estimate)


def bounds(results: Any) -> tuple[float, float, int]:
    score = results.sweep[0].score
    return score.low, score.high, score.n


def test_answers_of_any_text_come_back_as_they_were() -> None:
    book = hostile_book()
    page = render(made_up(12, 1, 3), book)
    for text in HOSTILE:
        assert text not in page
    data = unpacked(page, "book")
    first = data["tasks"][0]["items"]
    assert [data["strings"][item[4][1][1]] for item in first] == list(HOSTILE)
    assert [item[3] for item in first] == list(HOSTILE)
    # Equal texts are stored once.
    assert {item[4][0][1] for item in first} == {first[0][4][0][1]}
    assert data["models"][2] == ["reverse, 2 removed, finetuned (lora)", "recover", 2, "reverse, 2 removed"]
    assert packed(book_data(book)) == packed(book_data(book))


def test_figures_are_written_as_files(tmp_path: Path, says: Callable[..., Any]) -> None:
    finished_study(tmp_path / "run")
    out = tmp_path / "figures"
    files = write_figures(tmp_path / "run", out)
    results = open_run(tmp_path / "run")
    drawn = [figure.name for figure in all_figures(results)]
    expected = {f"{name}.{ending}" for name in drawn for ending in ("svg", "pdf", "png")}
    expected |= {f"{name}.{ending}" for name in tables(results) for ending in ("csv", "md", "tex")}
    assert {file.name for file in files} == expected == {path.name for path in out.iterdir()}
    for name in drawn:
        assert (out / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (out / f"{name}.svg").read_text().startswith("<svg")


def test_figures_need_something_to_do_and_an_empty_folder(tmp_path: Path, refused: Callable[..., str]) -> None:
    finished_study(tmp_path / "run")
    assert "there is nothing to do" in refused("figures", tmp_path / "run")
    assert "is not empty" in refused("figures", tmp_path / "run", "--out", tmp_path / "run")
    assert "is not a run folder" in refused("figures", tmp_path / "gone", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_markdown_of_a_run_has_its_answer_and_its_main_tables(tmp_path: Path) -> None:
    finished_study(tmp_path)
    text = markdown_tables(tmp_path)
    assert open_run(tmp_path).answer in text
    assert "| facts@likelihood | choice |" in text
    assert "**Speed and memory**" in text
