"""`study` with its `report`, and `recover`."""

from pathlib import Path
from typing import Annotated

import typer

from layerlimits.cli.options import (
    Calibration,
    Chat,
    DataDir,
    Device,
    Dtype,
    Json,
    MaxRows,
    Protect,
    Protocols,
    Revision,
    Seed,
    Shots,
    Tasks,
    UnsafeCode,
    command,
    tell,
)


def study(
    model: Annotated[str | None, typer.Argument(help="A folder or a hub id; without it, the reference model.")] = None,
    preset: Annotated[str, typer.Option(help="quick, standard or paper.")] = "quick",
    config: Annotated[Path | None, typer.Option(help="TOML file of settings over the preset.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; an existing one is resumed.")] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print what would run and how long it takes; run nothing.")
    ] = False,
    tasks: Annotated[str | None, typer.Option(help="Tasks or suites, separated by commas.")] = None,
    methods: Annotated[str | None, typer.Option(help="Methods, separated by commas.")] = None,
    ratios: Annotated[str | None, typer.Option(help="Shares of the layers to remove, such as 0.125,0.25.")] = None,
    limit: Annotated[int | None, typer.Option(help="Items a task.")] = None,
    data_dir: DataDir = None,
    protocol: Protocols = None,
    shots: Shots = None,
    chat: Chat = None,
    samples: Annotated[int | None, typer.Option(help="Answers drawn of each generated item.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of the draws; 0 is greedy.")] = None,
    difference: Annotated[float | None, typer.Option(help="Difference in accuracy the study should show.")] = None,
    unsafe_code: UnsafeCode = False,
    calibration: Calibration = None,
    protect: Protect = None,
    revision: Revision = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16, float16 or auto.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 or auto.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    max_rows: MaxRows = None,
    as_json: Json = False,
) -> None:
    """The whole experiment: sweep, rank, prune, diagnose, recover, report."""
    from layerlimits.commands import flags, run_study

    given = flags.study(tasks=tasks, protocols=protocol, methods=methods, ratios=ratios, protect=protect)
    given |= {"shots": shots, "chat": chat, "samples": samples, "temperature": temperature, "difference": difference}
    # Left out, the preset or the file decides.
    given |= {"unsafe_code": unsafe_code or None}
    given |= {"model": model, "limit": limit, "data_dir": data_dir, "calibration": calibration}
    given |= {"revision": revision, "dtype": dtype, "device": device, "seed": seed, "max_rows": max_rows}
    results = run_study.run(preset, config, out, given, command(), only_plan=plan, quiet=as_json)
    if as_json:
        tell(results)


def recover(
    pruned: Annotated[str, typer.Argument(help="The pruned model's folder.")],
    parent: Annotated[str, typer.Option(help="The unpruned model: a folder, a hub id, or `reference`.")],
    out: Annotated[Path, typer.Option(help="Folder of the finetuned checkpoint; must not exist or be empty.")],
    kind: Annotated[str, typer.Option(help="full or lora.")] = "full",
    tasks: Tasks = "reference",
    items: Annotated[int, typer.Option(help="Training prompts that the unpruned model answers.", min=1)] = 1000,
    epochs: Annotated[int, typer.Option(help="How often the answers are read.", min=1)] = 1,
    data_dir: DataDir = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the parent's hub id.")] = None,
    seed: Seed = 0,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Finetune a pruned model on the unpruned model's own answers."""
    from layerlimits.commands import run_recover

    results = run_recover.run(
        pruned, parent, out, kind, tasks, items, epochs, data_dir, revision, seed, dtype, device, command()
    )
    tell(results) if as_json else run_recover.show(results)


def report(
    run: Annotated[Path, typer.Argument(help="Run folder of a study.")],
    out: Annotated[Path | None, typer.Option(help="HTML file; report.html in the run folder if not given.")] = None,
    as_json: Json = False,
) -> None:
    """Write the report of a study from its run folder alone, finished or not."""
    from layerlimits.commands import run_study

    results = run_study.report(run, out, quiet=as_json)
    if as_json:
        tell(results)
