"""Models of one's own: (shape (C, H, W), names of the classes, slots) → a module from images to logits [N, K].

A model that reads a slot can be trained with every activation, normalization or dropout; a study that varies a slot
which the model does not read is refused.
"""

import torch
from torch import Tensor, nn

from trainer.config.types import Count
from trainer.techniques.layers import Slots, normalized


def densenet(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    growth: Count = 12,
    layers: tuple[Count, ...] = (4, 4, 4),
) -> nn.Module:
    """DenseNet: each layer reads the channels of all layers before it in its block. Huang et al. 2017."""
    channels, height, width = shape
    parts: list[nn.Module] = [nn.Conv2d(channels, channels := 2 * growth, 3, padding=1, bias=False)]
    for number, count in enumerate(layers):
        if number:  # half of the channels, half of the sides
            parts += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
            channels, height, width = channels // 2, height // 2, width // 2
        for _ in range(count):
            parts.append(Dense(channels, growth, (height, width), slots))
            channels += growth
    dropout = [nn.Dropout(slots.dropout)] if slots.dropout else []
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *dropout, nn.Linear(channels, len(classes)))


class Dense(nn.Sequential):
    """A 3×3 convolution, normalization and activation, whose output is put beside the input."""

    def __init__(self, inputs: int, growth: int, size: tuple[int, int], slots: Slots) -> None:
        wide = growth * slots.activation.pieces  # maxout takes this many channels for each that it returns
        convolution = nn.Conv2d(inputs, wide, 3, padding=1, bias=False)
        super().__init__(convolution, *normalized((wide, *size), slots), slots.activation.build())

    def forward(self, features: Tensor) -> Tensor:
        """Return [N, inputs + growth, H, W]."""
        return torch.cat([features, super().forward(features)], 1)


def mlp_mixer(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    patch: Count = 4,
    width: Count = 64,
    depth: Count = 4,
) -> nn.Module:
    """MLP-Mixer: one MLP across the patches, one across the channels, by turns. Tolstikhin et al. 2021."""
    words = (shape[1] // patch) * (shape[2] // patch)
    blocks = [Mixing(words, width, slots) for _ in range(depth)]
    return nn.Sequential(Patches(shape[0], width, patch), *blocks, Mean(width), nn.Linear(width, len(classes)))


class Patches(nn.Conv2d):
    """A linear map of each patch: [N, C, H, W] → [N, patches, width]."""

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__(channels, width, patch, patch)

    def forward(self, images: Tensor) -> Tensor:
        """Return [N, patches, width]."""
        return super().forward(images).flatten(2).transpose(1, 2)


class Mixing(nn.Module):
    """Two MLPs with one hidden layer, each added to its input and with layer normalization of its own before."""

    def __init__(self, words: int, width: int, slots: Slots) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.across_patches, self.across_channels = (_mlp(length, slots) for length in (words, width))

    def forward(self, words: Tensor) -> Tensor:
        """Return [N, patches, width]."""
        words = words + self.across_patches(self.before(words).transpose(1, 2)).transpose(1, 2)
        return words + self.across_channels(self.between(words))


class Mean(nn.Module):
    """Normalization, then the mean of all words: [N, patches, width] → [N, width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, words: Tensor) -> Tensor:
        """Return [N, width]."""
        mean: Tensor = self.norm(words).mean(1)
        return mean


def _mlp(length: int, slots: Slots) -> nn.Module:
    """Return an MLP over the last axis."""
    folds = slots.activation.pieces
    swap = Swap() if folds > 1 else nn.Identity()  # maxout expects features in second place
    dropout = [nn.Dropout(slots.dropout)] if slots.dropout else []
    up, down = nn.Linear(length, 2 * length * folds), nn.Linear(2 * length, length)
    return nn.Sequential(up, swap, slots.activation.build(), swap, *dropout, down)


class Swap(nn.Module):
    """The second and the third axis exchanged."""

    def forward(self, features: Tensor) -> Tensor:
        """Return [N, B, A] of [N, A, B]."""
        return features.transpose(1, 2)


def torchvision_model(
    shape: tuple[int, int, int], classes: tuple[str, ...], slots: Slots, *, architecture: str = "squeezenet1_1"
) -> nn.Module:
    """Any network of torchvision for colour images by its name, without pretrained weights and without slots."""
    from torchvision.models import get_model

    network: nn.Module = get_model(architecture, weights=None, num_classes=len(classes))
    # Its first convolution takes three channels: a grey image is given three times.
    return network if shape[0] == 3 else nn.Sequential(Repeated(), network)


class Repeated(nn.Module):
    """A grey image as three equal channels."""

    def forward(self, images: Tensor) -> Tensor:
        """Return [N, 3, H, W] of [N, 1, H, W]."""
        return images.expand(-1, 3, -1, -1)
