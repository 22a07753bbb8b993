"""The verdict on the models of a study: judgements, cards and sentences, from stored answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layerlimits.evaluation.artifacts import Artifacts, TaskRecord, TimingRecord
from layerlimits.results import sentences
from layerlimits.results.candidates import Candidate, candidates, paired
from layerlimits.results.commands import commands
from layerlimits.results.figures import median_and_range
from layerlimits.results.judging import Measured, Outcomes, decide, items_needed, measured
from layerlimits.results.requirements import (
    MEAN,
    Outcome,
    Requirement,
    check_targets,
    default_requirements,
)
from layerlimits.results.rows import Recovery
from layerlimits.results.stored_answers import StoredAnswers
from layerlimits.results.verdict import Card, Gain, Judgement, Verdict, WorstTask

_RANK: Mapping[Outcome, int] = {"keeps": 0, "too few items": 1, "fails": 2}


def study_verdict(
    answers: StoredAnswers,
    artifacts: Artifacts,
    requirements: Sequence[Requirement] = (),
    recovery: Sequence[Recovery] = (),
) -> Verdict:
    """Judge the pruned and finetuned models of a study.

    Args:
        answers: The stored answers of the study, all items of all tasks.
        artifacts: What the run folder stores besides responses.
        requirements: What is required; nine tenths of every class if empty.
        recovery: The rows of the finetuned models, for what finetuning has made worse.
    Raises:
        UserError: A requirement names a task or class that is not in the run.
    """
    view = answers.at("prune")
    check_targets(requirements, [(task["name"], task["kind"]) for task in answers.tasks])
    wanted = tuple(requirements) or default_requirements(task["kind"] for task in view.tasks)
    models = candidates(view, artifacts) if is_finished(artifacts) else []
    if not models or not wanted:
        sentence = sentences.no_models_sentence() if is_finished(artifacts) else sentences.unfinished_sentence()
        return Verdict(wanted, is_finished(artifacts), 0, 1, "", None, (), (sentence,))
    study = _Study(view, artifacts, answers.tasks, models)
    # One row per finetuned model, in the order of the records.
    finetuned = artifacts.recovered.values() if recovery else ()
    harms = {record["fingerprint"]: row.harm for record, row in zip(finetuned, recovery, strict=True)}
    return study.verdict(wanted, harms)


def is_finished(artifacts: Artifacts) -> bool:
    """Whether the study with the recorded settings is finished."""
    manifest = artifacts.manifest
    return bool(artifacts.finished) and manifest is not None and artifacts.finished == manifest.get("config")


@dataclass(frozen=True)
class _Study:
    """The models of a finished study, and the tasks on which pruned models are evaluated."""

    answers: StoredAnswers
    artifacts: Artifacts
    every_task: Sequence[TaskRecord]
    models: Sequence[Candidate]

    def verdict(self, requirements: Sequence[Requirement], harms: Mapping[str, str]) -> Verdict:
        """The verdict; `harms` says what finetuning made worse, by fingerprint."""
        least = min(requirement.error for requirement in requirements) / len(self.models)
        targets = {
            model.name: [self._target(model, requirement, least) for requirement in requirements]
            for model in self.models
        }
        outcomes = decide(requirements, targets)
        cards = [self._card(model, requirements, targets[model.name], outcomes, harms) for model in self.models]
        cards.sort(key=lambda card: (_RANK[card.verdict], -card.layers, -card.worst.retention.low if card.worst else 0))
        choice = sentences.choice_sentence(len(cards), outcomes.shared_by)
        best = cards[0].name if cards[0].verdict == "keeps" else None
        text = sentences.verdict_sentences(requirements, cards, choice)
        return Verdict(tuple(requirements), True, len(cards), outcomes.shared_by, choice, best, tuple(cards), text)

    def _target(self, model: Candidate, requirement: Requirement, least_error: float) -> Measured:
        """What a model retains of a requirement's target."""
        tasks = [
            task
            for task in self.answers.tasks
            if requirement.target in (MEAN, task["kind"], task["name"]) and not task.get("set_aside")
        ]
        if not tasks:
            return Measured(None, reason=self._why_unmeasured(requirement.target))
        return measured(paired(self.answers, model, tasks), least_error)

    def _why_unmeasured(self, target: str) -> str:
        reasons = {
            task["name"]: task["set_aside"]
            for task in self.every_task
            if target in (MEAN, task["kind"], task["name"]) and task.get("set_aside")
        }
        if reasons:
            return "; ".join(f"{name} was set aside, because {reason}" for name, reason in reasons.items())
        return "pruned models were not evaluated on it"

    def _card(
        self,
        model: Candidate,
        requirements: Sequence[Requirement],
        targets: Sequence[Measured],
        outcomes: Outcomes,
        harms: Mapping[str, str],
    ) -> Card:
        judgements = tuple(_judgements(model, requirements, targets, outcomes))
        base, manifest = self.artifacts.base, self.artifacts.manifest
        assert base is not None, "the study is finished"
        assert manifest is not None, "the study is finished"
        error = max(requirement.error for requirement in requirements) / outcomes.shared_by
        worst = self._worst(model, error)
        finetuned = () if model.record else tuple(self._finetuned_from(model))
        own = [model] if model.record else [other for other in self.models if other.name in finetuned]
        harm = [harms.get(other.fingerprint, "") for other in own]
        layers = len(model.removed)
        return Card(
            name=model.name,
            methods=model.methods,
            layers=layers,
            of=base["layers"],
            removed=model.removed,
            finetuning=model.record["name"] if model.record else "",
            verdict=_overall([judgement.verdict for judgement in judgements]),
            items_needed=_most_needed(judgements),
            judgements=judgements,
            worst=worst,
            gain=_gain(self.artifacts.speed, model.removed),
            harm=" ".join(filter(None, harm)),
            finetuned=finetuned,
            sentence=sentences.card_sentence(model.name, layers, base["layers"], judgements, worst),
            commands=commands(model, base["name"], manifest),
        )

    def _finetuned_from(self, model: Candidate) -> list[str]:
        return [other.name for other in self.models if other.record and other.removed == model.removed]

    def _worst(self, model: Candidate, error: float) -> WorstTask | None:
        """The task with the lowest lower bound. The bound holds for the truly worst task too: its own is no lower."""
        worst: WorstTask | None = None
        for task in self.answers.tasks:
            bounds = measured(paired(self.answers, model, [task]), error).bounds
            if bounds and (worst is None or bounds.at(error).low < worst.retention.low):
                worst = WorstTask(task["name"], bounds.at(error))
        return worst


def _judgements(
    model: Candidate, requirements: Sequence[Requirement], targets: Sequence[Measured], outcomes: Outcomes
) -> list[Judgement]:
    rows = []
    decided = zip(outcomes.intervals[model.name], outcomes.verdicts[model.name], strict=True)
    for requirement, target, (interval, verdict) in zip(requirements, targets, decided, strict=True):
        undecided = verdict == "too few items"
        needed = items_needed(requirement, interval, target, outcomes.shared_by) if undecided else None
        rows.append(
            Judgement(
                requirement=str(requirement),
                model=model.name,
                estimate=interval.estimate if interval else None,
                low=interval.low if interval else None,
                high=interval.high if interval else None,
                error=requirement.error / outcomes.shared_by,
                n=interval.n if interval else 0,
                verdict=verdict,
                items_needed=needed,
                sentence=sentences.judgement_sentence(requirement, interval, target, verdict, needed),
            )
        )
    return rows


def _overall(verdicts: Sequence[Outcome]) -> Outcome:
    if "fails" in verdicts:
        return "fails"
    return "too few items" if "too few items" in verdicts else "keeps"


def _most_needed(judgements: Sequence[Judgement]) -> int | None:
    """Items per task that would decide on all open requirements; None if one has no number."""
    needed = [judgement.items_needed for judgement in judgements if judgement.verdict == "too few items"]
    known = [count for count in needed if count is not None]
    return max(known) if known and len(known) == len(needed) else None


def _gain(timings: Sequence[TimingRecord], removed: tuple[int, ...]) -> Gain | None:
    """The gain of a model, or of one with as many layers removed, if one was timed."""
    base = next((timing for timing in timings if not timing["removed"]), None)
    sized = [timing for timing in timings if len(timing["removed"]) == len(removed)]
    if base is None or not sized:
        return None
    timing = next((timing for timing in sized if tuple(sorted(timing["removed"])) == removed), sized[0])
    ratios = [rate / other for rate, other in zip(timing["tokens_per_s"], base["tokens_per_s"], strict=True)]
    return Gain(
        tokens_per_s=median_and_range(timing["tokens_per_s"]),
        speedup=median_and_range(ratios),
        weight_bytes=timing["weight_bytes"],
        peak_bytes=timing["memory_bytes"],
        base_weight_bytes=base["weight_bytes"],
        base_peak_bytes=base["memory_bytes"],
        batch=timing.get("prompts"),
        prompt_tokens=timing.get("prompt_tokens"),
        new_tokens=timing.get("new_tokens"),
        timed=tuple(sorted(timing["removed"])),
    )
