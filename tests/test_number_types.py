"""The number type of a model: what "auto" chooses, where the choice is recorded, and what is computed in float32."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import tiny_model
from small_models import saved, small_llama

from layerlimits.engines._trial import run_trial
from layerlimits.engines.hflm import HflmEngine
from layerlimits.engines.sweep import SweepEngine
from layerlimits.engines.transformers import TransformersEngine
from layerlimits.models import number_type
from layerlimits.models.finite import gathered
from layerlimits.models.load import Loaded, load
from layerlimits.models.number_type import ROWS, ProductRate, choose, measured_rates, speedup
from layerlimits.models.safetensors_header import Header, StoredTensor

Says = Callable[..., Any]
Refused = Callable[..., str]
SETTINGS = """
tasks = ["facts", "facts_choice"]
methods = ["reverse"]
ratios = [0.25]
limit = 2
calibration_items = 4
speed_repeats = 3
recovery = { kinds = [] }
"""


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, stored in bfloat16."""
    return saved(small_llama(6).bfloat16(), tmp_path_factory.mktemp("half") / "model")


def machine(monkeypatch: pytest.MonkeyPatch, *ratios: float) -> list[tuple[int, int]]:
    """A CPU on which 16-bit products are so many times as fast; returns the shapes that are measured on it."""
    measured: list[tuple[int, int]] = []

    def rates(shape: tuple[int, int], dtype: str) -> tuple[ProductRate, ...]:
        measured.append(shape)
        pairs = zip(ROWS, ratios * (len(ROWS) // len(ratios)), strict=True)
        return tuple(
            rate
            for rows, ratio in pairs
            for rate in (ProductRate("float32", rows, 50.0), ProductRate(dtype, rows, 50.0 * ratio))
        )

    monkeypatch.setattr(number_type, "measured_rates", rates)
    return measured


def header(*tensors: tuple[str, tuple[int, ...]]) -> Header:
    return Header(
        Path("model.safetensors"), tuple(StoredTensor(name, "BF16", shape, 0, 0) for name, shape in tensors), None, 0
    )


LAYER = header(
    ("embed.weight", (9000, 64)),
    ("layers.0.norm.weight", (64,)),
    ("layers.0.up.weight", (96, 64)),
    ("layers.1.experts", (4, 80, 64)),
)


def test_auto_takes_a_faster_type_of_the_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of an even number of ratios, the geometric mean of the two in the middle: of .6 and 2.4 it is 1.2.
    for ratios, dtype in (
        ((2.5,), "bfloat16"),
        ((0.6, 2.41), "bfloat16"),
        ((0.6, 2.39), "float32"),
        ((0.4,), "float32"),
    ):
        shapes = machine(monkeypatch, *ratios)
        chosen = choose("auto", {"torch_dtype": "bfloat16"}, [LAYER], "cpu")
        assert chosen.dtype == dtype
        assert "bfloat16, are" in chosen.reason
        assert len(chosen.rates) == 2 * len(ROWS)
        # The largest matrix of a layer, not the larger one of the vocabulary.
        assert shapes == [(96, 64)]


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_nothing_is_measured_on_a_gpu_or_where_there_is_no_choice(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = machine(monkeypatch, 9.0)
    for stored, where, dtype in (
        ("bfloat16", device, "bfloat16"),
        ("float16", device, "float16"),
        ("float32", "cpu", "float32"),
        ("float64", "cpu", "float32"),
        (None, "cpu", "float32"),
    ):
        assert choose("auto", {"dtype": stored}, [LAYER], where).dtype == dtype
    for given in ("float32", "bfloat16", "float16"):
        assert choose(given, {"dtype": "bfloat16"}, [LAYER], "cpu").dtype == given
    assert shapes == []


def test_products_are_measured_once_for_every_number_of_rows() -> None:
    rates = measured_rates((48, 32), "bfloat16")
    assert [(rate.dtype, rate.rows) for rate in rates] == [
        (dtype, rows) for rows in ROWS for dtype in ("float32", "bfloat16")
    ]
    assert all(rate.gflops > 0 for rate in rates)
    assert measured_rates((48, 32), "bfloat16") is rates
    assert speedup(rates, "float32") == 1.0


def test_rates_that_another_process_has_spoilt_are_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second row count seems to be 100 times as slow, twice."""
    passes: list[int] = []

    def shortest(weights: Mapping[str, Any], rows: int, dtype: str) -> dict[str, float]:
        passes.append(rows)
        spoilt = rows == ROWS[1] and passes.count(rows) <= 2
        return {"float32": 1e-6 * rows, "bfloat16": 0.5e-6 * rows * (100 if spoilt else 1)}

    monkeypatch.setattr(number_type, "_shortest", shortest)
    rates = measured_rates((40, 24), "bfloat16")
    assert passes == 3 * list(ROWS)
    assert speedup(rates, "bfloat16") == pytest.approx(2.0, rel=0.02)


def test_loading_uses_the_choice(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for ratio, dtype in ((2.0, torch.bfloat16), (0.5, torch.float32)):
        machine(monkeypatch, ratio)
        loaded = load(str(half), device="cpu")
        assert loaded.model.dtype == dtype == number_type.DTYPES[loaded.ref.dtype]
        assert load(str(half), device="cpu", dtype="float32").model.dtype == torch.float32


def stored_types(run: Path) -> set[str]:
    with closing(sqlite3.connect(run / "run.sqlite")) as database:
        return {json.loads(about)["dtype"] for (about,) in database.execute("SELECT content FROM models")}


def test_a_run_folder_keeps_its_type_on_another_machine(
    half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: Says, refused: Refused
) -> None:
    run, settings = tmp_path / "run", tmp_path / "study.toml"
    settings.write_text(SETTINGS)
    study = ("study", half, "--config", settings, "--out", run, "--device", "cpu")
    machine(monkeypatch, 2.5)
    first = says(*study)["model"]
    assert first["dtype"] == "bfloat16"
    assert len(first["dtype_rates"]) == 2 * len(ROWS)
    shapes = machine(monkeypatch, 0.4)
    planned = says(*study, "--plan")
    assert {key: planned[key] for key in planned if key.startswith("dtype")} == {
        key: first[key] for key in first if key.startswith("dtype")
    }
    assert says(*study, "--limit", 3)["model"] == first
    says("evaluate", half, "--tasks", "facts", "--limit", 4, "--out", run, "--device", "cpu")
    assert shapes == []
    assert stored_types(run) == {"bfloat16"}
    assert "another dtype: bfloat16, not float32" in refused(*study, "--limit", 3, "--dtype", "float32")
    page = unescape((run / "report.html").read_text())
    assert f"Number type bfloat16: {first['dtype_reason']}" in page
    assert "Measured matrix products" in page


def test_a_folder_that_only_evaluate_has_used_keeps_its_type(
    half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: Says
) -> None:
    run = tmp_path / "run"
    for ratio in (2.5, 0.4):
        machine(monkeypatch, ratio)
        says("evaluate", half, "--tasks", "facts", "--limit", 2, "--out", run, "--device", "cpu")
        assert stored_types(run) == {"bfloat16"}


@pytest.mark.parametrize("engine", [TransformersEngine, SweepEngine, HflmEngine])
@pytest.mark.parametrize("variant", [(), (2,)])
def test_log_probabilities_of_a_bfloat16_model_are_float32(engine: type, variant: tuple[int, ...], half: Path) -> None:
    loaded: Loaded = load(str(half), dtype="bfloat16", device="cpu")
    rows = [([1, 280, 281, place], [place + 5]) for place in range(290, 306)]
    columns = engine(loaded.model, loaded.tokenizer).loglikelihoods([variant, (3,)], rows)
    values = torch.tensor([logprob for logprob, _ in columns[0]])
    # A log-softmax in bfloat16 gives values of eight significant bits only.
    assert (values != values.bfloat16().float()).sum() >= 12


def test_one_log_probability_is_that_of_a_float32_log_softmax() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0]], dtype=torch.bfloat16)
    expected = logits.float().log_softmax(-1)[0, 1]
    logprobs, _ = gathered(logits, torch.tensor([0]), torch.tensor([1]))
    assert logprobs.item() == pytest.approx(expected.item(), abs=1e-6)
    assert logprobs.item() != pytest.approx(float(logits.log_softmax(-1)[0, 1]), abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("name", "shares"), [("llama", True), ("gemma2", True), ("gpt_neo", False), ("recurrent_gemma", False)]
)
def test_the_trial_of_an_architecture_holds_in_16_bits(name: str, shares: bool, dtype: torch.dtype) -> None:
    # The state that recurrent_gemma carries changes logits by less than the rounding of bfloat16.
    trial = run_trial(tiny_model(name).to(dtype))
    assert (trial.refusal is None) == shares
    assert (trial.token_bytes > 0) == shares
