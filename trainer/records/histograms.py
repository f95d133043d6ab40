"""Histograms of a network's parameters, counted on its device."""

import math
from dataclasses import dataclass

import torch
from torch import nn

BINS = 30


@dataclass(frozen=True)
class Counts:
    """The numbers of values in BINS bins of equal width from `low` to `high`."""

    counts: list[int]
    low: float
    high: float

    @property
    def edges(self) -> list[float]:
        """The ends of the bins, one more than there are bins."""
        return [self.low + (self.high - self.low) * place / BINS for place in range(BINS)] + [self.high]


@torch.no_grad()
def parameter_counts(network: nn.Module) -> dict[str, Counts]:
    """Return the histogram of each parameter by its name, but for those that are empty or not finite in a value."""
    ends, counts, names = [], [], []
    for name, parameter in network.named_parameters():
        if not parameter.numel():
            continue
        values = parameter.detach().flatten().float()
        low, high = values.aminmax()
        # Not torch.histc, which is not deterministic on a GPU.
        places = ((values - low) * (BINS / (high - low).clamp(min=1e-30))).nan_to_num().int().clamp_(0, BINS - 1)
        ends.append(torch.stack((low, high)))
        counts.append(torch.bincount(places, minlength=BINS))
        names.append(name)
    if not names:
        return {}
    # Read together, so that the device is waited for twice.
    found = zip(names, torch.stack(counts).tolist(), torch.stack(ends).tolist(), strict=True)
    return {name: Counts(numbers, *both) for name, numbers, both in found if all(map(math.isfinite, both))}
