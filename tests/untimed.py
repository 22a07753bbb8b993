"""The results of a study without what depends on time, to compare two runs of it."""

from typing import Any


def untimed(results: dict[str, Any]) -> dict[str, Any]:
    """The results without times and speeds, the command, and the date."""
    for entry in results["methods"] + results["recovery"]:
        entry.pop("seconds")
    # Its figures are times.
    results["diagnostics"] = [row for row in results["diagnostics"] if row["diagnostic"] != "cost"]
    for card in results["verdict"]["cards"]:
        card.pop("gain")
    return {name: value for name, value in results.items() if name not in ("created", "command", "stages", "speed")}
