"""The command `layerlimits recover`: the parent answers training prompts, the pruned model is finetuned on them."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from layerlimits import __version__
from layerlimits.errors import UserError
from layerlimits.evaluate import Evaluator
from layerlimits.models.load import Loaded, load
from layerlimits.models.locate import check_complete, fingerprint, layer_count, locate
from layerlimits.models.save import read_recipe
from layerlimits.paths import check_writable
from layerlimits.recovery.data import Example, answer, check_disjoint, training_prompts
from layerlimits.recovery.finetune import Finetune, finetune
from layerlimits.store import Store
from layerlimits.types import Sample, Task

# Evaluation items of each task that the training prompts are compared with; the splits are disjoint by construction,
# so the first ones would tell a task whose are not.
_COMPARED = 1000

# Called with a stage ("answering" or "finetuning"), how much of it is done, and of how much.
StageProgress = Callable[[str, int, int], None]


def recover(
    pruned: str,
    parent: str,
    out: Path,
    *,
    tasks: Sequence[Task],
    limit: int,
    settings: Finetune,
    max_new_tokens: int = 256,
    data_dir: Path | None = None,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    run: Path | None = None,
    command: str = "",
    progress: StageProgress | None = None,
) -> dict[str, Any]:
    """Finetune the pruned folder on the parent's own answers and save it to `out`.

    A killed call resumes when it is made again: answers are in the run folder, checkpoints of the training too.

    Args:
        tasks: their training prompts are asked, evenly.
        limit: how many prompts.
        max_new_tokens: where an answer is cut; cut answers are not trained on.
        revision: of the parent, where it is a hub id.
        run: run folder, kept; by default one beside `out` that is removed when all is done.
    Returns:
        "model", "parent", "pruned", "examples", "dropped", "trained_tokens" (answer tokens the loss was taken on, over
        all epochs) and "seconds".
    Raises:
        UserError: `out` is taken; the two models do not belong together (see `check_pair`); training prompts are
            evaluated too; or no answer is finished.
    """
    began = time.perf_counter()
    out = out.expanduser().resolve()
    check_writable(out, empty=True)
    about = check_pair(pruned, parent, revision)
    prompts = training_prompts(tasks, limit, data_dir)
    check_disjoint(prompts, [sample for task in tasks for sample in task.samples("evaluate", _COMPARED, data_dir)])
    folder = run or out.with_name(f".{out.name}.run")

    def load_parent() -> Loaded:
        return load(parent, revision=revision, dtype=dtype, device=device)

    examples, dropped = _answers(load_parent, prompts, max_new_tokens, folder, progress)
    finetune(
        load(pruned, dtype=dtype, device=device),
        (),
        examples,
        settings,
        folder / "finetune",
        out,
        {**about, "answers_dropped": dropped, "max_new_tokens": max_new_tokens, "command": command},
        (lambda done, total: progress("finetuning", done, total)) if progress else None,
    )
    if run is None:
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
    }


def _answers(
    load_parent: Callable[[], Loaded],
    prompts: list[Sample],
    max_new_tokens: int,
    folder: Path,
    progress: StageProgress | None,
) -> tuple[list[Example], int]:
    """The parent's finished answers and how many were dropped; the parent leaves memory before the pruned one loads."""
    done = 0

    def tick(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress("answering", done, len(prompts))

    with Store(folder) as store:
        return answer(Evaluator(load_parent(), store), prompts, max_new_tokens, tick)


def check_pair(pruned: str, parent: str, revision: str | None = None) -> dict[str, Any]:
    """Whether one folder is the other with layers removed; before any weight loads.

    Returns:
        The start of the recovered model's recipe: the pruned one's, with the fingerprints of both.
    Raises:
        UserError: either is no usable model, layer counts do not fit, the pruned one's recipe names another base, or
            their tokenizers differ.
    """
    small, large = locate(pruned), locate(parent, revision)
    check_complete(small)
    check_complete(large)
    kept, depth = layer_count(small), layer_count(large)
    if kept >= depth:
        raise UserError(
            f"{pruned} has {kept} layers and its parent {parent} has {depth}: nothing was pruned",
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
