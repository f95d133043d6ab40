"""The non-linearity between layers, and the gain that the initialization of the layer before it needs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from trainer.config.types import Count, NonNegative, Positive


@dataclass(frozen=True)
class Activation:
    """A non-linearity and what other parts of the run need to know about it.

    `gain`: factor on the initial standard deviation (torch.nn.init.calculate_gain); `pieces`: inputs for each output;
    `can_die`: a unit may be zero for every input; `slope`: output → slope there as a share of the steepest, for those
    that saturate.
    """

    build: Callable[[], nn.Module]
    gain: float
    pieces: int = 1
    can_die: bool = False
    slope: Callable[[Tensor], Tensor] | None = None


class Maxout(nn.Module):
    """The largest of `pieces` neighbouring features: [N, pieces·F, …] → [N, F, …]. Goodfellow et al. 2013."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, features: Tensor) -> Tensor:
        """Return the maxima, [N, F, …]."""
        return features.unflatten(1, (-1, self.pieces)).amax(2)


def sigmoid() -> Activation:
    """The logistic function 1 / (1 + e^−x)."""
    return Activation(nn.Sigmoid, gain=1.0, slope=lambda y: 4 * y * (1 - y))  # y′ = y(1 − y) ≤ 1/4


def tanh() -> Activation:
    """The hyperbolic tangent."""
    # torch's gain (nn.init.calculate_gain): with 1, tanh shrinks the variance from layer to layer.
    return Activation(nn.Tanh, gain=5 / 3, slope=lambda y: 1 - y.square())


def relu() -> Activation:
    """The rectifier max(0, x). Nair & Hinton 2010."""
    # Half of the inputs become zero, and half of the variance: √2 restores it (He et al. 2015).
    return Activation(nn.ReLU, gain=math.sqrt(2), can_die=True)


def leaky_relu(*, negative_slope: NonNegative = 0.01) -> Activation:
    """The leaky rectifier: x above zero, slope·x below. Maas et al. 2013."""
    return Activation(partial(nn.LeakyReLU, negative_slope), gain=math.sqrt(2 / (1 + negative_slope**2)))


def elu(*, alpha: Positive = 1.0) -> Activation:
    """The exponential linear unit: x above zero, α(e^x − 1) below. Clevert et al. 2016."""
    # torch has no gain for ELU; He's √2 keeps the variance of a unit that is linear on one side.
    return Activation(partial(nn.ELU, alpha), gain=math.sqrt(2))


def gelu() -> Activation:
    """The Gaussian error linear unit x·Φ(x). Hendrycks & Gimpel 2016."""
    # As for ELU, the gain is that of ReLU, which GELU resembles.
    return Activation(nn.GELU, gain=math.sqrt(2), can_die=True)


def maxout(*, pieces: Count = 2) -> Activation:
    """The largest of `pieces` linear units. Goodfellow et al. 2013."""
    return Activation(partial(Maxout, pieces), gain=1.0, pieces=pieces)


def silu() -> Activation:
    """The input times its logistic function, x·σ(x), also called swish. Elfwing et al. 2018, Ramachandran 2017."""
    return Activation(nn.SiLU, gain=_keeping(nn.SiLU()), can_die=True)


def mish() -> Activation:
    """The input times tanh(ln(1 + e^x)). Misra 2020."""
    return Activation(nn.Mish, gain=_keeping(nn.Mish()), can_die=True)


def hardswish() -> Activation:
    """The input times a line from 0 to 1, x·min(max(x + 3, 0), 6) / 6, which is near to silu. Howard et al. 2019."""
    return Activation(nn.Hardswish, gain=_keeping(nn.Hardswish()), can_die=True)


def softplus(*, beta: Positive = 1.0) -> Activation:
    """The smooth rectifier ln(1 + e^(βx)) / β, which is above zero everywhere. Dugas et al. 2001."""
    build = partial(nn.Softplus, beta)
    return Activation(build, gain=_keeping(build()), can_die=True)


def celu(*, alpha: Positive = 1.0) -> Activation:
    """The exponential linear unit with a slope of 1 at zero: x above, α(e^(x/α) − 1) below. Barron 2017."""
    build = partial(nn.CELU, alpha)
    return Activation(build, gain=_keeping(build()))


def selu() -> Activation:
    """The exponential linear unit, scaled so that mean 0 and variance 1 are a fixed point. Klambauer et al. 2017."""
    # With gain 1 init=kaiming_normal is the paper's LeCun normal, σ = 1 / √fan_in. torch's gain is 3/4, which shrinks.
    return Activation(nn.SELU, gain=1.0)


def prelu(*, negative_slope: NonNegative = 0.25) -> Activation:
    """The leaky rectifier with a slope that each layer learns, from `negative_slope` on. He et al. 2015."""
    build = partial(nn.PReLU, init=negative_slope)
    return Activation(build, gain=math.sqrt(2 / (1 + negative_slope**2)))


def _keeping(function: nn.Module) -> float:
    """Return the gain that keeps the second moment, 1 / √E[f(x)²] with x standard normal; √2 for ReLU."""
    # The trapezoidal rule, which for smooth functions that end in zero is exact to more digits than are needed. On the
    # CPU, also while a network is built on another device.
    step = 0.01
    x = torch.arange(-1200, 1201, dtype=torch.float64, device="cpu") * step
    moment = (function(x).square() * torch.exp(-x.square() / 2)).sum() * step / math.sqrt(2 * math.pi)
    return float(moment) ** -0.5
