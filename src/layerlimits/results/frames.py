"""Base class of results documents: JSON values, a data frame, and the display in notebooks."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from layerlimits.results.rows import plain
from layerlimits.types import Estimate

if TYPE_CHECKING:
    from pandas import DataFrame

# Maximum number of rows shown in a notebook.
_SHOWN_ROWS = 100


class Document:
    """Base class of the results of public functions: dataclasses with a JSON form, a table, and a notebook display."""

    def to_json(self) -> dict[str, Any]:
        """The results as plain JSON values, as printed by `--json`."""
        content: dict[str, Any] = plain(self)
        return content

    def records(self) -> list[dict[str, Any]]:
        """The rows of `to_frame`, with the same keys in each."""
        return [dict(vars(self))]

    def to_frame(self) -> "DataFrame":
        """The results as a pandas data frame. Missing values are NaN.

        Example:
            >>> sweep("reference", "arithmetic").to_frame().groupby("layer").retention.mean()
        """
        from pandas import DataFrame

        return DataFrame.from_records(self.records())

    def _repr_html_(self) -> str:
        """HTML for notebooks: a heading and a table. Text from models and users is escaped."""
        table = self.to_frame().to_html(
            index=False, escape=True, border=0, na_rep="", float_format="{:.3f}".format, max_rows=_SHOWN_ROWS
        )
        return f"{heading(self.title)}{table}{paragraphs(self.remarks)}"

    @property
    def title(self) -> str:
        """The heading in a notebook."""
        return type(self).__name__

    @property
    def remarks(self) -> Sequence[str]:
        """Sentences below the table in a notebook."""
        return ()


def heading(text: str) -> str:
    """A heading in HTML."""
    return f"<h4>{escape(text)}</h4>"


def paragraphs(texts: Sequence[str]) -> str:
    """Paragraphs in HTML."""
    return "".join(f"<p>{escape(text)}</p>" for text in texts)


def score_columns(score: Estimate) -> dict[str, Any]:
    """The columns for a score: estimate, 95% interval and number of items."""
    return {"score": score.estimate, "low": score.low, "high": score.high, "n": score.n}


def value(estimate: Estimate | None) -> float | None:
    """The estimate without its interval."""
    return None if estimate is None else estimate.estimate


def rows_of(groups: Mapping[str, Sequence[Any]], key: str) -> list[dict[str, Any]]:
    """The fields of every row, with the name of its group as column `key`."""
    return [{key: name, **vars(row)} for name, rows in groups.items() for row in rows]
