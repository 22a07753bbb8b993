"""Settings of a finetuning, and the preset of arXiv 2602.01997."""

from dataclasses import dataclass
from typing import Any, Literal

from layerlimits.errors import UserError, unknown
from layerlimits.sampling import MAX_EPOCHS, check_seed

Kind = Literal["full", "lora", "qlora"]
Objective = Literal["own", "self", "distill"]
Optimizer = Literal["adamw", "adafactor", "adamw_8bit"]

OBJECTIVES: tuple[Objective, ...] = ("own", "self", "distill")

# Learning rates and schedules by kind; those of LoRA are the paper's. With a constant rate, full finetuning makes a
# model worse if little was lost, so its schedule decays to zero (figures in LOG.md).
_LR = {"full": 5e-4, "lora": 2e-4, "qlora": 2e-4}
_SCHEDULE = {"full": "linear", "lora": "constant", "qlora": "constant"}
SCHEDULER_TYPES = {"linear": "linear", "constant": "constant_with_warmup"}
# Names that transformers gives the optimizers.
OPTIMIZERS = {"adamw": "adamw_torch_fused", "adafactor": "adafactor", "adamw_8bit": "adamw_bnb_8bit"}

_POSITIVE = (
    "lr",
    "epochs",
    "batch_size",
    "max_grad_norm",
    "lora_rank",
    "lora_alpha",
    "max_length",
    "distill_temperature",
    "processes",
)
_NOT_NEGATIVE = ("warmup_steps", "weight_decay")
_FRACTIONS = {"distill_beta": "0", "on_policy": "0"}
_BELOW_ONE = {"lora_dropout": "0.05", "adam_beta1": "0.9", "adam_beta2": "0.99"}

# The paper's settings that differ from the defaults below, which are also its own.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "kind": "qlora",
        "lora_targets": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    },
}


@dataclass(frozen=True)
class FinetuneConfig:
    """Finetuning settings. The defaults are those of arXiv 2602.01997, without quantization; see `finetune_config`.

    The learning rate warms up linearly over `warmup_steps`, or a fifth of all steps if that is less. It then stays
    constant ("constant") or decays linearly to zero ("linear").

    Args:
        kind: "lora" trains adapters on the layers' weight matrices and merges them (see `adapters_of`; the recipe lists
            them); "qlora" does so on a model in 4 bits (NF4, double quantization; requires bitsandbytes) and merges the
            adapters into the weights that were not quantized; "full" trains every weight.
        objective: "self" trains on responses of the unpruned model, "own" on the answers that the training prompts come
            with, and "distill" on the responses of the unpruned model with its distributions as targets.
        lr: Learning rate; None means 2e-4 for adapters and 5e-4 for full finetuning.
        schedule: Learning-rate schedule; None means "constant" for adapters and "linear" for full finetuning.
        epochs: Number of passes over the examples.
        batch_size: Examples per step; with `packing`, blocks per step.
        warmup_steps: Number of warmup steps.
        optimizer: "adamw"; "adafactor", whose state takes little memory; or "adamw_8bit" (requires bitsandbytes).
        weight_decay: Weight decay.
        adam_beta1, adam_beta2: Decay rates of the moments of AdamW.
        max_grad_norm: Norm to which gradients are clipped.
        lora_rank, lora_alpha: Rank and scaling of the adapters.
        lora_dropout: Dropout on the adapters' inputs; 0 for architectures whose adapters do not support dropout.
        lora_targets: Names of the modules that get adapters, such as q_proj; empty for every matrix of the layers that
            PEFT supports.
        max_length: Maximum number of tokens of a prompt with its answer; longer examples are omitted.
        packing: Fill blocks of `max_length` tokens with several examples, which do not attend to each other.
        gradient_checkpointing: Recompute activations in the backward pass, which takes less memory and more time.
        distill_beta: Divergence of "distill": 0 is the forward KL divergence, 1 the reverse one, 0.5 that of Jensen
            and Shannon.
        distill_temperature: Temperature of the distributions in "distill", and of responses with `on_policy`.
        on_policy: Fraction of the batches of "distill" whose answers are those of the model in training.
        processes: Number of processes that train together, each on its own GPU (or on the CPU), started by torchrun.
        fsdp: Divide weights, gradients and optimizer states among the processes (FSDP) instead of copying them.
        report_to: Tracker that receives the losses, such as "tensorboard" or "wandb"; "none" for none.
        seed: Seed of the order of examples and of dropout.
    Raises:
        UserError: A setting is outside its range or unknown, or two settings exclude each other.
    """

    kind: Kind = "lora"
    objective: Objective = "self"
    lr: float | None = None
    schedule: Literal["constant", "linear"] | None = None
    epochs: int = 1
    batch_size: int = 8
    warmup_steps: int = 50
    optimizer: Optimizer = "adamw"
    weight_decay: float = 1e-4
    adam_beta1: float = 0.9
    adam_beta2: float = 0.99
    max_grad_norm: float = 1.0
    lora_rank: int = 64
    lora_alpha: int = 16
    lora_dropout: float = 0.05
    lora_targets: tuple[str, ...] = ()
    max_length: int = 8192
    packing: bool = False
    gradient_checkpointing: bool = False
    distill_beta: float = 0.0
    distill_temperature: float = 1.0
    on_policy: float = 0.0
    processes: int = 1
    fsdp: bool = False
    report_to: str = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("kind of finetuning", self.kind, _LR),
            ("objective", self.objective, OBJECTIVES),
            ("optimizer", self.optimizer, OPTIMIZERS),
        ):
            if value not in known:
                raise unknown(name, value, known)
        check_seed(self.seed)
        if self.lr is None:
            object.__setattr__(self, "lr", _LR[self.kind])
        if self.schedule is None:
            object.__setattr__(self, "schedule", _SCHEDULE[self.kind])
        if self.schedule not in SCHEDULER_TYPES:
            raise unknown("schedule", str(self.schedule), SCHEDULER_TYPES)
        self._check_ranges()
        if self.packing and self.objective == "distill":
            raise UserError("packing does not work with the objective distill", "omit packing (--no-packing)")
        if self.on_policy and self.objective != "distill":
            raise UserError(
                f"on_policy is {self.on_policy:g}, but the objective is {self.objective}",
                "set the objective to distill (--objective distill), or on_policy to 0",
            )
        self._check_processes()

    def _check_processes(self) -> None:
        if self.fsdp and self.processes == 1:
            raise UserError("fsdp divides the model among processes, but there is one", "set processes (--processes)")
        if self.fsdp and self.kind == "qlora":
            raise UserError("fsdp does not work with qlora", "omit fsdp (--no-fsdp), or use --kind lora")
        if self.processes > 1 and self.objective == "distill":
            raise UserError(f"the objective distill trains in 1 process, not in {self.processes}", "set processes to 1")
        if self.batch_size % self.processes:
            raise UserError(
                f"a batch of {self.batch_size} examples cannot be divided among {self.processes} processes",
                f"set batch_size (--batch-size) to a multiple of {self.processes}",
            )

    def _check_ranges(self) -> None:
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise UserError(f"{name} is {getattr(self, name):g}, but must be above 0", f"set {name} above 0")
        if self.epochs > MAX_EPOCHS:
            raise UserError(f"epochs {self.epochs} is above {MAX_EPOCHS}", f"set epochs to 1 to {MAX_EPOCHS}")
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise UserError(f"{name} is {getattr(self, name):g}, but must be 0 or more", f"set {name} to 0 or more")
        for name, usual in _BELOW_ONE.items():
            if not 0 <= getattr(self, name) < 1:
                raise UserError(
                    f"{name} is {getattr(self, name):g}, but must be at least 0 and below 1",
                    f"set {name} to a value such as {usual}",
                )
        for name, usual in _FRACTIONS.items():
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(
                    f"{name} is {getattr(self, name):g}, but must be 0 to 1", f"set {name} to a value such as {usual}"
                )

    @property
    def adapts(self) -> bool:
        """Whether adapters are trained instead of all weights."""
        return self.kind != "full"


def finetune_config(preset: str = "default", **settings: Any) -> FinetuneConfig:
    """The settings of a preset, with changes.

    Args:
        preset: "default", or "paper" for QLoRA on the seven linear modules as in arXiv 2602.01997.
        settings: Settings of `FinetuneConfig` by name; those that are None are those of the preset.
    Raises:
        UserError: The preset is unknown, or as for `FinetuneConfig`.

    Example:
        >>> finetune_config("paper", kind="lora").lora_rank
        64
    """
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    changes = {name: value for name, value in settings.items() if value is not None}
    return FinetuneConfig(**(PRESETS[preset] | changes))
