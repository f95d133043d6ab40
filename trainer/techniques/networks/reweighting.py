"""Layers that compute with a function of the weight that is trained, such as the weight divided by its norm.

The layer keeps its weight as a parameter under its name, so that decay, penalties, averages, statistics and saved
states see a layer like any other.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.errors import ConfigError


class Reweighting(nn.Module):
    """A function of a layer's weight, of the same shape; its parameters and buffers are saved with the layer."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight that the layer computes with."""
        raise NotImplementedError

    def start(self, weight: Tensor) -> None:
        """Prepare for the weight that the initialization has set."""


class ReweightedConv2d(nn.Conv2d):
    """A convolution with `reweightings` of its weight, one after the other."""

    reweightings: nn.ModuleList

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution with the computed weight."""
        return self._conv_forward(input, _computed(self), self.bias)


class ReweightedLinear(nn.Linear):
    """A linear layer with `reweightings` of its weight, one after the other."""

    reweightings: nn.ModuleList

    def forward(self, input: Tensor) -> Tensor:
        """Return the product with the computed weight."""
        return F.linear(input, _computed(self), self.bias)


KINDS: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: ReweightedConv2d, nn.Linear: ReweightedLinear}


def reweight(layer: nn.Module, function: Reweighting) -> None:
    """Let a convolution or linear layer compute with a function of its weight, after those that it has already.

    Raises ConfigError for another kind of layer, which may use its weight in its own way.
    """
    if type(layer) in KINDS:
        layer.__class__ = KINDS[type(layer)]
        layer.reweightings = nn.ModuleList()
    if not isinstance(layer, ReweightedConv2d | ReweightedLinear):
        accepted = " and ".join(kind.__name__ for kind in KINDS)
        raise ConfigError(f"the weight of a {type(layer).__name__} cannot be computed anew: torch's {accepted} can")
    layer.reweightings.append(function)


@torch.no_grad()
def start_reweightings(model: nn.Module) -> None:
    """Prepare all reweightings of a network for its weights, once these are initialized."""
    for layer in model.modules():
        if isinstance(layer, ReweightedConv2d | ReweightedLinear):
            weight: Tensor = layer.weight
            for function in layer.reweightings:
                assert isinstance(function, Reweighting)
                function.start(weight)
                weight = function(weight)


def _computed(layer: ReweightedConv2d | ReweightedLinear) -> Tensor:
    weight: Tensor = layer.weight
    for function in layer.reweightings:
        weight = function(weight)
    return weight


class WeightMarker(nn.Identity):
    """Stands where a normalization of features would, for one that acts on weights; it computes nothing itself."""


def normalize_marked(model: nn.Module) -> None:
    """Give every convolution and linear layer of a network with such a marker a weight with a length of its own."""
    if not any(isinstance(module, WeightMarker) for module in model.modules()):
        return
    for layer in [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]:
        reweight(layer, WeightNormalization(layer.weight))


class WeightNormalization(Reweighting):
    """w = length·v / ‖v‖ for each unit, with v the layer's weight and a learned length. Salimans & Kingma 2016."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.length = nn.Parameter(weight.detach().flatten(1).norm(dim=1))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with these lengths, along its first axis."""
        rows = F.normalize(weight.flatten(1), dim=1)
        return (self.length[:, None] * rows).view_as(weight)

    @torch.no_grad()
    def start(self, weight: Tensor) -> None:
        """Take the lengths of the initial weight, which the layer then computes with."""
        self.length.copy_(weight.flatten(1).norm(dim=1))
