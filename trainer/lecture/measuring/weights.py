"""Measures of a run's weights at its best epoch, read from `best.safetensors`. Imports no torch.

Counted are the weights of convolutions and linear layers, without biases and the parameters of normalization. nan of a
run that failed before its first checkpoint. Each raises RunError if the checkpoint of a finished run cannot be read.
"""

import math

import numpy as np
from numpy.typing import NDArray

from trainer.config.types import Positive
from trainer.lecture.measuring.runs import RunRecord
from trainer.records.layout import BEST

Tensor = NDArray[np.floating]


def weight_norm(run: RunRecord) -> float:
    """Return the length ‖W‖ of all weights together, the root of the sum of their squares. Unit: ."""
    layers = _weights(run).values()
    return math.sqrt(sum(float(np.square(weight).sum()) for weight in layers)) if layers else math.nan


def near_zero(run: RunRecord, *, below: Positive = 1e-3) -> float:
    """Return the share of the weights whose absolute value is below `below`. Unit: points."""
    layers = _weights(run).values()
    small = sum(int((np.abs(weight) < below).sum()) for weight in layers)
    return 100 * small / sum(weight.size for weight in layers) if layers else math.nan


def unit_difference(run: RunRecord) -> float:
    """Return the largest difference between the weights of two units of a hidden layer, of all hidden layers.

    A unit is a row of a linear layer or a filter of a convolution, with its bias. 0: within each layer all units
    compute the same, the symmetry is not broken. The last layer, whose units are told apart by the labels, is left out.
    Unit: .
    """
    names = list(_weights(run))[:-1]
    tensors = {name: run.best[name].astype(np.float64) for name in names}
    biases = {name: run.best.get(f"{name.removesuffix('.weight')}.bias") for name in names}
    units = [weight.reshape(len(weight), -1) for weight in tensors.values()]
    units += [bias.reshape(-1, 1).astype(np.float64) for bias in biases.values() if bias is not None]
    return max((float(np.ptp(rows, axis=0).max()) for rows in units), default=math.nan)


def _weights(run: RunRecord) -> dict[str, Tensor]:
    """Return the weights by name, in the order of the network, as doubles."""
    if run.outcome.state != "finished" and not (run.folder / BEST).is_file():
        return {}
    # The weight of a linear layer has two axes, that of a convolution four; that of normalization has one or three.
    layers = {name: value for name, value in run.best.items() if name.endswith(".weight") and value.ndim in (2, 4)}
    return {name: layers[name].astype(np.float64) for name in sorted(layers, key=_place)}


def _place(name: str) -> list[tuple[bool, int, str]]:
    """Return the parts of a name in the order of a network, 2 before 10: the file sorts them as text."""
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in name.split(".")]
