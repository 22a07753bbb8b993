"""The `recover` command: finetune a pruned model, by default on responses of the unpruned model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from layerlimits.cli.options import (
    Chat,
    DataDir,
    Device,
    Dtype,
    Json,
    MaxNewTokens,
    Protocols,
    PushToHub,
    Seed,
    Shots,
    TrainTasks,
    UnsafeCode,
    command,
)
from layerlimits.cli.parse import task_list
from layerlimits.cli.printing import say, show_json, upload

if TYPE_CHECKING:
    from layerlimits.results.recovered import RecoverResults
    from layerlimits.sampling import Decoding


def recover(
    pruned: Annotated[str, typer.Argument(help="Folder of the pruned model.")],
    parent: Annotated[str, typer.Option(help="Unpruned model: local folder, Hugging Face Hub id, or `reference`.")],
    out: Annotated[
        Path, typer.Option(help="Output folder for the finetuned checkpoint; must not exist, or must be empty.")
    ],
    preset: Annotated[
        str,
        typer.Option(
            help="default, or paper: QLoRA on responses at temperature 0.9 and top-p 0.95, as in arXiv 2602.01997; "
            "other options override it."
        ),
    ] = "default",
    kind: Annotated[
        str | None, typer.Option(help="Kind of finetuning: full, lora or qlora; default: full.", show_default=False)
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            help="self: responses of the unpruned model; own: the answers that the prompts come with; distill: "
            "responses and distributions of the unpruned model."
        ),
    ] = "self",
    tasks: TrainTasks = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Dataset of the training prompts instead of the tasks: a .jsonl file or a Hub id, in the format of "
            "Alpaca, GSM8K, OpenThoughts or Dolci, or with a column of prompts or messages."
        ),
    ] = None,
    items: Annotated[int, typer.Option(help="Number of training prompts.", min=1)] = 1000,
    data_dir: DataDir = None,
    protocol: Protocols = None,
    shots: Shots = None,
    chat: Chat = None,
    temperature: Annotated[
        float | None, typer.Option(help="Sampling temperature of the responses; 0 decodes greedily; default: 0.")
    ] = None,
    top_p: Annotated[float | None, typer.Option(help="Nucleus sampling of the responses; default: 1.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Sample responses from the k most likely tokens.", min=0)] = None,
    samples: Annotated[
        int, typer.Option(help="Responses per training prompt; more than 1 requires a temperature above 0.", min=1)
    ] = 1,
    max_new_tokens: MaxNewTokens = None,
    keep_truncated: Annotated[
        bool | None,
        typer.Option("--keep-truncated/--drop-truncated", help="Train on truncated responses too; default: drop."),
    ] = None,
    correct_only: Annotated[
        bool, typer.Option("--correct-only", help="Train only on responses that their task scores as correct.")
    ] = False,
    unsafe_code: UnsafeCode = False,
    save_answers: Annotated[
        Path | None, typer.Option(help="File (.jsonl) for the training answers, as a dataset of messages.")
    ] = None,
    milestones: Annotated[
        int,
        typer.Option(
            help="Number of evaluations on selection items while the model trains; the best weights are saved.",
            min=0,
        ),
    ] = 0,
    select_items: Annotated[int, typer.Option(help="Selection items per task, for --milestones.", min=1)] = 32,
    epochs: Annotated[int | None, typer.Option(help="Number of epochs; default: 1.", min=1)] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate; default: 2e-4 for adapters, else 5e-4.")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="constant or linear; default: constant for adapters, else linear.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples per step; default: 8.", min=1)] = None,
    warmup_steps: Annotated[
        int | None, typer.Option(help="Warmup steps, at most a fifth of all; default: 50.", min=0)
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="adamw, adafactor, or adamw_8bit (bitsandbytes); default: adamw.")
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay; default: 1e-4.")] = None,
    adam_beta1: Annotated[float | None, typer.Option(help="First decay rate of AdamW; default: 0.9.")] = None,
    adam_beta2: Annotated[float | None, typer.Option(help="Second decay rate of AdamW; default: 0.99.")] = None,
    max_grad_norm: Annotated[float | None, typer.Option(help="Norm to clip gradients to; default: 1.")] = None,
    lora_rank: Annotated[int | None, typer.Option(help="Rank of the adapters; default: 64.", min=1)] = None,
    lora_alpha: Annotated[int | None, typer.Option(help="Scaling of the adapters; default: 16.", min=1)] = None,
    lora_dropout: Annotated[float | None, typer.Option(help="Dropout of the adapters; default: 0.05.")] = None,
    lora_targets: Annotated[
        str | None, typer.Option(help="Comma-separated modules with adapters; default: all matrices of the layers.")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(help="Maximum tokens of a prompt with its answer; default: 8192.", min=1)
    ] = None,
    packing: Annotated[
        bool | None, typer.Option("--packing/--no-packing", help="Fill blocks of --max-length with several examples.")
    ] = None,
    gradient_checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--gradient-checkpointing/--no-gradient-checkpointing", help="Less memory for activations, more time."
        ),
    ] = None,
    distill_beta: Annotated[
        float | None,
        typer.Option(help="Divergence of --objective distill, 0 (forward KL) to 1 (reverse KL); default: 0."),
    ] = None,
    distill_temperature: Annotated[
        float | None, typer.Option(help="Temperature of the distributions of --objective distill; default: 1.")
    ] = None,
    on_policy: Annotated[
        float | None,
        typer.Option(help="Fraction of batches of --objective distill with answers of the trained model; default: 0."),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(help="Processes that train together on this machine, one per GPU; default: 1.", min=1),
    ] = None,
    fsdp: Annotated[
        bool | None, typer.Option("--fsdp/--no-fsdp", help="Divide the model among the processes (FSDP).")
    ] = None,
    report_to: Annotated[
        str | None, typer.Option(help="Tracker of the losses, such as tensorboard or wandb; default: none.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the parent on the Hub.")] = None,
    seed: Seed = 0,
    dtype: Dtype = "auto",
    device: Device = "auto",
    push_to_hub: PushToHub = None,
    as_json: Json = False,
) -> None:
    """Finetune a pruned model, by default on responses generated by the unpruned model."""
    from layerlimits import api
    from layerlimits.hub import check_repository

    if push_to_hub is not None:
        # Checked before hours of work.
        check_repository(push_to_hub)

    finetune = api.finetune_config(
        preset,
        kind=kind or ("full" if preset == "default" else None),
        objective=objective,
        epochs=epochs,
        lr=lr,
        schedule=schedule,
        batch_size=batch_size,
        warmup_steps=warmup_steps,
        optimizer=optimizer,
        weight_decay=weight_decay,
        adam_beta1=adam_beta1,
        adam_beta2=adam_beta2,
        max_grad_norm=max_grad_norm,
        lora_rank=lora_rank,
        lora_alpha=lora_alpha,
        lora_dropout=lora_dropout,
        lora_targets=tuple(name.strip() for name in lora_targets.split(",")) if lora_targets else None,
        max_length=max_length,
        packing=packing,
        gradient_checkpointing=gradient_checkpointing,
        distill_beta=distill_beta,
        distill_temperature=distill_temperature,
        on_policy=on_policy,
        processes=processes,
        fsdp=fsdp,
        report_to=report_to,
        seed=seed,
    )
    usual = api.recover_options(preset, finetune).decoding
    options = api.recover_options(
        preset,
        finetune,
        items=items,
        data=data,
        data_dir=data_dir,
        max_new_tokens=max_new_tokens,
        decoding=_decoding(usual, (temperature, top_p, top_k), samples, seed),
        keep_truncated=keep_truncated,
        correct_only=correct_only,
        unsafe=unsafe_code,
        milestones=milestones,
        select_items=select_items,
        save_answers=save_answers,
    )
    chosen = task_list(tasks, protocol, shots, chat)
    source = api.ModelOptions(parent, revision, dtype, device)
    results = api.recover(pruned, source, out, chosen, options, command=command())
    show_json(results) if as_json else show_recovered(results)
    if push_to_hub is not None:
        upload(out, push_to_hub, as_json=as_json)


def _decoding(
    usual: "Decoding", given: tuple[float | None, float | None, int | None], samples: int, seed: int
) -> "Decoding":
    """How the unpruned model responds: the settings given, and the usual ones where there are none."""
    from layerlimits.sampling import Decoding

    pairs = zip(given, (usual.temperature, usual.top_p, usual.top_k), strict=True)
    temperature, top_p, top_k = (default if value is None else value for value, default in pairs)
    return Decoding(temperature, top_p, int(top_k), seed, samples)


def show_recovered(results: "RecoverResults") -> None:
    """Print a summary of the finetuning."""
    answers = f"responses of {results.parent}" if results.objective != "own" else "answers of the training items"
    reasons = ", ".join(f"{count} {reason}" for reason, count in results.dropped_by_reason.items())
    say(
        f"{results.model}: {results.pruned} finetuned on {results.examples} {answers} "
        f"({results.trained_tokens:,} response tokens; {results.dropped} dropped{f': {reasons}' if reasons else ''}; "
        f"{results.seconds:.0f} s)"
    )
    for point in results.curve:
        scores = ", ".join(f"{task} {sum(values) / len(values):.3f}" for task, values in point["scores"].items())
        kept = "  <- saved" if point["tokens"] == results.best_tokens else ""
        say(f"  {point['tokens']:>12,} tokens: {scores}; held-out loss {point['heldout_loss']:.3f}{kept}")
    if results.not_adapted:
        say(f"LoRA adapters on {', '.join(results.adapted)}; none on {', '.join(results.not_adapted)}")
