"""The path of an optimizer of this project over a function of a few variables."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from trainer.config.compose import interpret
from trainer.config.run_config import RunConfig
from trainer.config.schema import Choice


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
