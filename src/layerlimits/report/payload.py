"""Data that the page loads when it is used: compressed JSON in script elements, with texts stored once."""

import base64
import gzip
import json
from collections.abc import Sequence
from typing import Any

from layerlimits.report.tables import Cell, Column, Table, interval, shown
from layerlimits.results.answer_book import AnswerBook, BookAnswer
from layerlimits.types import Estimate


def packed(content: Any) -> str:
    """A JSON value, compressed by gzip and written in base64, which no text can leave."""
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    # Without a time, equal results give equal pages.
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def rounded(value: float) -> float:
    """A number with six significant digits; a whole one without a decimal point."""
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() else short


def table_data(table: Table) -> dict[str, Any]:
    """A table for the page's script: estimates as [estimate, low, high, n], numbers as [value, text].

    Values in a form of their own have it as text; that of an estimate is followed by its interval.
    """
    return {
        "columns": [[column.title, column.kind] for column in table.columns],
        "rows": [[_cell(column, cell) for column, cell in zip(table.columns, row, strict=True)] for row in table.rows],
    }


def _cell(column: Column, cell: Cell) -> Any:
    if isinstance(cell, Estimate):
        values = [rounded(cell.estimate), rounded(cell.low), rounded(cell.high), cell.n]
        return [*values, shown(column, cell), interval(column, cell)] if column.show else values
    if isinstance(cell, (int, float)):
        return [rounded(cell), shown(column, cell)] if column.show else rounded(cell)
    return cell


def book_data(book: AnswerBook) -> dict[str, Any]:
    """All answers for the page's script; an answer is [model, text, outcome, value, extracted answer, reason].

    Texts, outcomes and reasons are positions in lists, because most models give many equal answers.
    """
    strings: dict[str, int] = {}
    tasks = [
        {
            "name": task.name,
            "kind": task.kind,
            "graded": task.graded,
            "items": [
                [item.item, item.draw, item.prompt, item.target, _answers(item.answers, strings)] for item in task.items
            ],
        }
        for task in book.tasks
        if task.items
    ]
    models = [[model.label, model.stage, len(model.removed), model.parent] for model in book.models]
    return {"models": models, "tasks": tasks, "strings": list(strings)}


def _answers(answers: Sequence[BookAnswer], strings: dict[str, int]) -> list[list[Any]]:
    def place(text: str) -> int:
        return strings.setdefault(text, len(strings))

    return [
        [each.model, place(each.text), place(each.outcome), rounded(each.value), place(each.answer), place(each.why)]
        for each in answers
    ]
