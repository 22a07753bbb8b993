"""Options that several commands share."""

import sys
from pathlib import Path
from typing import Annotated

import typer

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
MaxRows = Annotated[
    int | None, typer.Option(help="Answers of all variants under way at a time, 2048 if not given.", min=1)
]


Protocols = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        help="likelihood, one_token, free, or several separated by commas; each task's own if none. For choice tasks "
        "and arithmetic.",
    ),
]
Shots = Annotated[int | None, typer.Option(help="Examples before every item.", min=0)]
Chat = Annotated[
    bool | None,
    typer.Option(
        "--chat/--no-chat",
        help="Ask through the model's chat template, or in plain text. If neither: generation through the template "
        "where there is one, choice benchmarks in plain text.",
    ),
]
Samples = Annotated[int, typer.Option(help="Answers drawn of each generated item; needs a temperature.", min=1)]
Temperature = Annotated[float, typer.Option(help="Of the draws, 0.001 to 1000; 0 is greedy.")]
TopP = Annotated[float, typer.Option(help="Draw from the likeliest tokens that make up this share.")]
TopK = Annotated[int, typer.Option(help="Draw from so many likeliest tokens; 0: from all.", min=0)]
MaxNewTokens = Annotated[int | None, typer.Option(help="Longest answer; each task's own limit if not given.", min=1)]
Difference = Annotated[
    float, typer.Option(help="Difference in accuracy that should show; too few items for it are warned of.")
]
UnsafeCode = Annotated[
    bool, typer.Option("--unsafe-code", help="Run model-written programs as you, without a sandbox.")
]


def command() -> str:
    """What the user typed, for recipes and reports."""
    return " ".join(["layerlimits", *sys.argv[1:]])
