"""A step in which the optimizer itself asks for gradients, once or several times, by the closure that it requires."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainer.errors import RunError

Differentiate = Callable[[], tuple[Tensor, Tensor, Tensor]]


def step_with_closure(
    optimizer: Optimizer, differentiate: Differentiate, limit_gradients: Callable[[], None] | None
) -> tuple[Tensor, Tensor, int]:
    """Take the step; return logits and reported loss of the first pass, without their graph, and the number of passes.

    `differentiate()` computes the gradients anew and returns (logits, reported loss, differentiated loss). Raises
    RunError if the optimizer asks for none.
    """
    first: list[Tensor] = []
    passes = 0

    def closure() -> Any:
        """Compute the gradients at the current weights; return the loss."""
        nonlocal passes
        with torch.enable_grad():  # an optimizer's step usually runs without
            logits, reported, loss = differentiate()
        if limit_gradients:
            limit_gradients()
        passes += 1
        if not first:  # compiled code reuses the memory of its results in the next pass
            first.extend([logits.detach().clone(), reported.detach()])
        return loss.detach()

    optimizer.step(closure)
    if not first:
        raise RunError(f"{type(optimizer).__name__}.step did not call its closure, so that it has no gradient")
    return first[0], first[1], passes
