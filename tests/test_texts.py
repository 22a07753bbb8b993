"""Perplexity of documents: windows, reading, and figures against a direct computation by stock transformers."""

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from transformers import AutoModelForCausalLM, AutoTokenizer

from layerlimits.errors import UserError
from layerlimits.evaluation.leaks import check_leaks
from layerlimits.evaluation.prompts import encode
from layerlimits.reference.tokenizer import build
from layerlimits.statistics.rates import rate
from layerlimits.tasks import choose
from layerlimits.types import Sample, Window

Says = Callable[..., Any]
Refused = Callable[..., str]


def direct(folder: Path | str, text: str, length: int, stride: int, removed: int | None = None) -> tuple[float, int]:
    """Nats and number of tokens of a document, by one forward pass of stock transformers per predicted token's window.

    Independent of the windows under test: each token is predicted from the tokens before it that its window contains.
    """
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if removed is not None:
        del model.model.layers[removed]
        for number, layer in enumerate(model.model.layers):
            layer.self_attn.layer_idx = number
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    sequence = torch.tensor([tokenizer.bos_token_id, *ids])
    nats, end = 0.0, length
    done = 0
    while done < len(ids):
        end = min(end, len(ids))
        begin = max(0, end - length)
        with torch.no_grad():
            logprobs = model(sequence[None, begin:end], use_cache=False).logits[0].double().log_softmax(-1)
        for place in range(done + 1, end + 1):
            nats -= float(logprobs[place - 1 - begin, sequence[place]])
        done, end = end, end + stride
    return nats, len(ids)


@pytest.mark.parametrize(("length", "stride"), [(8, 8), (8, 4), (8, 1), (5, 3), (100, 7)])
@pytest.mark.parametrize("characters", [1, 7, 8, 9, 31])
def test_windows_predict_every_token_once(length: int, stride: int, characters: int) -> None:
    tokenizer, text = build(), "abcdefghij klmnopqrst uvwxyz 0123456789"[:characters]
    rows = encode(tokenizer, Sample(text, "", "evaluate", window=Window(length, stride))).rows
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert [token for _, continuation in rows for token in continuation] == ids
    assert all(len(context) + len(continuation) - 1 <= length for context, continuation in rows)
    assert rows[0][0] == [tokenizer.bos_token_id]
    assert all(len(continuation) <= stride for _, continuation in rows[1:])
    if length == stride:
        rolling = get_rolling_token_windows(ids, tokenizer.bos_token_id, length, 1)
        assert rows == [make_disjoint_window(pair) for pair in rolling]


def test_documents_of_xsum_equal_a_direct_computation(says: Says, tiny: Path, real_data: Path, tmp_path: Path) -> None:
    """Windows shorter than the texts; the base and all single layers at once, against one model after another."""
    documents = [json.loads(line)["document"] for line in (real_data / "xsum" / "test.jsonl").open()][:2]
    texts = [document[:700] for document in documents]
    (tmp_path / "texts").mkdir()
    for number, text in enumerate(texts):
        (tmp_path / "texts" / f"{number}.txt").write_text(text)
    task = f"texts:path={tmp_path / 'texts'}:window=200:stride=90"
    rows = says("sweep", tiny, "--tasks", task, "--layers", "0,3", "--dtype", "float32")["texts"]
    assert [row["removed"] for row in rows] == [[], [0], [3]]
    for row, removed in zip(rows, (None, 0, 3), strict=True):
        found = [direct(tiny, text, 200, 90, removed) for text in texts]
        nats, tokens = sum(nats for nats, _ in found), sum(tokens for _, tokens in found)
        assert (row["tokens"], row["window"], row["stride"], row["documents"]) == (tokens, 200, 90, 2)
        assert row["loss"]["estimate"] == pytest.approx(nats / tokens, abs=1e-6)
        assert row["perplexity"]["estimate"] == pytest.approx(math.exp(nats / tokens), rel=1e-4)
        words, size = sum(len(text.split()) for text in texts), sum(len(text.encode()) for text in texts)
        assert (row["words"], row["bytes"]) == (words, size)
        assert row["byte_perplexity"]["estimate"] == pytest.approx(math.exp(nats / size), rel=1e-4)
    base, other = rows[0], rows[2]
    expected = other["perplexity"]["estimate"] / base["perplexity"]["estimate"]
    assert other["relative"]["estimate"] == pytest.approx(expected, rel=1e-6)
    assert base["relative"] is None


def test_hub_layouts_of_wikitext_and_c4(tmp_path: Path) -> None:
    lines = ["", " = First = \n", "", " Some text . \n", "", " = = Part = = \n", "", " More . \n", " = a + b = c \n"]
    lines += ["", " = Second = \n", "", " The end . \n"]
    wiki = tmp_path / "Salesforce" / "wikitext" / "wikitext-2-raw-v1"
    wiki.mkdir(parents=True)
    pq.write_table(pa.table({"text": lines}), wiki / "test-00000-of-00001.parquet")
    pq.write_table(pa.table({"text": ["no"]}), wiki / "train-00000-of-00001.parquet")
    (task,) = choose(["wikitext2"])
    articles = [sample.prompt for sample in task.samples("evaluate", 10, tmp_path)]
    assert [article.split("=")[1].strip() for article in articles] == ["First", "Second"]
    assert " = a + b = c \n" in articles[0]
    assert "The end" in articles[1]
    assert task.samples("train", 10, tmp_path) == []

    pages = tmp_path / "allenai" / "c4" / "en"
    pages.mkdir(parents=True)
    with gzip.open(pages / "c4-validation.00000-of-00008.json.gz", "wt") as stream:
        for text in ("One page.", "Another page.", "  ", "One page."):
            stream.write(json.dumps({"text": text, "timestamp": "2019", "url": "x"}) + "\n")
    (task,) = choose(["c4:window=64:stride=64"])
    assert [sample.prompt for sample in task.samples("evaluate", 10, tmp_path)] == ["One page.", "Another page."]
    assert (task.name, task.samples("evaluate", 2, tmp_path)[0].window) == ("c4:window=64:stride=64", Window(64, 64))


def test_texts_of_folders_and_rows(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("second")
    (tmp_path / "a.jsonl").write_text('{"text": "first"}\n{"document": "also"}\n{"text": " "}\n')
    (tmp_path / "picture.png").write_bytes(b"x")
    (task,) = choose([f"texts:path={tmp_path}"])
    assert [sample.prompt for sample in task.samples("evaluate", 9, None)] == ["first", "also", "second"]
    assert task.name == f"texts:{tmp_path.stem}"


def test_a_run_folder_with_texts_is_sound(says: Says, exits: Callable[..., int], tiny: Path, tmp_path: Path) -> None:
    run, copy = tmp_path / "run", tmp_path / "copy"
    asked = ("evaluate", tiny, "--tasks", "bundled_texts:window=64", "--limit", 3, "--out", run)
    first = says(*asked)["texts"]
    assert exits("verify", run) == 0
    assert exits("export", run, "--out", tmp_path / "run.layerlimits.gz") == 0
    assert exits("import", tmp_path / "run.layerlimits.gz", "--out", copy) == 0
    assert exits("verify", copy) == 0
    assert says(*asked[:-1], copy)["texts"] == first


def test_texts_of_the_same_name_are_not_mixed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="would have the same name in results, texts:notes"):
        choose([f"texts:path={tmp_path}/a/notes.txt", f"texts:path={tmp_path}/b/notes.txt"])
    assert len(choose([f"texts:path={tmp_path}/a", f"texts:path={tmp_path}/a", f"texts:path={tmp_path}/b"])) == 2


@pytest.mark.parametrize(
    ("task", "words", "fix"),
    [
        ("bundled_texts:window=0", "stride", "from 1 to the window"),
        ("bundled_texts:window=8:stride=9", "stride of bundled_texts is 9", "from 1 to the window"),
        ("bundled_texts:windw=8", "invalid option windw=8", "bundled_texts:window=1024:stride=512"),
        ("bundled_texts:8", "invalid task", "wikitext2:window=2048"),
        ("bundled_texts@free", "does not support the protocol free", "omit the protocol"),
        ("texts", "has no texts", "--data-dir"),
        ("texts:path=/no/such/folder", "is not a file or folder of texts", ".jsonl"),
    ],
)
def test_bad_text_tasks(task: str, words: str, fix: str, refused: Refused, tiny: Path) -> None:
    said = refused("evaluate", tiny, "--tasks", task, "--limit", 3)
    assert words in said
    assert fix in said


def test_a_window_longer_than_the_positions(refused: Refused, says: Says, tiny: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text(name * 300)
    task = f"texts:path={tmp_path}"
    said = refused("evaluate", tiny, "--tasks", task)
    assert "reads 1024 tokens at a time; the model has 512 positions" in said
    assert "window=512:stride=256" in said
    (row,) = says("evaluate", tiny, "--tasks", f"{task}:window=512:stride=256")["texts"]
    assert row["tokens"] == 1800


def test_one_document_has_no_interval(refused: Refused, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "only.txt").write_text("one document")
    said = refused("evaluate", tiny, "--tasks", f"texts:path={tmp_path}")
    assert "has 1 of the 2 documents that an interval requires" in said
    assert "a .jsonl file with one text per line" in said


def test_a_file_without_texts_names_its_columns(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"body": "text"}\n{"body": "more"}\n')
    with pytest.raises(UserError, match=r'item 1 has no text in a column text or document: it has \["body"\]'):
        choose([f"texts:path={file}"])[0].samples("evaluate", 2, None)
    (task,) = choose([f"texts:path={file}:column=body"])
    assert [sample.prompt for sample in task.samples("evaluate", 2, None)] == ["text", "more"]


def test_the_interval_covers_the_rate_of_the_population() -> None:
    """Documents of very different sizes and difficulties: intervals of 95% contain the true rate nearly as often."""
    draw, hits = np.random.default_rng(1), {5: 0, 20: 0}
    for n in hits:
        for _ in range(200):
            sizes = draw.lognormal(6, 0.7, n)
            figure = rate((sizes * draw.lognormal(1, 0.15, n)).tolist(), sizes.tolist())
            hits[n] += figure.low <= math.exp(1 + 0.15**2 / 2) <= figure.high
            assert figure.low <= figure.estimate <= figure.high
    assert min(hits.values()) >= 0.9 * 200
    assert rate([3.0, 3.0], [1.0, 1.0]).estimate == 3.0


def test_calibration_text_must_not_be_a_part_of_an_evaluated_document() -> None:
    documents = [Sample(f"A first line.\n\n{PARAGRAPH} It ends.", "", "evaluate", window=Window(8, 4))]
    with pytest.raises(UserError, match="1 of 2 calibration texts contain evaluated items"):
        check_leaks(
            "calibration texts", [PARAGRAPH, "Nothing that stands in it, in any way, or so it seems."], documents
        )
    check_leaks("calibration texts", ["A first line."], documents)


PARAGRAPH = "The river had frozen over by the time the boats came back to the harbor."
