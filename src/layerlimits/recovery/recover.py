"""The command `layerlimits recover`: the parent answers training prompts, the pruned model is finetuned on them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.leaks import check_leaks, items_to_compare
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.prompts import check_chat
from layerlimits.evaluation.store import Store
from layerlimits.models.load import load
from layerlimits.models.locate import check_complete, configuration, fingerprint, layer_count, locate
from layerlimits.models.save import read_recipe
from layerlimits.paths import check_new_folder
from layerlimits.recovery.adapters import adapters_of
from layerlimits.recovery.data import Example, answer_limit, generate_answers, training_prompts
from layerlimits.recovery.finetune import FinetuneConfig, finetune
from layerlimits.types import Sample, Task
from layerlimits.version import __version__

# Called with a stage ("answering" or "finetuning"), how much of it is done, and of how much.
StageProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class RecoverConfig:
    """How the unpruned model's answers are made, and where both models are loaded.

    Args:
        items: how many training prompts.
        max_new_tokens: where an answer is cut; cut answers are not trained on. None: see `answer_limit`.
        chat: whether prompts go through the chat template, as for `AskOptions`; give what will evaluate.
        data_dir: folder of the tasks' benchmark files; the hub if None.
        revision: of the parent, where it is a hub id.
        dtype, device: of both models.
        run: run folder that keeps the answers; if None, one beside `out` that is removed when all is done.
        command: named in the checkpoint's recipe.
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
    """Finetune the pruned folder on the parent's own answers and save it to `out`.

    A killed call resumes when it is made again: answers are in the run folder, checkpoints of the training too.

    Args:
        tasks: their training prompts are asked, evenly, each as its task is asked.
        settings: of the finetuning.
        config: of the answers and of loading.
    Returns:
        "model", "parent", "pruned", "examples", "dropped", "trained_tokens" (answer tokens the loss was taken on, over
        all epochs), "seconds", and what LoRA adapted and what not ("adapted", "not_adapted").
    Raises:
        UserError: `out` is taken; the two models do not belong together (see `check_pair`); training prompts are
            evaluated too; LoRA cannot adapt the architecture; or no answer is finished.
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
    """The parent's finished answers and how many were dropped; the parent leaves memory before the pruned one loads."""
    answered = 0

    def count(responses: int) -> None:
        nonlocal answered
        answered += responses
        if on_progress:
            on_progress("answering", answered, len(prompts))

    with Store(folder) as store:
        loaded = load(parent, revision=config.revision, dtype=config.dtype, device=config.device)
        evaluator = Evaluator(loaded, store, AskOptions(chat=config.chat))
        return generate_answers(evaluator, prompts, max_new_tokens, count)


def check_pair(pruned: str, parent: str, revision: str | None = None, chat: bool | None = None) -> dict[str, Any]:
    """Whether one folder is the other with layers removed, and can be asked so; before any weight loads.

    Returns:
        The start of the recovered model's recipe: the pruned one's, with the fingerprints of both.
    Raises:
        UserError: either is no usable model, layer counts do not fit, the pruned one's recipe names another base,
            their tokenizers differ, or chat is asked for and they have no template.
    """
    small, large = locate(pruned), locate(parent, revision)
    check_complete(small)
    check_complete(large)
    pruned_depth, depth = layer_count(small), layer_count(large)
    if pruned_depth >= depth:
        raise UserError(
            f"{pruned} has {pruned_depth} layers and its parent {parent} has {depth}: nothing was pruned",
            "give the pruned folder first and the unpruned model with --parent",
        )
    recipe = read_recipe(small) or {}
    base = fingerprint(large)
    if recipe.get("base_fingerprint", base) != base:
        raise UserError(
            f"{pruned} was pruned from {recipe.get('base', 'another model')} "
            f"({recipe['base_fingerprint'][:12]}), not from {parent} ({base[:12]})",
            "give with --parent the model it was pruned from, unchanged",
        )
    _check_tokenizers(pruned, small, parent, large)
    check_chat(_tokenizer(large), chat, parent)
    ours = {"made_by": f"layerlimits {__version__}", "parent": parent, "pruned": pruned}
    return {"base": parent, "base_fingerprint": base, "base_layers": depth, **recipe, **ours}


def _check_tokenizers(pruned: str, small: Path, parent: str, large: Path) -> None:
    first, second = _tokenizer(small), _tokenizer(large)
    ours, theirs = first.get_vocab(), second.get_vocab()
    fix = "give the parent the pruned model was made from: its answers are read with the pruned model's tokenizer"
    if ours != theirs:
        shared = len(ours.items() & theirs.items())
        raise UserError(
            f"the tokenizers differ: {pruned} has {len(ours)} tokens, {parent} {len(theirs)}, {shared} are the same",
            fix,
        )
    if first.chat_template != second.chat_template:
        raise UserError(f"the tokenizers differ: {pruned} and {parent} have other chat templates", fix)


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder, trust_remote_code=False, local_files_only=True
    )
    return loaded
