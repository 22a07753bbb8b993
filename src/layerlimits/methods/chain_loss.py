"""The loss on worked answers that the model itself gave and that were right: what reasoning looks like from inside."""

from collections.abc import Callable

from layerlimits.errors import UserError
from layerlimits.methods import Context, by_score
from layerlimits.models.losses import losses_without
from layerlimits.types import Ranking, Text, content_hash

# The kind of task whose answers can be worked out in words.
NEEDED_KIND = "generation"


def chain_loss(context: Context) -> Ranking:
    """Rise in loss on the model's own correct worked answers when a layer is skipped; the smallest rise goes first.

    C_l = loss(without l) - loss(unpruned),  loss = mean over answer tokens of -ln p(token | prompt and answer so far)

    The unpruned model answers the select items of the generation tasks greedily; answers the task judges correct are
    kept. Prompt tokens do not count, nor does the token that ends an answer.

    Raises:
        UserError: no generation task, no correct answer, or a score that is not finite.
    Source: ours; see docs/methods.md for how it compares
    Cost: generating the select items once, then about layers / 2 forward passes over the correct answers
    """
    texts, used = _worked_answers(context)
    protected = context.protected or ()
    free = [layer for layer in range(context.depth) if layer not in protected]
    name = f"chain losses without each of {free} on {content_hash([text.ids for text in texts])}"
    with context.progress(0.5) as report:
        whole, losses = context.cached(name, lambda: _measure(context, texts, free, report))
    without = dict(zip(free, losses, strict=True))
    scores = [without[layer] - whole if layer in without else None for layer in range(context.depth)]
    return by_score("chain_loss", scores, protected, used, {"answers": len(texts), "loss": whole})


def _measure(
    context: Context, texts: list[Text], free: list[int], report: Callable[[float], None]
) -> tuple[float, list[float]]:
    whole, losses = losses_without(context.model, texts, free, report)
    return whole, list(losses.values())


def _worked_answers(context: Context) -> tuple[list[Text], list[str]]:
    """The correct answers as texts of which only the answer counts, and the ids of all items asked.

    Half of the method's work.
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
            f"chain_loss finds no correct answer of the unpruned model among {total} select items ({names})",
            "give generation tasks the model can do, or more --items",
        )
    return texts, used


def evaluations(depth: int, rounds: int) -> float:
    """The unpruned model alone answers."""
    return 1.0


def passes(depth: int, rounds: int) -> float:
    """Over the answers, which are about as long as the calibration text."""
    return 1 + depth / 2
