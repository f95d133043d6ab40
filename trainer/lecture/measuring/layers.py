"""Measures of the statistics of layers that a run has recorded with `layer_stats_every`. Imports no torch.

They are of one training step on a fixed batch of 256 training images, after an epoch: with layer_stats_every=1 the
first is after epoch 1. nan where none was recorded, or where a value was not finite.
"""

import math
import statistics
from collections.abc import Mapping
from typing import Any, Literal

from trainer.lecture.measuring.runs import RunRecord


def first_last_gradient(run: RunRecord, *, at: Literal["first", "last"] = "first") -> float:
    """Return ‖g₁‖ / ‖g_L‖: the length of the gradient of the first layer's weights by that of the last layer's.

    Far below 1 the gradient vanishes on its way back, far above 1 it explodes. 0 if the first is exactly 0. Unit: .
    """
    norms = list(_each(run, "gradient_norm", at).values())
    return norms[0] / norms[-1] if len(norms) > 1 and norms[-1] else math.nan


def dead_share(run: RunRecord, *, at: Literal["first", "last"] = "last") -> float:
    """Return the mean over the layers of the share of units that are zero for every image of the batch.

    Of activations that can die, such as relu. Unit: points.
    """
    return 100 * _mean(_each(run, "dead", at))


def update_ratio(run: RunRecord, *, at: Literal["first", "last"] = "last") -> float:
    """Return the mean over the layers of ‖ΔW‖ / ‖W‖, the length of a step by that of the weights. Unit: ."""
    return _mean(_each(run, "update_ratio", at))


def effective_rate_ratio(run: RunRecord) -> float:
    """Return the effective rate at the last record by that at the first one, the geometric mean over the layers.

    The effective rate of a layer is ‖ΔW‖ / ‖g‖: how far a gradient of length 1 moves its weights. Of adagrad and
    rmsprop, W ← W − lr·g / √G, it is a mean of lr / √G, weighted by the squares of the gradients. nan with less than
    two records. Unit: .
    """
    first, last = _rates(run, "first"), _rates(run, "last")
    shared = [name for name in first if first[name] > 0 and last.get(name, 0) > 0]
    records = sum(row["layer_stats"] is not None for row in run.epochs)
    if records < 2 or not shared:
        return math.nan
    return math.exp(statistics.fmean(math.log(last[name] / first[name]) for name in shared))


def _rates(run: RunRecord, at: str) -> dict[str, float]:
    """Return ‖ΔW‖ / ‖g‖ of each layer that has a gradient."""
    ratios, sizes, gradients = (_each(run, name, at) for name in ("update_ratio", "weight_norm", "gradient_norm"))
    return {name: ratios[name] * sizes[name] / length for name, length in gradients.items() if length > 0}


def _each(run: RunRecord, quantity: str, at: str) -> dict[str, float]:
    """Return a quantity of each layer that has it, in the order of the network; nan for one that was not finite."""
    records = [row["layer_stats"] for row in run.epochs if row["layer_stats"] is not None]
    if not records:
        return {}
    layers: Mapping[str, Any] = records[0 if at == "first" else -1].get("layers", {})
    found = {name: layer[quantity] for name, layer in layers.items() if isinstance(layer, dict) and quantity in layer}
    return {name: float(value) if isinstance(value, int | float) else math.nan for name, value in found.items()}


def _mean(values: Mapping[str, float]) -> float:
    return statistics.fmean(values.values()) if values else math.nan
