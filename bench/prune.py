"""Speed of `layerlimits prune` compared with loading the model, deleting layers and saving it.

Creates a random Llama checkpoint of 2.2 GB in shards of 500 MB in a temporary folder, then removes a quarter of its
layers both ways in alternation. Each run is a new process, so startup and imports are included. All files are in the
page cache before the first measurement.

    python bench/prune.py [--json] [--gb 2.2] [--dtype bfloat16] [--repeats 3] [--at FOLDER]
"""

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

_SHARD_BYTES = 500_000_000
_FILES = """
import sys
from layerlimits.cli import main
sys.argv = ["layerlimits", "prune", sys.argv[1], "--remove", sys.argv[3], "--out", sys.argv[2], "--json"]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
"""
# The same with plain transformers; dtype="auto" keeps the stored type.
_MEMORY = """
import sys
from torch import nn
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="auto")
gone = set(map(int, sys.argv[3].split(",")))
layers = [layer for number, layer in enumerate(model.model.layers) if number not in gone]
for number, layer in enumerate(layers):
    layer.self_attn.layer_idx = number
model.model.layers = nn.ModuleList(layers)
model.config.num_hidden_layers = len(layers)
model.save_pretrained(sys.argv[2], max_shard_size="500MB")
"""
# Peak memory and CPU time of the process; Linux reports memory in KB, macOS in bytes.
_USED = """
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_maxrss * (1 if sys.platform == "darwin" else 1024), used.ru_utime + used.ru_stime)
"""
# Startup cost of both.
_IMPORTS = """
import sys
import layerlimits.models.shards
"""
_WAYS = {"files": _FILES, "memory": _MEMORY, "imports": _IMPORTS}


class Run(NamedTuple):
    """Wall and CPU seconds of a whole process, and its peak resident memory in bytes."""

    seconds: float
    cpu: float
    peak: int


def make_checkpoint(folder: Path, size: int, dtype: str) -> int:
    """Write a random Llama of about `size` bytes, one shard in memory at a time; returns its number of layers."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, LlamaConfig

    kind = getattr(torch, dtype)
    shape: dict[str, Any] = {"hidden_size": 2048, "intermediate_size": 5632, "vocab_size": 32_000}
    heads: dict[str, Any] = {"num_attention_heads": 32, "num_key_value_heads": 4, "tie_word_embeddings": False}
    layer_bytes = (2 * 2048 * 2048 + 2 * 2048 * 256 + 3 * 2048 * 5632 + 2 * 2048) * kind.itemsize
    other_bytes = (2 * 32_000 * 2048 + 2048) * kind.itemsize
    layers = max(4, -(-(size - other_bytes) // layer_bytes))
    config = LlamaConfig(**shape, **heads, num_hidden_layers=layers, architectures=["LlamaForCausalLM"], dtype=dtype)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in AutoModelForCausalLM.from_config(config).state_dict().items()}
    shards: list[list[str]] = [[]]
    filled = 0
    for name, form in shapes.items():
        if filled + form.numel() * kind.itemsize > _SHARD_BYTES and shards[-1]:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += form.numel() * kind.itemsize
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file({n: torch.randn(shapes[n], dtype=kind) * 0.02 for n in names}, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
    total = {"total_size": sum(form.numel() for form in shapes.values()) * kind.itemsize}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": total, "weight_map": weight_map}))
    config.save_pretrained(folder)
    return int(layers)


def measure(way: str, folder: Path, removed: list[int], out: Path) -> Run:
    """One run in a new process; `out` is emptied first."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    # Pending writes of earlier runs must not slow this one down.
    os.sync()
    command = [sys.executable, "-c", _WAYS[way] + _USED, str(folder), str(out), ",".join(map(str, removed))]
    began = time.perf_counter()
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    seconds = time.perf_counter() - began
    peak, cpu = ran.stdout.split()[-2:]
    return Run(seconds, float(cpu), int(peak))


def same_weights(first: Path, second: Path) -> bool:
    """Whether two folders contain the same tensors."""
    import torch
    from safetensors import safe_open

    def files_of(folder: Path) -> dict[str, Path]:
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        return {name: folder / file for name, file in index["weight_map"].items()}

    first_files, second_files = files_of(first), files_of(second)
    if first_files.keys() != second_files.keys():
        return False
    for name in first_files:
        with safe_open(first_files[name], "pt") as a, safe_open(second_files[name], "pt") as b:
            if not torch.equal(a.get_tensor(name), b.get_tensor(name)):
                return False
    return True


def _apart(work: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def compare(folder: Path, size: int, dtype: str, repeats: int) -> dict[str, Any]:
    """Create the checkpoint, measure both ways in alternation, and check that both write the same weights."""
    base = folder / "base"
    base.mkdir()
    # Run in separate processes: on Linux, a process's peak memory starts at the size of its parent.
    layers = _apart(make_checkpoint, base, size, dtype)
    # Every fourth layer, so that all shards are affected.
    removed = list(range(2, layers, 4))[: layers // 4]
    stored = sum(file.stat().st_size for file in base.glob("*.safetensors"))
    for file in base.glob("*.safetensors"):
        with file.open("rb") as stream:
            while stream.read(1 << 24):
                pass
    runs: dict[str, list[Run]] = {way: [] for way in _WAYS}
    for repeat in range(repeats):
        # The order alternates, too.
        for way in list(_WAYS)[:: 1 if repeat % 2 == 0 else -1]:
            runs[way].append(measure(way, base, removed, folder / way))
            print(f"{way}: {runs[way][-1].seconds:.1f} s", file=sys.stderr)
    same = _apart(same_weights, folder / "files", folder / "memory")
    ways = {way: _summary(measured) for way, measured in runs.items()}
    return {
        "checkpoint_bytes": stored,
        "dtype": dtype,
        "layers": layers,
        "removed": removed,
        "repeats": repeats,
        **ways,
        "time_ratio": round(ways["files"]["median_s"] / ways["memory"]["median_s"], 3),
        "same_weights": same,
    }


def _summary(measured: list[Run]) -> dict[str, Any]:
    seconds = [run.seconds for run in measured]
    return {
        "median_s": round(statistics.median(seconds), 2),
        "range_s": [round(min(seconds), 2), round(max(seconds), 2)],
        "median_cpu_s": round(statistics.median(run.cpu for run in measured), 2),
        "peak_bytes": max(run.peak for run in measured),
    }


def _table(result: dict[str, Any]) -> str:
    lines = [
        f"{result['checkpoint_bytes'] / 1e9:.2f} GB {result['dtype']}, {len(result['removed'])} of {result['layers']} "
        f"layers removed, {result['repeats']} times each; same weights: {result['same_weights']}",
        f"{'way':<8}{'median s':>10}{'range s':>16}{'CPU s':>8}{'peak MB':>9}",
    ]
    for way in _WAYS:
        about = result[way]
        low, high = about["range_s"]
        between = f"{low:.2f} to {high:.2f}"
        peak = about["peak_bytes"] / 1e6
        lines.append(f"{way:<8}{about['median_s']:>10.2f}{between:>16}{about['median_cpu_s']:>8.2f}{peak:>9.0f}")
    return "\n".join([*lines, f"files / memory: {result['time_ratio']:.3f} of the time"])


def _check_room(folder: Path, size: int) -> None:
    """Check for enough disk space for the base and both results, and enough memory to load the base."""
    free = shutil.disk_usage(folder).free
    if free < 3.5 * size:
        sys.exit(
            f"error: {folder} has {free / 1e9:.1f} GB free, but {3.5 * size / 1e9:.1f} GB are needed\n"
            "  fix: choose another folder with --at"
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # The page cache must hold the base as well.
    if memory < 3 * size:
        sys.exit(f"error: {memory / 1e9:.1f} GB of memory, but {3 * size / 1e9:.1f} GB are needed\n  fix: lower --gb")


def main() -> None:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.add_argument("--gb", type=float, default=2.2, help="minimum size of the checkpoint in GB")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--at", type=Path, default=None, help="parent of the temporary folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-prune-", dir=args.at) as name:
        _check_room(Path(name), int(args.gb * 1e9))
        result = compare(Path(name), int(args.gb * 1e9), args.dtype, args.repeats)
    print(json.dumps(result) if args.json else _table(result))


if __name__ == "__main__":
    main()
