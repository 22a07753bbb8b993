"""Options shared by several commands."""

import sys
from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[str, typer.Argument(help="Local folder, Hugging Face Hub id, or `reference`.", show_default=False)]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub.")]
Dtype = Annotated[
    str,
    typer.Option(
        help="float32, bfloat16, float16 or auto: the checkpoint's own type on a GPU, and on a CPU if it is at least "
        "1.2 times as fast as float32; in a run folder, the type of the run."
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or auto: a GPU if available.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]
Tasks = Annotated[
    str | None,
    typer.Option(
        help="Comma-separated tasks or suites; default: the bundled tasks for the reference model, else the tasks of "
        "the suite `real` that can be read."
    ),
]
SelectTasks = Annotated[
    str | None,
    typer.Option(
        "--tasks",
        help="Comma-separated tasks whose selection items score the candidates; default: "
        "word_problems,functions,summaries for the reference model, else the generation tasks of the suite `real` that "
        "can be read.",
    ),
]
TrainTasks = Annotated[
    str | None,
    typer.Option(
        "--tasks",
        help="Comma-separated tasks or suites that provide the training prompts; default: the bundled tasks for the "
        "reference model, else the tasks of the suite `real` that can be read and have training items.",
    ),
]
Limit = Annotated[int, typer.Option(help="Maximum number of items per task.", min=1)]
DataDir = Annotated[Path | None, typer.Option(help="Folder with benchmark files; default: download from the Hub.")]
Json = Annotated[bool, typer.Option("--json", help="Print the results as JSON on stdout, and nothing else.")]
Require = Annotated[
    list[str] | None,
    typer.Option(
        help="What pruned models must keep, such as generation>=0.95@0.05: a task, a class or mean, the least "
        "retention, and the error (0.05 if omitted); repeatable; default: that of the study, else nine tenths of every "
        "class.",
        show_default=False,
    ),
]
PushToHub = Annotated[
    str | None,
    typer.Option("--push-to-hub", help="Upload the checkpoint to this model repository on the Hub, such as me/pruned."),
]
RunOut = Annotated[
    Path | None,
    typer.Option("--out", help="Run folder that stores all responses, so that an interrupted command can resume."),
]
Calibration = Annotated[
    str | None,
    typer.Option(
        help="Calibration text: a .txt or .jsonl file, or a dataset as id, id:split or id:configuration:split; "
        "default: text of the bundled tasks for the reference model, else WikiText-2 or items that are not evaluated."
    ),
]
Protect = Annotated[str | None, typer.Option(help="Layers that are never removed, such as 0,1,30-31.")]
BatchSize = Annotated[int, typer.Option(help="Prompts per batch.", min=1)]
Engine = Annotated[
    str,
    typer.Option(
        help="sweep: shares work between prompts and variants; hflm: log-likelihoods equal to those of `lm_eval` to "
        "the last digit, for one model; transformers: stock generation, one variant at a time."
    ),
]
MaxRows = Annotated[
    int | None,
    typer.Option(help="Maximum number of responses generated at once, over all variants; default: 2048.", min=1),
]


Protocols = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        help="Comma-separated protocols for choice tasks and arithmetic: likelihood, one_token, free; "
        "default: the task's own.",
    ),
]
Shots = Annotated[int | None, typer.Option(help="Number of few-shot examples in each prompt.", min=0)]
Chat = Annotated[
    bool | None,
    typer.Option(
        "--chat/--no-chat",
        help="Format prompts with the model's chat template, or as plain text; default: the chat template for "
        "generation tasks if the model has one, plain text for choice benchmarks.",
    ),
]
Samples = Annotated[
    int, typer.Option(help="Sampled responses per generation item; more than 1 requires a temperature above 0.", min=1)
]
Temperature = Annotated[float, typer.Option(help="Sampling temperature, 0.001 to 1000; 0 decodes greedily.")]
TopP = Annotated[float, typer.Option(help="Nucleus sampling: keep the most likely tokens with this total probability.")]
TopK = Annotated[int, typer.Option(help="Sample from the k most likely tokens; 0 samples from all.", min=0)]
MaxNewTokens = Annotated[
    int | None, typer.Option(help="Maximum number of generated tokens; default: the task's own limit.", min=1)
]
Difference = Annotated[
    float, typer.Option(help="Difference in accuracy to detect; a warning is given for tasks with too few items.")
]
Whole = Annotated[
    bool, typer.Option("--whole", help="Evaluate on the full test set, including the items reserved for selection.")
]
UnsafeCode = Annotated[
    bool, typer.Option("--unsafe-code", help="Run model-written programs without a sandbox, with your permissions.")
]


def command() -> str:
    """The command line as typed, for recipes and reports."""
    return " ".join(["layerlimits", *sys.argv[1:]])


def process_start() -> float:
    """The time at which this process started, in seconds since the epoch."""
    import psutil

    return float(psutil.Process().create_time())
