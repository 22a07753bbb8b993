"""Training tokens a second of `finetune`, compared with TRL's SFTTrainer called directly with the same settings.

Both train the same copy of the bundled model without three layers on the same rows, in alternation. Time is measured
from the end of the first step to the end of the last one, so that ours includes checkpoints and checks of each step;
TRL's own writes none. TRL gets the batches in our order, which shows what our code costs; with --shuffled also in its
own random order, which shows what sorting rows by length saves. Ratios of CPU time are printed beside those of wall
time, because other work on the machine disturbs them less.

    python bench/recovery.py [--kind lora] [--items 640] [--repeats 3] [--shuffled] [--json]
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded, load
from layerlimits.models.quiet import quiet
from layerlimits.models.remove import without_layers
from layerlimits.recovery.answers import own_answers
from layerlimits.recovery.context import TrainingContext
from layerlimits.recovery.data import Example, training_prompts
from layerlimits.recovery.finetune import finetune
from layerlimits.recovery.rows import Row, end_of_turn, to_rows, training_order
from layerlimits.recovery.settings import FinetuneConfig
from layerlimits.reference import folder as bundled
from layerlimits.tasks import choose

REMOVED = (4, 5, 6)
# Our finetuning must reach this fraction of TRL's speed.
WITHIN = 0.95
# Wall and CPU time.
Seconds = tuple[float, float]


@dataclass
class Clock(TrainerCallback):
    """The times at which steps ended: wall time, and CPU time of the process."""

    ends: list[tuple[float, float]] = field(default_factory=list)

    def on_step_end(self, *given: Any, **kwargs: Any) -> None:
        """Called by the trainer after each step."""
        self.ends.append((time.perf_counter(), time.process_time()))

    @property
    def seconds(self) -> Seconds:
        """Wall and CPU time from the end of the first step to that of the last one."""
        (wall, cpu), (last_wall, last_cpu) = self.ends[0], self.ends[-1]
        return last_wall - wall, last_cpu - cpu


def examples_of(loaded: Loaded, items: int, folder: Path) -> list[Example]:
    """Training items of the bundled tasks with their own answers."""
    samples = training_prompts(choose(["word_problems", "functions", "summaries", "facts"]), items, None)
    with Store(folder) as store:
        return own_answers(Evaluator(loaded, store), samples).examples


def ours(loaded: Loaded, examples: list[Example], settings: FinetuneConfig, folder: Path) -> Seconds:
    """Seconds of `finetune`."""
    clock = Clock()
    context = TrainingContext(lambda done, total: clock.on_step_end())
    finetune(loaded, REMOVED, examples, settings, folder / "work", folder / "out", {}, context)
    return clock.seconds


def theirs(loaded: Loaded, rows: list[Row], settings: FinetuneConfig, folder: Path, same_order: bool) -> Seconds:
    """Seconds of SFTTrainer."""
    with without_layers(loaded.model, REMOVED) as pruned:
        model = deepcopy(pruned)
    data = Dataset.from_dict({name: [row[name] for row in rows] for name in ("input_ids", "labels")})
    if same_order:
        lengths = [len(row["input_ids"]) for row in rows]
        data = data.select(training_order(lengths, settings.batch_size, settings.epochs, settings.seed))
    config = SFTConfig(
        output_dir=str(folder / "trl"),
        num_train_epochs=1 if same_order else settings.epochs,
        train_sampling_strategy="sequential" if same_order else "random",
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.lr or 0.0,
        lr_scheduler_type="constant_with_warmup" if settings.schedule == "constant" else "linear",
        adam_beta2=settings.adam_beta2,
        weight_decay=settings.weight_decay,
        gradient_checkpointing=settings.gradient_checkpointing,
        bf16=False,
        use_cpu=model.device.type == "cpu",
        dataloader_pin_memory=False,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        target_modules="all-linear",
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
    )
    clock = Clock()
    with quiet(logging.WARNING):
        trainer = SFTTrainer(
            model=model,
            args=config,
            train_dataset=data,
            processing_class=loaded.tokenizer,
            peft_config=lora if settings.adapts else None,
            callbacks=[clock],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return clock.seconds


def main() -> None:
    """Measure, and print the rates and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=("full", "lora"), default="lora")
    parser.add_argument("--items", type=int, default=640)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shuffled", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    settings = FinetuneConfig(kind=asked.kind)
    loaded = load(str(bundled()), device="cpu")
    seconds: dict[str, list[Seconds]] = {"ours": [], "same": []} | ({"shuffled": []} if asked.shuffled else {})
    with tempfile.TemporaryDirectory() as place:
        examples = examples_of(loaded, asked.items, Path(place))
        rows = to_rows(loaded.tokenizer, end_of_turn(loaded.model, loaded.tokenizer), examples, settings.max_length)
        tokens = sum(len(row["input_ids"]) for row in rows)
        for repeat in range(asked.repeats):
            folder = Path(place) / str(repeat)
            seconds["ours"].append(ours(loaded, examples, settings, folder))
            for name in list(seconds)[1:]:
                seconds[name].append(theirs(loaded, rows, settings, folder, same_order=name == "same"))
    rates = {name: tokens / statistics.median(wall for wall, _ in runs) for name, runs in seconds.items()}
    ratios = {
        name: [
            statistics.median(other[kind] / mine[kind] for mine, other in zip(seconds["ours"], runs, strict=True))
            for kind in (0, 1)
        ]
        for name, runs in seconds.items()
        if name != "ours"
    }
    if asked.json:
        print(json.dumps({"kind": asked.kind, "tokens": tokens, "tokens_per_s": rates, "ratio": ratios, "s": seconds}))
    else:
        print(f"{asked.kind}, {len(rows)} rows of {tokens:,} tokens, {asked.repeats} repeats:")
        print(", ".join(f"{name} {rate:,.0f} tokens/s" for name, rate in rates.items()))
        for name, (wall, cpu) in ratios.items():
            print(f"ours / TRL, {name} order: {wall:.3f} by wall time, {cpu:.3f} by CPU time")
    raise SystemExit(min(ratios["same"]) < WITHIN)


if __name__ == "__main__":
    main()
