"""AdamW without a schedule: the weights to evaluate are an average of those of all steps. Defazio et al. 2024."""

import torch
from torch.optim import Optimizer

from trainer.techniques.steps.update_rules import Params, memory, root_mean_squares, with_gradients


class ScheduleFreeAdamW(Optimizer):
    """z ← z − lr·(g / (√v̂ + eps) + λ·y); x ← (1 − c)·x + c·z with c = lr² / Σ lr²; g at y = (1 − β)·z + β·x.

    The parameters are y in training and x in evaluation; the state of each is z and the mean square v.
    """

    def __init__(self, params: Params, lr: float, beta: float, beta2: float, eps: float, weight_decay: float) -> None:
        settings = {"lr": lr, "beta": beta, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**settings, "steps": 0, "weight_sum": 0.0, "evaluates": False})

    def train(self) -> None:
        """Turn the parameters into y."""
        self._turn(evaluates=False)

    def eval(self) -> None:
        """Turn the parameters into x."""
        self._turn(evaluates=True)

    @torch.no_grad()
    def _turn(self, evaluates: bool) -> None:
        for group in self.param_groups:
            if group["evaluates"] is evaluates:
                continue
            group["evaluates"] = evaluates
            moved = [weight for weight in group["params"] if "z" in self.state.get(weight, ())]
            if moved:
                share = 1 - 1 / group["beta"] if evaluates else 1 - group["beta"]
                torch._foreach_lerp_(moved, memory(self, moved, "z"), share)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step from y."""
        for group in self.param_groups:
            weights, gradients = with_gradients(group)
            if not weights:
                continue
            lr, beta, beta2 = group["lr"], group["beta"], group["beta2"]
            group["steps"] += 1
            group["weight_sum"] += lr**2
            share = lr**2 / group["weight_sum"] if group["weight_sum"] else 0.0  # a schedule may begin at 0
            fast = memory(self, weights, "z", lambda weight: weight.detach().clone())
            squares = memory(self, weights, "square")
            roots = root_mean_squares(squares, gradients, beta2, group["steps"], group["eps"])
            updates = torch._foreach_div(gradients, roots)
            if group["weight_decay"]:
                torch._foreach_add_(updates, weights, alpha=group["weight_decay"])
            # The next y, by x and z of this step; x itself is not stored.
            torch._foreach_lerp_(weights, fast, share)
            torch._foreach_add_(weights, updates, alpha=lr * (beta * (1 - share) - 1))
            torch._foreach_add_(fast, updates, alpha=-lr)
