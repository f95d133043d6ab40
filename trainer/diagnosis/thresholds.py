"""Thresholds, and the figures that several rules ask of a case. Imports no torch.

Every threshold has its reason. Figures called measured are of small runs on digits with seeds below 400;
`python -m trainer doctor --selftest` reports other seeds.
"""

import math

from trainer.diagnosis.inputs import Evidence, LayerStats
from trainer.stats.intervals import Z_ONE_SIDED, wilson
from trainer.techniques.layer_names import layer_titles

FITTED = 0.9  # of the training images: below it the lecture's first question, does it fit them, is answered no
GROWN = 2.0  # a layer's weights beside what they began with; healthy runs end below 2.2, but not at chance level
TINY_GRADIENT = 1e-5  # ‖g‖/‖W‖: at lr 0.1 a million steps to move by the weights' own size; measured healthy: > 1e-4
HUGE_GRADIENT = 10.0  # ‖g‖/‖W‖: at lr 0.1 one step moves by the weights' own size; measured healthy: < 3
TINY_UPDATE = 1e-3  # ‖ΔW‖/‖W‖ of a step, the rule of thumb for a good rate (Karpathy); a fault only where it is slow
HALF = 0.5
DEAD = 2 / 3  # of a layer's units: a third has to do the work; measured healthy: < 0.54
SATURATED = 0.5  # of a layer's outputs before training, where nothing has been learnt yet; measured healthy: < 0.01


def layer_values(layer_stats: LayerStats | None, quantity: str) -> list[tuple[str, float]]:
    """("convolution 2 of 6", value) of every layer that has the quantity."""
    layers = layer_stats["layers"] if layer_stats else {}
    told = layer_titles({name: found["kind"] for name, found in layers.items()})
    return [(told[name], found[quantity]) for name, found in layers.items() if found.get(quantity) is not None]


def relative_gradients(layer_stats: LayerStats | None) -> list[tuple[str, float]]:
    """‖g‖/‖W‖ of every layer whose weights are not zero."""
    norms = dict(layer_values(layer_stats, "weight_norm"))
    return [(name, norm / norms[name]) for name, norm in layer_values(layer_stats, "gradient_norm") if norms.get(name)]


def chance(evidence: Evidence) -> float:
    """The loss of a network that only knows how frequent each class is: ln K for K equal ones."""
    shares = [count / evidence.images for count in evidence.class_counts.values() if count]
    return -sum(share * math.log(share) for share in shares)


def fit(evidence: Evidence) -> float:
    """The best accuracy so far on images it was trained on; under dropout and augmentation that of validation."""
    return max(
        [row["train_accuracy"] for row in evidence.rows] + [row["validation_accuracy"] for row in evidence.validated]
    )


def losses(evidence: Evidence) -> list[float]:
    """The training loss of each epoch; what is not finite counts as infinite."""
    return [math.inf if row["train_loss"] is None else row["train_loss"] for row in evidence.rows]


def fall(evidence: Evidence, epochs: int = 3) -> float:
    """By which share the training loss fell, per epoch, over the last ones."""
    curve = losses(evidence)[-epochs - 1 :]
    if len(curve) < 2 or not (0 < curve[-1] < math.inf and 0 < curve[0] < math.inf):
        return 0.0
    return 1 - (curve[-1] / curve[0]) ** (1 / (len(curve) - 1))


def lower_bound(count: int, total: int) -> float:
    """Return the lower bound of the share count / total, at 95 % on one side."""
    return wilson(count / total, total, Z_ONE_SIDED)[0]
