"""Calibration text for models other than the bundled one: WikiText-2, or items that are not evaluated."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from choice_rows import choice_folder
from harness_tasks import write_rows
from recovery_models import listed

from layerlimits import hub
from layerlimits.api import RankOptions, rank
from layerlimits.errors import UserError
from layerlimits.evaluation.calibration import WIKITEXT, calibration, default_calibration
from layerlimits.evaluation.leaks import check_leaks, items_to_compare
from layerlimits.reference.tokenizer import build
from layerlimits.tasks import choose
from layerlimits.types import Sample

PARAGRAPH = "The river rose for several days before it reached the old town, where people had moved to the hills. "
TOKENIZER = build()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "unreachable", lambda: "there is no network")


def test_wikitext_is_read_where_the_hub_can_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*source: object, split: str, streaming: bool) -> list[dict[str, str]]:
        asked.append((*source, split, streaming))
        return [{"text": ""}, {"text": " = Rivers = \n"}, *({"text": f" {PARAGRAPH}{number}\n"} for number in range(9))]

    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    monkeypatch.setattr(hub, "unreachable", lambda: "")
    text = default_calibration(TOKENIZER, 3, choose(["facts"]), None, 16)
    assert asked == [("Salesforce/wikitext", "wikitext-2-raw-v1", "train", True)]
    assert (text.source, text.written) == (WIKITEXT, tuple(f"{PARAGRAPH}{number}" for number in range(3)))
    assert [(len(part.ids), part.start) for part in text.texts] == [(16, 1)] * 3


def test_a_data_folder_gives_items_that_are_not_evaluated_in_turn(tmp_path: Path) -> None:
    rows = [{"question": f"What is {number} + 1?", "answer": f"#### {number + 1}"} for number in range(400)]
    write_rows(tmp_path / "gsm8k" / "test.jsonl", rows[:20])
    write_rows(tmp_path / "gsm8k" / "train.jsonl", rows[20:])
    choice_folder(tmp_path, "arc_easy", 10, 300)
    tasks = choose(["gsm8k", "arc_easy:shots=2"])
    text = default_calibration(TOKENIZER, 12, tasks, tmp_path)
    assert text.source == "items that are not evaluated, of gsm8k, arc_easy:shots=2"
    gsm8k, arc = (choose([name])[0].samples("calibrate", 6, tmp_path) for name in ("gsm8k", "arc_easy"))
    assert text.written[::2] == tuple(f"{sample.prompt}\n{sample.shown}" for sample in gsm8k)
    assert text.written[1::2] == tuple(f"{sample.prompt}\n{sample.target}" for sample in arc)
    assert all(1 < part.start < len(part.ids) for part in text.texts)
    # More texts than the calibrate splits have: the other splits follow.
    more = default_calibration(TOKENIZER, 10_000, tasks, tmp_path)
    assert more.written[:12] == text.written
    assert len(set(more.written)) == len(more.written) == 380 + 300
    check_leaks("texts", more.written, items_to_compare(tasks, tmp_path))


def test_items_that_are_evaluated_repeated_or_too_long_are_left_out(offline: None) -> None:
    evaluated = Sample("How many rivers reach the sea from the high northern hills?", "3", "evaluate")
    items = [
        Sample("Tell me. How many rivers reach the sea from the high northern hills? Count.", "3", "train"),
        Sample("What is red?", "a colour", "train"),
        Sample("What is red?", "a colour", "train"),
        Sample("What is " + "very " * 600 + "long?", "this", "train"),
        Sample("What is blue?", "a colour", "train"),
    ]
    task = listed("mine", items, (evaluated,))
    splits = {"train": items, "evaluate": [evaluated], "calibrate": [], "select": items[1:2]}
    task = replace(task, samples=lambda split, limit, _: splits[split][:limit])
    text = default_calibration(TOKENIZER, 9, [task])
    assert text.written == ("What is red?\na colour", "What is blue?\na colour")
    splits["train"], splits["select"] = items[:1], []
    with pytest.raises(
        UserError, match=r"WikiText-2 cannot be read \(dataset Salesforce/wikitext .* no network"
    ) as said:
        default_calibration(TOKENIZER, 9, [task])
    assert "--calibration" in said.value.fix
    assert "all items of the tasks (mine) are evaluated or too long" in said.value.problem


@pytest.mark.parametrize(("texts", "said"), [(1, "1 calibration text"), (3, "3 calibration texts"), (8, "")])
def test_fewer_texts_than_asked_for_are_reported(texts: int, said: str, tmp_path: Path) -> None:
    for file, content in (("texts.txt", "\n\n"), ("texts.jsonl", "\n")):
        parts = [f"text {number}" for number in range(texts)]
        rows = [json.dumps({"text": part}) for part in parts] if file.endswith("jsonl") else parts
        (tmp_path / file).write_text(content.join(rows))
        text = calibration(TOKENIZER, 8, tmp_path / file)
        assert len(text.ids) == texts
        assert text.shortage == (f"{said} instead of 8: {tmp_path / file} has no more" if said else "")


def test_rank_says_that_there_are_fewer_texts(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.txt").write_text("A single text about nothing in particular.")
    rank(str(tiny), "block_influence", RankOptions(items=32, calibration=tmp_path / "one.txt"))
    assert f"note: 1 calibration text instead of 32: {tmp_path / 'one.txt'} has no more\n" in capsys.readouterr().err
