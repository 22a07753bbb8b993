"""How the cost of a sweep grows with variants, prompts and layers: `python bench/growth.py`.

One of the three varies, the others stay at 16 single-layer variants, 100 prompts and 16 layers; the model is a random
Llama 256 wide. Times are the shortest of the repeats; the plot goes to docs/growth.svg, the numbers to
bench/growth.json.
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
USUAL = {"variants": 16, "prompts": 100, "layers": 16}
BATCH = 50


def measured(variants: int, prompts: int, layers: int, repeats: int) -> dict[str, Any]:
    """Seconds together and one after another."""
    model: Any = random_model(layers, 256, 704, 4, 1024)
    texts = random_prompts(1024, prompts)
    chosen = [(at * layers // variants,) for at in range(variants)] if variants <= layers else _pairs(layers, variants)
    engine: Any = SweepEngine(model, Ids())  # type: ignore[arg-type]  # all it needs of a tokenizer
    engine.generate(chosen, texts[:2], 2)
    ours = shortest(lambda: engine.generate(chosen, texts, NEW_TOKENS), repeats)
    stock = shortest(lambda: one_by_one(model, Ids(), chosen, texts, BATCH), 1)
    return {"variants": variants, "prompts": prompts, "layers": layers, "seconds": ours, "one_by_one": stock}


def _pairs(layers: int, variants: int) -> list[tuple[int, ...]]:
    """Every layer, and then neighbours, where there are more variants than layers."""
    found: list[tuple[int, ...]] = [(layer,) for layer in range(layers)]
    return [*found, *[(layer, layer + 1) for layer in range(layers - 1)]][:variants]


def plot(rows: list[dict[str, Any]]) -> None:
    """Three panels on logarithmic axes."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 3, figsize=(10, 3.2), sharey=True, layout="constrained")
    for panel, what in zip(panels, VARY, strict=True):
        mine = [row for row in rows if all(row[other] == USUAL[other] for other in VARY if other != what)]
        mine.sort(key=lambda row: row[what])
        at = [row[what] for row in mine]
        panel.loglog(at, [row["one_by_one"] for row in mine], "o--", color="#999999", label="one after another")
        panel.loglog(at, [row["seconds"] for row in mine], "o-", color="#1f5fa8", label="together")
        panel.set_xticks(at, [str(value) for value in at])
        panel.minorticks_off()
        panel.set_xlabel(what)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("seconds")
    panels[0].legend(frameon=False)
    figure.savefig(PLOT, metadata={"Date": None})


def main() -> None:
    """Measure, keep, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=3)
    told = parser.parse_args()
    asked = [USUAL | {what: value} for what, values in VARY.items() for value in values]
    rows = []
    for one in [one for at, one in enumerate(asked) if one not in asked[:at]]:
        rows.append(measured(**one, repeats=told.repeats))
        print(json.dumps(rows[-1]), flush=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    plot(rows)


if __name__ == "__main__":
    sys.exit(main())
