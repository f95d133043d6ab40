"""The modules that the models consist of."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.techniques.activation import Activation


class Slots:
    """The parts of a layer that the run chooses; `normalization` takes the shape of the features, without the batch.

    `used`: those that a model has read so far. The others it has no place for.
    """

    NAMES = ("activation", "normalization", "dropout")

    def __init__(
        self,
        activation: Activation,
        normalization: Callable[[tuple[int, ...]], nn.Module | None],
        dropout: float,
    ) -> None:
        self._activation, self._normalization, self._dropout = activation, normalization, dropout
        self.used: set[str] = set()

    @property
    def activation(self) -> Activation:
        """The chosen activation."""
        self.used.add("activation")
        return self._activation

    @property
    def normalization(self) -> Callable[[tuple[int, ...]], nn.Module | None]:
        """The function that makes a normalization layer for features of a shape, or None for no layer."""
        self.used.add("normalization")
        return self._normalization

    @property
    def dropout(self) -> float:
        """The share of features that are set to zero."""
        self.used.add("dropout")
        return self._dropout


class PatchWhitening(nn.Module):
    """A fixed 3×3 convolution whose 9·C outputs have variance 1 and no correlation on the training images. Page 2019.

    `fit` computes its filters; until then they are zero. They are saved with the network and never trained.
    """

    filters: Tensor
    EPS = 1e-2  # added to each variance, as in cifar10-fast: directions that hardly vary are mostly noise

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filters", torch.zeros(9 * channels, channels, 3, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Return [N, 9·C, H, W]; around the images lie zeros, the mean of scaled images."""
        return F.conv2d(images, self.filters, padding=1)

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Set the filters to the principal components of all 3×3 patches of these scaled images, each divided by σ."""
        size = len(self.filters)
        count, total, products = 0, torch.zeros(size).double(), torch.zeros(size, size).double()
        for images in batches:
            patches = F.unfold(images.double(), 3).transpose(1, 2).flatten(0, 1)  # [N·(H − 2)·(W − 2), 9·C]
            count, total, products = count + len(patches), total + patches.sum(0), products + patches.T @ patches
        mean = total / count
        variances, directions = torch.linalg.eigh(products / count - mean.outer(mean))  # a direction is a column
        whitened = directions / (variances + self.EPS).sqrt()
        self.filters.copy_(whitened.T.flip(0).view_as(self.filters))  # the largest variance first


class Scaled(nn.Module):
    """Its input times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, features: Tensor) -> Tensor:
        """Return the scaled features."""
        return features * self.factor


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut around them, with the activation after the sum. He et al. 2016.

    Unless one is given, the shortcut is the input itself where the shape stays the same, and else a 1×1 convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: tuple[int, int],
        stride: int,
        slots: Slots,
        shortcut: nn.Module | None = None,
    ) -> None:
        super().__init__()
        # maxout takes `pieces` channels for each that it returns: the convolution before it is that much wider.
        wide = outputs * slots.activation.pieces
        shape = (wide, *(-(-length // stride) for length in size))
        self.first = nn.Sequential(
            nn.Conv2d(inputs, wide, 3, stride, 1, bias=False), *normalized(shape, slots), slots.activation.build()
        )
        self.second = nn.Sequential(nn.Conv2d(outputs, wide, 3, 1, 1, bias=False), *normalized(shape, slots))
        if shortcut is None:
            same = inputs == wide and stride == 1
            projection = [nn.Conv2d(inputs, wide, 1, stride, bias=False), *normalized(shape, slots)]
            shortcut = nn.Identity() if same else nn.Sequential(*projection)
        self.shortcut = shortcut
        self.activation = slots.activation.build()

    def forward(self, features: Tensor) -> Tensor:
        """Return [N, outputs, H / stride, W / stride]."""
        result: Tensor = self.activation(self.second(self.first(features)) + self.shortcut(features))
        return result


class Residual(nn.Sequential):
    """Layers in a row whose output is added to their input, of the same shape; nothing follows the sum."""

    def forward(self, features: Tensor) -> Tensor:
        """Return features + layers(features)."""
        return features + super().forward(features)


def normalized(shape: tuple[int, ...], slots: Slots) -> list[nn.Module]:
    """Return the normalization layer for these features as a list, which is empty without one."""
    normalization = slots.normalization(shape)
    return [normalization] if normalization else []


def weights(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights of convolutions and linear layers, without biases and the parameters of normalization."""
    # By the kind of layer, not by the number of dimensions: the scale of layer normalization over (C, H, W) has three.
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return [layer.weight for layer in layers if isinstance(layer.weight, nn.Parameter)]
