"""The command line. Heavy imports happen inside the commands, so that `--help` answers at once."""

import gc
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from layerlimits.errors import UserError

app = typer.Typer(
    help="How many layers can a language model lose before it stops reasoning, what is lost, and does it come back?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
reference_app = typer.Typer(help="The bundled reference model.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(reference_app, name="reference")

Model = Annotated[str, typer.Argument(help="A folder, a hub id, or `reference`.", show_default=False)]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, float16; auto: float32 on a CPU, else the checkpoint's.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1; auto takes a GPU if there is one.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Tasks = Annotated[str, typer.Option(help="Tasks or suites, separated by commas.")]
Limit = Annotated[int, typer.Option(help="Items a task.", min=1)]
DataDir = Annotated[Path | None, typer.Option(help="Folder of benchmark files to evaluate on.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else there.")]
RunOut = Annotated[
    Path | None, typer.Option("--out", help="Run folder: keeps every answer, so a killed command resumes.")
]
Calibration = Annotated[
    str | None,
    typer.Option(
        help="Calibration text: a file (.jsonl or plain), or a data set as id, id:split or id:configuration:split; "
        "the bundled world if none."
    ),
]
Protect = Annotated[str | None, typer.Option(help="Layers never to remove, such as 0,1,30-31.")]
BatchSize = Annotated[int, typer.Option(help="Prompts a batch.", min=1)]


def main() -> None:
    """Run the command line; a user's mistake ends in one clear error and exit status 2."""
    # Importing torch and transformers makes millions of objects, none of them garbage: looking through them as often as
    # by default takes a sixth of the import (LOG.md, "prune").
    gc.set_threshold(100_000, 50, 50)
    try:
        app()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def _command() -> str:
    return " ".join(["layerlimits", *sys.argv[1:]])


def _tell(content: dict[str, Any]) -> None:
    """JSON on stdout."""
    print(json.dumps(content, indent=1))


@app.command()
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
    calibration: Calibration = None,
    protect: Protect = None,
    revision: Revision = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16, float16 or auto.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 or auto.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    as_json: Json = False,
) -> None:
    """The whole experiment: sweep, rank, prune, diagnose, recover, report."""
    from layerlimits.commands import flags, run_study

    given = flags.study(tasks=tasks, methods=methods, ratios=ratios, protect=protect)
    given |= {"model": model, "limit": limit, "data_dir": data_dir, "calibration": calibration}
    given |= {"revision": revision, "dtype": dtype, "device": device, "seed": seed}
    results = run_study.run(preset, config, out, given, _command(), only_plan=plan, quiet=as_json)
    if as_json:
        _tell(results)


@app.command()
def sweep(
    model: Model,
    tasks: Tasks = "reference",
    limit: Limit = 100,
    data_dir: DataDir = None,
    seed: Seed = 0,
    out: RunOut = None,
    batch_size: BatchSize = 64,
    revision: Revision = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Skip one layer at a time and measure every task."""
    from layerlimits.commands import measure
    from layerlimits.commands.opened import Opened

    opened = Opened(model, revision, dtype, device, out, batch_size, seed)
    results = measure.sweep(opened, tasks, limit, data_dir)
    _tell(results) if as_json else measure.show_sweep(results)


@app.command()
def evaluate(
    model: Model,
    tasks: Tasks = "reference",
    limit: Limit = 100,
    data_dir: DataDir = None,
    seed: Seed = 0,
    out: RunOut = None,
    batch_size: BatchSize = 64,
    revision: Revision = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Scores of a model on tasks, with 95% intervals."""
    from layerlimits.commands import measure
    from layerlimits.commands.opened import Opened

    opened = Opened(model, revision, dtype, device, out, batch_size, seed)
    results = measure.evaluate(opened, tasks, limit, data_dir)
    _tell(results) if as_json else measure.show_scores(results)


@app.command()
def score(
    task: Annotated[str, typer.Argument(help="A benchmark, such as gsm8k.", show_default=False)],
    responses: Annotated[
        Path, typer.Argument(help='JSON lines {"index", "response"}; index: line of the data file, from 0.')
    ],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Score answers that something else wrote, on a benchmark's whole test set."""
    from layerlimits.commands import score

    results = score.score(task, responses, data_dir)
    _tell(results) if as_json else score.show(results)


@app.command()
def rank(
    model: Model,
    method: Annotated[
        str,
        typer.Option(
            help="A method, several separated by commas, or all; with options as magnitude:p=2; or a method's file.",
            show_default=False,
        ),
    ],
    layers: Annotated[
        int | None, typer.Option(help="Layers to go: greedy methods choose a quarter if not given, angular needs it.")
    ] = None,
    protect: Protect = None,
    tasks: Tasks = "word_problems,functions,summaries",
    items: Annotated[int, typer.Option(help="Select items a task, or calibration texts.", min=1)] = 32,
    calibration: Calibration = None,
    seed: Seed = 0,
    out: RunOut = None,
    batch_size: BatchSize = 64,
    revision: Revision = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """The order in which a method would remove layers."""
    from layerlimits.commands import rank
    from layerlimits.commands.choice import Choice
    from layerlimits.commands.opened import Opened

    opened = Opened(model, revision, dtype, device, out, batch_size, seed)
    results = rank.rank(opened, Choice(method, layers, protect, tasks, items, calibration, seed))
    _tell(results) if as_json else rank.show(results)


@app.command()
def prune(
    model: Model,
    out: Annotated[Path, typer.Option(help="Folder of the pruned checkpoint; must not exist or be empty.")],
    method: Annotated[str | None, typer.Option(help="Method that chooses the layers, or the path of its file.")] = None,
    layers: Annotated[int | None, typer.Option(help="How many layers to remove.")] = None,
    ratio: Annotated[float | None, typer.Option(help="Which share of the layers to remove.")] = None,
    remove: Annotated[str | None, typer.Option(help="The very layers to remove, such as 4,5,11-12.")] = None,
    replacement: Annotated[
        str | None, typer.Option(help="What fills the gap: none, laco, linear, streamline or compensate.")
    ] = None,
    protect: Protect = None,
    tasks: Tasks = "word_problems,functions,summaries",
    items: Annotated[int, typer.Option(help="Select items a task, or calibration texts.", min=1)] = 32,
    calibration: Calibration = None,
    seed: Seed = 0,
    batch_size: BatchSize = 64,
    revision: Revision = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Write a checkpoint without some layers that stock transformers loads."""
    from layerlimits.commands import prune
    from layerlimits.commands.choice import Choice
    from layerlimits.commands.opened import Opened

    removal = prune.Removal(method, layers, ratio, remove, replacement)
    choice = Choice(method or "listed", None, protect, tasks, items, calibration, seed)
    opened = Opened(model, revision, dtype, device, None, batch_size, seed)
    results = prune.prune(opened, removal, choice, out, _command())
    _tell(results) if as_json else prune.show(results)


@app.command()
def methods(as_json: Json = False) -> None:
    """The methods that choose layers and the replacements that fill the gap, with their sources and costs."""
    from layerlimits.commands import catalogue

    results = catalogue.catalogue()
    _tell(results) if as_json else catalogue.show(results)


@app.command()
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
        pruned, parent, out, kind, tasks, items, epochs, data_dir, revision, seed, dtype, device, _command()
    )
    _tell(results) if as_json else run_recover.show(results)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Run folder of a study.")],
    out: Annotated[Path | None, typer.Option(help="HTML file; report.html in the run folder if not given.")] = None,
    as_json: Json = False,
) -> None:
    """Write the report of a study from its run folder alone, finished or not."""
    from layerlimits.commands import run_study

    results = run_study.report(run, out, quiet=as_json)
    if as_json:
        _tell(results)


@reference_app.command("path")
def reference_path() -> None:
    """Print the folder of the bundled model."""
    from layerlimits.reference import folder

    print(folder())


@reference_app.command("train")
def reference_train(
    out: Annotated[Path, typer.Option(help="Folder of the trained checkpoint.")],
    work: Annotated[Path, typer.Option(help="Folder of the training state; a killed training resumes from it.")],
    recipe: Annotated[Path | None, typer.Option(help="TOML recipe; the bundled one if not given.")] = None,
) -> None:
    """Train the reference model by its recipe, about three hours on two cores."""
    from layerlimits.reference.train import train

    train(work, out, recipe)
