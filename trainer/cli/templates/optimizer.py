"""Own optimizers: (params, lr, weight_decay, *, options) -> torch.optim.Optimizer."""

from typing import Any

import torch

from trainer.config.types import Fraction


def technique(
    params: list[dict[str, Any]],
    lr: float,
    weight_decay: float,
    *,
    beta: Fraction = 0.9,  # share of the momentum that a step keeps
) -> torch.optim.Optimizer:
    """Momentum with decoupled weight decay: v ← β·v + g; W ← W − lr·(v + λW)."""
    # params: torch's parameter groups; the parameters in them are pairs of name and parameter.
    return _Technique(params, {"lr": lr, "weight_decay": weight_decay, "beta": beta})


class _Technique(torch.optim.Optimizer):
    """The rule of `technique`."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Change the weights by their gradients."""
        for group in self.param_groups:  # read the rate and the decay of each group here: a schedule changes the rate
            for weight in (each for each in group["params"] if each.grad is not None):
                state = self.state[weight]  # what is kept here, by any name, is saved and resumed
                if not state:
                    state["velocity"] = torch.zeros_like(weight)
                velocity = state["velocity"].mul_(group["beta"]).add_(weight.grad)
                # To do: your rule in place of this line.
                weight.sub_(velocity + group["weight_decay"] * weight, alpha=group["lr"])
