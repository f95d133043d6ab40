"""Networks for images of any channel count and size, with slots for activation, normalization and dropout.

Each function takes `shape` (C, H, W) and the names of the classes, and returns a module from images to logits [N, K].
Their parts: `layers.py`, and the files of `networks/`, named after kinds of networks.
"""

from typing import Literal

from torch import nn

from trainer.config.types import Count, Members, Positive
from trainer.techniques.image_sizes import refuse_small
from trainer.techniques.layers import Slots
from trainer.techniques.networks.convolutional import convmixer_network, vgg_network
from trainer.techniques.networks.joint_networks import Ensemble, HardSharing, SoftSharing
from trainer.techniques.networks.lecture_networks import coarse_of, lecture_encoder, mlp_network, note_000_network
from trainer.techniques.networks.resnets import cifar_resnet, residual_network, resnet9_network, wide_network
from trainer.techniques.networks.timm_networks import timm_network
from trainer.techniques.networks.transformers import VisionTransformer


def lecture_cnn(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    channels: tuple[Count, ...] = (6, 16),
    hidden: Count | tuple[Count, ...] = 128,
    kernel_size: Count = 5,
) -> nn.Module:
    """Twice a 5×5 convolution, pooling by 2, normalization and activation; then two linear layers with dropout before.

    55 490 parameters for 3×32×32 and 10 classes. Raises ConfigError for images under 16×16.
    """
    refuse_small("lecture_cnn", shape, channels=channels, kernel_size=kernel_size)
    encoder, features = lecture_encoder(shape, slots, channels, hidden, kernel_size)
    return nn.Sequential(encoder, nn.Linear(features, len(classes)))


def note_000_cnn(
    shape: tuple[int, int, int], classes: tuple[str, ...], slots: Slots, *, channels: Count = 64
) -> nn.Module:
    """The lecture's note 000 (CNNWithBatchNorm): a 3×3 convolution and a linear layer, each followed by normalization.

    There the linear layer takes 64 features, which fits images of 3×3; here it takes those that the images leave.
    """
    refuse_small("note_000_cnn", shape)
    return note_000_network(shape, len(classes), slots, channels)


def mlp(
    shape: tuple[int, int, int], classes: tuple[str, ...], slots: Slots, *, hidden: tuple[Count, ...] = (256, 128)
) -> nn.Module:
    """Linear layers of these widths, each followed by normalization, activation and dropout."""
    return mlp_network(shape, len(classes), slots, hidden)


def resnet18(shape: tuple[int, int, int], classes: tuple[str, ...], slots: Slots, *, width: Count = 64) -> nn.Module:
    """ResNet-18 for small images: a 3×3 stem without pooling, four stages of two blocks, dropout before the last layer.

    It has about 11.2 million parameters for 3×32×32 and is meant to be used with normalization=batch. He et al. 2016.
    """
    widths = (width, 2 * width, 4 * width, 8 * width)
    return residual_network(shape, len(classes), slots, widths, blocks=2)


def resnet20(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    width: Count = 16,
    shortcut: Literal["padding", "projection"] = "padding",
) -> nn.Module:
    """ResNet-20 for CIFAR: three stages of three blocks, 0.27 million parameters. He et al. 2016, section 4.2.

    Where the channels double, the shortcut adds channels of zeros, as in all of the paper's networks for CIFAR, or is
    a 1×1 convolution. Meant to be used with normalization=batch.
    """
    return cifar_resnet(shape, len(classes), slots, 20, width, shortcut)


def resnet32(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    width: Count = 16,
    shortcut: Literal["padding", "projection"] = "padding",
) -> nn.Module:
    """ResNet-32 for CIFAR: as resnet20, with five blocks in each stage and 0.46 million parameters. He et al. 2016."""
    return cifar_resnet(shape, len(classes), slots, 32, width, shortcut)


def resnet56(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    width: Count = 16,
    shortcut: Literal["padding", "projection"] = "padding",
) -> nn.Module:
    """ResNet-56 for CIFAR: as resnet20, with nine blocks in each stage and 0.85 million parameters. He et al. 2016."""
    return cifar_resnet(shape, len(classes), slots, 56, width, shortcut)


def wide_resnet(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    depth: Count = 16,
    widen_factor: Count = 4,
    width: Count = 16,
) -> nn.Module:
    """Wide residual network WRN-depth-widen_factor: 16-4 has 2.7 million parameters, 28-10 36.5 million.

    Normalization and activation come before each convolution, dropout between the two of a block. Meant to be used
    with normalization=batch. Zagoruyko & Komodakis 2016. Raises ConfigError for a depth other than 6n + 4.
    """
    return wide_network(shape, len(classes), slots, depth, widen_factor, width)


def resnet9(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    width: Count = 64,
    whitening: bool = True,
) -> nn.Module:
    """ResNet-9, which learns in few epochs: five 3×3 convolutions in a row, two residual pairs, three poolings by 2.

    It has about 6.6 million parameters for 3×32×32 and is meant to be used with normalization=batch. With `whitening`
    the first convolution is a fixed one, computed from the training images, and a learned 1×1. Page 2018 and 2019
    (cifar10-fast). Raises ConfigError for images under 8×8.
    """
    refuse_small("resnet9", shape)
    return resnet9_network(shape, len(classes), slots, width, whitening)


def vgg(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    depth: Literal[11, 13] = 11,
    width: Count = 64,
) -> nn.Module:
    """VGG-11 or 13: 3×3 convolutions and five poolings by 2, with one linear layer in place of the paper's three.

    9.2 million parameters with depth 11. Simonyan & Zisserman 2015. Raises ConfigError for images under 32×32.
    """
    refuse_small("vgg", shape)
    return vgg_network(shape, len(classes), slots, depth, width)


def convmixer(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    depth: Count = 8,
    width: Count = 256,
    kernel_size: Count = 5,
    patch_size: Count = 2,
) -> nn.Module:
    """ConvMixer-256/8: patches, then large depthwise convolutions in turn with 1×1 ones. 0.6 million parameters.

    Meant to be used with activation=gelu and normalization=batch. Trockman & Kolter 2022. Raises ConfigError for images
    that do not consist of whole patches.
    """
    return convmixer_network(shape, len(classes), slots, depth, width, kernel_size, patch_size)


def vit(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    depth: Count = 6,
    width: Count = 192,
    heads: Count = 3,
    patch_size: Count = 4,
) -> nn.Module:
    """A small vision transformer with a class token: 2.7 million parameters, half the layers of ViT-Tiny.

    Meant to be used with activation=gelu and normalization=layer. Dosovitskiy et al. 2021. Raises ConfigError for
    images that do not consist of whole patches.
    """
    return VisionTransformer(shape, len(classes), slots, depth, width, heads, patch_size)


def timm(
    shape: tuple[int, int, int], classes: tuple[str, ...], slots: Slots, *, architecture: str = "resnet18"
) -> nn.Module:
    """Any network of timm by its name, without pretrained weights; it keeps its own activation and normalization.

    pip install 'ablation-trainer[timm]'. Wightman 2019. Raises ConfigError for a name that timm does not know.
    """
    return timm_network(shape, len(classes), slots, architecture)


def hard_sharing(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    channels: tuple[Count, ...] = (6, 16),
    hidden: Count | tuple[Count, ...] = 128,
    kernel_size: Count = 5,
    coarse_weight: Positive = 1.0,
) -> nn.Module:
    """The lecture's CNN with a second head for the coarse task, whose loss is added with `coarse_weight`."""
    refuse_small("hard_sharing", shape, channels=channels, kernel_size=kernel_size)
    encoder, features = lecture_encoder(shape, slots, channels, hidden, kernel_size)
    return HardSharing(encoder, features, coarse_of(classes), coarse_weight)


def soft_sharing(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    channels: tuple[Count, ...] = (6, 16),
    hidden: Count | tuple[Count, ...] = 128,
    kernel_size: Count = 5,
    coarse_weight: Positive = 1.0,
    strength: Positive = 1e-3,
) -> nn.Module:
    """Two of the lecture's CNNs, one for each task, with a penalty on the distance of their parameters."""
    refuse_small("soft_sharing", shape, channels=channels, kernel_size=kernel_size)
    first, features = lecture_encoder(shape, slots, channels, hidden, kernel_size)
    second, _ = lecture_encoder(shape, slots, channels, hidden, kernel_size)
    return SoftSharing((first, second), features, coarse_of(classes), coarse_weight, strength)


def ensemble(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    slots: Slots,
    *,
    members: Members = 3,
    channels: tuple[Count, ...] = (6, 16),
    hidden: Count | tuple[Count, ...] = 128,
    kernel_size: Count = 5,
) -> nn.Module:
    """Several of the lecture's CNNs with different initial weights; the mean of their probabilities is evaluated."""
    refuse_small("ensemble", shape, channels=channels, kernel_size=kernel_size)
    encoders = (lecture_encoder(shape, slots, channels, hidden, kernel_size) for _ in range(members))
    return Ensemble([nn.Sequential(encoder, nn.Linear(features, len(classes))) for encoder, features in encoders])
