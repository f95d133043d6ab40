"""The validation of a network: figures of all validation images, and of two fixed halves of them.

An epoch that was chosen on the images which then judge it looks better than it is. With the halves a run can be scored
on each of them at the epoch that is best on the other one (`records/scoring.py`).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.data.loader import DeviceLoader, evaluation_batch_size
from trainer.runtime.memory import is_out_of_memory
from trainer.training.halves import Hits, halves_of
from trainer.training.measures import measure, one_number
from trainer.training.options import TrainerOptions


class Validator:
    """The validation images and what was measured of them in the last validation.

    `confusion`: counts [K, K], a row for each true class, a column for each predicted class. `measured`: by name, the
    metrics, and the cross-entropy beside another loss. `halves`: the figures of each half by name; () with fewer than
    two images. `correct`: whether each image [N] was classified correctly.
    """

    def __init__(self, images: DeviceLoader, options: TrainerOptions, autocast: torch.autocast) -> None:
        self.images, self.autocast = images, autocast
        self.loss, self.metrics = options.loss, options.metrics
        device, count = images.labels.device, len(images.images.classes)
        self.confusion = torch.zeros(count, count, dtype=torch.long, device=device)
        self.measured = dict[str, float]()
        self.halves: tuple[dict[str, float], ...] = ()
        self.correct = torch.zeros(len(images.labels), dtype=torch.bool, device=device)
        # Drawn on the CPU, so that the halves are the same on every device; moved there once, so that no batch waits.
        self.members = [half.to(device) for half in halves_of(images.labels.cpu(), options.split_seed)]
        self.hits = Hits(len(images.labels), self.members, device)

    @torch.inference_mode()
    def run(self, network: nn.Module) -> tuple[float, float]:
        """Validate a network in evaluation mode; return (loss, accuracy) over all images."""
        loss, entropy = torch.zeros(2, device=self.correct.device)
        entropies, correct, answers = list[Tensor](), list[Tensor](), list[Tensor]()
        self.confusion.zero_()
        classes, pairs = len(self.confusion), self.confusion.view(-1)
        # `pairs` is a view of `confusion`: one index per (true, predicted) pair, counted by a single operation.
        for images, labels in self.images.in_order():
            with self.autocast:
                logits = network(images).float()
            # Sums divided once: the mean of batch means would give the images of a smaller last batch more weight.
            entropy += F.cross_entropy(logits, labels, reduction="sum")
            if self.loss:
                loss += self.loss(logits, labels) * len(labels)
            if self.loss or self.metrics:
                answers.append(logits.clone())  # compiled code reuses the memory of its results
            predicted = logits.argmax(1)
            pairs.index_add_(0, labels * classes + predicted, torch.ones_like(labels))
            entropies.append(F.cross_entropy(logits, labels, reduction="none"))
            correct.append(predicted == labels)
        count = len(self.correct)
        self.measured = measure(self.metrics, answers, self.images.labels)
        if self.loss:
            self.measured["validation_cross_entropy"] = entropy.item() / count
        torch.cat(correct, out=self.correct)
        self.halves = self._by_half(torch.cat(entropies), answers)
        return (loss if self.loss else entropy).item() / count, self.confusion.trace().item() / count

    def keep(self, improved: bool) -> None:
        """Keep which images the last validation classified correctly. `improved`: it is the best one so far."""
        self.hits.observe(self.correct, improved, [half["validation_loss"] for half in self.halves])

    def _by_half(self, entropies: Tensor, answers: Sequence[Tensor]) -> tuple[dict[str, float], ...]:
        """Return the figures of each half, of all cross-entropies [N] and the logits of each batch [B, K]."""
        means = [values[half].float().mean() for half in self.members for values in (entropies, self.correct)]
        read = torch.stack(means).view(-1, 2).tolist() if means else []  # from the device at once
        logits = torch.cat(list(answers)) if answers else None
        halves = []
        for half, (entropy, accuracy) in zip(self.members, read, strict=True):
            figures = {"validation_loss": entropy, "validation_accuracy": accuracy}
            if self.loss:
                figures["validation_cross_entropy"] = entropy
            if logits is not None:
                figures |= self._beside(logits[half], self.images.labels[half])
            halves.append(figures)
        return tuple(halves)

    def _beside(self, logits: Tensor, labels: Tensor) -> dict[str, float]:
        """Return another loss than the cross-entropy, and the metrics, of the logits [N, K] of a half's images.

        A figure for which these images do not suffice, such as one that needs every class, is nan.
        """
        figures = {}
        if self.loss:
            figures["validation_loss"] = _possible(self._mean_loss, logits, labels)
        for name, metric in self.metrics.items():
            figures[f"validation_{name}"] = _possible(one_number, name, metric, logits, labels)
        return figures

    def _mean_loss(self, logits: Tensor, labels: Tensor) -> float:
        assert self.loss
        size = evaluation_batch_size(self.images.images)
        batches = zip(logits.split(size), labels.split(size), strict=True)
        total = sum(self.loss(*batch) * len(batch[1]) for batch in batches)
        return float(total) / len(labels)


def _possible(compute: Callable[..., float], *arguments: Any) -> float:
    """Return what a function returns, nan if it raises: it has not raised for all images together."""
    try:
        return compute(*arguments)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return math.nan
