"""Which parameters are weights: what is decayed, penalized and constrained."""

from torch import nn


def weights(model: nn.Module) -> list[nn.Parameter]:
    """The weights of convolutions and linear layers; biases, and scales and shifts of normalization, are none.

    Told by the layer, not by the number of dimensions: the scale of layer normalization over (C, H, W) has three.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return [layer.weight for layer in layers if isinstance(layer.weight, nn.Parameter)]
