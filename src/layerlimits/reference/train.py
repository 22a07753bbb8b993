"""Trains the reference model from `recipe.toml` on two CPU cores; an interrupted run resumes from its saved state."""

import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor, nn
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from layerlimits.errors import UserError
from layerlimits.paths import check_outside_run, check_writable, read_toml
from layerlimits.reference.mixture import TASKS, Mixture, Rows
from layerlimits.reference.muon import Muon
from layerlimits.reference.tokenizer import build
from layerlimits.sampling import check_seed

_SAVE_EVERY_S = 120
_EVALUATE_EVERY = 250
_HELD_OUT = 100
_PARTS = ("seed", "row_tokens", "model", "mix", "phase")


@dataclass(frozen=True)
class Phase:
    """A training phase with fixed depth and mixture; the learning rate changes linearly.

    A phase that is deeper than the previous one grows the model; a shallower one first removes the layers in `remove`.
    """

    layers: int
    steps: int
    rows: int
    lr: tuple[float, float]
    skip: float
    mix: dict[str, float]
    remove: tuple[int, ...] = ()


class Trainer:
    """Model, optimizers and position in the recipe, all saved in `state.pt` in the work folder."""

    def __init__(self, recipe: dict[str, Any], work: Path) -> None:
        torch.manual_seed(recipe["seed"])
        self.recipe, self.work = recipe, work
        self.phases = _phases(recipe)
        self.tokenizer = build()
        self.mixture = Mixture(recipe["seed"], self.tokenizer)
        self.model = new_model(recipe["model"], self.phases[0].layers, self.tokenizer)
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self._optimizers()
        if (work / "state.pt").exists():
            self._resume()

    def _optimizers(self) -> None:
        named = list(self.model.named_parameters())
        matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]
        others = [p for name, p in named if p.ndim != 2 or "embed" in name]
        self.optimizers = [Muon(matrices), torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0)]
        for layer in self.model.model.layers:
            layer.compile(dynamic=False)

    def _resume(self) -> None:
        state = torch.load(self.work / "state.pt", weights_only=True)
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
        depth = state["layers"]
        if depth != len(self.model.model.layers):
            self.model = new_model(self.recipe["model"], depth, self.tokenizer)
            self._optimizers()
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

    def save(self) -> None:
        """Save the training state atomically."""
        state = {
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "layers": len(self.model.model.layers),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        torch.save(state, self.work / "state.tmp")
        (self.work / "state.tmp").replace(self.work / "state.pt")

    def position(self) -> tuple[Phase, float] | None:
        """The phase of the current step and its completed fraction, 0 to 1; None after the last phase."""
        start = 0
        for phase in self.phases:
            if self.step < start + phase.steps:
                return phase, (self.step - start) / phase.steps
            start += phase.steps
        return None

    def advance(self, phase: Phase, done_frac: float) -> float:
        """Run one training step and return its loss."""
        depth = len(self.model.model.layers)
        if phase.layers != depth:
            grow(self.model, phase.layers) if phase.layers > depth else cut(self.model, phase.remove)
            self._optimizers()
        began = time.perf_counter()
        lr = phase.lr[0] + (phase.lr[1] - phase.lr[0]) * done_frac
        rows = self.mixture.rows(self.step, phase.rows, self.recipe["row_tokens"], phase.mix)
        rng = random.Random(f"skip-{self.recipe['seed']}-{self.step}")
        left_out = rng.randrange(1, phase.layers) if rng.random() < phase.skip else None
        with without(self.model, left_out):
            loss = answer_loss(self.model, rows)
            loss.backward()
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = lr
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        self.tokens += rows.ids.numel()
        self.seconds += time.perf_counter() - began
        return loss.item()

    def held_out(self) -> dict[str, float]:
        """Per task, the fraction of select-split problems whose answer is exactly right under greedy decoding."""
        return {name: accuracy(self.model, self.mixture.held_out(name, _HELD_OUT, 256)) for name in TASKS}


def new_model(shape: dict[str, Any], layers: int, tokenizer: Any) -> LlamaForCausalLM:
    """A newly initialized Llama with `layers` layers."""
    config = LlamaConfig(
        **shape,
        num_hidden_layers=layers,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def grow(model: LlamaForCausalLM, layers: int) -> None:
    """Add layers in place without changing the outputs.

    A copy with zero output projections is inserted after each layer; it is the identity until it is trained (block
    expansion, LLaMA Pro, arXiv 2401.02415).
    """
    stack = model.model.layers
    fresh = LlamaForCausalLM(LlamaConfig(**{**model.config.to_dict(), "num_hidden_layers": layers}))
    extra = layers - len(stack)
    grown: list[nn.Module] = []
    for number, layer in enumerate(stack):
        grown.append(layer)
        if number < extra:
            copy = fresh.model.layers[len(grown)]
            copy.load_state_dict(layer.state_dict())
            nn.init.zeros_(copy.self_attn.o_proj.weight)
            nn.init.zeros_(copy.mlp.down_proj.weight)
            grown.append(copy)
    model.model.layers = nn.ModuleList(grown)
    model.config = model.model.config = fresh.config
    for number, layer in enumerate(grown):
        layer.self_attn.layer_idx = number  # type: ignore[union-attr]  # a ModuleList forgets its modules' type


def cut(model: LlamaForCausalLM, removed: tuple[int, ...]) -> None:
    """Remove layers in place. `models.remove` supports any architecture but imports this package."""
    remaining = [layer for number, layer in enumerate(model.model.layers) if number not in removed]
    model.model.layers = nn.ModuleList(remaining)
    model.config.num_hidden_layers = len(remaining)
    for number, layer in enumerate(remaining):
        layer.self_attn.layer_idx = number


@contextmanager
def without(model: LlamaForCausalLM, layer: int | None) -> Iterator[None]:
    """The model without one layer, for a step of stochastic depth."""
    whole = model.model.layers
    if layer is not None:
        model.model.layers = nn.ModuleList(whole[:layer]).extend(whole[layer + 1 :])
    try:
        yield
    finally:
        model.model.layers = whole


def _answers(model: LlamaForCausalLM, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (A, V), labels (A,) and row numbers (A,) at answer tokens."""
    hidden = model.model(input_ids=rows.ids, use_cache=False).last_hidden_state[:, :-1]
    labels = rows.labels[:, 1:]
    wanted = labels >= 0
    return model.lm_head(hidden[wanted]), labels[wanted], wanted.nonzero()[:, 0]


def answer_loss(model: LlamaForCausalLM, rows: Rows) -> Tensor:
    """Mean cross-entropy over the answer tokens of the rows."""
    logits, labels, _ = _answers(model, rows)
    return nn.functional.cross_entropy(logits, labels)


@torch.no_grad()
def accuracy(model: LlamaForCausalLM, rows: Rows) -> float:
    """Fraction of rows in which every answer token has the highest logit, so that greedy decoding gives the answer."""
    logits, labels, row = _answers(model, rows)
    wrong = torch.zeros(len(rows.ids)).index_add(0, row, (logits.argmax(-1) != labels).float())
    return float((wrong == 0).float().mean())


def export(trainer: Trainer, out: Path) -> None:
    """Write the checkpoint folder: weights, configuration, tokenizer and generation settings."""
    trainer.model.save_pretrained(out)
    trainer.tokenizer.save_pretrained(out)
    tokenizer = trainer.tokenizer
    GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=128,
        do_sample=False,
    ).save_pretrained(out)


def read_recipe(path: Path | None = None) -> dict[str, Any]:
    """Read a recipe, by default the bundled one.

    Raises:
        UserError: The file is not valid TOML, a part of the recipe is missing, or the seed is invalid.
    """
    recipe = read_toml(path or Path(__file__).parent / "recipe.toml")
    missing = [part for part in _PARTS if part not in recipe]
    if missing:
        raise UserError(f"recipe {path} is missing {', '.join(missing)}", "use the bundled recipe.toml as a template")
    if type(recipe["seed"]) is not int:
        raise UserError(
            f"the seed of recipe {path} is {recipe['seed']!r}, not an integer", "set it to an integer, such as seed = 0"
        )
    check_seed(recipe["seed"])
    return recipe


def _phases(recipe: dict[str, Any]) -> list[Phase]:
    known = [field.name for field in fields(Phase)]
    needed = [field.name for field in fields(Phase) if field.default is MISSING]
    phases = []
    for number, given in enumerate(recipe["phase"], 1):
        phase = {"mix": recipe["mix"], **given}
        missing = ", ".join(name for name in needed if name not in phase)
        surplus = ", ".join(name for name in phase if name not in known)
        if missing or surplus:
            mistakes = [f"is missing {missing}"] * bool(missing) + [f"has unknown settings: {surplus}"] * bool(surplus)
            raise UserError(
                f"phase {number} of the recipe {' and '.join(mistakes)}", f"valid settings are {', '.join(known)}"
            )
        phases.append(Phase(**{**phase, "lr": tuple(phase["lr"])}))
    return phases


def train(work: Path, out: Path, recipe: Path | None = None) -> None:
    """Train to the end of the recipe and export the checkpoint; an interrupted run resumes when called again.

    Raises:
        UserError: The recipe is invalid, or a folder is not writable.
    """
    for folder in (work, out):
        check_outside_run(folder)
        check_writable(folder, empty=False)
    settings = read_recipe(recipe)
    work.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(settings, work)
    total = sum(phase.steps for phase in trainer.phases)
    saved = time.monotonic()
    with Progress() as progress, (work / "log.jsonl").open("a") as log:
        bar = progress.add_task("training", total=total, completed=trainer.step)
        while position := trainer.position():
            loss = trainer.advance(*position)
            progress.update(bar, completed=trainer.step, description=f"training, loss {loss:.3f}")
            if trainer.step % _EVALUATE_EVERY == 0:
                entry = {"step": trainer.step, "tokens": trainer.tokens, "seconds": round(trainer.seconds)}
                log.write(json.dumps({**entry, "loss": round(loss, 4), "held_out": trainer.held_out()}) + "\n")
                log.flush()
            if time.monotonic() - saved > _SAVE_EVERY_S:
                trainer.save()
                saved = time.monotonic()
    trainer.save()
    export(trainer, out)
