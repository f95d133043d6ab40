"""Two fixed halves of the validation images, and which images were classified correctly in the epochs that count."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trainer.runtime.seeding import generator

HALVES = 2


def halves_of(labels: Tensor, split_seed: int) -> tuple[Tensor, ...]:
    """Return the sorted positions of two stratified halves of images with these labels [N]; () for fewer than two.

    The images of each class are shuffled and dealt out in turn, so that a class, and the halves themselves, differ by
    one image at most. The halves depend on nothing but the arguments: all runs on the same images share them.
    """
    if len(labels) < HALVES:
        return ()
    random = generator(split_seed, "halves", 0)
    order = torch.randperm(len(labels), generator=random)
    dealt = order[labels[order].argsort(stable=True)]  # class by class
    return tuple(dealt[first::HALVES].sort().values for first in range(HALVES))


class Hits:
    """The record of which validation images [N] were classified correctly, in the epochs at which a run may be scored.

    `best`: the epoch of the lowest validation loss. `last`: the last validated one. `cross`: the images of the second
    half at the epoch of the lowest loss on the first half, and the reverse. `halves`: the positions of each half.
    """

    def __init__(self, count: int, halves: Sequence[Tensor], device: torch.device) -> None:
        self.halves = halves
        self.by_rule = {rule: torch.zeros(count, dtype=torch.bool, device=device) for rule in ("best", "last", "cross")}
        self.validations, self.best_known, self.cross_known = 0, False, len(halves) == HALVES
        self.lowest = [math.inf] * len(halves)  # loss of each half

    def observe(self, hits: Tensor, improved: bool, losses: Sequence[float]) -> None:
        """Note the hits [N] of a validation. `improved`: it is the best so far; `losses`: the loss of each half."""
        self.validations += 1
        self.by_rule["last"].copy_(hits)
        if improved:
            self.best_known = True
            self.by_rule["best"].copy_(hits)
        for half, loss in enumerate(losses):
            if loss < self.lowest[half]:  # never for NaN
                self.lowest[half] = loss
                other = self.halves[1 - half]
                self.by_rule["cross"][other] = hits[other]

    def known(self) -> dict[str, Tensor]:
        """Return the hits [N] by rule, without those of epochs that were not seen or do not exist."""
        seen = {
            "best": self.best_known,
            "last": self.validations > 0,
            "cross": self.cross_known and all(map(math.isfinite, self.lowest)),
        }
        return {rule: hits for rule, hits in self.by_rule.items() if seen[rule]}

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {key: value for key, value in vars(self).items() if key != "halves"}

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Restore the state; None is that of a run that began in a version which kept no hits."""
        if state is None:
            self.cross_known = False
            return
        for rule, hits in self.by_rule.items():
            hits.copy_(state["by_rule"][rule])
        vars(self).update({key: value for key, value in state.items() if key != "by_rule"})
