"""The hub: one quick check whether it can be reached, local caches if not, and what is said of each refusal."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import datasets
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from layerlimits import hub
from layerlimits.errors import UserError
from layerlimits.models.locate import locate
from layerlimits.plugins import find
from layerlimits.tasks import SUITES, available, choose
from layerlimits.tasks._data import from_hub
from layerlimits.tasks._files import Part

HUB_TASKS = ("gsm8k", "humanevalplus", "xsum", "gpt3_arithmetic", "arc_easy", "piqa", "mmlu")
GATED = "Dataset 'openai/gsm8k' is a gated dataset on the Hub. You must be authenticated to access it."


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], str]]:
    """Make a local server the hub, which answers every request with a status; returns its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(status: int) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        Thread(target=servers[-1].serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{servers[-1].server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(hub, "_WAIT_S", 60.0)
        return address

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def silent() -> Iterator[tuple[str, list[object]]]:
    """The address of a server that accepts connections and never answers, and its connections."""
    connections: list[object] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:

        def accept() -> None:
            while True:
                try:
                    connections.append(listener.accept())
                except OSError:
                    return

        Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", connections


@pytest.mark.parametrize("status", [200, 401, 404])
def test_a_hub_that_answers_can_be_reached(status: int, serve: Callable[[int], str]) -> None:
    serve(status)
    assert hub.unreachable.__wrapped__() == ""


def test_a_hub_that_fails_cannot_be_reached(serve: Callable[[int], str], monkeypatch: pytest.MonkeyPatch) -> None:
    address = serve(503)
    assert hub.unreachable.__wrapped__() == f"{address} answers with status 503"
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", nobody)
    assert hub.unreachable.__wrapped__().startswith(f"{nobody} cannot be reached (")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.unreachable.__wrapped__() == "HF_HUB_OFFLINE is set"


def test_a_hub_that_does_not_answer_is_given_up(
    silent: tuple[str, list[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", silent[0])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_WAIT_S", 0.3)
    assert hub.unreachable.__wrapped__().startswith(silent[0])
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "1")
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1)
    assert hub.unreachable.__wrapped__().startswith(silent[0])


AVAILABLE = """
import json, sys
from layerlimits.tasks import available
print(json.dumps({name: available(name) for name in sys.argv[1:]}))
"""


def test_the_hub_is_asked_once_for_all_benchmarks(silent: tuple[str, list[object]], tmp_path: Path) -> None:
    address, connections = silent
    offline = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_ETAG_TIMEOUT")
    environment = {name: value for name, value in os.environ.items() if name not in offline}
    environment |= {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    ran = subprocess.run(
        [sys.executable, "-c", AVAILABLE, *HUB_TASKS, "brackets"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        # Far more than it takes: without the check, the libraries would wait for the server for ever.
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    reasons = json.loads(ran.stdout)
    assert reasons.pop("brackets") == ""
    for name, reason in reasons.items():
        samples = find("tasks", name).samples
        dataset = getattr(samples, "benchmark", samples).hub
        assert reason.startswith(f"dataset {dataset} cannot be read from the hub: {address} "), reason
        assert "--data-dir" in reason
        assert "\n" not in reason
    # The libraries connect for every file of every dataset, several times.
    assert len(connections) == 1


def test_a_task_with_its_files_is_available_and_others_say_why(tmp_path: Path) -> None:
    assert available("brackets", tmp_path) == available("brackets:shots=2", tmp_path) == ""
    assert f"no such folder: {tmp_path / 'piqa'}" in available("piqa", tmp_path)
    assert f"no such folder: {tmp_path / 'arithmetic'}" in available("arithmetic", tmp_path)
    (tmp_path / "piqa").mkdir()
    item = {"goal": "open a jar", "sol1": "turn it", "sol2": "eat it", "label": 0}
    (tmp_path / "piqa" / "validation.jsonl").write_text(json.dumps(item))
    # The hash of this question puts it into the split that is evaluated.
    assert available("piqa", tmp_path) == ""
    (tmp_path / "piqa" / "validation.jsonl").write_text(json.dumps(item | {"label": 2}))
    assert "label 2 is not one of 0, 1" in available("piqa", tmp_path)
    with pytest.raises(UserError, match="unknown task 'pica'"):
        available("pica", tmp_path)


def test_every_suite_has_tasks_that_exist() -> None:
    for name in SUITES:
        assert len(choose([name])) == len(SUITES[name])


class OtherError(Exception):
    """An error of a kind that no one expects."""


def refused(kind: type[Any], text: str) -> Exception:
    """An error as huggingface_hub raises it."""
    response = SimpleNamespace(headers={}, request=None, status_code=403)
    error: Exception = kind(text, response=response)
    return error


# An error of the library, why the hub is unreachable, and what is said of it.
MODEL_ERRORS: list[tuple[Exception, str, str, str]] = [
    (
        refused(GatedRepoError, "403 Client Error."),
        "",
        "model owner/name is gated: its owner grants access to those who accept its licence",
        "accept the licence on https://hub.test/owner/name and log in (hf auth login), or use a local folder",
    ),
    (
        refused(RepositoryNotFoundError, "401 Client Error."),
        "",
        "the hub has no model owner/name, or it is private",
        "check the name, log in (hf auth login) if it is private, or use a local folder",
    ),
    (
        LocalEntryNotFoundError("Cannot find an appropriate cached snapshot folder\nand more"),
        "there is no network",
        "model owner/name cannot be read from the hub: there is no network, and the local cache does not contain it",
        "use a local folder, or go online",
    ),
    (
        OtherError("disk full\nand more"),
        "",
        "model owner/name cannot be read from the hub: disk full",
        "check the name and the network, or use a local folder",
    ),
]


@pytest.mark.parametrize(("error", "reason", "problem", "fix"), MODEL_ERRORS, ids=lambda value: type(value).__name__)
def test_a_model_that_cannot_be_downloaded(
    error: Exception, reason: str, problem: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def snapshot_download(*_: object, **__: object) -> None:
        assert bool(reason) == constants.HF_HUB_OFFLINE
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.test")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "unreachable", lambda: reason)
    with pytest.raises(UserError) as said:
        locate("owner/name")
    assert said.value.problem == f"there is no folder owner/name, and {problem}"
    assert said.value.fix == fix
    assert not constants.HF_HUB_OFFLINE


def test_a_name_that_is_no_model_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "unreachable", lambda: "there is no network")
    with pytest.raises(UserError, match="there is no folder a--b, and it is not a hub id"):
        locate("a--b")


def test_a_gated_data_set_and_one_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: object, **__: object) -> None:
        raise datasets.exceptions.DatasetNotFoundError(text)

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    monkeypatch.setattr(hub, "unreachable", lambda: "")
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.test")
    text = GATED
    reason = available("gsm8k")
    assert reason.startswith("dataset openai/gsm8k is gated")
    assert "accept the terms on https://hub.test/datasets/openai/gsm8k and log in (hf auth login)" in reason
    text = "Dataset 'openai/gsm8k' doesn't exist on the Hub or cannot be accessed."
    assert available("gsm8k").startswith("the hub has no dataset openai/gsm8k, or it is private (check the name")
    with pytest.raises(UserError, match="the hub has no dataset openai/gsm8k"):
        hub.first_rows("openai/gsm8k:main:test", 3, lambda row: row, "use a file")


ROWS = [{"question": f"What is {number}?", "answer": f"#### {number}"} for number in range(3)]


def test_without_the_hub_the_cache_of_datasets_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As `datasets` stores a dataset that it has downloaded.
    folder = tmp_path / "openai___gsm8k" / "main" / "0.0.0" / "abc"
    folder.mkdir(parents=True)
    writer = datasets.arrow_writer.ArrowWriter(path=str(folder / "gsm8k-test.arrow"))
    for row in ROWS:
        writer.write(row)
    writer.finalize()
    splits = datasets.SplitDict({"test": datasets.SplitInfo("test", num_examples=3, dataset_name="gsm8k")})
    info = datasets.DatasetInfo(config_name="main", dataset_name="gsm8k", version="0.0.0", splits=splits)
    info.features = datasets.Dataset.from_list(ROWS).features
    info.write_to_directory(str(folder))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr(hub, "unreachable", lambda: "there is no network")
    assert from_hub("openai/gsm8k", Part("test", "main", "test")) == ("openai/gsm8k (main)", ROWS)
    assert hub.first_rows("openai/gsm8k:main:test", 2, lambda row: row, "") == ROWS[:2]
    with pytest.raises(UserError, match="there is no network, and the local cache does not contain it"):
        from_hub("openai/gsm8k", Part("test", "socratic", "test"))


def test_without_the_hub_its_own_cache_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "datasets--openai--gsm8k" / "snapshots" / "0f3a" / "main" / "test-00000-of-00001.parquet"
    file.parent.mkdir(parents=True)
    datasets.Dataset.from_list(ROWS).to_parquet(str(file))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "none")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "unreachable", lambda: "there is no network")
    assert from_hub("openai/gsm8k", Part("test", "main", "test")) == ("openai/gsm8k (main)", ROWS)


def test_files_of_a_repository_with_a_script_are_downloaded_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hf_hub_download(repository: str, path: str, repo_type: str) -> str:
        asked.append((repository, path, repo_type))
        (tmp_path / "file.jsonl").write_text(
            json.dumps({"context": f"Q: What is {len(asked)}?\nA:", "completion": "1"})
        )
        return str(tmp_path / "file.jsonl")

    asked: list[tuple[str, str, str]] = []
    monkeypatch.setattr("huggingface_hub.hf_hub_download", hf_hub_download)
    monkeypatch.setattr(hub, "unreachable", lambda: "")
    assert len(find("tasks", "gpt3_arithmetic").samples.whole()) == len(asked) == 10
    assert ("EleutherAI/arithmetic", "data/two_digit_multiplication.jsonl", "dataset") in asked
