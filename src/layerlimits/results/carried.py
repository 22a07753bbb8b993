"""The results of exporting and importing a run folder."""

from dataclasses import dataclass

from layerlimits.results.frames import Document


@dataclass(frozen=True)
class CarryResults(Document):
    """A run folder and the file that carries it to another machine.

    Args:
        run: The run folder.
        file: The file.
        model: Name of the unpruned model where the run was started.
        made_by: The version of layerlimits that wrote the file.
        models: Number of models, pruned ones included.
        responses: Number of responses.
        artifacts: Number of other values: settings, rankings, plans, timings and caches.
        sha256: Hash of the content; None for Parquet files, whose rows have one each.
        whole: Whether texts of items are included, as in Parquet files.
        without_weights: Finetuned models, whose weights are not in the file.
    """

    run: str
    file: str
    model: str
    made_by: str
    models: int
    responses: int
    artifacts: int
    sha256: str | None
    whole: bool
    without_weights: tuple[str, ...]
