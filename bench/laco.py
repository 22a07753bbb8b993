"""How far merged layers are from the unpruned model: `python bench/laco.py MODEL`.

Three layers become one at eight places: by LaCo's formula, by what its authors' code computes, and by removing the two
later ones. Prints the range of the mean cosine of the states after the final norm, over the texts of the model's own
default calibration or of `--calibration`.
"""

import argparse
from pathlib import Path

import torch

from layerlimits.api import calibration
from layerlimits.models.load import load
from layerlimits.models.merge import merge
from layerlimits.models.remove import without_layers
from layerlimits.models.stack import find_stack

PLACES, SIZE = 8, 3


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("--calibration", type=Path, required=True, help="text file, or .jsonl with a column text")
    parser.add_argument("--items", type=int, default=16)
    args = parser.parse_args()
    loaded = load(args.model, dtype="float32", device="cpu")
    texts = [torch.tensor([ids]) for ids in calibration(args.model, args.items, args.calibration, max_tokens=256).ids]
    layers = find_stack(loaded.model).layers

    def states() -> list[torch.Tensor]:
        return [loaded.model.base_model(ids, use_cache=False).last_hidden_state[0].double() for ids in texts]

    base = states()
    places = [round(1 + place * (loaded.depth - SIZE - 1) / (PLACES - 1)) for place in range(PLACES)]
    for form in ("paper", "code", "removal"):
        cosines = []
        for place in places:
            absorbed = tuple(range(place + 1, place + SIZE))
            before = [weight.clone() for weight in layers[place].parameters()]
            if form != "removal":
                merge(layers, place, absorbed, form)  # type: ignore[arg-type]  # one of the two forms
            with without_layers(loaded.model, absorbed):
                pairs = zip(states(), base, strict=True)
                cosines.append(torch.cat([torch.cosine_similarity(a, b, dim=-1) for a, b in pairs]).mean().item())
            for weight, old in zip(layers[place].parameters(), before, strict=True):
                weight.copy_(old)
        print(f"{form}: {min(cosines):.2f} to {max(cosines):.2f}, at layers {places}")


if __name__ == "__main__":
    main()
