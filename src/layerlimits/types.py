"""The nouns of the project: small frozen records that every other module passes around."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from layerlimits.sampling import GREEDY as GREEDY
from layerlimits.sampling import Decoding as Decoding

Split = Literal["train", "select", "calibrate", "evaluate"]
Kind = Literal["generation", "choice"]
Outcome = Literal["correct", "wrong", "no_answer", "truncated", "error"]
FinishReason = Literal["stop", "length", "likelihood", "context"]
Protocol = Literal["likelihood", "one_token", "free"]
Continuation = tuple[list[int], list[int]]
Drafts = Sequence[Sequence[int]] | None
# The layers that a variant of a model lacks, in the base model's numbering.
Variant = tuple[int, ...]
Limits = int | Sequence[int]


def content_hash(value: Any, length: int = 16) -> str:
    """The first `length` hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return sha256(text.encode()).hexdigest()[:length]


@dataclass(frozen=True)
class ModelRef:
    """Which model answers: a folder or hub id and everything that changes an answer.

    `removed` counts in the base model's numbering. `base_fingerprint` hashes the weights, the configuration and the
    tokenizer of the checkpoint, so a changed file under the same path is another model.
    """

    path: str
    base_fingerprint: str
    revision: str | None = None
    removed: tuple[int, ...] = ()
    dtype: str = "float32"

    @property
    def fingerprint(self) -> str:
        """The key of this model in a run: equal if and only if its answers are, whatever path it lies under."""
        return content_hash([self.base_fingerprint, sorted(self.removed), self.dtype])

    def without(self, removed: tuple[int, ...]) -> "ModelRef":
        """The same checkpoint with these layers removed instead."""
        return ModelRef(self.path, self.base_fingerprint, self.revision, tuple(sorted(removed)), self.dtype)


@dataclass(frozen=True)
class Sample:
    """One item of a task. `id` hashes the content, so the same item is known wherever it turns up.

    Args:
        prompt: the question, as a user would put it.
        target: the right answer, as the scorer reads it.
        split: what the item may be used for.
        choices: the options of a choice task.
        meta: what a scorer or a report wants to know beside; `set` names the part of the benchmark it belongs to, and
            `question` is the question alone where the prompt says more, such as how to answer.
        shown: the answer as an example shows it to a model; the target if empty.
        shots: examples asked before it, as (prompt, answer).
        pairs: (context, continuation) of each choice where the benchmark says how its likelihood is asked; a context is
            a text, or chat messages for the model's template.
        origin: the item that this one asks in another way.
    """

    prompt: str
    target: str
    split: Split
    choices: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    shown: str = ""
    shots: tuple[tuple[str, str], ...] = ()
    pairs: tuple[tuple[str | list[dict[str, str]], str], ...] = ()
    origin: "Sample | None" = None

    @property
    def id(self) -> str:
        """Content hash of the question with its options, the same however it is asked."""
        return self.origin.id if self.origin else content_hash([self.prompt, sorted(self.choices)])

    @property
    def question(self) -> str:
        """What must not appear in two splits, whatever options, instructions or examples it is asked with."""
        return self.origin.question if self.origin else str(self.meta.get("question") or self.prompt)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The examples and the prompt as a chat."""
        turns = [turn for question, answer in self.shots for turn in (("user", question), ("assistant", answer))]
        return [{"role": role, "content": text} for role, text in (*turns, ("user", self.prompt))]


@dataclass(frozen=True)
class Text:
    """Token ids of which those from `start` on are predicted; the first token of a text never is."""

    ids: tuple[int, ...]
    start: int = 1

    @property
    def predicted(self) -> int:
        """Tokens that count."""
        return max(0, len(self.ids) - self.start)


@dataclass(frozen=True)
class Response:
    """What a model answered, kept as it was. `logprobs` holds one sum a choice, in nats, where asked.

    `finish` tells why it ended: "stop" by itself, "length" at the limit of tokens, "likelihood" where choices were
    weighed, "context" where the prompt leaves no room for an answer, so that nothing was asked.
    """

    text: str
    tokens: tuple[int, ...]
    finish: FinishReason
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What a scorer made of a response: `value` is in 0..1, `answer` what it extracted, `why` in a few words.

    `strict` is the value where only an answer in the form asked for counts; None where a task has only one way.
    `measures` holds further values in 0..1 by name, such as acc_norm.
    """

    outcome: Outcome
    value: float
    answer: str = ""
    why: str = ""
    strict: float | None = None
    measures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A set of samples with a way to score responses; one file in `tasks/` exports one.

    Args:
        name: the file's name.
        version: counted up whenever prompts change, or what a score means: all is asked anew.
        kind: generation, or choice among `Sample.choices` by likelihood.
        samples: (split, limit, data folder or None) -> at most `limit` samples, always the same ones first.
        score: the verdict on a response.
        max_new_tokens: where a generation is cut; being cut is the verdict `truncated` if no answer was found.
        chance: expected score of guessing, for chance-corrected retention.
        metric: what the mean of `Verdict.value` is called.
        summary: one line for people.
        scorer: counted up whenever scoring is mended: kept responses are scored again.
        score_all: (samples, responses, unsafe) -> verdicts, where many are judged quicker together than one by one.
            Only tasks that run programs written by a model have it; `unsafe` lets these run without a sandbox.
        protocol: how the items are asked; see `tasks/_protocols.py`.
        shots: examples asked before each item.
        letters: whether other protocols list the choices with letters; else the question alone is asked.
        numeric: the target is a number, so that choices can be made for it.
        variant: (shots, chat) -> the same task asked with so many examples, through the chat template or not, where the
            benchmark itself says how; None where examples are turns before the prompt.
        chat: whether prompts go through the model's chat template; None leaves it to the evaluator.
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
    protocol: Protocol | None = None
    shots: int = 0
    letters: bool = True
    numeric: bool = False
    variant: "Callable[[int, bool], Task] | None" = None
    chat: bool | None = None

    @property
    def asked(self) -> Protocol:
        """The protocol in force: the one given, else by likelihood for choice and free for generation."""
        return self.protocol or ("likelihood" if self.kind == "choice" else "free")


@dataclass(frozen=True)
class Ranking:
    """What a method says of the layers, in the base model's numbering.

    `scores` has one entry a layer, None where the layer is protected or the method gives none; `order` lists layers,
    first to remove first. A method that removes blocks has a plan of its own for each count in `plans`, and `order` is
    the one for the count asked for. `largest_first` tells that large scores go first. `used` holds the ids of the items
    it looked at, `detail` what else it found, as JSON values.
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
        """The layers to remove if so many go, first to remove first; fewer where the method finds no more."""
        return self.plans.get(count, ()) if self.plans else self.order[:count]


@dataclass(frozen=True)
class PrunePlan:
    """Layers to remove, in the base model's numbering, and where that choice comes from.

    `merges` tells which layers a method merged into which on the way (LaCo), for the replacement to do the same;
    `replacement` what fills the gap, and `filling` what that found.
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
    def kept(self) -> tuple[int, ...]:
        """The layers that stay, ascending."""
        return tuple(layer for layer in range(self.layers) if layer not in self.removed)


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval, and the number of items it rests on."""

    estimate: float
    low: float
    high: float
    n: int
