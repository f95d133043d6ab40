"""Thresholds, and figures of a run that several rules use. Imports no torch.

Each threshold has its reason. "Measured" figures are those of small runs on digits with seeds below 400;
`python -m trainer doctor --selftest` reports other seeds.
"""

import math

from trainer.config.run_config import RunConfig
from trainer.diagnosis.inputs import Evidence, LayerStats
from trainer.stats.intervals import Z_ONE_SIDED, wilson
from trainer.techniques.layer_names import layer_titles

FITTED = (
    0.9  # share of the training images: below it the network does not fit them, which is the lecture's first question
)
GROWN = 2.0  # ‖W‖ / its first value; healthy runs end below 2.2, but not at chance level
TINY_GRADIENT = 1e-5  # ‖g‖/‖W‖: at lr 0.1 a million steps to move by the weights' own size; measured healthy: > 1e-4
HUGE_GRADIENT = 10.0  # ‖g‖/‖W‖: at lr 0.1 one step moves by the weights' own size; measured healthy: < 3
TINY_UPDATE = (
    1e-3  # ‖ΔW‖/‖W‖ of a step, Karpathy's rule of thumb for a good rate; a fault only if the loss falls slowly
)
HALF = 0.5
DEAD = 2 / 3  # share of a layer's units: a third has to do all the work; measured healthy: < 0.54
SATURATED = 0.5  # share of a layer's outputs before training, where nothing is learnt yet; measured healthy: < 0.01


def layer_values(layer_stats: LayerStats | None, quantity: str) -> list[tuple[str, float]]:
    """Return ("convolution 2 of 6", value) for every layer that has the quantity."""
    layers = layer_stats["layers"] if layer_stats else {}
    titles = layer_titles({name: values["kind"] for name, values in layers.items()})
    return [(titles[name], values[quantity]) for name, values in layers.items() if values.get(quantity) is not None]


def relative_gradients(layer_stats: LayerStats | None) -> list[tuple[str, float]]:
    """Return ‖g‖/‖W‖ for every layer whose weights are not zero."""
    norms = dict(layer_values(layer_stats, "weight_norm"))
    return [(name, norm / norms[name]) for name, norm in layer_values(layer_stats, "gradient_norm") if norms.get(name)]


def chance(evidence: Evidence) -> float:
    """Return the loss of a network that knows the frequency of each class only: ln K for K equal ones."""
    shares = [count / evidence.images for count in evidence.class_counts.values() if count]
    return -sum(share * math.log(share) for share in shares)


def fit(evidence: Evidence) -> float:
    """Return the best accuracy so far on training images; with dropout or augmentation validation may be better.

    Of labels that the run itself has made wrong it is that of the right ones: no network need learn the others.
    """
    right = 1 - evidence.config.dataset.shared["label_noise"]
    return max(
        [min(1.0, row["train_accuracy"] / right) for row in evidence.rows]
        + [row["validation_accuracy"] for row in evidence.validated]
    )


def fit_in_words(evidence: Evidence) -> str:
    """Return the accuracies behind `fit` in words, as the table of epochs has them."""
    trained = max(row["train_accuracy"] for row in evidence.rows)
    validated = max((row["validation_accuracy"] for row in evidence.validated), default=0.0)
    words = f"best accuracy {trained:.1%} (training{as_trained(evidence.config)})"
    return words if validated <= trained else f"{words}, {validated:.1%} (validation)"


def as_trained(config: RunConfig) -> str:
    """Return how the training images of the table of epochs are seen, unlike those of validation; "" if as they are."""
    names = ["augmentation"] * bool(config.augmentation) + ["dropout"] * bool(config.dropout)
    noise = config.dataset.shared["label_noise"]
    names += [f"{100 * noise:g} % wrong labels"] * bool(noise)
    return f", with {' and '.join(names)}" if names else ""


def losses(evidence: Evidence) -> list[float]:
    """Return the training loss of each epoch; NaN counts as infinite."""
    return [math.inf if row["train_loss"] is None else row["train_loss"] for row in evidence.rows]


def fall(evidence: Evidence, epochs: int = 3) -> float:
    """Return the share by which the training loss fell in an epoch, on average over the last `epochs`."""
    curve = losses(evidence)[-epochs - 1 :]
    if len(curve) < 2 or not (0 < curve[-1] < math.inf and 0 < curve[0] < math.inf):
        return 0.0
    return 1 - (curve[-1] / curve[0]) ** (1 / (len(curve) - 1))


def lower_bound(count: int, total: int) -> float:
    """Return the lower bound of the share count / total, at 95 % on one side."""
    return wilson(count / total, total, Z_ONE_SIDED)[0]
