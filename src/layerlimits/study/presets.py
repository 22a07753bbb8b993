"""The presets: settings of a study that differ from the defaults."""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "quick": {},
    "standard": {
        "limit": 200,
        "ratios": (0.05, 0.15, 0.25, 0.33, 0.4),
        "select_items": 32,
        "calibration_items": 256,
        "recovery": {"kinds": ("full", "lora"), "objectives": ("self", "own", "distill"), "items": 3000},
    },
    # Decoding, shots, numbers of items and finetuning of arXiv 2602.01997; see docs/evaluation.md.
    "paper": {
        "tasks": ("paper",),
        "limit": 1000,
        "temperature": 0.9,
        "top_k": 50,
        "max_new_tokens": 8192,
        "select_tasks": ("gsm8k", "humanevalplus", "xsum"),
        "ratios": (0.0625, 0.125, 0.1875, 0.25, 0.375, 0.5),
        "select_items": 100,
        "calibration_items": 100,
        "recovery": {"kinds": ("lora",), "ratios": (0.25,), "items": 50_000},
    },
}
