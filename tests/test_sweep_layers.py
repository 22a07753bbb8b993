"""`sweep --layers`: only some layers are skipped, and a later call with more layers computes only the new ones."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import layerlimits as ll
from layerlimits.errors import UserError
from layerlimits.evaluation.variants import VariantBatcher

Says = Callable[..., Any]
QUICK = ll.EvalOptions(limit=4)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Fills with the removed layers of each computed response."""
    variants: list[tuple[int, ...]] = []
    compute = VariantBatcher._compute

    def logged(self: VariantBatcher, group: Any, recorder: Any) -> Any:
        variants.extend(variant for batch in group for variant, keys in batch.keys.items() for _ in keys)
        return compute(self, group, recorder)

    monkeypatch.setattr(VariantBatcher, "_compute", logged)
    return variants


def test_only_the_listed_layers_are_computed_and_more_layers_reuse_them(
    tiny: Path, tmp_path: Path, computed: list[tuple[int, ...]]
) -> None:
    tasks, out = ["facts", "facts_choice"], tmp_path / "run"
    first = ll.sweep(tiny, tasks, QUICK, out, layers=[4, 1])
    assert {variant: computed.count(variant) for variant in computed} == {(): 8, (1,): 8, (4,): 8}
    assert list(first.by_layer()) == [1, 4]
    assert first.layers == 6
    computed.clear()
    more = ll.sweep(tiny, tasks, QUICK, out, layers=(1, 2, 4))
    assert {variant: computed.count(variant) for variant in computed} == {(2,): 8}
    assert [row.score for row in more.sweep if row.comparison.layer != 2] == [row.score for row in first.sweep]
    computed.clear()
    whole = ll.sweep(tiny, tasks, QUICK, out)
    assert set(computed) == {(0,), (3,), (5,)}
    assert [row.score for row in whole.sweep if row.comparison.layer in (1, 2, 4)] == [row.score for row in more.sweep]
    assert whole == ll.sweep(tiny, tasks, QUICK)


def test_the_table_the_frame_and_json_have_these_layers(
    tiny: Path, says: Says, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from layerlimits.cli import main

    asked = ["sweep", str(tiny), "--tasks", "facts_choice", "--limit", "4", "--layers", "5,1-2"]
    printed = says(*asked)
    assert [row["layer"] for row in printed["sweep"]] == [1, 2, 5]
    results = ll.sweep(tiny, "facts_choice", QUICK, layers=[1, 2, 5])
    assert printed == results.to_json()
    assert results.to_frame().layer.tolist() == [1, 2, 5]
    monkeypatch.setattr("sys.argv", ["layerlimits", *asked])
    with pytest.raises(SystemExit):
        main()
    shown = [match[1] for match in re.finditer(r"^│ +(\d+) │", capsys.readouterr().out, re.MULTILINE)]
    assert shown == ["1", "2", "5"]


def test_the_chart_has_these_layers_and_no_line_across_the_others() -> None:
    results = ll.sweep("reference", "facts", ll.EvalOptions(limit=20), layers=[3, 8, 9])
    chart = results._repr_html_()
    assert re.findall(r"<title>facts, layer (\d+):", chart) == ["3", "8", "9"]
    lines = re.findall(r'<polyline points="([^"]*)"', chart)
    assert [len(line.split()) for line in lines] == [1, 2]
    # The axis still has all layers, so that charts of different layers can be compared.
    assert ">11</text>" in chart


@pytest.mark.parametrize(
    ("layers", "words", "fix"),
    [
        ("6", "layer 6 does not exist: the model has 6 layers", "use numbers from 0 to 5"),
        ("2,9-10", "layer 9, 10 does not exist", "use numbers from 0 to 5"),
        ("3,2-4", "layer 3 is listed more than once", "list each layer once"),
        ("", "no layer to skip is given", "omit --layers to skip each"),
        (" , ", "no layer to skip is given", "omit --layers to skip each"),
        ("4-2", "the range '4-2' is reversed", "write it as 2-4"),
        ("-1", "'-1' is not a layer number or range", "write layers as 4,5,11-12"),
        ("x", "'x' is not a layer number or range", "write layers as 4,5,11-12"),
    ],
)
def test_layers_that_cannot_be_skipped(
    layers: str, words: str, fix: str, tiny: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    said = refused("sweep", tiny, "--tasks", "facts", "--layers", layers, "--out", tmp_path / "run")
    assert words in said
    assert fix in said
    assert not (tmp_path / "run").exists()


def test_an_engine_of_one_model_sweeps_nothing(tiny: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    said = refused("sweep", tiny, "--tasks", "facts", "--engine", "hflm", "--out", tmp_path / "run")
    assert "the engine hflm evaluates one model, and a sweep one model per layer" in said
    assert "omit --engine" in said
    assert not (tmp_path / "run").exists()
    for command in ("sweep", "evaluate"):
        said = refused(command, tiny, "--tasks", "facts", "--engine", "hfml")
        assert "unknown engine 'hfml'" in said
        assert "did you mean hflm?" in said


def test_the_function_refuses_the_same(tiny: Path) -> None:
    for layers in ([], [6], [-1], [2, 2]):
        with pytest.raises(UserError):
            ll.sweep(tiny, "facts", QUICK, layers=layers)
