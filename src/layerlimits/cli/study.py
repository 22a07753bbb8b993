"""The `study` command: run or plan the full experiment."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.panel import Panel
from rich.text import Text

from layerlimits.cli.options import (
    Calibration,
    Chat,
    DataDir,
    Json,
    MaxRows,
    Protect,
    Protocols,
    Require,
    Revision,
    Shots,
    UnsafeCode,
    command,
    process_start,
)
from layerlimits.cli.parse import layers, numbers, shares, words
from layerlimits.cli.printing import say, show, show_json, table
from layerlimits.errors import printable

if TYPE_CHECKING:
    from layerlimits.results.document import PlanResults, StudyResults


def study(
    model: Annotated[
        str | None, typer.Argument(help="Local folder or Hugging Face Hub id; default: the reference model.")
    ] = None,
    preset: Annotated[str, typer.Option(help="Preset: quick, standard or paper.")] = "quick",
    config: Annotated[Path | None, typer.Option(help="TOML file of settings that override the preset.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; an existing run is resumed. Default: runs/MODEL.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print the stages and their estimated duration without running them.")
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option(help="Wall time of the whole command, such as 12m or 2h; the study measures what fits."),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated tasks or suites; default: the bundled tasks for the reference model, else the suite "
            "`real`, as far as the files are available and the model can do the tasks."
        ),
    ] = None,
    select_tasks: Annotated[
        str | None,
        typer.Option(help="Comma-separated tasks whose select items choose layers; default: the study's own tasks."),
    ] = None,
    select_items: Annotated[int | None, typer.Option(help="Number of select items per task.")] = None,
    methods: Annotated[str | None, typer.Option(help="Comma-separated methods.")] = None,
    ratios: Annotated[str | None, typer.Option(help="Fractions of the layers to remove, such as 0.125,0.25.")] = None,
    limit: Annotated[int | None, typer.Option(help="Maximum number of items per task.")] = None,
    data_dir: DataDir = None,
    protocol: Protocols = None,
    shots: Shots = None,
    chat: Chat = None,
    samples: Annotated[int | None, typer.Option(help="Sampled responses per generation item.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature; 0 decodes greedily.")] = None,
    difference: Annotated[float | None, typer.Option(help="Difference in accuracy to detect.")] = None,
    require: Require = None,
    quantized: Annotated[
        str | None, typer.Option(help="Bits per weight in which to measure the unpruned model as well, such as 8,4.")
    ] = None,
    versus: Annotated[
        str | None, typer.Option(help="Smaller model to measure on the same items: local folder or Hub id.")
    ] = None,
    unsafe_code: UnsafeCode = False,
    calibration: Calibration = None,
    protect: Protect = None,
    revision: Revision = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16, float16 or auto.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 or auto.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed.")] = None,
    max_rows: MaxRows = None,
    as_json: Json = False,
) -> None:
    """Run the full experiment: sweep, rank, prune, diagnose, recover, report."""
    from layerlimits import api

    given: dict[str, Any] = {
        "tasks": None if tasks is None else words(tasks),
        "select_tasks": None if select_tasks is None else words(select_tasks),
        "protocols": None if protocol is None else words(protocol),
        "methods": None if methods is None else words(methods),
        "ratios": None if ratios is None else shares(ratios),
        "protect": None if protect is None else layers(protect),
        "quantized": None if quantized is None else numbers(quantized),
        "versus": versus,
        "require": tuple(require) if require else None,
    }
    given |= {"shots": shots, "chat": chat, "samples": samples, "temperature": temperature, "difference": difference}
    # An omitted flag leaves the setting to the preset or the file.
    given |= {"unsafe_code": unsafe_code or None}
    given |= {"budget": budget, "select_items": select_items}
    given |= {"model": model, "limit": limit, "data_dir": data_dir, "calibration": calibration}
    given |= {"revision": revision, "dtype": dtype, "device": device, "seed": seed, "max_rows": max_rows}
    settings = api.study_config(preset, config, **given)
    folder = out or api.default_folder(settings)
    if plan:
        planned = api.plan(settings, folder)
        show_json(planned) if as_json else show_plan(planned, folder)
        return
    results = api.run_study(settings, folder, command=command(), began=process_start())
    show_json(results) if as_json else show_answer(results, api.report_file(folder))


def show_answer(results: "StudyResults", report: Path) -> None:
    """Print the verdict and the path of the report."""
    show(Panel(Text(printable(results.answer)), title="layerlimits"))
    say(f"report: {report}")


def show_plan(results: "PlanResults", folder: Path) -> None:
    """Print a table with one row per stage."""
    columns = ("stage", "models", "responses", "estimated minutes")
    stages = table(f"{results.model}, preset {results.preset}, run folder {folder}", columns, left=("stage",))
    for row in results.stages:
        stages.add_row(row.stage, str(row.models), f"{row.responses:,}", f"{row.seconds / 60:.1f}")
    show(stages)
    say(f"Number type: {results.dtype} ({results.dtype_reason})")
    say(f"Estimated total: {results.seconds / 60:.0f} minutes. Nothing was run.")
