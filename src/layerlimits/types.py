"""The data types that all modules share: small frozen dataclasses."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from layerlimits.sampling import GREEDY as GREEDY
from layerlimits.sampling import Decoding as Decoding

Split = Literal["train", "select", "calibrate", "evaluate"]
Kind = Literal["generation", "choice", "text"]
Outcome = Literal["correct", "wrong", "no_answer", "truncated", "error", "measured"]
FinishReason = Literal["stop", "length", "likelihood", "context"]
AskFormat = Literal["likelihood", "one_token", "free"]
# How LaCo merges layers: as its paper writes it, or as its authors' code computes it.
MergeForm = Literal["paper", "code"]
Continuation = tuple[list[int], list[int]]
# Why a response that reached the limit inside its reasoning is wrong.
TRUNCATED_WHILE_THINKING = "truncated while thinking"
Drafts = Sequence[Sequence[int]] | None
# The removed layers of a variant, in the base model's numbering.
Variant = tuple[int, ...]
Limits = int | Sequence[int]


def content_hash(value: Any, length: int = 16) -> str:
    """The first `length` hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return sha256(text.encode()).hexdigest()[:length]


@dataclass(frozen=True)
class ModelRef:
    """Identifies a model: a folder or hub id, and everything that changes its answers.

    `removed` has layers in the base model's numbering. `base_fingerprint` is a hash of the weights, the configuration
    and the tokenizer of the checkpoint, so that a changed file under the same path counts as another model.
    """

    path: str
    base_fingerprint: str
    revision: str | None = None
    removed: tuple[int, ...] = ()
    dtype: str = "float32"

    @property
    def fingerprint(self) -> str:
        """The key of this model in a run; it does not depend on the path."""
        return content_hash([self.base_fingerprint, sorted(self.removed), self.dtype])

    def without(self, removed: tuple[int, ...]) -> "ModelRef":
        """The same checkpoint with these layers removed instead of its own."""
        return ModelRef(self.path, self.base_fingerprint, self.revision, tuple(sorted(removed)), self.dtype)


@dataclass(frozen=True)
class Window:
    """How a document is read: at most `length` tokens at a time, of which all but the first window predict the last
    `stride` ones.
    """

    length: int
    stride: int


@dataclass(frozen=True)
class Sample:
    """One item of a task, identified by a hash of its content.

    Args:
        prompt: the question, as a user would ask it.
        target: the correct answer, in the form the scorer compares with.
        split: what the item may be used for.
        choices: the options of a choice task.
        meta: further values for scorers and reports; `set` is the part of the benchmark, and `question` the question
            alone if the prompt also contains instructions.
        shown: the answer as shown in a few-shot example; the target if empty.
        shots: few-shot examples before it, as (prompt, answer).
        pairs: (context, continuation) of each choice, if the benchmark defines them; a context is a text, or chat
            messages for the model's template.
        rows: (context, continuation) as token ids of each choice, for probes, which are made of stored answers.
        origin: the item of which this one is another form.
        window: how the prompt is read if it is a document whose own likelihood is measured.
    """

    prompt: str
    target: str
    split: Split
    choices: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    shown: str = ""
    shots: tuple[tuple[str, str], ...] = ()
    pairs: tuple[tuple[str | list[dict[str, str]], str], ...] = ()
    rows: tuple[Continuation, ...] = ()
    origin: "Sample | None" = None
    window: Window | None = None

    @property
    def id(self) -> str:
        """Content hash of the question and its options, the same under every protocol."""
        return self.origin.id if self.origin else content_hash([self.prompt, sorted(self.choices)])

    @property
    def question(self) -> str:
        """The text that must not appear in two splits: the question without options, instructions or examples."""
        return self.origin.question if self.origin else str(self.meta.get("question") or self.prompt)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The examples and the prompt as chat messages."""
        turns = [turn for question, answer in self.shots for turn in (("user", question), ("assistant", answer))]
        return [{"role": role, "content": text} for role, text in (*turns, ("user", self.prompt))]


@dataclass(frozen=True)
class Text:
    """Token ids; predictions of the tokens from `start` on count. The first token is never predicted."""

    ids: tuple[int, ...]
    start: int = 1

    @property
    def predicted(self) -> int:
        """Number of tokens whose predictions count."""
        return max(0, len(self.ids) - self.start)


@dataclass(frozen=True)
class Response:
    """A model's response, unchanged. `logprobs` has one log-likelihood per choice in nats, if computed.

    `finish` is the reason why it ended: "stop" at an end token, "length" at the token limit, "likelihood" if choices
    were scored by likelihood, "context" if the prompt left no room for an answer and the model was not run.
    """

    text: str
    tokens: tuple[int, ...]
    finish: FinishReason
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """A scorer's verdict on a response: `value` in 0..1, the extracted `answer`, and the reason in a few words (`why`).

    The value of a document is its negative log-likelihood in nats.

    `strict` is the value if only answers in the requested format count; None if a task has only one way of scoring.
    `measures` has further values in 0..1 by name, such as acc_norm.
    """

    outcome: Outcome
    value: float
    answer: str = ""
    why: str = ""
    strict: float | None = None
    measures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A set of samples and a scorer for responses. Each file in `tasks/` exports one.

    Args:
        name: the file's name.
        version: incremented when prompts or the meaning of scores change; all responses are then computed again.
        kind: generation, choice among `Sample.choices` by likelihood, or text: the likelihood of documents, which is
            no score between 0 and 1 and enters no mean over tasks.
        samples: (split, limit, data folder or None) -> the first `limit` samples, always in the same order.
        score: the verdict on a response.
        max_new_tokens: maximum length of a generated answer. A truncated response without an answer gets the verdict
            `truncated`.
        chance: expected score of guessing, for chance-corrected retention.
        metric: name of the mean of `Verdict.value`.
        summary: one line of description.
        scorer: incremented when scoring changes; stored responses are then scored again.
        score_all: (samples, responses, unsafe) -> verdicts, if scoring many responses together is faster. Only tasks
            that run programs written by a model have it; `unsafe` runs them without a sandbox.
        protocol: how the items are asked; see `tasks/_protocols.py`.
        shots: number of few-shot examples before each item.
        letters: whether other protocols list the choices with letters; otherwise they show only the question.
        numeric: the target is a number, so that wrong choices can be generated.
        variant: (shots, chat) -> the same task with this number of examples, with or without the chat template, if the
            benchmark defines the format; None if examples are chat turns before the prompt.
        chat: whether prompts go through the model's chat template; None leaves it to the evaluator.
        exact_limit: `max_new_tokens` is not raised for models that reason before they answer.
        configure: (task, options by name) -> the same task with options, if it has any besides shots.
    """

    name: str
    version: int
    kind: Kind
    samples: Callable[[Split, int, Path | None], list[Sample]]
    score: Callable[[Sample, Response], Verdict]
    max_new_tokens: int = 0
    chance: float = 0.0
    metric: str = "accuracy"
    summary: str = ""
    scorer: int = 1
    score_all: Callable[[Sequence[Sample], Sequence[Response], bool], list[Verdict]] | None = None
    protocol: AskFormat | None = None
    shots: int = 0
    letters: bool = True
    numeric: bool = False
    variant: "Callable[[int, bool], Task] | None" = None
    chat: bool | None = None
    exact_limit: bool = False
    configure: "Callable[[Task, Mapping[str, str]], Task] | None" = None

    @property
    def asked(self) -> AskFormat:
        """The protocol in use: `protocol`, or by default "free" for generation, else "likelihood"."""
        return self.protocol or ("free" if self.generates else "likelihood")

    @property
    def generates(self) -> bool:
        """Whether answers are generated; otherwise likelihoods are computed."""
        return self.kind == "generation"


@dataclass(frozen=True)
class Ranking:
    """A method's ranking of the layers, in the base model's numbering.

    `scores` has one entry per layer, None if the layer is protected or has no score. `order` lists the layers in the
    order of removal. A method that removes blocks has a separate plan for each number of layers in `plans`, and `order`
    is the plan for the requested number. `largest_first` means that layers with large scores are removed first. `used`
    has the ids of the items that the method used, `detail` further results as JSON values.
    """

    method: str
    scores: tuple[float | None, ...]
    order: tuple[int, ...]
    used: tuple[str, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)
    plans: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    largest_first: bool = False
    protected: tuple[int, ...] = ()

    def plan(self, count: int) -> tuple[int, ...]:
        """The first `count` layers to remove, in order; fewer if the method does not find that many."""
        return self.plans.get(count, ()) if self.plans else self.order[:count]


@dataclass(frozen=True)
class PrunePlan:
    """Layers to remove, in the base model's numbering, and how they were chosen.

    `merges` lists the layers that a method merged (LaCo), so that the replacement can repeat it. `replacement` names
    the method that compensates for the removed layers, and `filling` its results.
    """

    removed: tuple[int, ...]
    layers: int
    method: str = "listed"
    scores: tuple[float | None, ...] = ()
    protected: tuple[int, ...] = ()
    calibration: tuple[str, ...] = ()
    merges: tuple[tuple[int, tuple[int, ...]], ...] = ()
    replacement: str = "none"
    filling: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kept_layers(self) -> tuple[int, ...]:
        """The layers that are not removed, ascending."""
        return tuple(layer for layer in range(self.layers) if layer not in self.removed)


@dataclass(frozen=True)
class Estimate:
    """An estimate with its 95% interval, and the number of items it is based on."""

    estimate: float
    low: float
    high: float
    n: int
