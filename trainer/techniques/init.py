"""The initial weights of one convolution or linear layer, set in place; the bias becomes zero (not in `default`).

`gain` comes from the activation: √2 for ReLU. fan_in and fan_out: inputs and outputs of one unit. What is returned, if
anything, is called once for the whole network, after all layers.
"""

import math
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from trainer.config.types import Count, Positive
from trainer.techniques.networks.network_init import Finish, unit_variances, without_normalization


def default(layer: nn.Module, gain: float) -> None:
    """Keep what torch has set: weight and bias uniform in ±1/√fan_in, whatever the activation."""


def zeros(layer: nn.Module, gain: float) -> None:
    """Weights of zero."""
    _set(layer, torch.zeros_like(_weight(layer)))


def normal(layer: nn.Module, gain: float, *, std: Positive = 0.01) -> None:
    """Normal with σ = std, whatever the size of the layer."""
    _set(layer, torch.empty_like(_weight(layer)).normal_(0, std))


def xavier_normal(layer: nn.Module, gain: float) -> None:
    """Normal with σ = gain·√(2 / (fan_in + fan_out)). Glorot & Bengio 2010."""
    _set_normal(layer, gain * math.sqrt(2 / sum(_fans(layer))))


def xavier_uniform(layer: nn.Module, gain: float) -> None:
    """Uniform with the σ of `xavier_normal`. Glorot & Bengio 2010."""
    _set_uniform(layer, gain * math.sqrt(2 / sum(_fans(layer))))


def kaiming_normal(layer: nn.Module, gain: float, *, mode: Literal["fan_in", "fan_out"] = "fan_in") -> None:
    """Normal with σ = gain / √fan. He et al. 2015."""
    _set_normal(layer, gain / math.sqrt(_fans(layer)[mode == "fan_out"]))


def kaiming_uniform(layer: nn.Module, gain: float, *, mode: Literal["fan_in", "fan_out"] = "fan_in") -> None:
    """Uniform with the σ of `kaiming_normal`. He et al. 2015."""
    _set_uniform(layer, gain / math.sqrt(_fans(layer)[mode == "fan_out"]))


def orthogonal(layer: nn.Module, gain: float) -> None:
    """Orthogonal rows (or columns), scaled by gain. Saxe et al. 2014."""
    _set(layer, nn.init.orthogonal_(torch.empty_like(_weight(layer)), gain))


def trunc_normal(layer: nn.Module, gain: float, *, std: Positive = 0.02) -> None:
    """Normal with σ = std, drawn again beyond ±2σ, whatever the size of the layer. Dosovitskiy et al. 2021."""
    _set(layer, nn.init.trunc_normal_(torch.empty_like(_weight(layer)), 0, std, -2 * std, 2 * std))


def identity(layer: nn.Module, gain: float) -> None:
    """Ones on the diagonal: a linear layer passes its first inputs on, a convolution its first channels."""
    if isinstance(layer, nn.Conv2d):
        _set(layer, nn.init.dirac_(torch.empty_like(_weight(layer)), layer.groups))
    else:
        _set(layer, nn.init.eye_(torch.empty_like(_weight(layer))))


def dirac(layer: nn.Module, gain: float) -> None:
    """Convolutions that pass their first channels on, as `identity`; linear layers as in `kaiming_normal`."""
    (identity if isinstance(layer, nn.Conv2d) else kaiming_normal)(layer, gain)


def lsuv(layer: nn.Module, gain: float, *, images: Count = 256) -> Finish:
    """Orthogonal, then divided so that the outputs of each layer have variance 1. Mishkin & Matas 2016."""
    orthogonal(layer, 1.0)
    return partial(unit_variances, images=images)


def fixup(layer: nn.Module, gain: float) -> Finish:
    """Like `kaiming_normal`, but small in residual branches, and zero at the end of each. Zhang et al. 2019."""
    kaiming_normal(layer, gain)
    return without_normalization


def _set_normal(layer: nn.Module, std: float) -> None:
    _set(layer, torch.empty_like(_weight(layer)).normal_(0, std))


def _set_uniform(layer: nn.Module, std: float) -> None:
    bound = math.sqrt(3) * std  # a uniform distribution on ±bound has the standard deviation bound/√3
    _set(layer, torch.empty_like(_weight(layer)).uniform_(-bound, bound))


def _fans(layer: nn.Module) -> tuple[int, int]:
    # A weight is [outputs, inputs, kernel height, kernel width]: each unit has inputs·kernel incoming connections.
    weight = _weight(layer)
    return weight[0].numel(), weight.numel() // weight.size(1)


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def _set(layer: nn.Module, values: Tensor) -> None:
    with torch.no_grad():
        _weight(layer).copy_(values)
        if isinstance(layer.bias, Tensor):
            layer.bias.zero_()
