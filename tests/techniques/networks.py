"""The networks that these tests look into, composed and built as a run does it."""

from functools import cache

import torch
from conftest import compose, tiny_images
from torch import nn

from trainer.data.images import Images
from trainer.techniques.networks.input_layers import InputScaling
from trainer.training.build import build_trainer
from trainer.training.network import build_model

NORMALIZATIONS = ("none", "batch", "layer", "group")


@cache
def composed(*arguments):
    (run,) = compose(["device=cpu", *arguments])
    return run


def network(*arguments, shape=(3, 32, 32), classes=10):
    """An untrained network, the lecture's CNN unless told otherwise, with the scaling of its input in front."""
    pixels = torch.randint(0, 256, (20, *shape), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    names = classes if isinstance(classes, tuple) else tuple(str(number) for number in range(classes))
    images = Images(pixels, torch.arange(20) % len(names), names)
    return build_model(composed(*arguments), images)


def trainer(*arguments, shape=(3, 16, 16)):
    """Ready to train on 40 tiny images of four classes and to validate on 8."""
    return build_trainer(composed(*arguments), tiny_images(40, shape), tiny_images(8, shape), torch.device("cpu"))


def layers(model):
    """The layers in their order, without the scaling of the input and without what only holds others."""
    return [part for part in model.modules() if not [*part.children()] and not isinstance(part, InputScaling)]


def weighted(model):
    return [layer for layer in layers(model) if isinstance(layer, nn.Conv2d | nn.Linear)]


def unweighted(model):
    """Every parameter that is no weight of a convolution or linear layer: biases, and scales and shifts."""
    weights = {id(layer.weight) for layer in weighted(model)}
    return {name: parameter for name, parameter in model.named_parameters() if id(parameter) not in weights}
