"""`score`: score responses generated elsewhere, with the same code as `evaluate`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from layerlimits import jsonl
from layerlimits.errors import UserError
from layerlimits.paths import DATA_DIR, given_path
from layerlimits.results.document import ScoreResults
from layerlimits.tasks import choose, judged
from layerlimits.types import FinishReason, Outcome, Response, Sample

_FORM = 'write one object {"index": 0, "response": "..."} per line; index is the zero-based item index in the test set'
# Metadata of items that identify the subset of a benchmark.
_ABOUT = ("set", "subject", "level", "entry_point")
_FINISHES = ("stop", "length")


def score(
    task: str, responses: str | Path, data_dir: str | Path | None = None, *, unsafe: bool = False
) -> ScoreResults:
    """Score a file of responses to the full test set of a benchmark.

    Items without a response are not scored: `n` is the number of responses. An empty response counts as no answer.

    Args:
        task: A generation benchmark, such as "gsm8k".
        responses: JSON Lines file of {"index", "response"} objects; index is the zero-based item index in the test set.
            An optional "finish": "length" marks a truncated response.
        data_dir: Folder with benchmark files; downloads from the hub if None.
        unsafe: Run model-written programs without a sandbox, with your permissions.

    Raises:
        UserError: A line is invalid, an index is out of range or duplicated, the file is empty, the task has no test
            file or is scored by likelihood, or no sandbox is available for programs in the responses.

    Example:
        >>> score("gsm8k", "answers.jsonl", "data").score
    """
    folder = None if data_dir is None else given_path(data_dir, DATA_DIR)
    chosen = choose([task])
    if len(chosen) == 1 and not chosen[0].generates:
        raise UserError(
            f"{task} is scored by likelihood, not by generated text", "use a generation benchmark, such as gsm8k"
        )
    if len(chosen) != 1 or not hasattr(chosen[0].samples, "whole"):
        raise UserError(f"{task} has no test file that responses can refer to", "use a benchmark, such as gsm8k")
    samples: list[Sample] = chosen[0].samples.whole(folder)
    read = _read(Path(responses), len(samples))
    verdicts = judged(chosen[0], [(samples[index], response) for index, response in read], unsafe)
    items: list[dict[str, Any]] = []
    for (index, _), verdict in zip(read, verdicts, strict=True):
        about = {key: value for key, value in samples[index].meta.items() if key in _ABOUT}
        items.append({"index": index, "id": samples[index].id, **about, **asdict(verdict)})
    strict = [verdict.strict for verdict in verdicts if verdict.strict is not None]
    outcomes = [verdict.outcome for verdict in verdicts]
    return ScoreResults(
        task=chosen[0].name,
        version=chosen[0].version,
        metric=chosen[0].metric,
        score=sum(verdict.value for verdict in verdicts) / len(verdicts),
        strict=sum(strict) / len(verdicts) if strict else None,
        n=len(verdicts),
        of=len(samples),
        verdicts={outcome: outcomes.count(outcome) for outcome in get_args(Outcome) if outcome in outcomes},
        items=tuple(items),
    )


def _read(path: Path, count: int) -> list[tuple[int, Response]]:
    """Read (index, response) pairs, sorted by index."""
    by_index: dict[int, Response] = {}
    for number, row in jsonl.rows(path, fix=_FORM):
        index, response = _line(path, number, row)
        if not 0 <= index < count:
            raise UserError(
                f"{path}, line {number}: index {index} is out of range; the test set has items 0 to {count - 1}", _FORM
            )
        if index in by_index:
            raise UserError(f"{path}, line {number}: index {index} is duplicated", "keep one response per index")
        by_index[index] = response
    if not by_index:
        raise UserError(f"{path} is empty", _FORM)
    return sorted(by_index.items())


def _line(path: Path, number: int, row: jsonl.Row) -> tuple[int, Response]:
    if type(row.get("index")) is not int or not isinstance(row.get("response"), str):
        raise UserError(f"{path}, line {number} has no integer index and string response", _FORM)
    finish: FinishReason = row.get("finish", "stop")
    if finish not in _FINISHES:
        raise UserError(
            f"{path}, line {number}: invalid finish {finish!r}", f"use {' or '.join(_FINISHES)}, or omit finish"
        )
    return row["index"], Response(row["response"], (), finish)
