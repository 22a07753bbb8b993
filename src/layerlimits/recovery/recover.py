"""The command `layerlimits recover`: finetune a pruned model on answers to training prompts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch

from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.lock import writing
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.prompts import encode
from layerlimits.evaluation.store import Store
from layerlimits.models.load import load, pick_device, read_tokenizer
from layerlimits.models.locate import configuration, locate
from layerlimits.models.save import read_recipe
from layerlimits.paths import check_new_folder
from layerlimits.recovery.adapters import adapters_of
from layerlimits.recovery.answers import AnswerFilter, Answers, generate_answers, own_answers
from layerlimits.recovery.context import CurvePlan, TrainingContext
from layerlimits.recovery.data import answer_limit
from layerlimits.recovery.exporting import check_export, export_examples
from layerlimits.recovery.finetune import finetune
from layerlimits.recovery.pairing import check_pair
from layerlimits.recovery.preflight import check_lengths, check_settings
from layerlimits.recovery.selection import heldout_split, scores_on
from layerlimits.recovery.settings import FinetuneConfig
from layerlimits.recovery.sources import RecoverConfig, Selection, check_sources, prompts_of, selection_items
from layerlimits.types import Sample, Task

# Called with the stage ("answering" or "finetuning"), the completed amount, and the total.
StageProgress = Callable[[str, float, int], None]

# Folder of the checkpoints in the run folder, and of the evaluation while training.
_WORK, _CURVE = "finetune", "curve"


def recover(
    pruned: str,
    parent: str,
    out: Path,
    tasks: Sequence[Task],
    settings: FinetuneConfig,
    config: RecoverConfig,
    on_progress: StageProgress | None = None,
) -> dict[str, Any]:
    """Finetune the pruned checkpoint on answers to training prompts and save it to `out`.

    An interrupted call resumes when it is repeated: the run folder contains the answers and the training checkpoints.

    Args:
        pruned: Folder of the pruned checkpoint.
        parent: Folder or Hub id of the unpruned model.
        out: Folder of the finetuned checkpoint.
        tasks: Tasks whose training prompts are used, in equal parts and in the format of the task, and on whose
            selection items the model is evaluated while it trains.
        settings: Finetuning settings.
        config: Settings of the data and of the evaluation.
        on_progress: Called with the stage, the completed amount, and the total.
    Returns:
        "model", "parent", "pruned", "objective", "examples", "dropped", "dropped_by_reason", "trained_tokens" (number
        of answer tokens in the loss, over all epochs), "seconds", the weights that LoRA adapts and does not adapt
        ("adapted", "not_adapted"), and the points of the curve ("curve") with the trained tokens of the one that was
        saved ("best_tokens").
    Raises:
        UserError: `out` already exists; the models do not belong together (see `check_pair`); training prompts occur in
            evaluation or selection items; no prompt leaves room for an answer; the machine or the model does not
            support a setting; or no answer can be used.
    """
    began = time.perf_counter()
    check_new_folder(out)
    out = out.expanduser().resolve()
    about = check_pair(pruned, parent, config.revision, config.chat)
    folder = config.run or out.with_name(f".{out.name}.run")
    export = check_export(config.save_answers, resumes=folder.exists()) if config.save_answers else None
    check_sources(settings, config)
    check_settings(settings, pick_device(config.device))
    if settings.adapts:
        adapters_of(configuration(locate(pruned)), settings.lora_targets)
    kept = AnswerFilter(config.keep_truncated, tuple(tasks) if config.correct_only else (), config.unsafe)
    selection = selection_items(tasks, config)
    prompts = prompts_of(tasks, config, selection)
    tokenizer = read_tokenizer(locate(pruned))
    check_lengths([len(encode(tokenizer, prompt, config.chat).ids) for prompt in prompts], settings.max_length)
    longest = answer_limit(tasks) if config.max_new_tokens is None else config.max_new_tokens
    work = _Work(pruned, parent, settings, config, folder, on_progress)
    with writing(folder):
        answers = work.own(prompts) if settings.objective == "own" else work.generated(prompts, longest, kept)
        if export:
            work.export(export, answers, about["base_fingerprint"])
        data = {"answers_dropped": dict(answers.counts), "max_new_tokens": longest, "command": config.command}
        used = work.finetuned(answers, selection, out, {**about, **data})
    if config.run is None:
        rmtree(folder)
    trained = (read_recipe(out) or {})["finetune"]
    too_long = used - trained["examples"]
    return {
        "model": str(out),
        "parent": parent,
        "pruned": pruned,
        "objective": settings.objective,
        "examples": trained["examples"],
        # Too long for the model or for `max_length`, truncated, empty or wrong.
        "dropped": answers.dropped + too_long,
        "dropped_by_reason": {**answers.counts, **({"too long": too_long} if too_long else {})},
        "trained_tokens": trained["trained_tokens"],
        "seconds": round(time.perf_counter() - began, 3),
        "adapted": trained.get("lora", {}).get("adapted", []),
        "not_adapted": trained.get("lora", {}).get("not_adapted", []),
        "curve": trained.get("curve", []),
        "best_tokens": trained.get("best_tokens"),
    }


@dataclass(frozen=True)
class _Work:
    """The steps of a recovery, each with only the models in memory that it needs."""

    pruned: str
    parent: str
    settings: FinetuneConfig
    config: RecoverConfig
    folder: Path
    on_progress: StageProgress | None

    def generated(self, prompts: list[Sample], max_new_tokens: int, kept: AnswerFilter) -> Answers:
        """The parent's answers."""
        config, answered = self.config, 0.0
        total = len(prompts) * config.draws

        def count(responses: float) -> None:
            nonlocal answered
            answered += responses
            if self.on_progress:
                self.on_progress("answering", answered, total)

        with Store(self.folder) as store:
            loaded = load(self.parent, revision=config.revision, dtype=config.dtype, device=config.device)
            evaluator = Evaluator(loaded, store, AskOptions(chat=config.chat, decoding=config.decoding))
            return generate_answers(evaluator, prompts, max_new_tokens, count, config.draws, kept)

    def own(self, prompts: list[Sample]) -> Answers:
        """The answers that the prompts come with. The evaluator encodes them with the date of the run folder."""
        config = self.config
        with Store(self.folder) as store:
            loaded = load(self.pruned, dtype=config.dtype, device=config.device)
            evaluator = Evaluator(loaded, store, AskOptions(chat=config.chat))
            return own_answers(evaluator, prompts)

    def export(self, file: Path, answers: Answers, fingerprint: str) -> None:
        """Write the training examples."""
        own = self.settings.objective == "own"
        decodings = [] if own else [self.config.decoding.name(draw) for draw in range(self.config.draws)]
        origin = {"objective": self.settings.objective, "model": None if own else fingerprint}
        export_examples(file, answers.examples, origin, decodings)

    def finetuned(self, answers: Answers, selection: Selection, out: Path, about: dict[str, Any]) -> int:
        """Finetune the pruned model; returns the number of examples for training."""
        config, settings, examples = self.config, self.settings, answers.examples
        loaded = load(self.pruned, dtype=config.dtype, device=config.device)
        on_cpu = loaded.model.device.type == "cpu"
        if settings.processes > 1:
            # The processes read it themselves, and need the memory of the GPU.
            loaded.model.to(torch.device("cpu"))  # type: ignore[arg-type]  # transformers hides the types of `to`
            torch.cuda.empty_cache()
        teacher = None
        if settings.objective == "distill":
            teacher = load(self.parent, revision=config.revision, dtype=config.dtype, device=config.device).model
        curve = None
        if config.milestones:
            examples, heldout = heldout_split(examples)
            place = self.folder / _WORK / _CURVE
            scores = scores_on(selection, loaded, place, AskOptions(chat=config.chat, unsafe=config.unsafe))
            curve = CurvePlan(heldout, config.milestones, scores)
        report = self.on_progress
        on_step = (lambda done, steps: report("finetuning", done, steps)) if report else None
        context = TrainingContext(on_step, curve, teacher, settings.processes, on_cpu)
        finetune(loaded, (), examples, settings, self.folder / _WORK, out, about, context)
        return len(examples)
