"""Own initializations: (layer, gain, *, options) -> None, in place, for a convolution or linear layer."""

import torch
from torch import Tensor, nn

from trainer.config.types import Positive


def technique(
    layer: nn.Module,
    gain: float,
    *,
    scale: Positive = 1.0,  # factor of all weights
) -> None:
    """Draw weights with σ = scale·gain / √inputs; the bias becomes zero."""
    weight, bias = layer.weight, layer.bias  # weight: [outputs, inputs] or [outputs, inputs, height, width]
    assert isinstance(weight, Tensor)
    with torch.no_grad():
        # To do: your rule. It draws by torch without a generator, which the run has seeded.
        weight.normal_(0, scale * gain / weight[0].numel() ** 0.5)
        if isinstance(bias, Tensor):
            bias.zero_()
