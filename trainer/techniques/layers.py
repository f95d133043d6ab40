"""The modules that the models are made of."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.techniques.activation import Activation


@dataclass(frozen=True)
class Slots:
    """What the run plugs into every layer."""

    activation: Activation
    normalization: Callable[[tuple[int, ...]], nn.Module | None]
    dropout: float


class InputScaling(nn.Module):
    """(x − mean) / std a channel, with the training split's statistics; takes uint8 0–255 or float 0–1.

    Part of the network, so that a checkpoint alone is enough to classify a picture.
    """

    mean: Tensor
    std: Tensor
    shift: Tensor
    scale: Tensor
    scale_of_bytes: Tensor

    def __init__(self, mean: Tensor, std: Tensor, height: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean.view(-1, 1, 1))
        self.register_buffer("std", std.view(-1, 1, 1))
        self.height, self.width = height, width
        for name in ("shift", "scale", "scale_of_bytes"):  # not saved: what is loaded brings its own mean and std
            self.register_buffer(name, None, persistent=False)
        self.spread()
        self.register_load_state_dict_post_hook(_spread_anew)

    def forward(self, images: Tensor) -> Tensor:
        if images.is_floating_point():
            return torch.addcmul(self.shift, images, self.scale)
        return torch.addcmul(self.shift, images.float(), self.scale_of_bytes)

    def spread(self) -> None:
        """[1, C, H, W] each, in the order in which images lie: a CPU goes over both in one sweep. With a value a
        channel, which changes there from number to number, it takes five times as long."""
        values = {"shift": -self.mean / self.std, "scale": 1 / self.std, "scale_of_bytes": 1 / (255 * self.std)}
        for name, value in values.items():
            whole = value.expand(1, -1, self.height, self.width).contiguous(memory_format=torch.channels_last)
            setattr(self, name, whole)


def _spread_anew(scaling: InputScaling, keys: Any) -> None:
    """Not where it has not been loaded, which is told, nor without memory: whose size it is has not been checked."""
    if not keys.missing_keys and not scaling.shift.is_meta:
        scaling.spread()


class AuxiliaryLoss(nn.Module, ABC):
    """A network that learns more than the logits it returns, and adds to the loss what belongs to that."""

    @abstractmethod
    def auxiliary_loss(self, labels: Tensor) -> Tensor:
        """Scalar, for the images of the last forward pass in training mode; `labels` [N], or [N, K] once mixed."""


class HardSharing(AuxiliaryLoss):
    """One encoder, two heads: the encoder gets both gradients."""

    coarse_of: Tensor

    def __init__(self, encoder: nn.Module, features: int, coarse_of: Tensor, coarse_weight: float) -> None:
        super().__init__()
        self.encoder, self.coarse_weight = encoder, coarse_weight
        self.fine = nn.Linear(features, len(coarse_of))
        self.coarse = nn.Linear(features, coarse_of.shape[1])
        self.register_buffer("coarse_of", coarse_of)
        self.coarse_logits: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        features = self.encoder(images)
        self.coarse_logits = self.coarse(features) if self.training else None
        logits: Tensor = self.fine(features)
        return logits

    def auxiliary_loss(self, labels: Tensor) -> Tensor:
        assert self.coarse_logits is not None
        return self.coarse_weight * _coarse_loss(self.coarse_logits, labels, self.coarse_of)


class SoftSharing(AuxiliaryLoss):
    """Two networks of the same shape, one a task, held together by strength·Σ(θ₁ − θ₂)² over their encoders."""

    coarse_of: Tensor

    def __init__(
        self, encoders: tuple[nn.Module, nn.Module], features: int, coarse_of: Tensor, weight: float, strength: float
    ) -> None:
        super().__init__()
        self.encoder, self.coarse_encoder = encoders
        self.coarse_weight, self.strength = weight, strength
        self.fine = nn.Linear(features, len(coarse_of))
        self.coarse = nn.Linear(features, coarse_of.shape[1])
        self.register_buffer("coarse_of", coarse_of)
        self.coarse_logits: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        self.coarse_logits = self.coarse(self.coarse_encoder(images)) if self.training else None
        logits: Tensor = self.fine(self.encoder(images))
        return logits

    def auxiliary_loss(self, labels: Tensor) -> Tensor:
        assert self.coarse_logits is not None
        pairs = zip(self.encoder.parameters(), self.coarse_encoder.parameters(), strict=True)
        distance = torch.stack([(one - other).square().sum() for one, other in pairs]).sum()
        return self.coarse_weight * _coarse_loss(self.coarse_logits, labels, self.coarse_of) + self.strength * distance


class Ensemble(AuxiliaryLoss):
    """Members that see the same batches and share nothing; evaluated by the mean of their probabilities.

    In training mode it returns the first member's logits and leaves the others' losses to `auxiliary_loss`: each
    member's gradient is that of its own loss, so that they train as they would alone.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.others: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        logits = [member(images) for member in self.members]
        if self.training:
            first, *self.others = logits
            return first
        log_probabilities = torch.stack([F.log_softmax(each, 1) for each in logits])
        return log_probabilities.logsumexp(0) - math.log(len(logits))

    def auxiliary_loss(self, labels: Tensor) -> Tensor:
        losses = [F.cross_entropy(logits.float(), labels) for logits in self.others]
        return torch.stack(losses).sum() if losses else torch.zeros((), device=labels.device)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut around them; activation after the sum. He et al. 2016."""

    def __init__(self, inputs: int, outputs: int, size: tuple[int, int], stride: int, slots: Slots) -> None:
        super().__init__()
        wide = outputs * slots.activation.pieces
        shape = (wide, *(-(-length // stride) for length in size))
        self.first = nn.Sequential(
            nn.Conv2d(inputs, wide, 3, stride, 1, bias=False), *normalized(shape, slots), slots.activation.build()
        )
        self.second = nn.Sequential(nn.Conv2d(outputs, wide, 3, 1, 1, bias=False), *normalized(shape, slots))
        same = inputs == wide and stride == 1
        projection = [nn.Conv2d(inputs, wide, 1, stride, bias=False), *normalized(shape, slots)]
        self.shortcut = nn.Identity() if same else nn.Sequential(*projection)
        self.activation = slots.activation.build()

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.activation(self.second(self.first(features)) + self.shortcut(features))
        return result


def normalized(shape: tuple[int, ...], slots: Slots) -> list[nn.Module]:
    normalization = slots.normalization(shape)
    return [normalization] if normalization else []


def _coarse_loss(logits: Tensor, labels: Tensor, coarse_of: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), coarse_of[labels] if labels.ndim == 1 else labels @ coarse_of)


def weights(model: nn.Module) -> list[nn.Parameter]:
    """The weights of convolutions and linear layers; biases, and scales and shifts of normalization, are none.

    Told by the layer, not by the number of dimensions: the scale of layer normalization over (C, H, W) has three.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return [layer.weight for layer in layers if isinstance(layer.weight, nn.Parameter)]
