"""Models of one's own: (shape (C, H, W), names of the classes, slots) → a module from images to logits [N, K].

A model that reads a slot can be trained with every activation, normalization or dropout; a study that varies a slot
which the model does not read is refused.
"""

import torch
from torch import Tensor, nn

from trainer.config.types import Count
from trainer.techniques.layers import ResidualBlock, Slots, normalized


def resnet20(shape: tuple[int, int, int], classes: tuple[str, ...], slots: Slots, *, width: Count = 16) -> nn.Module:
    """ResNet-20 for CIFAR-10: three stages of three blocks, 0.27 million parameters. He et al. 2016.

    The shortcut of a stage that halves the sides is a 1×1 convolution.
    """
    inputs, height, across = shape
    wide = width * slots.activation.pieces
    layers = [nn.Conv2d(inputs, wide, 3, 1, 1, bias=False), *normalized((wide, height, across), slots)]
    layers.append(slots.activation.build())
    inputs = width
    for stage in range(3):
        for block in range(3):
            stride = 2 if stage and not block else 1
            layers.append(ResidualBlock(inputs, width * 2**stage, (height, across), stride, slots))
            inputs, height, across = width * 2**stage, -(-height // stride), -(-across // stride)
    dropout = [nn.Dropout(slots.dropout)] if slots.dropout else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *dropout, nn.Linear(inputs, len(classes)))


def vit(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    patch: Count = 4,
    width: Count = 64,
    depth: Count = 4,
    heads: Count = 4,
) -> nn.Module:
    """A small vision transformer with layer normalization of its own. Dosovitskiy et al. 2021."""
    return ViT(shape, len(classes), slots, patch, width, depth, heads)


class ViT(nn.Module):
    """Patches as words: a linear map, learned positions, blocks of attention and an MLP, and the mean of all words."""

    def __init__(
        self, shape: tuple[int, int, int], classes: int, slots: Slots, patch: int, width: int, depth: int, heads: int
    ) -> None:
        super().__init__()
        channels, height, across = shape
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.positions = nn.Parameter(torch.randn(1, (height // patch) * (across // patch), width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads, slots) for _ in range(depth)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [N, K]."""
        words = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.head(self.blocks(words).mean(1))
        return logits


class Block(nn.Module):
    """Attention, then an MLP of four times the width, each added to its input."""

    def __init__(self, width: int, heads: int, slots: Slots) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, slots.dropout, batch_first=True)
        wide = 4 * width
        up = nn.Linear(width, wide * slots.activation.pieces)
        self.fold = slots.activation.pieces  # maxout takes this many features for each that it returns
        self.up, self.activation, self.down = up, slots.activation.build(), nn.Linear(wide, width)

    def forward(self, words: Tensor) -> Tensor:
        """Return words [N, patches, width]."""
        normal = self.before(words)
        words = words + self.attention(normal, normal, normal, need_weights=False)[0]
        hidden = self.up(self.between(words)).transpose(1, 2)  # features second, as activations expect them
        return words + self.down(self.activation(hidden).transpose(1, 2))


def timm_model(
    shape: tuple[int, int, int], classes: tuple[str, ...], slots: Slots, *, architecture: str = "resnet10t"
) -> nn.Module:
    """Any network of timm by its name, without pretrained weights and without slots. pip install timm."""
    import timm

    network: nn.Module = timm.create_model(architecture, in_chans=shape[0], num_classes=len(classes))
    return network
