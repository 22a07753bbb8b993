"""Finding the layers of a decoder model, without a table of architectures."""

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from layerlimits.errors import UserError


@dataclass(frozen=True)
class LayerStack:
    """The list of layers in a model: `getattr(owner, name)` is the ModuleList."""

    owner: nn.Module
    name: str

    @property
    def layers(self) -> nn.ModuleList:
        """The current layers."""
        layers = getattr(self.owner, self.name)
        assert isinstance(layers, nn.ModuleList)
        return layers

    def __len__(self) -> int:
        return len(self.layers)


def find_stack(model: PreTrainedModel) -> LayerStack:
    """Find the outermost list of modules whose length is the number of layers in the configuration.

    Raises:
        UserError: no list or several lists have that length; names the architecture and the length.
    """
    kind = type(model).__name__
    depth = getattr(model.config, "num_hidden_layers", None)
    lists = [(path, module) for path, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    fitting = [path for path, module in lists if len(module) == depth]
    outer = [path for path in fitting if not any(path.startswith(f"{other}.") for other in fitting)]
    if len(outer) != 1:
        seen = ", ".join(f"{path} ({len(module)})" for path, module in lists[:6]) or "none"
        raise UserError(
            f"{kind} has no recognizable layer stack: expected one list of {depth} modules (num_hidden_layers), "
            f"found {len(outer)}; its lists: {seen}",
            "use an architecture with a single list of layers, or report this one",
        )
    owner, _, name = outer[0].rpartition(".")
    return LayerStack(model.get_submodule(owner), name)
