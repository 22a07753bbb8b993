"""Random foreign files: reading one succeeds, or raises a UserError; nothing else, whatever the bytes are.

The normal suite tries a few hundred cases; `make test-slow` tries more than 10,000.
"""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layerlimits import jsonl
from layerlimits.chat import check_template
from layerlimits.cli.parse import layers, shares
from layerlimits.errors import UserError, printable
from layerlimits.models.checkpoint import weight_files
from layerlimits.models.config_check import read_config
from layerlimits.models.index import INDEX, read_index
from layerlimits.models.locate import check
from layerlimits.models.remove import check_layers
from layerlimits.models.safetensors_header import read_header
from layerlimits.models.save import RECIPE, read_recipe
from layerlimits.paths import read_toml
from layerlimits.study.config import StudyConfig
from layerlimits.tasks import choose
from layerlimits.types import Response, Sample

# Numbers of examples of each property in the normal and in the slow suite.
FEW, MANY = 25, 2_000
# A case builds a configuration of transformers.
_FEWER = {"config": 300}

_NUMBERS = st.integers() | st.integers(2**62, 2**70) | st.sampled_from([-1, 0, 1, 10**30]) | st.floats()
_LEAVES = st.none() | st.booleans() | _NUMBERS | st.text(max_size=20)
JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_TYPES = st.sampled_from(["F32", "F16", "BF16", "I8", "F4", "", "F33"]) | JSON
_OFFSETS = st.lists(st.integers(-1, 40), min_size=2, max_size=2) | JSON
_SHAPES = st.lists(st.integers(-1, 5), max_size=3) | JSON
_TENSOR = st.fixed_dictionaries({"dtype": _TYPES, "shape": _SHAPES, "data_offsets": _OFFSETS}) | JSON
_HEADER = st.dictionaries(st.sampled_from(["a", "b", "lm_head.weight", "__metadata__", "layers.0.x"]), _TENSOR)
_WORDS = [
    "[",
    "]",
    "{",
    "}",
    '"',
    ":",
    ",",
    "\\ud800",
    "\\u0000",
    "1e999",
    "NaN",
    "-",
    "9" * 400,
    "a",
    "\n",
    "\r",
    "\0",
]
JUNK = st.binary(max_size=60) | st.lists(st.sampled_from(_WORDS), max_size=30).map(
    lambda parts: "".join(parts).encode()
)
_CONFIG_KEYS = st.sampled_from(
    ["model_type", "num_hidden_layers", "hidden_size", "vocab_size", "num_attention_heads", "quantization_config",
     "eos_token_id", "rope_parameters", "layer_types", "architectures", "auto_map", "dtype", "torch_dtype"]
)  # fmt: skip
_SETTINGS = st.sampled_from([*StudyConfig.model_fields, "unknown"])
_SPEC = st.text("0123456789-,² ٣x+.e", max_size=30)
_ANSWERS = st.text(max_size=120) | st.lists(
    st.sampled_from(["####", "\\boxed{", "}", "$", "1,0", "00", "²", "½", "%", "<think>", "</think>", "```", "def f(",
                     "\n", "answer", "is", "(A)", "A", "\\frac{1}{0}", "9" * 60, "\ud800", "\0",
                     "{", "-", "e9", "import a\n"]),
    max_size=40,
).map(" ".join)  # fmt: skip

Property = Callable[[Path, Any], Any]


def allowed(read: Callable[[], Any]) -> None:
    """Run a reader, which may refuse."""
    refusal: UserError | None = None
    try:
        read()
    except UserError as error:
        refusal = error
    if refusal is not None:
        # One line each, which a terminal can show.
        assert len(str(refusal).splitlines()) == 2
        assert refusal.problem
        assert refusal.fix


def _config(folder: Path, fields: dict[str, Any]) -> None:
    known = json.loads((folder / "good.json").read_text())
    (folder / "config.json").write_text(json.dumps(known | fields))
    allowed(lambda: read_config(folder))
    allowed(lambda: check(folder))


def _raw_config(folder: Path, data: bytes) -> None:
    (folder / "config.json").write_bytes(data)
    allowed(lambda: read_config(folder))


def _header(folder: Path, parts: tuple[dict[str, Any], int, bytes]) -> None:
    entries, extra, data = parts
    text = json.dumps(entries).encode()
    (folder / "h.safetensors").write_bytes(struct.pack("<Q", max(0, len(text) + extra)) + text + data)
    allowed(lambda: read_header(folder / "h.safetensors"))


def _raw_header(folder: Path, data: bytes) -> None:
    (folder / "h.safetensors").write_bytes(struct.pack("<Q", len(data)) + data)
    allowed(lambda: read_header(folder / "h.safetensors"))
    (folder / "h.safetensors").write_bytes(data)
    allowed(lambda: read_header(folder / "h.safetensors"))


def _index(folder: Path, index: Any) -> None:
    inner = folder / "inner"
    inner.mkdir(exist_ok=True)
    (inner / INDEX).write_text(json.dumps(index))
    allowed(lambda: read_index(inner))

    def inside() -> None:
        assert all(file.parent == inner and file.suffix == ".safetensors" for file in weight_files(inner))

    allowed(inside)


def _recipe(folder: Path, recipe: Any) -> None:
    (folder / RECIPE).write_text(json.dumps(recipe))
    allowed(lambda: read_recipe(folder))


def _rows(folder: Path, data: bytes) -> None:
    (folder / "rows.jsonl").write_bytes(data)
    allowed(lambda: list(jsonl.rows(folder / "rows.jsonl")))
    allowed(lambda: jsonl.list_of_rows(folder / "rows.jsonl"))


def _items(folder: Path, rows: list[Any]) -> None:
    (folder / "gsm8k").mkdir(exist_ok=True)
    file = folder / "gsm8k" / "test.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    # Files of the same size and time would be read only once.
    os.utime(file, ns=(0, hash(json.dumps(rows)) & (2**62 - 1)))
    allowed(lambda: choose(["gsm8k"])[0].samples("evaluate", 4, folder))


def _settings(folder: Path, fields: dict[str, Any]) -> None:
    allowed(lambda: StudyConfig(**fields))


def _toml(folder: Path, data: bytes) -> None:
    (folder / "s.toml").write_bytes(data)
    allowed(lambda: read_toml(folder / "s.toml"))


def _layer_list(folder: Path, text: str) -> None:
    allowed(lambda: check_layers(layers(text), 12))
    allowed(lambda: shares(text))


def _template(folder: Path, text: str) -> None:
    allowed(lambda: check_template(text, folder))


def _answer(folder: Path, text: str) -> None:
    response = Response(text, (), "stop")
    sample = Sample("?", "12", "evaluate")
    for task in choose(["gsm8k", "math500", "arithmetic"]):
        allowed(lambda task=task: task.score(sample, response))
    assert printable(text).isprintable() or not text


PROPERTIES: dict[str, tuple[Property, Any]] = {
    "config": (_config, st.dictionaries(_CONFIG_KEYS, JSON, min_size=1, max_size=3)),
    "raw config": (_raw_config, JUNK),
    "header": (_header, st.tuples(_HEADER, st.sampled_from([0, 0, 0, 1, -1, 2**40]), st.binary(max_size=40))),
    "raw header": (_raw_header, JUNK),
    "index": (
        _index,
        st.fixed_dictionaries({"weight_map": st.dictionaries(st.text(max_size=5), JSON | st.text()) | JSON}),
    ),
    "recipe": (
        _recipe,
        JSON | st.dictionaries(st.sampled_from(["base_fingerprint", "base", "finetune", "removed"]), JSON),
    ),
    "rows": (_rows, JUNK),
    "items": (
        _items,
        st.lists(st.fixed_dictionaries({"question": JSON, "answer": JSON | st.just("#### 1")}) | JSON, max_size=4),
    ),
    "settings": (_settings, st.dictionaries(_SETTINGS, JSON, max_size=4)),
    "toml": (_toml, JUNK),
    "layers": (_layer_list, _SPEC),
    "template": (_template, st.text("{}%# *ab'\"|()", max_size=30)),
    "answer": (_answer, _ANSWERS),
}


@pytest.fixture(scope="module")
def place(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights and the configuration of a model."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "model.safetensors").symlink_to(tiny / "model.safetensors")
    (folder / "good.json").write_text((tiny / "config.json").read_text())
    return folder


def _hold(name: str, place: Path, examples: int) -> None:
    holds, values = PROPERTIES[name]
    limits = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    limits(given(values)(lambda value: holds(place, value)))()


@pytest.mark.parametrize("name", PROPERTIES)
def test_foreign_input_is_read_or_refused(name: str, place: Path) -> None:
    _hold(name, place, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROPERTIES)
def test_foreign_input_is_read_or_refused_in_many_cases(name: str, place: Path) -> None:
    _hold(name, place, _FEWER.get(name, MANY))
