"""Comparisons of the NumPy form and the PyTorch form of a formula on random inputs, in double precision."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from trainer.lecture.formulas.rule import Compare, Form

Draw = Callable[[np.random.Generator], Sequence[Any]]


def difference(left: Any, right: Any) -> float:
    """Return the largest absolute difference of two numbers, arrays, or equally long sequences of them.

    Infinite if a shape differs or a number is not finite.
    """
    if isinstance(left, list | tuple):
        if len(left) != len(right):
            return np.inf
        return max(difference(one, other) for one, other in zip(left, right, strict=True))
    left, right = np.asarray(left), np.asarray(right.detach() if isinstance(right, torch.Tensor) else right)
    if left.shape != right.shape:
        return np.inf
    largest = float(np.abs(left - right).max())
    return largest if np.isfinite(largest) else np.inf


def tensors(value: Any) -> Any:
    """Return arrays as tensors that share no memory with them, also those within lists."""
    if isinstance(value, list):
        return [tensors(each) for each in value]
    return torch.tensor(value) if isinstance(value, np.ndarray) else value


def on(draw: Draw, times: int = 10) -> Compare:
    """Return a comparison that calls both forms on the arguments that `draw` makes of random numbers."""

    def compare(numpy: Form, pytorch: Form, rng: np.random.Generator) -> float:
        largest = 0.0
        for _ in range(times):
            arguments = draw(rng)
            expected = pytorch(*[tensors(each) for each in arguments])
            largest = max(largest, difference(numpy(*arguments), expected))
        return largest

    return compare


def along_steps(numpy: Form, pytorch: Form, rng: np.random.Generator, steps: int = 20) -> float:
    """Compare the weights after each of several steps with random gradients, at the default settings of both forms.

    Arguments of `numpy` behind W and grad without a default are its memory, which begins with zeros; t counts from 1.
    """
    W = rng.standard_normal((3, 4))
    weights = torch.nn.Parameter(torch.tensor(W))
    optimizer = pytorch([weights])
    required = [each.name for each in inspect.signature(numpy).parameters.values() if each.default is each.empty]
    memory = {name: np.zeros_like(W) for name in required[2:] if name != "t"}
    largest = 0.0
    for t in range(1, steps + 1):
        grad = rng.standard_normal(W.shape)
        found = numpy(W, grad, **memory, **({"t": t} if "t" in required else {}))
        W, *rest = found if isinstance(found, tuple) else (found,)
        memory = dict(zip(memory, rest, strict=True))
        weights.grad = torch.tensor(grad)
        optimizer.step()
        largest = max(largest, difference(W, weights))
    return largest


def over_epochs(epochs: int = 100, **settings: Any) -> Compare:
    """Return a comparison of the rates of all epochs: `numpy` gives that of one, `pytorch` a scheduler."""

    def compare(numpy: Form, pytorch: Form, rng: np.random.Generator) -> float:
        lr, largest = rng.uniform(0.01, 1.0), 0.0
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
        scheduler = pytorch(optimizer, **settings)
        for epoch in range(epochs):
            largest = max(largest, difference(numpy(lr, epoch, **settings), optimizer.param_groups[0]["lr"]))
            optimizer.step()
            scheduler.step()
        return largest

    return compare
