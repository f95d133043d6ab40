"""The running statistics of batch normalization, measured anew for weights that were not trained as they are.

Schedule-free optimizers and averages of weights evaluate others than the forward passes of the training have seen.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

BATCHES = 50  # as the authors of schedule-free optimizers advise


@torch.no_grad()
def measure_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set mean and variance of every batch normalization to their averages over the batches of images.

    All else is in evaluation mode, so that nothing is drawn.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    if not layers:
        return
    model.eval()
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the average of all batches since the reset
        layer.train()
    for images in batches:
        model(images)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.eval()
