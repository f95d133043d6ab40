"""Follows one of the project's optimizers over a function of a few variables."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from trainer.config.compose import interpret
from trainer.config.run_config import RunConfig
from trainer.config.schema import Choice


@cache
def settings(*arguments: str) -> RunConfig:
    """The checked run that these settings stand for, on the digits unless they name another data set."""
    found = interpret(["dataset=digits", *arguments])
    assert isinstance(found, RunConfig)  # the flags that ask for something else begin with a dash
    return found


def descend(
    loss: Callable[..., Any], start: Sequence[float], optimizer: Choice, lr: float, steps: int
) -> list[tuple[float, ...]]:
    """The points that the optimizer visits, the start among them; it ends early where a number is no longer finite."""
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
