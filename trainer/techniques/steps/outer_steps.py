"""Optimizers around the step of another one: a gradient from nearby, and weights that follow slowly."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainer.techniques.steps.update_rules import memory, with_gradients


def around(outer: type[Optimizer], base: Optimizer, **settings: Any) -> Optimizer:
    """Return the base as an optimizer of the outer class, with these settings in each parameter group."""
    for group in base.param_groups:
        group.update(settings)
    base.__class__ = type(f"{outer.__name__}{type(base).__name__}", (outer, type(base)), {})
    # Of the base's fused form: it would skip its part of a step in fp16, unseen by the outer one.
    base._step_supports_amp_scaling = False  # type: ignore[attr-defined]
    return base


class SAM(Optimizer):
    """The step of the base with the gradient at W + rho·g / ‖g‖, where g is the gradient at W. Foret et al. 2021."""

    gradients_per_step = 2

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Take a step. `closure` clears the gradients, computes them anew and returns the loss."""
        loss = closure()
        with torch.no_grad():
            here, climbs = self._climbs()
            before = [weight.clone() for weight in here]
            if here:
                torch._foreach_add_(here, climbs)
        closure()
        with torch.no_grad():
            if here:
                torch._foreach_copy_(here, before)
        super().step()
        return loss

    def _climbs(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the weights that have a gradient, and the way of each to the place of the second gradient."""
        parts = [with_gradients(group) for group in self.param_groups]
        weights, gradients = ([each for part in parts for each in part[number]] for number in (0, 1))
        if not weights:
            return [], []
        norm = torch.stack(list(torch._foreach_norm(gradients))).norm()
        return weights, list(torch._foreach_mul(gradients, self.param_groups[0]["rho"] / (norm + 1e-12)))


class Lookahead(Optimizer):
    """The steps of the base, after every `sync_steps` of which W ← S ← S + alpha·(W − S). Zhang et al. 2019."""

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step of the base, and a slow one where it is due."""
        weights = [weight for group in self.param_groups for weight in with_gradients(group)[0]]
        # Taken before and stored after the step: an optimizer of torch's begins where a weight has no state.
        new = [(weight, weight.detach().clone()) for weight in weights if "slow" not in self.state.get(weight, ())]
        super().step()
        for weight, start in new:
            self.state[weight]["slow"] = start
        first = self.param_groups[0]
        first["lookahead_steps"] += 1
        if weights and first["lookahead_steps"] % first["sync_steps"] == 0:
            with torch.no_grad():
                slow = memory(self, weights, "slow")
                torch._foreach_lerp_(slow, weights, first["alpha"])
                torch._foreach_copy_(weights, slow)
