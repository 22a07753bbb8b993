"""`--push-to-hub`: what is uploaded, and what is refused. The Hub is a stand-in for huggingface_hub's HfApi."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import RepoUrl

import layerlimits as ll

Refused = Callable[..., str]
Says = Callable[..., Any]


class Hub:
    """Records what is created and uploaded."""

    def __init__(self) -> None:
        self.created: list[tuple[str, bool]] = []
        self.uploaded: list[tuple[str, set[str]]] = []

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> RepoUrl:
        assert exist_ok
        self.created.append((repo_id, private))
        return RepoUrl(f"https://hub.example/{repo_id}", endpoint="https://hub.example")

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        assert commit_message
        self.uploaded.append((repo_id, {file.name for file in Path(folder_path).iterdir()}))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    found = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: found)
    return found


def test_a_pruned_checkpoint_is_uploaded_with_its_card_and_recipe(
    hub: Hub, says: Says, tiny: Path, tmp_path: Path
) -> None:
    said = says("prune", tiny, "--remove", "1", "--out", tmp_path / "out", "--push-to-hub", "me/pruned")
    assert said["removed"] == [1]
    assert hub.created == [("me/pruned", False)]
    ((repository, files),) = hub.uploaded
    assert repository == "me/pruned"
    assert {"README.md", "layerlimits.json", "config.json", "model.safetensors"} <= files


def test_from_python_the_address_is_returned(hub: Hub, tiny: Path, tmp_path: Path) -> None:
    ll.prune(tiny, tmp_path / "out", ll.PruneOptions(remove=(2,)))
    assert ll.push_to_hub(tmp_path / "out", "me/pruned", private=True) == "https://hub.example/me/pruned"
    assert hub.created == [("me/pruned", True)]


@pytest.mark.parametrize("repository", ["a b", "a/b/c", "", "-a/b", "me/" + 200 * "x"])
def test_an_invalid_id_is_refused_before_anything_is_written(
    repository: str, hub: Hub, refused: Refused, tiny: Path, tmp_path: Path
) -> None:
    said = refused("prune", tiny, "--remove", "1", "--out", tmp_path / "out", "--push-to-hub", repository)
    assert "is not a valid id on the hub" in said
    assert not (tmp_path / "out").exists()
    assert hub.created == []


def test_what_layerlimits_did_not_write_is_not_uploaded(hub: Hub, tiny: Path) -> None:
    with pytest.raises(ll.UserError, match="is no checkpoint of layerlimits"):
        ll.push_to_hub(tiny, "me/pruned")
    assert hub.uploaded == []


def test_a_failed_upload_keeps_the_checkpoint_and_names_the_command(
    monkeypatch: pytest.MonkeyPatch, hub: Hub, tiny: Path, tmp_path: Path
) -> None:
    def fails(**_: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(hub, "upload_folder", fails)
    ll.prune(tiny, tmp_path / "out", ll.PruneOptions(remove=(2,)))
    with pytest.raises(ll.UserError, match="no route to host") as refused:
        ll.push_to_hub(tmp_path / "out", "me/pruned")
    assert f"hf upload me/pruned {tmp_path / 'out'}" in refused.value.fix
    assert (tmp_path / "out" / "README.md").exists()
