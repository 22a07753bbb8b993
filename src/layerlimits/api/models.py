"""Models: `load`, the `Model` it returns, and `without_layers`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from layerlimits.api.options import ModelOptions
from layerlimits.chat import bind
from layerlimits.chat_options import PLAIN, ChatOptions
from layerlimits.evaluation.prompts import check_chat
from layerlimits.models import load as loading
from layerlimits.models import remove
from layerlimits.models.checkpoint import configuration
from layerlimits.models.load import Loaded
from layerlimits.models.locate import check_complete, layer_count, locate
from layerlimits.models.structure_check import check_structure


@dataclass(frozen=True, repr=False)
class Model:
    """A model in memory, as returned by `load`.

    Stored responses are identified by a hash of the model's files; changes to the weights in memory are not detected.

    Args:
        loaded: The model with its tokenizer, folder and fingerprint.
    """

    loaded: Loaded

    @property
    def name(self) -> str:
        """The folder or hub id that the model was loaded from, or "reference"."""
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
        """Options that load the same model again."""
        ref = self.loaded.ref
        return ModelOptions(ref.path, ref.revision, ref.dtype, str(self.loaded.model.device))

    def __repr__(self) -> str:
        options = self.options
        return f"Model({options.model!r}, layers={self.layers}, dtype={options.dtype!r}, device={options.device!r})"


# A folder, a hub id or "reference"; the same with options; or a model in memory.
ModelSource = str | Path | ModelOptions | Model


def load(model: str | Path, *, revision: str | None = None, dtype: str = "auto", device: str = "auto") -> Model:
    """Check a model's files, then load it. Weights must be safetensors files, and remote code is never run.

    Args:
        model: Folder, hub id, or "reference" for the bundled model with 12 layers.
        revision, dtype, device: See `ModelOptions`.

    Raises:
        UserError: Files are missing, damaged or do not match the configuration; the architecture does not have a single
            list of layers; or the device or dtype is not available.

    Example:
        >>> model = load("reference")
        >>> model.layers
        12
    """
    return Model(loading.load(str(model), revision=revision, dtype=dtype, device=device))


@contextmanager
def without_layers(model: ModelSource, layers: Iterable[int]) -> Iterator[PreTrainedModel]:
    """Skip layers of the transformers model inside a `with` block; the model is restored afterwards.

    Weights are not copied.

    Args:
        model: Model returned by `load`, a folder, a hub id, "reference", or `ModelOptions`.
            Anything but a `Model` is loaded for the block.
        layers: Zero-based indices of the layers to skip. If empty, the model is unchanged.

    Raises:
        UserError: A layer does not exist or is listed more than once, no layer would be left, or skipping the layers
            does not change the model's logits.

    Example:
        >>> model = load("reference")
        >>> inputs = model.tokenizer("3 + 4 =", return_tensors="pt")
        >>> with without_layers(model, [3, 4]) as network:
        ...     output = network.generate(**inputs, max_new_tokens=8)
    """
    removed = tuple(layers)
    if removed:
        # Fail before weights load.
        remove.check_layers(removed, depth(model))
    loaded = in_memory(model)
    loaded.check_removal_changes_logits(removed)
    with remove.without_layers(loaded.model, removed) as network:
        yield network


def settings(model: ModelSource) -> ModelOptions:
    """The options that load a model."""
    if isinstance(model, Model):
        return model.options
    return model if isinstance(model, ModelOptions) else ModelOptions(str(model))


def in_memory(model: ModelSource) -> Loaded:
    """The model in memory; loads it if necessary.

    Raises:
        UserError: See `load`.
    """
    if isinstance(model, Model):
        return model.loaded
    options = settings(model)
    return loading.load(options.model, revision=options.revision, dtype=options.dtype, device=options.device)


def checked_folder(model: ModelSource) -> Path:
    """The folder of a model, after all checks that need no weights.

    Raises:
        UserError: See `models.locate`.
    """
    if isinstance(model, Model):
        return model.loaded.folder
    options = settings(model)
    folder = locate(options.model, options.revision)
    check_complete(folder)
    return folder


def tokenizer_of(model: ModelSource) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, without loading weights.

    Raises:
        UserError: See `checked_folder` and `read_tokenizer`.
    """
    return model.tokenizer if isinstance(model, Model) else loading.read_tokenizer(checked_folder(model))


def bound_tokenizer(
    model: ModelSource, template: ChatOptions = PLAIN, chat: bool | None = None
) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, whose chat template has these settings from now on.

    Raises:
        UserError: See `tokenizer_of` and `evaluation.prompts.check_chat`.
    """
    tokenizer = tokenizer_of(model)
    check_chat(tokenizer, chat, settings(model).model, template)
    bind(tokenizer, template)
    return tokenizer


def depth(model: ModelSource) -> int:
    """Number of layers, without loading weights.

    Raises:
        UserError: See `checked_folder`.
    """
    return model.layers if isinstance(model, Model) else layer_count(checked_folder(model))


def check_removable(model: ModelSource) -> None:
    """Check that a layer of a model can be removed, without loading weights: what holds for `prune` holds for figures.

    Raises:
        UserError: See `checked_folder` and `models.structure_check.check_structure`.
    """
    check_structure(configuration(checked_folder(model)), (depth(model) // 2,))
