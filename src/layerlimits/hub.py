"""Access to the hub: one quick check whether it can be reached, the first rows of datasets, and clear errors."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from layerlimits.errors import UserError

Row = dict[str, Any]
T = TypeVar("T")

# Far more than an answer takes, and far less than the libraries' own retries, which take minutes.
_WAIT_S = 5.0


@cache
def unreachable() -> str:
    """Why the hub cannot be reached, in a few words; empty if it can. Asked once per process, for at most 5 s.

    HF_HUB_OFFLINE and HF_ENDPOINT are respected; HF_HUB_ETAG_TIMEOUT sets another time limit in seconds.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    seconds = float(constants.HF_HUB_ETAG_TIMEOUT) if "HF_HUB_ETAG_TIMEOUT" in os.environ else _WAIT_S
    answers: list[str] = []
    # In a thread, because resolving a name has no time limit of its own.
    asking = Thread(target=lambda: answers.append(_answer(constants.ENDPOINT, seconds)), daemon=True)
    asking.start()
    asking.join(seconds)
    return answers[0] if answers else f"{constants.ENDPOINT} has not answered within {seconds:g} s"


def _answer(endpoint: str, seconds: float) -> str:
    """Ask the hub for anything: every answer but a server error will do."""
    from huggingface_hub import get_session

    try:
        status = get_session().head(endpoint, timeout=seconds).status_code
    # The HTTP library, and a proxy, can raise errors of many kinds.
    except Exception as error:
        return f"{endpoint} cannot be reached ({_first_line(error)})"
    return f"{endpoint} answers with status {status}" if status >= 500 else ""


@contextmanager
def offline_if_unreachable() -> Iterator[str]:
    """Inside the block, the hub's libraries read only their local caches if the hub cannot be reached, without retries.

    Yields:
        Why it cannot be reached; empty if it can.
    """
    from huggingface_hub import constants

    reason = unreachable()
    if not reason or constants.HF_HUB_OFFLINE:
        yield reason
        return
    import datasets

    # Both libraries set this from HF_HUB_OFFLINE on import, and read it at every use.
    settings: tuple[Any, ...] = (constants, datasets.config)
    before = [setting.HF_HUB_OFFLINE for setting in settings]
    try:
        for setting in settings:
            setting.HF_HUB_OFFLINE = True
        yield reason
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.HF_HUB_OFFLINE = value


def hub_error(what: str, name: str, error: Exception, unreachable: str, otherwise: str) -> UserError:
    """The error for something that cannot be read from the hub.

    Args:
        what: "dataset" or "model".
        name: Its id on the hub.
        error: The error of the library.
        unreachable: Why the hub cannot be reached; empty if it can.
        otherwise: What to do if it cannot be had from the hub, such as "use a local folder".
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    terms = "licence" if what == "model" else "terms"
    page = f"{constants.ENDPOINT}/{'datasets/' if what == 'dataset' else ''}{name}"
    reason = _first_line(error)
    # `datasets` gives these two reasons in its own error, in words only.
    if isinstance(error, GatedRepoError) or "gated dataset" in reason:
        return UserError(
            f"{what} {name} is gated: its owner grants access to those who accept its {terms}",
            f"accept the {terms} on {page} and log in (hf auth login), or {otherwise}",
        )
    if isinstance(error, RepositoryNotFoundError) or "doesn't exist on the Hub" in reason:
        return UserError(
            f"the hub has no {what} {name}, or it is private",
            f"check the name, log in (hf auth login) if it is private, or {otherwise}",
        )
    problem = f"{what} {name} cannot be read from the hub"
    if unreachable:
        online = "unset HF_HUB_OFFLINE" if "HF_HUB_OFFLINE" in unreachable else "go online"
        return UserError(
            f"{problem}: {unreachable}, and the local cache does not contain it", f"{otherwise}, or {online}"
        )
    return UserError(f"{problem}: {reason}", f"check the name and the network, or {otherwise}")


def first_rows(source: str, limit: int, pick: Callable[[Row], T | None], otherwise: str) -> list[T]:
    """Read the beginning of a dataset; if the hub can be reached, the rest is not downloaded.

    Args:
        source: A hub id or a local folder, as "id", "id:split" or "id:configuration:split"; the default split is
            "train".
        limit: Number of values to return; fewer if the dataset ends before.
        pick: row -> the value to return, or None to skip the row.
        otherwise: What to do if it cannot be read, such as "use a local file".

    Raises:
        UserError: The dataset does not exist, requires a login, or cannot be read; or as `pick` does.
    """
    from datasets import load_dataset

    name, *more = source.split(":")
    split, configuration = (more[-1] if more else "train"), (more[0] if len(more) > 1 else None)
    local = Path(name).is_dir()
    if not local and is_path(name):
        raise UserError(f"no such file or folder: {name}", otherwise)
    with nullcontext("") if local else offline_if_unreachable() as reason:
        try:
            rows = load_dataset(name, configuration, split=split, streaming=not reason)
            values = (value for row in rows if (value := pick(row)) is not None)
            return list(islice(values, limit))
        except UserError:
            raise
        # `datasets` raises errors of many kinds for datasets that are missing or unreadable.
        except Exception as error:
            if local:
                raise UserError(f"cannot read dataset {source}: {_first_line(error)}", otherwise) from None
            raise hub_error("dataset", name, error, reason, otherwise) from None


def check_repository(repository: str) -> None:
    """Check the id of a model repository to upload to.

    Raises:
        UserError: It is not a valid id.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # exported lazily

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UserError(
            f"{repository!r} is not a valid id on the hub: {_first_line(error)}",
            "use the form owner/name, such as me/pruned",
        ) from None


def upload(folder: Path, repository: str, private: bool) -> str:
    """Upload a folder to a model repository, which is created if necessary; returns its address.

    Raises:
        UserError: The hub refuses it or cannot be reached.
    """
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        url = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=url.repo_id, folder_path=folder, commit_message="Upload by layerlimits")
    # The HTTP library, and a proxy, can raise errors of many kinds.
    except Exception as error:
        raise UserError(
            f"{folder} cannot be uploaded to {repository}: {_first_line(error)}",
            f"log in (hf auth login) and upload it: hf upload {repository} {folder}",
        ) from None
    return str(url)


def is_path(name: str) -> bool:
    """Whether a name can only be that of a local file or folder: hub ids have the form owner/name."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
