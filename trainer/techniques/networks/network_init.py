"""Initial weights that depend on the network around a layer, or on the images that pass through it."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from trainer.errors import ConfigError
from trainer.techniques.networks.branches import branches

# What an initialization may return: called with the network, in evaluation mode, and batches of training images as they
# are stored, once all layers have their weights.
Finish = Callable[[nn.Module, Iterator[Tensor]], None]


@torch.no_grad()
def unit_variances(network: nn.Module, batches: Iterator[Tensor], images: int) -> None:
    """Divide the weight of each layer by the deviation of its outputs, one layer after the other.

    The biases are zero, so that a single pass is enough: a layer whose weight is divided puts out as much less.
    """
    parts, count = list[Tensor](), 0
    for part in batches:
        parts.append(part)
        count += len(part)
        if count >= images:
            break
    seen = set[nn.Module]()

    def divide(layer: nn.Module, _inputs: object, output: Tensor) -> Tensor | None:
        deviation, weight = output.std(), layer.weight
        if layer in seen or not deviation > 0:
            return None
        seen.add(layer)
        assert isinstance(weight, Tensor)
        weight.div_(deviation)
        return output / deviation

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(divide) for layer in layers]
    network(torch.cat(parts)[:images])
    for handle in handles:
        handle.remove()


@torch.no_grad()
def without_normalization(network: nn.Module, batches: Iterator[Tensor]) -> None:
    """Scale down the layers of residual branches, the last of each to zero, and the last of the network to zero.

    Rules 1 and 2 of Zhang et al. 2019: of L branches with m layers each but the last one are scaled by
    L^(−1 / (2m − 2)). Raises ConfigError for a network without residual branches.
    """
    found = [[layer for part in parts for layer in _weighted(part)] for parts in branches(network)]
    if not found:
        raise ConfigError("init=fixup is made for residual branches: this network has none, choose a ResNet")
    for layers in found:
        for layer in layers[:-1]:
            _scale(layer, len(found) ** (-1 / (2 * len(layers) - 2)))
        _scale(layers[-1], 0.0)
    _scale([layer for layer in _weighted(network) if isinstance(layer, nn.Linear)][-1], 0.0)


def _weighted(module: nn.Module) -> list[nn.Module]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def _scale(layer: nn.Module, factor: float) -> None:
    assert isinstance(layer.weight, Tensor) and math.isfinite(factor)
    layer.weight.mul_(factor)
