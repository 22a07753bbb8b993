"""`reference`: the bundled model."""

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
    out: Annotated[Path, typer.Option(help="Folder of the trained checkpoint.")],
    work: Annotated[Path, typer.Option(help="Folder of the training state; a killed training resumes from it.")],
    recipe: Annotated[Path | None, typer.Option(help="TOML recipe; the bundled one if not given.")] = None,
) -> None:
    """Train the reference model by its recipe, about three hours on two cores."""
    from layerlimits.reference import train as recipes

    recipes.train(work, out, recipe)
