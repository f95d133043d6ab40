"""The figures of a training or a validation beside the loss: correct answers and the chosen metrics."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from trainer.config.schema import Choice
from trainer.errors import ConfigError, RunError
from trainer.techniques.loss import Loss
from trainer.techniques.metric import Metric


def correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the number of correct predictions; for mixed labels [N, K] the sum of the predicted classes' shares."""
    predicted = logits.argmax(1)
    if labels.ndim == 1:
        return (predicted == labels).sum()
    return labels.gather(1, predicted[:, None]).sum()


def measure(metrics: Mapping[str, Metric], logits: Sequence[Tensor], labels: Tensor) -> dict[str, float]:
    """Return each metric of all validation images, whose logits [N, K] come in parts; `labels` are [N].

    Raises RunError if one of them is not a single number.
    """
    if not metrics:
        return {}
    every = torch.cat(list(logits))
    return {f"validation_{name}": one_number(name, metric, every, labels) for name, metric in metrics.items()}


def built_metrics(choices: Sequence[Choice], classes: int) -> dict[str, Metric]:
    """Return {name: metric}. Raises ConfigError for an option of one that does not suit so many classes."""
    metrics: dict[str, Metric] = {choice.name: choice.function() for choice in choices}
    for choice in choices:
        if not choice.own:  # an own one may need more images than the one that it would be tried on
            metrics[choice.name](torch.zeros(1, classes), torch.zeros(1).long())
    return metrics


def one_number(name: str, metric: Metric, logits: Tensor, labels: Tensor) -> float:
    """Return the value of a metric. Raises RunError, with its name, if that is not a single number."""
    value: object = metric(logits, labels)
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, Tensor) or value.numel() != 1:
        what = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise RunError(f"metric={name} returned {what}: it must be one number")
    return float(value)


def other_loss(choice: Choice, classes: int) -> Loss | None:
    """Return the chosen loss, None for the cross-entropy, which the trainer has.

    Raises ConfigError unless it is one number, with a gradient, for logits [2, K] of two images.
    """
    if choice.name == "cross_entropy":
        return None
    loss: Loss = choice.function()
    logits = torch.linspace(-1, 1, 2 * classes).view(2, classes).requires_grad_()
    value: object = loss(logits, torch.arange(2) % classes)  # an error of an own one is told by `build_trainer`
    if not isinstance(value, Tensor) or value.ndim or not value.requires_grad:
        what = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        without = " without a gradient" if isinstance(value, Tensor) and not value.ndim else ""
        raise ConfigError(f"loss={choice.name} returned {what}{without}: it must be the mean over the images, a scalar")
    return loss
