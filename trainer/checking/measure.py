"""The checks of a loss and of a metric: a finite mean over the images."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.checking.subject import Subject, fail

COUNT, CLASSES = 12, 10
TOLERANCE = 1e-4


def is_a_scalar(subject: Subject) -> str | None:
    """Compute it and its gradient on logits of usual size."""
    logits, labels = _logits(subject)
    value = _loss(subject, logits.requires_grad_(), labels)
    if not value.requires_grad:
        fail("it has no gradient: nothing may be detached, or be computed without torch")
    value.backward()
    if logits.grad is None or not logits.grad.isfinite().all():
        fail("its gradient is missing or not finite")
    return None


def is_a_mean(subject: Subject) -> str | None:
    """Give it each image twice: the mean over the images is the same."""
    logits, labels = _logits(subject)
    once, twice = (float(_loss(subject, logits.repeat(times, 1), labels.repeat(times))) for times in (1, 2))
    if abs(once - twice) > TOLERANCE * max(1.0, abs(once)):
        fail(f"each image twice changes it from {once:.5g} to {twice:.5g}: it must be the mean over the images")
    return None


def takes_mixed_labels(subject: Subject) -> str | None:
    """Give it the labels as numbers [N] and as probabilities [N, K], which must lead to the same value."""
    logits, labels = _logits(subject)
    try:
        mixed = _loss(subject, logits, F.one_hot(labels, CLASSES).float())
    except (RuntimeError, TypeError, ValueError, IndexError):
        return "takes no mixed labels [N, K]: not with mixup, cutmix or label smoothing"
    plain = _loss(subject, logits, labels)
    if abs(float(mixed) - float(plain)) > TOLERANCE * max(1.0, abs(float(plain))):
        fail(f"labels [N] lead to {float(plain):.5g}, the same as [N, K] to {float(mixed):.5g}: both must be equal")
    return None


def is_a_number(subject: Subject) -> str | None:
    """Compute a metric on the logits and labels of a validation."""
    logits, labels = _logits(subject)
    for scale in (0.0, 1.0, 20.0):
        value: Any = subject.choice.function()(scale * logits, labels)
        if isinstance(value, Tensor) and value.numel() != 1:
            fail(f"it returns a tensor {list(value.shape)}, where a number is expected")
        try:
            number = float(value)
        except (TypeError, ValueError):
            fail(f"it returns {type(value).__name__}, where a number is expected")
        if not torch.isfinite(torch.tensor(number)):
            fail(f"it is {number} on {COUNT} images: it must be finite")
    return None


def _loss(subject: Subject, logits: Tensor, labels: Tensor) -> Tensor:
    value: Any = subject.choice.function()(logits, labels)
    if not isinstance(value, Tensor) or value.ndim:
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        fail(f"it returns {shape}, where a scalar tensor is expected: the mean over the images")
    if not value.isfinite():
        fail(f"it is {value.item()} on logits of usual size: it must be finite")
    return value


def _logits(subject: Subject) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(COUNT, CLASSES, generator=draw)
    labels = torch.randint(0, CLASSES, (COUNT,), generator=draw)
    return logits.to(subject.device), labels.to(subject.device)


LOSS: tuple[Callable[[Subject], str | None], ...] = (is_a_scalar, is_a_mean, takes_mixed_labels)
METRIC: tuple[Callable[[Subject], str | None], ...] = (is_a_number,)
