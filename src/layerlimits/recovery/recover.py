"""The command `layerlimits recover`: finetune a pruned model on its parent's answers to training prompts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.leaks import check_leaks, items_to_compare
from layerlimits.evaluation.lock import writing
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.prompts import check_chat
from layerlimits.evaluation.store import Store
from layerlimits.models.load import load, read_tokenizer
from layerlimits.models.locate import check_complete, configuration, fingerprint, layer_count, locate
from layerlimits.models.save import read_recipe
from layerlimits.paths import check_new_folder
from layerlimits.recovery.adapters import adapters_of
from layerlimits.recovery.data import Example, answer_limit, generate_answers, training_prompts
from layerlimits.recovery.finetune import FinetuneConfig, finetune
from layerlimits.types import Sample, Task
from layerlimits.version import __version__

# Called with the stage ("answering" or "finetuning"), the completed amount, and the total.
StageProgress = Callable[[str, float, int], None]


@dataclass(frozen=True)
class RecoverConfig:
    """Settings for generating the unpruned model's answers and for loading both models.

    Args:
        items: Number of training prompts.
        max_new_tokens: Maximum length of an answer; truncated answers are not used for training. None: see
            `answer_limit`.
        chat: Whether to apply the chat template, as in `AskOptions`; use the same value as for evaluation.
        data_dir: Folder with the tasks' benchmark files; None downloads them from the Hugging Face Hub.
        revision: Revision of the parent, if it is a Hub id.
        dtype, device: Number type and device of both models.
        run: Run folder that stores the answers; None uses a temporary folder next to `out`.
        command: Command line to record in the checkpoint's recipe.
    """

    items: int = 1000
    max_new_tokens: int | None = None
    chat: bool | None = None
    data_dir: Path | None = None
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    run: Path | None = None
    command: str = ""


def recover(
    pruned: str,
    parent: str,
    out: Path,
    tasks: Sequence[Task],
    settings: FinetuneConfig,
    config: RecoverConfig,
    on_progress: StageProgress | None = None,
) -> dict[str, Any]:
    """Finetune the pruned checkpoint on the parent's own answers and save it to `out`.

    An interrupted call resumes when it is repeated: the run folder contains the answers and the training checkpoints.

    Args:
        pruned: Folder of the pruned checkpoint.
        parent: Folder or Hub id of the unpruned model.
        out: Folder of the finetuned checkpoint.
        tasks: Tasks whose training prompts are used, in equal parts and in the format of the task.
        settings: Finetuning settings.
        config: Settings for generating answers and for loading.
        on_progress: Called with the stage, the completed amount, and the total.
    Returns:
        "model", "parent", "pruned", "examples", "dropped", "trained_tokens" (number of answer tokens in the loss, over
        all epochs), "seconds", and the weights that LoRA adapts and does not adapt ("adapted", "not_adapted").
    Raises:
        UserError: `out` already exists; the models do not belong together (see `check_pair`); training prompts occur in
            evaluation items; LoRA does not support the architecture; or no answer is finished.
    """
    began = time.perf_counter()
    check_new_folder(out)
    out = out.expanduser().resolve()
    about = check_pair(pruned, parent, config.revision, config.chat)
    prompts = training_prompts(tasks, config.items, config.data_dir)
    check_leaks("training prompts", [prompt.question for prompt in prompts], items_to_compare(tasks, config.data_dir))
    if settings.kind == "lora":
        adapters_of(configuration(locate(pruned)))
    longest = answer_limit(tasks) if config.max_new_tokens is None else config.max_new_tokens
    folder = config.run or out.with_name(f".{out.name}.run")
    with writing(folder):
        examples, dropped = _answers(parent, prompts, longest, folder, config, on_progress)
        finetune(
            load(pruned, dtype=config.dtype, device=config.device),
            (),
            examples,
            settings,
            folder / "finetune",
            out,
            {**about, "answers_dropped": dropped, "max_new_tokens": longest, "command": config.command},
            (lambda done, total: on_progress("finetuning", done, total)) if on_progress else None,
        )
    if config.run is None:
        rmtree(folder)
    trained = (read_recipe(out) or {})["finetune"]
    return {
        "model": str(out),
        "parent": parent,
        "pruned": pruned,
        "examples": trained["examples"],
        "dropped": dropped + len(examples) - trained["examples"],
        "trained_tokens": trained["trained_tokens"],
        "seconds": round(time.perf_counter() - began, 3),
        "adapted": trained.get("lora", {}).get("adapted", []),
        "not_adapted": trained.get("lora", {}).get("not_adapted", []),
    }


def _answers(
    parent: str,
    prompts: list[Sample],
    max_new_tokens: int,
    folder: Path,
    config: RecoverConfig,
    on_progress: StageProgress | None,
) -> tuple[list[Example], int]:
    """The parent's finished answers and the number dropped; the parent is freed before the pruned model loads."""
    answered = 0.0

    def count(responses: float) -> None:
        nonlocal answered
        answered += responses
        if on_progress:
            on_progress("answering", answered, len(prompts))

    with Store(folder) as store:
        loaded = load(parent, revision=config.revision, dtype=config.dtype, device=config.device)
        evaluator = Evaluator(loaded, store, AskOptions(chat=config.chat))
        return generate_answers(evaluator, prompts, max_new_tokens, count)


def check_pair(pruned: str, parent: str, revision: str | None = None, chat: bool | None = None) -> dict[str, Any]:
    """Check that `pruned` is `parent` with layers removed and that both support `chat`, before loading weights.

    Returns:
        The start of the recovered model's recipe: the recipe of the pruned model, with the fingerprint of the parent.
    Raises:
        UserError: Either is not a usable model, the layer counts do not match, the recipe of the pruned model names
            another base model, the tokenizers differ, or `chat` is set but there is no chat template.
    """
    small, large = locate(pruned), locate(parent, revision)
    check_complete(small)
    check_complete(large)
    pruned_depth, depth = layer_count(small), layer_count(large)
    if pruned_depth >= depth:
        raise UserError(
            f"{pruned} has {pruned_depth} layers and its parent {parent} has {depth}, so no layer was removed",
            "pass the pruned model first, and the unpruned model as parent (--parent)",
        )
    recipe = read_recipe(small) or {}
    base = fingerprint(large)
    if recipe.get("base_fingerprint", base) != base:
        raise UserError(
            f"{pruned} was pruned from {recipe.get('base', 'another model')} "
            f"({recipe['base_fingerprint'][:12]}), not from {parent} ({base[:12]})",
            "set the parent (--parent) to the unchanged model that it was pruned from",
        )
    _check_tokenizers(pruned, small, parent, large)
    check_chat(read_tokenizer(large), chat, parent)
    ours = {"made_by": f"layerlimits {__version__}", "parent": parent, "pruned": pruned}
    return {"base": parent, "base_fingerprint": base, "base_layers": depth, **recipe, **ours}


def _check_tokenizers(pruned: str, small: Path, parent: str, large: Path) -> None:
    first, second = read_tokenizer(small), read_tokenizer(large)
    ours, theirs = first.get_vocab(), second.get_vocab()
    fix = "set the parent (--parent) to the model that was pruned; both must use the same tokenizer"
    if ours != theirs:
        shared = len(ours.items() & theirs.items())
        raise UserError(
            f"the tokenizers differ: {pruned} has {len(ours)} tokens, {parent} has {len(theirs)}; {shared} are shared",
            fix,
        )
    if first.chat_template != second.chat_template:
        raise UserError(f"the tokenizers differ: {pruned} and {parent} have different chat templates", fix)
