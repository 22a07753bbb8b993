"""Scaling of a sweep's cost with variants, prompts and layers: `python bench/growth.py`.

One of the three varies while the others stay at 16 single-layer variants, 100 prompts and 16 layers. The model is a
random Llama of width 256. Times are the minimum over the repeats. The plot is written to docs/growth.svg and the
numbers to bench/growth.json.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from workload import NEW_TOKENS, Ids, one_by_one, random_model, random_prompts, shortest

from layerlimits.engines.sweep import SweepEngine

RESULTS = Path(__file__).with_name("growth.json")
PLOT = Path(__file__).parents[1] / "docs" / "growth.svg"
VARY = {"variants": (1, 4, 16), "prompts": (25, 100, 400), "layers": (8, 16, 32)}
DEFAULTS = {"variants": 16, "prompts": 100, "layers": 16}
BATCH = 50


def measured(variants: int, prompts: int, layers: int, repeats: int) -> dict[str, Any]:
    """Seconds for all variants in one batch, and one after another."""
    model: Any = random_model(layers, 256, 704, 4, 1024)
    texts = random_prompts(1024, prompts)
    chosen = (
        [(number * layers // variants,) for number in range(variants)]
        if variants <= layers
        else _pairs(layers, variants)
    )
    engine: Any = SweepEngine(model, Ids())  # type: ignore[arg-type]  # the sweep needs only these members of a tokenizer
    engine.generate(chosen, texts[:2], 2)
    ours = shortest(lambda: engine.generate(chosen, texts, NEW_TOKENS), repeats)
    stock = shortest(lambda: one_by_one(model, Ids(), chosen, texts, BATCH), 1)
    return {"variants": variants, "prompts": prompts, "layers": layers, "seconds": ours, "one_by_one": stock}


def _pairs(layers: int, variants: int) -> list[tuple[int, ...]]:
    """Every single layer, then pairs of neighbors, if there are more variants than layers."""
    single: list[tuple[int, ...]] = [(layer,) for layer in range(layers)]
    return [*single, *[(layer, layer + 1) for layer in range(layers - 1)]][:variants]


def plot(rows: list[dict[str, Any]]) -> None:
    """Plot three panels with logarithmic axes."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 3, figsize=(10, 3.2), sharey=True, layout="constrained")
    for panel, what in zip(panels, VARY, strict=True):
        mine = [row for row in rows if all(row[other] == DEFAULTS[other] for other in VARY if other != what)]
        mine.sort(key=lambda row: row[what])
        positions = [row[what] for row in mine]
        panel.loglog(positions, [row["one_by_one"] for row in mine], "o--", color="#999999", label="one after another")
        panel.loglog(positions, [row["seconds"] for row in mine], "o-", color="#1f5fa8", label="together")
        panel.set_xticks(positions, [str(value) for value in positions])
        panel.minorticks_off()
        panel.set_xlabel(what)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("seconds")
    panels[0].legend(frameon=False)
    figure.savefig(PLOT, metadata={"Date": None})


def main() -> None:
    """Measure, save, print and plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    settings = [DEFAULTS | {what: value} for what, values in VARY.items() for value in values]
    distinct = [setting for number, setting in enumerate(settings) if setting not in settings[:number]]
    rows = []
    for setting in distinct:
        rows.append(measured(**setting, repeats=args.repeats))
        print(json.dumps(rows[-1]), flush=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    plot(rows)


if __name__ == "__main__":
    sys.exit(main())
