"""Networks of convolutions without a shortcut around each pair: VGG, and ConvMixer with patches."""

from torch import nn

from trainer.techniques.image_sizes import refuse_uneven
from trainer.techniques.layers import Residual, Slots, normalized
from trainer.techniques.networks.lecture_networks import dropout

# Convolutions in each stage; a pooling by 2 follows. Columns A and B of table 1 of Simonyan & Zisserman 2015.
VGG = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2)}


def vgg_network(shape: tuple[int, int, int], classes: int, slots: Slots, depth: int, width: int) -> nn.Module:
    """Return five stages of 3×3 convolutions of 1, 2, 4, 8 and 8 times `width` channels, and one linear layer."""
    inputs, height, across = shape
    layers: list[nn.Module] = []
    for stage, count in enumerate(VGG[depth]):
        outputs = width * min(2**stage, 8)
        for _ in range(count):
            wide = outputs * slots.activation.pieces
            layers += [nn.Conv2d(inputs, wide, 3, padding=1), *normalized((wide, height, across), slots)]
            layers.append(slots.activation.build())
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
        height, across = height // 2, across // 2
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *dropout(slots), nn.Linear(inputs, classes))


def convmixer_network(
    shape: tuple[int, int, int], classes: int, slots: Slots, depth: int, width: int, kernel_size: int, patch_size: int
) -> nn.Module:
    """Return patches, blocks of a depthwise convolution with a shortcut and a 1×1 convolution, and one linear layer."""
    refuse_uneven("convmixer", patch_size, *shape[1:])
    size = (shape[1] // patch_size, shape[2] // patch_size)
    wide = width * slots.activation.pieces

    def after(convolution: nn.Module) -> list[nn.Module]:
        """Return a convolution with what follows each in this network: first the activation, then normalization."""
        return [convolution, slots.activation.build(), *normalized((width, *size), slots)]

    layers = after(nn.Conv2d(shape[0], wide, patch_size, patch_size))
    for _ in range(depth):
        depthwise = nn.Conv2d(width, wide, kernel_size, padding="same", groups=width)
        layers += [Residual(*after(depthwise)), *after(nn.Conv2d(width, wide, 1))]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *dropout(slots), nn.Linear(width, classes))
