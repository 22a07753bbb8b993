"""`push_to_hub`: upload a saved checkpoint with its card."""

from pathlib import Path

from layerlimits.errors import UserError
from layerlimits.hub import check_repository, upload
from layerlimits.models.save import RECIPE, read_recipe
from layerlimits.paths import given_path


def push_to_hub(folder: str | Path, repository: str, *, private: bool = False) -> str:
    """Upload a checkpoint that `prune` or `recover` wrote to the Hub, with its card and recipe.

    Args:
        folder: The checkpoint.
        repository: Id of the model repository, such as "me/pruned"; it is created if it does not exist.
        private: Whether a new repository is private.

    Returns:
        The address of the model.

    Raises:
        UserError: The folder has no recipe, the id is invalid, or the Hub refuses the upload or cannot be reached.

    Example:
        >>> push_to_hub("pruned", "me/model-without-3-layers", private=True)
    """
    path = given_path(Path(folder), "the checkpoint")
    check_repository(repository)
    if read_recipe(path) is None:
        raise UserError(
            f"{path} is no checkpoint of layerlimits: it has no {RECIPE}", "give the output of prune or recover"
        )
    return upload(path, repository, private)
