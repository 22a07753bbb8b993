"""The `reference` commands: the bundled model."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The bundled reference model.", no_args_is_help=True, rich_markup_mode=None)


@app.command("path")
def path() -> None:
    """Print the folder of the bundled model."""
    from layerlimits.reference import folder

    print(folder())


@app.command("train")
def train(
    out: Annotated[Path, typer.Option(help="Output folder for the trained checkpoint.")],
    work: Annotated[
        Path, typer.Option(help="Folder for the training state; an interrupted training run resumes from it.")
    ],
    recipe: Annotated[
        Path | None, typer.Option(help="Training recipe, a TOML file; default: the bundled recipe.")
    ] = None,
) -> None:
    """Train the reference model from its recipe. This takes about three hours on two cores."""
    from layerlimits.reference import train as recipes

    recipes.train(work, out, recipe)
