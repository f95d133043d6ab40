"""Surfaces f(x, y) on which the optimizers are shown, with the start of the paths and what the paths show there."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.demonstrations.figures import Fact

Path = list[tuple[float, ...]]
MOMENTUM = 0.9  # β of momentum and nesterov: in the long run a step is the gradient times lr / (1 − β)


@dataclass(frozen=True)
class Surface:
    """A function with the start of the paths, the visible part, and a learning rate for each optimizer.

    The rates are limited by the steepest part of the surface. Those of momentum and nesterov are (1 − β) times that of
    sgd, so that all three go equally far on an even slope. `seen`: the fact that {optimizer: path} shows.
    """

    loss: Callable[[Any, Any], Any]
    begin: tuple[float, float]
    x: tuple[float, float]
    y: tuple[float, float]
    minima: tuple[tuple[float, float], ...]
    steps: int
    lr: dict[str, float]
    caption: str
    seen: Callable[[Mapping[str, Path]], Fact]


def equal_rates(rate: float) -> dict[str, float]:
    """Return the learning rates at which sgd, momentum and nesterov have the same effective rate."""
    return {"sgd": rate, **dict.fromkeys(("momentum", "nesterov"), round(rate * (1 - MOMENTUM), 12))}


def sign_changes(values: Sequence[float]) -> int:
    """Return how often a sequence goes from one side of zero to the other."""
    sides = [value > 0 for value in values if value != 0]
    return sum(before != after for before, after in itertools.pairwise(sides))


def travelled(values: Sequence[float]) -> float:
    """Return the sum of the distances between neighbours."""
    return sum(abs(after - before) for before, after in itertools.pairwise(values))


def first_beyond(path: Path, distance: float) -> int:
    """Return the number of steps until |y| exceeds the distance, that of the whole path if it never does."""
    return next((step for step, (_, y) in enumerate(path) if abs(y) > distance), len(path) - 1)


def _in_the_ravine(paths: Mapping[str, Path]) -> Fact:
    across = {name: [y for _, y in paths[name]] for name in ("sgd", "momentum")}
    turns = {name: sign_changes(values) for name, values in across.items()}
    return Fact(
        f"In the ravine sgd goes from wall to wall {turns['sgd']} times in {len(across['sgd']) - 1} steps, momentum"
        f" {turns['momentum']} times.",
        turns["momentum"] < turns["sgd"],
        {name: float(value) for name, value in turns.items()},
    )


def _at_the_saddle(paths: Mapping[str, Path]) -> Fact:
    steps = {name: first_beyond(path, 0.1) for name, path in paths.items()}
    scaled = {name: steps[name] for name in ("adagrad", "rmsprop", "adam")}
    return Fact(
        f"At the saddle sgd needs {steps['sgd']} steps to leave |y| < 0.1, "
        + ", ".join(f"{name} {each}" for name, each in scaled.items())
        + ".",
        max(scaled.values()) < steps["sgd"],
        {name: float(each) for name, each in steps.items()},
    )


def _past_the_local_minimum(paths: Mapping[str, Path]) -> Fact:
    ends = {name: path[-1][0] for name, path in paths.items()}
    beyond = [name for name, x in ends.items() if x > 0]
    return Fact(
        f"The lower minimum is reached by {', '.join(beyond) or 'none'}; sgd, at the same effective rate, ends at"
        f" x = {ends['sgd']:.2f}.",
        "momentum" in beyond and "sgd" not in beyond,
        ends,
    )


SURFACES = {
    "ravine": Surface(
        loss=lambda x, y: 0.05 * x**2 + 2 * y**2,
        begin=(-9.0, 1.8),
        x=(-10, 4),
        y=(-2.4, 2.4),
        minima=((0, 0),),
        steps=60,
        lr={**equal_rates(0.45), "adagrad": 1.0, "rmsprop": 0.05, "adam": 0.4, "adamw": 0.4},
        caption="Ravine, 0.05x² + 2y²: forty times steeper across than along. Plain sgd swings from wall to wall and"
        " creeps along.",
        seen=_in_the_ravine,
    ),
    "saddle": Surface(
        loss=lambda x, y: 0.5 * x**2 - 0.5 * y**2 + 0.25 * y**4,
        begin=(-1.8, 0.01),
        x=(-2.1, 1.2),
        y=(-0.6, 1.5),
        minima=((0, 1),),
        steps=60,
        lr={**equal_rates(0.1), "adagrad": 0.3, "rmsprop": 0.01, "adam": 0.1, "adamw": 0.1},
        caption="Saddle, x²/2 − y²/2 + y⁴/4: a start almost on the ridge. sgd is held up where it is flat, and momentum"
        " no less; those that scale each direction by its own gradients are not.",
        seen=_at_the_saddle,
    ),
    "local_minimum": Surface(
        loss=lambda x, y: 0.25 * x**4 - 0.5 * x**2 - 0.15 * x + 0.5 * y**2,
        begin=(-1.9, 1.2),
        x=(-2.2, 1.8),
        y=(-1.2, 1.5),
        minima=((-0.9143, 0), (1.0679, 0)),
        steps=60,
        lr={**equal_rates(0.2), "adagrad": 0.3, "rmsprop": 0.05, "adam": 0.1, "adamw": 0.1},
        caption="Local minimum, x⁴/4 − x²/2 − 0.15x + y²/2: the lower one lies behind a rise. Those with momentum roll"
        " over it.",
        seen=_past_the_local_minimum,
    ),
}
OPTIMIZERS = sorted(SURFACES["ravine"].lr)
