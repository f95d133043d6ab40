"""The path of an optimizer of this project over a function of a few variables."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from trainer.config.compose import interpret
from trainer.config.run_config import RunConfig
from trainer.config.schema import Choice

if TYPE_CHECKING:
    from torch import Tensor


@cache
def settings(*arguments: str) -> RunConfig:
    """Return the checked run of these settings, on the digits unless they name another data set."""
    found = interpret(["dataset=digits", *arguments])
    assert isinstance(found, RunConfig)  # the flags that ask for something else begin with a dash
    return found


def descend(
    loss: Callable[..., Any], start: Sequence[float], optimizer: Choice, lr: float, steps: int
) -> list[tuple[float, ...]]:
    """Return the points that the optimizer visits, from the start on. The path ends before a non-finite value."""
    import torch

    point = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    rule = optimizer.function()([{"params": [point]}], lr, 0.0)
    path = [tuple(point.tolist())]
    for _ in range(steps):
        rule.zero_grad()
        loss(*point.unbind()).backward()
        rule.step()
        if not all(map(math.isfinite, point.tolist())):
            break
        path.append(tuple(point.tolist()))
    return path


def descend_all(
    gradient: "Callable[[Tensor], Tensor]", starts: "Tensor", optimizer: Choice, lr: float, steps: int
) -> "Tensor":
    """Return the points of many paths at once, [steps + 1, starts, D], for starts [starts, D] and f's gradient.

    `optimizer` must treat every number on its own, as all of the lecture do. What leaves all numbers stays so.
    """
    import torch

    points = starts.clone().requires_grad_()
    rule = optimizer.function()([{"params": [points]}], lr, 0.0)
    found = [starts.clone()]
    for _ in range(steps):
        points.grad = gradient(points.detach())
        rule.step()
        found.append(points.detach().clone())
    return torch.stack(found)
