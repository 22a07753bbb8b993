"""`score`: verdicts on answers that something else wrote, by the same code that scores a model here."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from layerlimits import jsonl
from layerlimits.errors import UserError
from layerlimits.paths import given_path
from layerlimits.results.document import ScoreResults
from layerlimits.tasks import choose, judged
from layerlimits.types import FinishReason, Outcome, Response, Sample

_FORM = 'write {"index": 0, "response": "..."} a line, index counting the lines of the data file from 0'
# Of what an item says of itself, what tells apart the parts of a benchmark.
_ABOUT = ("set", "subject", "level", "entry_point")
_FINISHES = ("stop", "length")


def score(
    task: str, responses: str | Path, data_dir: str | Path | None = None, *, unsafe: bool = False
) -> ScoreResults:
    """The score of a file of responses to a task's whole test set, in the order of its lines.

    Only the lines given count: n is their number, and an item without a line is neither asked nor scored. An empty
    response is one that gave no answer.

    Args:
        task: a task with test files of its own.
        responses: JSON lines of {"index", "response"}, and "finish": "length" where the text was cut.
        data_dir: folder of the benchmark's files; the hub if None.
        unsafe: run programs in the responses without a sandbox.
    Raises:
        UserError: a broken line, an index that is unknown or comes twice, an empty file, a task without test files or
            without answers in words, or no sandbox is possible for the programs in the responses.

    Example:
        >>> score("gsm8k", "answers.jsonl", "data").score
    """
    folder = None if data_dir is None else given_path(data_dir, "--data-dir")
    chosen = choose([task])
    if len(chosen) == 1 and chosen[0].kind == "choice":
        raise UserError(f"{task} is asked by likelihood, so no text answers it", "name a benchmark, such as gsm8k")
    if len(chosen) != 1 or not hasattr(chosen[0].samples, "whole"):
        raise UserError(f"{task} has no test file, so no line has an index", "name a benchmark, such as gsm8k")
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
    """The responses by index, ascending."""
    by_index: dict[int, Response] = {}
    for number, row in jsonl.rows(path, fix=_FORM):
        index, response = _line(path, number, row)
        if not 0 <= index < count:
            raise UserError(f"{path}, line {number}: no item has index {index}: they go from 0 to {count - 1}", _FORM)
        if index in by_index:
            raise UserError(f"{path}, line {number}: index {index} comes twice", "keep one response an index")
        by_index[index] = response
    if not by_index:
        raise UserError(f"responses {path} is empty", _FORM)
    return sorted(by_index.items())


def _line(path: Path, number: int, row: jsonl.Row) -> tuple[int, Response]:
    if type(row.get("index")) is not int or not isinstance(row.get("response"), str):
        raise UserError(f"{path}, line {number} is not an index with a response", _FORM)
    finish: FinishReason = row.get("finish", "stop")
    if finish not in _FINISHES:
        raise UserError(
            f"{path}, line {number}: finish is {finish!r}", f"use {' or '.join(_FINISHES)}, or leave it out"
        )
    return row["index"], Response(row["response"], (), finish)
