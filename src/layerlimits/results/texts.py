"""Perplexities of documents: of the unpruned model and of others, which are compared with it on the same documents.

A perplexity is no score between 0 and 1, so that it enters no retention and no mean over tasks. What a pruned model
loses is its perplexity divided by the unpruned model's, paired by document.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp

from layerlimits.evaluation.artifacts import Plan, RecoveredRecord, TaskRecord
from layerlimits.results.stored_answers import StoredAnswers
from layerlimits.statistics.rates import rate
from layerlimits.types import Estimate

# A larger logarithm has no finite exponential.
_MOST_NATS = 700.0


@dataclass(frozen=True)
class TextScore:
    """The perplexity of a model on the documents of a task.

    Args:
        task: Name of the task.
        model: "unpruned", or what was removed and by which method.
        stage: The stage of a study that measured it: base, sweep, prune or recover.
        removed: The removed layers.
        documents, tokens, words, bytes: Sizes of the texts; words are separated by white space, bytes are of UTF-8.
        window, stride: How the documents were read, in tokens.
        loss: Negative log-likelihood in nats per token.
        perplexity: exp(loss), per token; None if it is too large for a number.
        word_perplexity, byte_perplexity: The same per word and per byte, which models with different tokenizers can be
            compared by.
        relative: Perplexity divided by that of the unpruned model (of `compare`: of the first model); per token, or per
            byte if the tokenizers differ. None for the unpruned model, or if it is too large for a number.
    """

    task: str
    model: str
    stage: str
    removed: tuple[int, ...]
    documents: int
    tokens: int
    words: int
    bytes: int
    window: int
    stride: int
    loss: Estimate
    perplexity: Estimate | None
    word_perplexity: Estimate | None
    byte_perplexity: Estimate | None
    relative: Estimate | None = None


@dataclass(frozen=True)
class TextModel:
    """A model whose perplexities are stored.

    Args:
        label: Its name in results.
        fingerprint: Its key in the run folder.
        stage: The stage that measured it.
        removed: The removed layers.
    """

    label: str
    fingerprint: str
    stage: str
    removed: tuple[int, ...] = ()


def base_model(answers: StoredAnswers) -> TextModel:
    """The unpruned model."""
    return TextModel("unpruned", answers.fingerprint(()), "base")


def layer_models(answers: StoredAnswers, layers: Sequence[int]) -> list[TextModel]:
    """The models without one layer."""
    return [TextModel(f"without layer {layer}", answers.fingerprint((layer,)), "sweep", (layer,)) for layer in layers]


def study_models(
    answers: StoredAnswers, depth: int, plans: Sequence[Plan], recovered: Sequence[RecoveredRecord]
) -> list[TextModel]:
    """All models of a study."""
    models = [base_model(answers), *layer_models(answers, range(depth))]
    for plan in plans:
        label, removed = f"{_layers(plan)} removed by {plan['method']}", tuple(plan["removed"])
        models.append(TextModel(label, answers.fingerprint(removed), "prune", removed))
    for record in recovered:
        label = f"{_layers(record)} removed by {record['method']}, finetuned ({record['name']})"
        models.append(TextModel(label, record["fingerprint"], "recover", tuple(record["removed"])))
    return models


def _layers(plan: Plan) -> str:
    return "1 layer" if plan["layers"] == 1 else f"{plan['layers']} layers"


def text_scores(answers: StoredAnswers, models: Sequence[TextModel]) -> tuple[TextScore, ...]:
    """The perplexities of models on every task, the first model first; models with missing documents are omitted."""
    return tuple(row for task in answers.texts for row in _of_task(answers, task, models))


def _of_task(answers: StoredAnswers, task: TaskRecord, models: Sequence[TextModel]) -> Iterator[TextScore]:
    for model in models:
        # Finetuned models are measured on what the pruned ones are.
        measured = answers.at("prune" if model.stage == "recover" else model.stage)
        cut = next((record for record in measured.texts if record["name"] == task["name"]), None)
        if cut is None or (nats := measured.values(model.fingerprint, cut)) is None:
            continue
        base = None if model is models[0] else measured.values(models[0].fingerprint, cut)
        sizes = [cut["documents"][item] for item in cut["ids"]]
        yield text_score(model, cut, nats, sizes, base)


def text_score(
    model: TextModel,
    task: TaskRecord,
    nats: Sequence[float],
    sizes: Sequence[Sequence[int]],
    base: Sequence[float] | None,
    base_sizes: Sequence[Sequence[int]] | None = None,
) -> TextScore:
    """The perplexity of a model on some documents.

    Args:
        model: The model.
        task: The record of the task.
        nats: Negative log-likelihood of each document.
        sizes: Tokens, words and bytes of each document.
        base: Negative log-likelihoods of the model that it is compared with; None if it is compared with none.
        base_sizes: Sizes of the documents for that model, if it may have another tokenizer.
    """
    tokens, words, bytes_ = (list(column) for column in zip(*sizes, strict=True))
    window, stride = task["window"]
    loss = rate(nats, tokens)
    relative = None
    if base is not None:
        same = base_sizes is None or [size[0] for size in base_sizes] == tokens
        more = [one - other for one, other in zip(nats, base, strict=True)]
        relative = _exponential(rate(more, tokens if same else bytes_))
    return TextScore(
        task=task["name"],
        model=model.label,
        stage=model.stage,
        removed=model.removed,
        documents=len(nats),
        tokens=sum(tokens),
        words=sum(words),
        bytes=sum(bytes_),
        window=window,
        stride=stride,
        loss=loss,
        perplexity=_exponential(loss),
        word_perplexity=_exponential(rate(nats, words)),
        byte_perplexity=_exponential(rate(nats, bytes_)),
        relative=relative,
    )


def _exponential(figure: Estimate) -> Estimate | None:
    """Exp of an estimate and its bounds; None if one is too large for a number."""
    if max(figure.estimate, figure.high) > _MOST_NATS:
        return None
    return Estimate(exp(figure.estimate), exp(figure.low), exp(figure.high), figure.n)


def perplexity_sentences(rows: Sequence[TextScore]) -> list[str]:
    """How much the fewest removed layers raise the perplexity of each set of documents, by the best method."""
    sentences = []
    for task in dict.fromkeys(row.task for row in rows):
        pruned = [row for row in rows if row.task == task and row.stage == "prune" and row.relative]
        fewest = [row for row in pruned if len(row.removed) == min(len(other.removed) for other in pruned)]
        if not fewest:
            continue
        best = min(fewest, key=lambda row: row.relative.estimate if row.relative else 0.0)
        assert best.relative is not None
        share = best.relative
        sentences.append(
            f"The perplexity of {task} is {share.estimate:.3g} times that of the unpruned model ({share.low:.3g} to "
            f"{share.high:.3g}, n = {share.n} documents) with {best.model}."
        )
    return sentences
