"""Settings of a study: a preset, overridden by a TOML file, overridden by flags. All errors are reported at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator, model_validator

from layerlimits.errors import UserError, unknown
from layerlimits.paths import read_toml
from layerlimits.plugins import find
from layerlimits.study.fields import (
    Budget,
    Count,
    Epochs,
    Flag,
    Items,
    Real,
    Repeats,
    Requires,
    Seed,
    Temperature,
    TopP,
    Whole,
)
from layerlimits.study.presets import PRESETS
from layerlimits.types import AskFormat, Decoding

# Settings that a report shows or uses.
_REPORTED = ("preset", "seed", "difference", "temperature")

# The paper's models lose about a quarter of their layers.
_USUAL_RATIO = 0.25
# Each milestone has half the tokens of the next one.
MAX_MILESTONES = 20
# Items per task that a budget without a limit can use at most: they detect 5 points with 80% power.
MAX_BUDGET_ITEMS = 1600


class RecoverySettings(BaseModel):
    """Finetuning of pruned models on responses of the unpruned model.

    Args:
        kinds: Any of "full" and "lora"; empty to skip recovery.
        methods: Methods whose pruned models are finetuned; default: task_score if it is among the study's methods,
            else the first method.
        ratios: Ratios at which models are finetuned; default: the ratio closest to a quarter, and the largest one,
            where the loss is certain to be visible.
        items: Number of training prompts; the unpruned model generates the responses.
        data: Instruction dataset whose prompts are used instead of the tasks' train splits: a .jsonl file or a hub id.
        epochs: Number of passes over the training data.
        objectives: Any of "self" (responses of the unpruned model), "own" (the answers that the prompts come with) and
            "distill" (responses and distributions of the unpruned model); one model each.
        milestones: How many times a model is evaluated on selection items while it trains, after numbers of tokens that
            double; the weights of the best time are used. 0: never.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: tuple[Literal["full", "lora"], ...] = ("full",)
    methods: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    ratios: tuple[Real, ...] | None = None
    items: Items = 1000
    epochs: Epochs = 1
    data: str | None = None
    objectives: Annotated[tuple[Literal["own", "self", "distill"], ...], Field(min_length=1)] = ("self",)
    milestones: Annotated[Whole, Field(ge=0, le=MAX_MILESTONES)] = 0


class StudyConfig(BaseModel):
    """All settings of a study.

    Args:
        tasks: Names of tasks and suites. None: the bundled tasks for the bundled model; for other models those tasks of
            the suite `real` that can be read and that the unpruned model can do (see `study.screening`).
        limit: Maximum number of evaluation items per task.
        protocols, shots, chat: How prompts are built; see `tasks.choose`.
        temperature: Sampling temperature; 0 decodes greedily.
        samples: Sampled responses per generation item.
        difference: Difference in accuracy to detect, 0 to 0.5; a warning is given if there are too few items.
        ratios: Fractions of the layers to remove.
        protect: Layers that are never removed; replaces every method's own protected layers.
        select_tasks: Tasks on which methods score candidates; None: see `study.defaults`.
        select_items: Number of selection items per task.
        speed_repeats: Timed generations per model, interleaved across models.
        require: What pruned models must keep, see `results.requirements`. Empty: nine tenths of every class.
        quantized: Bits per weight, 8 and 4, in which the unpruned model is measured instead of being pruned.
        versus: A smaller sibling that is measured on the same items, as a folder or hub id.
        budget: Wall time of the whole command in seconds, or as text such as "12m" or "2h": the study measures what
            fits. None: everything.

    Settings that are not given are those of the `preset`.

    Example:
        >>> StudyConfig(model="reference", preset="standard", methods=("reverse", "random"), limit=100)

    Raises:
        UserError: The preset is unknown, or settings are invalid; all invalid settings are listed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "reference"
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    seed: Seed = 0
    preset: str = "quick"
    tasks: tuple[str, ...] | None = None
    limit: Items = 48
    data_dir: Path | None = None
    protocols: tuple[AskFormat, ...] = ()
    shots: Annotated[Whole, Field(ge=0)] | None = None
    chat: Flag | None = None
    temperature: Temperature = 0.0
    top_p: TopP = 1.0
    top_k: Annotated[Whole, Field(ge=0)] = 0
    samples: Count = 1
    max_new_tokens: Count | None = None
    difference: Annotated[Real, Field(gt=0, le=0.5)] = 0.05
    unsafe_code: Flag = False
    methods: tuple[str, ...] = ("reverse", "block_influence", "task_score", "random")
    ratios: tuple[Real, ...] = (0.1, 0.25, 0.4)
    protect: tuple[Whole, ...] | None = None
    select_tasks: tuple[str, ...] | None = None
    select_items: Items = 16
    calibration: str | None = None
    calibration_items: Items = 64
    recovery: RecoverySettings = RecoverySettings()
    batch_size: Count = 64
    max_rows: Count | None = None
    speed_repeats: Repeats = 5
    quantized: tuple[Literal[8, 4], ...] = ()
    versus: str | None = None
    budget: Budget | None = None
    require: tuple[Requires, ...] = ()

    # Type checkers see the signature that pydantic makes of the fields.
    if not TYPE_CHECKING:

        def __init__(self, **settings: Any) -> None:
            try:
                super().__init__(**settings)
            except ValidationError as error:
                raise _all_at_once(error) from None

    @model_validator(mode="before")
    @classmethod
    def _over_preset(cls, settings: dict[str, Any]) -> dict[str, Any]:
        preset = settings.get("preset", "quick")
        if not isinstance(preset, str) or preset not in PRESETS:
            raise unknown("preset", str(preset), PRESETS)
        merged = PRESETS[preset] | settings
        if "ratios" in settings and "recovery" not in settings and "recovery" in merged:
            # The preset selects among its own ratios; that selection is meaningless for other ratios.
            merged["recovery"] = {name: value for name, value in merged["recovery"].items() if name != "ratios"}
        return merged

    @field_validator("ratios")
    @classmethod
    def _ratios(cls, ratios: tuple[float, ...]) -> tuple[float, ...]:
        outside = [ratio for ratio in ratios if not 0 < ratio < 1]
        if outside or not ratios:
            given = ", ".join(f"{ratio:g}" for ratio in outside) or "none"
            raise ValueError(f"ratio {given} is not between 0 and 1; give fractions of the layers, such as 0.25")
        return tuple(sorted(set(ratios)))

    @field_validator("methods")
    @classmethod
    def _methods(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        if not methods:
            raise ValueError("no methods given")
        for method in methods:
            try:
                find("methods", method)
            except UserError as error:
                raise ValueError(f"{error.problem}; {error.fix}") from None
        return methods

    @model_validator(mode="after")
    def _can_be_sampled(self) -> "StudyConfig":
        try:
            _ = self.decoding
        except UserError as error:
            raise ValueError(f"{error.problem}; {error.fix}") from None
        return self

    @property
    def decoding(self) -> Decoding:
        """The decoding settings."""
        return Decoding(self.temperature, self.top_p, self.top_k, self.seed, self.samples, self.max_new_tokens)

    @property
    def item_cap(self) -> int:
        """The largest number of evaluation items per task. A budget alone decides unless a limit is set."""
        return self.limit if self.budget is None or "limit" in self.model_fields_set else MAX_BUDGET_ITEMS

    @model_validator(mode="after")
    def _recovered_is_studied(self) -> "StudyConfig":
        absent = [ratio for ratio in self.recovery_ratios if ratio not in self.ratios]
        if absent:
            raise ValueError(f"recovery.ratios {absent[0]:g} is not among ratios {self.ratios}")
        other = [name for name in self.recovery_methods if name not in self.methods]
        if other:
            raise ValueError(f"recovery.methods {other[0]} is not among methods {self.methods}")
        return self

    @property
    def asks_for_recovery(self) -> bool:
        """Whether the recovery settings differ from the preset's own."""
        usual = RecoverySettings(**PRESETS.get(self.preset, {}).get("recovery", {}))
        names = ("kinds", "objectives", "methods", "items", "epochs", "milestones")
        set_here = any(getattr(self.recovery, name) != getattr(usual, name) for name in names)
        return set_here or self.recovery.ratios not in (None, usual.ratios)

    @property
    def recovery_methods(self) -> tuple[str, ...]:
        """The methods whose pruned models are finetuned; the models of the first one are timed as well."""
        default = "task_score" if "task_score" in self.methods else self.methods[0]
        return self.recovery.methods or (default,)

    @property
    def recovery_ratios(self) -> tuple[float, ...]:
        """The ratios whose pruned models are finetuned."""
        if self.recovery.ratios is not None:
            return self.recovery.ratios
        usual = min(self.ratios, key=lambda ratio: abs(ratio - _USUAL_RATIO))
        return (usual,) if usual == self.ratios[-1] else (usual, self.ratios[-1])


def study_config(preset: str, file: Path | None = None, **flags: Any) -> StudyConfig:
    """Merge a preset, a TOML file and flags into the settings of a study; later ones override earlier ones.

    Args:
        preset: Name of a preset.
        file: TOML file of settings.
        flags: Settings by name; those that are None are ignored.
    Raises:
        UserError: As `StudyConfig`, or the file is not valid TOML.
    Example:
        >>> study_config("standard", Path("study.toml"), limit=100)
    """
    flag_settings = {name: value for name, value in flags.items() if value is not None}
    file_settings = read_toml(file) if file else {}
    return StudyConfig(**{"preset": preset} | file_settings | flag_settings)


def check_recorded(config: Mapping[str, Any] | None, where: str) -> None:
    """Check the types of the recorded settings of a study, which may name plug-ins that this machine does not have.

    Args:
        config: The settings, as JSON values; None if no study has recorded any.
        where: What contains them, for errors.
    Raises:
        UserError: A setting that a report needs is missing, or a setting has another type.
    """
    if config is None:
        return
    fields = {
        name: (field.annotation, ... if name in _REPORTED else field.default)
        for name, field in StudyConfig.model_fields.items()
    }
    recorded: Any = create_model("Recorded", **fields)  # type: ignore[call-overload]  # its fields are known at run time
    try:
        recorded.model_validate(config)
    except ValidationError as error:
        problem = "; ".join(_problem(mistake) for mistake in error.errors())
        raise UserError(f"the settings in {where} are invalid: {problem}", "export the study again") from None


def _all_at_once(error: ValidationError) -> UserError:
    problems = [_problem(mistake) for mistake in error.errors()]
    count = len(problems)
    head = "1 invalid setting" if count == 1 else f"{count} invalid settings"
    known = ", ".join(StudyConfig.model_fields)
    fix = (
        f"known settings: {known}" if any("no such setting" in text for text in problems) else "correct these settings"
    )
    return UserError(f"{head}: " + "; ".join(problems), fix)


def _problem(mistake: Any) -> str:
    place = ".".join(str(part) for part in mistake["loc"])
    if mistake["type"] == "extra_forbidden":
        near = unknown("setting", place, StudyConfig.model_fields)
        return f"{place}: no such setting" + (f" ({near.fix})" if near.fix.startswith("did you mean") else "")
    what = mistake["msg"].removeprefix("Value error, ")
    # Without a place, it concerns several settings.
    return f"{place}: {what}" if place else what
