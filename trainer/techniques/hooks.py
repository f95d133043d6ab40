"""The four places in a training step where a technique may act, and those between epochs and in the evaluation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Generator, Tensor, nn


class Stateful(Protocol):
    """An object with state, which is saved and resumed with the run."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take over what `state_dict` returned."""


Augment = Callable[[Tensor, Tensor, Generator], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class StepHooks:
    """The actions of one technique in a training step; None at a place where it does not act, which costs nothing.

    augment (hook 1): (images [N, C, H, W], labels [N] or [N, K], generator) → the same, before the forward pass.
    penalty (hook 2): (logits [N, K], labels) → scalar, added to the loss that is differentiated, not to the reported.
    penalty_runs_network: whether it computes the network again, which then happens in the precision of the run.
    limit_gradients (hook 3): called after the backward pass. after_step (hook 4): called after the optimizer's step.
    after_epoch: called after the last step of an epoch with (epochs done, epochs of the run); returns whether
    `evaluated` has weights that no forward pass has seen, so that its batch statistics are to be measured.
    evaluated: the model to evaluate and to save as the best, in place of the one that is trained.
    state: by its name in a checkpoint, the state of the technique.
    """

    augment: Augment | None = None
    penalty: Callable[[Tensor, Tensor], Tensor] | None = None
    penalty_runs_network: bool = False
    limit_gradients: Callable[[], None] | None = None
    after_step: Callable[[], None] | None = None
    after_epoch: Callable[[int, int], bool] | None = None
    evaluated: nn.Module | None = None
    state: Mapping[str, Stateful] = field(default_factory=dict)


def join(parts: Sequence[StepHooks]) -> StepHooks:
    """Return the parts as one, which act in their order; of several evaluated models the last one counts."""
    # A place where nothing acts stays None, so that the loop does not even call a function there.
    augments = [part.augment for part in parts if part.augment]
    penalties = [part.penalty for part in parts if part.penalty]
    ends = [part.after_epoch for part in parts if part.after_epoch]

    def augment(images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        for function in augments:
            images, labels = function(images, labels, generator)
        return images, labels

    def penalty(logits: Tensor, labels: Tensor) -> Tensor:
        total = penalties[0](logits, labels)
        for function in penalties[1:]:
            total = total + function(logits, labels)
        return total

    def after_epoch(epoch: int, epochs: int) -> bool:
        unseen = [function(epoch, epochs) for function in ends]
        return any(unseen)

    return StepHooks(
        augment=augment if augments else None,
        penalty=penalty if penalties else None,
        penalty_runs_network=any(part.penalty_runs_network for part in parts),
        limit_gradients=_in_turn([part.limit_gradients for part in parts if part.limit_gradients]),
        after_step=_in_turn([part.after_step for part in parts if part.after_step]),
        after_epoch=after_epoch if ends else None,
        evaluated=next((part.evaluated for part in reversed(parts) if part.evaluated is not None), None),
        state={name: holder for part in parts for name, holder in part.state.items()},
    )


def _in_turn(functions: Sequence[Callable[[], None]]) -> Callable[[], None] | None:
    def call() -> None:
        for function in functions:
            function()

    return call if functions else None
