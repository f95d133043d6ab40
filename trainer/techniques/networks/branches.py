"""The branches of residual networks: layers whose output is added to their input, or to another shortcut."""

from itertools import chain

from torch import nn

from trainer.techniques.layers import Residual, ResidualBlock


def branches(model: nn.Module) -> list[list[nn.Module]]:
    """Return the modules of each residual branch in their order; the output of the last one is what is added.

    A module of one's own takes part if its attribute `branch` is the module whose output it adds.
    """
    return list(chain.from_iterable(map(_of_block, model.modules())))


def _of_block(module: nn.Module) -> list[list[nn.Module]]:
    if isinstance(module, ResidualBlock):
        return [[module.first, module.second]]
    if isinstance(module, Residual):
        return [list(module)]
    branch = getattr(module, "branch", None)
    return [[branch]] if isinstance(branch, nn.Module) else []
