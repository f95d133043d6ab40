"""Residual networks: stages of blocks whose output is added to their input."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from trainer.techniques.layers import PatchWhitening, Residual, ResidualBlock, Scaled, Slots, normalized
from trainer.techniques.networks.lecture_networks import dropout

Shape = tuple[int, int, int]


def residual_network(
    shape: Shape, classes: int, slots: Slots, widths: tuple[int, ...], blocks: int, padding: bool = False
) -> nn.Module:
    """Return a 3×3 stem and stages of this many blocks and channels, of which each but the first halves the sides.

    `padding`: a shortcut between different numbers of channels adds channels of zeros, in place of a 1×1 convolution.
    """
    inputs, *size = shape
    width, pieces = widths[0], slots.activation.pieces
    height, across = size
    stem = [nn.Conv2d(inputs, width * pieces, 3, 1, 1, bias=False), *normalized((width * pieces, *size), slots)]
    layers: list[nn.Module] = [*stem, slots.activation.build()]
    inputs = width
    for stage, outputs in enumerate(widths):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            shortcut = PaddedShortcut(outputs, stride, pieces) if padding else None
            layers.append(ResidualBlock(inputs, outputs, (height, across), stride, slots, shortcut))
            # With padding 1 a 3×3 convolution of stride 2 halves the sides, rounded up.
            inputs, height, across = outputs, -(-height // stride), -(-across // stride)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *dropout(slots), nn.Linear(inputs, classes))


class PaddedShortcut(nn.Module):
    """Every `stride`-th pixel of the input, behind whose channels come zeros: option A of He et al. 2016.

    For an activation that takes `pieces` channels for each that it returns, every channel is repeated so many times.
    """

    def __init__(self, outputs: int, stride: int, pieces: int) -> None:
        super().__init__()
        self.outputs, self.stride, self.pieces = outputs, stride, pieces

    def forward(self, features: Tensor) -> Tensor:
        """Return [N, outputs·pieces, H / stride, W / stride]."""
        kept = features[:, :, :: self.stride, :: self.stride]
        padded = F.pad(kept, (0, 0, 0, 0, 0, self.outputs - features.shape[1]))
        # The largest of F₁ + x, F₂ + x, … is the largest piece F plus x.
        return padded.repeat_interleave(self.pieces, 1) if self.pieces > 1 else padded


def cifar_resnet(shape: Shape, classes: int, slots: Slots, depth: int, width: int, shortcut: str) -> nn.Module:
    """Return the network of 6n + 2 layers for small images: three stages of n blocks. He et al. 2016, section 4.2."""
    widths = (width, 2 * width, 4 * width)
    return residual_network(shape, classes, slots, widths, (depth - 2) // 6, padding=shortcut == "padding")


class WideBlock(nn.Module):
    """Normalization and activation before each of two 3×3 convolutions, dropout between. Zagoruyko & Komodakis 2016.

    Features between blocks have not been activated: for maxout they have `pieces` channels for each of `inputs`.
    """

    def __init__(self, inputs: int, outputs: int, size: tuple[int, int], stride: int, slots: Slots) -> None:
        super().__init__()
        pieces = slots.activation.pieces
        after = (-(-size[0] // stride), -(-size[1] // stride))
        self.before = nn.Sequential(*normalized((inputs * pieces, *size), slots), slots.activation.build())
        same = inputs == outputs and stride == 1
        self.projection = None if same else nn.Conv2d(inputs, outputs * pieces, 1, stride, bias=False)
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, outputs * pieces, 3, stride, 1, bias=False),
            *normalized((outputs * pieces, *after), slots),
            slots.activation.build(),
            *dropout(slots),
            nn.Conv2d(outputs, outputs * pieces, 3, 1, 1, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return [N, outputs·pieces, H / stride, W / stride]."""
        active = self.before(features)
        # Where the shape changes, the shortcut starts behind the activation, which both paths share then.
        shortcut = features if self.projection is None else self.projection(active)
        result: Tensor = self.branch(active) + shortcut
        return result


def wide_network(shape: Shape, classes: int, slots: Slots, depth: int, widen_factor: int, width: int) -> nn.Module:
    """Return the network of `depth` = 6n + 4 layers: three stages of n blocks, `widen_factor` times as wide."""
    inputs, height, across = shape
    pieces = slots.activation.pieces
    layers: list[nn.Module] = [nn.Conv2d(inputs, width * pieces, 3, 1, 1, bias=False)]
    widths = (width, *(width * widen_factor * 2**stage for stage in range(3)))
    for stage, (before, outputs) in enumerate(pairwise(widths)):
        for block in range((depth - 4) // 6):
            stride = 2 if stage and not block else 1
            layers.append(WideBlock(outputs if block else before, outputs, (height, across), stride, slots))
            height, across = -(-height // stride), -(-across // stride)
    end = [*normalized((widths[-1] * pieces, height, across), slots), slots.activation.build()]
    return nn.Sequential(*layers, *end, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))


def resnet9_network(shape: Shape, classes: int, slots: Slots, width: int, whitening: bool) -> nn.Module:
    """Return five 3×3 convolutions in a row, two residual pairs, three poolings by 2; with `whitening` a fixed stem."""
    inputs, *size = shape
    stem = [PatchWhitening(inputs)] if whitening else []
    layers = [*stem, *_convolution(9 * inputs if whitening else inputs, width, size, slots, 1 if whitening else 3)]
    inputs = width
    for outputs, residual in ((2 * width, True), (4 * width, False), (8 * width, True)):
        size = [length // 2 for length in size]
        layers += _convolution(inputs, outputs, size, slots, pooling=True)
        if residual:
            layers.append(Residual(*(part for _ in range(2) for part in _convolution(outputs, outputs, size, slots))))
        inputs = outputs
    # Not AdaptiveMaxPool2d, whose gradient has no deterministic form on a GPU.
    layers += [nn.MaxPool2d((size[0], size[1])), nn.Flatten(), *dropout(slots)]
    # Logits an eighth as large, as in cifar10-fast: at its high learning rates the softmax would saturate.
    return nn.Sequential(*layers, nn.Linear(inputs, classes, bias=False), Scaled(1 / 8))


def _convolution(
    inputs: int, outputs: int, size: list[int], slots: Slots, kernel: int = 3, pooling: bool = False
) -> list[nn.Module]:
    """Return a convolution that keeps the size, pooling by 2 to `size` on request, normalization and activation."""
    wide = outputs * slots.activation.pieces
    layers: list[nn.Module] = [nn.Conv2d(inputs, wide, kernel, padding=kernel // 2, bias=False)]
    layers += [nn.MaxPool2d(2)] if pooling else []
    return [*layers, *normalized((wide, *size), slots), slots.activation.build()]
