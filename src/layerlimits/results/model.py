"""The unpruned model in the results of a study."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from layerlimits.evaluation.artifacts import ModelRecord
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


def model_info(record: ModelRecord) -> ModelInfo:
    """The model as a run folder describes it."""
    rates = tuple(ProductRate(**rate) for rate in record.get("dtype_rates", []))
    values: dict[str, Any] = {**record, "dtype_rates": rates}
    return ModelInfo(**values)
