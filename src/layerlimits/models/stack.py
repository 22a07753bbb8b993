"""Finding the layers of any decoder model, without a table of architectures."""

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from layerlimits.errors import UserError


@dataclass(frozen=True)
class LayerStack:
    """The list of layers and where it hangs: `getattr(owner, name)` is the ModuleList."""

    owner: nn.Module
    name: str

    @property
    def layers(self) -> nn.ModuleList:
        """The layers as they are now."""
        found = getattr(self.owner, self.name)
        assert isinstance(found, nn.ModuleList)
        return found

    def __len__(self) -> int:
        return len(self.layers)


def find_stack(model: PreTrainedModel) -> LayerStack:
    """The one list of modules, outermost, that is as long as the configuration says the model is deep.

    Raises:
        UserError: no list, or several, of that length; names the architecture and what was looked for.
    """
    kind = type(model).__name__
    depth = getattr(model.config, "num_hidden_layers", None)
    lists = [(path, module) for path, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    fitting = [path for path, module in lists if len(module) == depth]
    outer = [path for path in fitting if not any(path.startswith(f"{other}.") for other in fitting)]
    if len(outer) != 1:
        seen = ", ".join(f"{path} ({len(module)})" for path, module in lists[:6]) or "none"
        raise UserError(
            f"{kind} has no recognisable layer stack: looked for one list of {depth} modules (num_hidden_layers), "
            f"found {len(outer)}; its lists: {seen}",
            "use an architecture whose layers are one list, or report this one",
        )
    owner, _, name = outer[0].rpartition(".")
    return LayerStack(model.get_submodule(owner), name)
