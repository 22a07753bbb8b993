"""Models: `load`, the handle it returns, and `without_layers`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from layerlimits.api.options import ModelOptions
from layerlimits.models import load as loading
from layerlimits.models import remove
from layerlimits.models.load import Loaded
from layerlimits.models.locate import check_complete, layer_count, locate


@dataclass(frozen=True, repr=False)
class Model:
    """A model in memory, as `load` returns it.

    Results are stored under a hash of the model's files: weights that you change in memory are not noticed.

    Args:
        loaded: the model with its tokenizer, folder and identity.
    """

    loaded: Loaded

    @property
    def name(self) -> str:
        """The folder or hub id it was loaded from, or "reference"."""
        return self.loaded.ref.path

    @property
    def layers(self) -> int:
        """Number of layers."""
        return self.loaded.depth

    @property
    def network(self) -> PreTrainedModel:
        """The transformers model."""
        return self.loaded.model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The transformers tokenizer."""
        return self.loaded.tokenizer

    @property
    def options(self) -> ModelOptions:
        """What loads the same model again."""
        ref = self.loaded.ref
        return ModelOptions(ref.path, ref.revision, ref.dtype, str(self.loaded.model.device))

    def __repr__(self) -> str:
        options = self.options
        return f"Model({options.model!r}, layers={self.layers}, dtype={options.dtype!r}, device={options.device!r})"


# Whatever names a model: a folder, a hub id or "reference", the same with settings, or one in memory.
ModelSource = str | Path | ModelOptions | Model


def load(model: str | Path, *, revision: str | None = None, dtype: str = "auto", device: str = "auto") -> Model:
    """Check a model's files, then load it. Only safetensors weights are read, and no code of the model runs.

    Args:
        model: a folder, a hub id, or "reference", the bundled model of 12 layers.
        revision, dtype, device: see `ModelOptions`.
    Raises:
        UserError: files that are missing, damaged or do not fit the configuration; an architecture without one list of
            layers; or a device or number type that is not available.

    Example:
        >>> model = load("reference")
        >>> model.layers
        12
    """
    return Model(loading.load(str(model), revision=revision, dtype=dtype, device=device))


@contextmanager
def without_layers(model: ModelSource, layers: Iterable[int]) -> Iterator[PreTrainedModel]:
    """The transformers model without some layers inside a `with` block; afterwards it is as before.

    No weight is copied.

    Args:
        model: a model of `load`, or what names one; a name is loaded for the block.
        layers: numbers of the layers to leave out, from 0. None at all gives the whole model.
    Raises:
        UserError: a layer that does not exist or is listed twice, no layer would be left, or removing the layers does
            not change the model's logits.

    Example:
        >>> model = load("reference")
        >>> inputs = model.tokenizer("3 + 4 =", return_tensors="pt")
        >>> with without_layers(model, [3, 4]) as network:
        ...     output = network.generate(**inputs, max_new_tokens=8)
    """
    removed = tuple(layers)
    if removed:
        # Before weights load.
        remove.check_layers(removed, depth(model))
    loaded = in_memory(model)
    loaded.check_removal_changes_logits(removed)
    with remove.without_layers(loaded.model, removed) as network:
        yield network


def settings(model: ModelSource) -> ModelOptions:
    """The settings that load a model."""
    if isinstance(model, Model):
        return model.options
    return model if isinstance(model, ModelOptions) else ModelOptions(str(model))


def in_memory(model: ModelSource) -> Loaded:
    """The model, loaded if it is not yet.

    Raises:
        UserError: as `load`.
    """
    if isinstance(model, Model):
        return model.loaded
    options = settings(model)
    return loading.load(options.model, revision=options.revision, dtype=options.dtype, device=options.device)


def checked_folder(model: ModelSource) -> Path:
    """The folder of a model that can be loaded, before it is.

    Raises:
        UserError: see `models.locate`.
    """
    if isinstance(model, Model):
        return model.loaded.folder
    options = settings(model)
    folder = locate(options.model, options.revision)
    check_complete(folder)
    return folder


def depth(model: ModelSource) -> int:
    """Number of layers, before weights load.

    Raises:
        UserError: as `checked_folder`.
    """
    return model.layers if isinstance(model, Model) else layer_count(checked_folder(model))
