"""The unpruned model in the results of a study."""

from dataclasses import dataclass
from pathlib import PurePath

from layerlimits.evaluation.artifacts import Manifest, ModelRecord
from layerlimits.models.number_type import ProductRate


@dataclass(frozen=True)
class ModelInfo:
    """The unpruned model.

    `dtype_reason` says why this dtype, and `dtype_rates` has the rates that were measured to choose it.
    """

    name: str
    fingerprint: str
    layers: int
    parameters: int
    weight_bytes: int
    dtype: str
    device: str
    dtype_reason: str = ""
    dtype_rates: tuple[ProductRate, ...] = ()

    @property
    def title(self) -> str:
        """The name in headings: of a path, the last folder; a hub id is complete."""
        return PurePath(self.name).name if self.name.startswith((".", "/", "~")) else self.name


def model_info(record: ModelRecord, manifest: Manifest) -> ModelInfo:
    """The model as a run folder describes it."""
    rates = tuple(ProductRate(**rate) for rate in manifest.get("dtype_rates", []))
    return ModelInfo(**record, dtype_reason=manifest.get("dtype_reason", ""), dtype_rates=rates)
