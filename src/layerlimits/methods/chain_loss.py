"""Loss on the model's own correct worked answers: a proxy for reasoning that needs no generation per layer."""

from collections.abc import Callable

from layerlimits.errors import UserError
from layerlimits.methods import Context, by_score
from layerlimits.methods._losses import restored, stored
from layerlimits.models.losses import losses_without
from layerlimits.types import Ranking, Text, content_hash

# Only generation tasks have worked answers.
NEEDED_KIND = "generation"


def chain_loss(context: Context) -> Ranking:
    """Increase in loss on the model's own correct answers when a layer is skipped; the smallest is removed first.

    C_l = loss(without l) - loss(unpruned),  loss = mean over answer tokens of -ln p(token | prompt and answer so far)

    The unpruned model answers the selection items of the generation tasks greedily, and only correct answers are
    used. Prompt tokens and end-of-sequence tokens do not count.

    Raises:
        UserError: There is no generation task or no correct answer, or a score is not finite.
    Source: this package; see docs/methods.md for a comparison
    Cost: generating the selection items once, then about layers / 2 forward passes over the correct answers
    """
    texts, used = _worked_answers(context)
    protected = context.protected or ()
    free = [layer for layer in range(context.depth) if layer not in protected]
    name = f"chain losses without each of {free} on {content_hash([text.ids for text in texts])}"
    with context.progress(0.5) as report:
        whole, losses = context.cached(name, lambda: _measure(context, texts, free, report))
    if whole is None:
        raise UserError("chain_loss: the loss of the unpruned model is infinite", "use float32 or different tasks")
    without = dict(zip(free, restored(losses), strict=True))
    scores = [without[layer] - whole if layer in without else None for layer in range(context.depth)]
    return by_score("chain_loss", scores, protected, used, {"answers": len(texts), "loss": whole})


def _measure(
    context: Context, texts: list[Text], free: list[int], report: Callable[[float], None]
) -> tuple[float | None, list[float | None]]:
    whole, losses = losses_without(context.model, texts, free, report)
    return stored([whole])[0], stored(losses.values())


def _worked_answers(context: Context) -> tuple[list[Text], list[str]]:
    """The correct answers as texts in which only answer tokens count, and the ids of all evaluated items.

    This is half of the method's work.
    """
    asked = [(task, context.select_items(task)) for task in context.tasks if task.kind == "generation"]
    total = sum(len(samples) for _, samples in asked)
    texts, used = [], []
    with context.progress(0.5) as report:
        for task, samples in asked:
            (verdicts,) = context.verdicts([()], task, samples, lambda count: report(count / total), draws=1)
            responses = context.responses((), task, samples)
            for sample, response, verdict in zip(samples, responses, verdicts, strict=True):
                used.append(sample.id)
                if verdict.outcome == "correct" and response.tokens:
                    prompt = context.prompt_ids(task, sample)
                    texts.append(Text((*prompt, *response.tokens), len(prompt)))
    if not texts:
        names = ", ".join(task.name for task, _ in asked) or "no generation task"
        raise UserError(
            f"chain_loss: the unpruned model has no correct answer among {total} selection items ({names})",
            "use generation tasks that the model can solve, or use more selection items (--items)",
        )
    return texts, used


def evaluations(depth: int, rounds: int) -> float:
    """Only the unpruned model is evaluated."""
    return 1.0


def passes(depth: int, rounds: int) -> float:
    """Passes over the answers, which are about as long as the calibration text."""
    return 1 + depth / 2
