"""Adam's bias correction: the moments and the size of the first steps, with and without it."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from trainer.demonstrations.descent import settings
from trainer.demonstrations.figures import Fact, Figure, Shown, axis, line
from trainer.demonstrations.options import at_least, positive
from trainer.errors import ConfigError

EPS = 1e-8
FIRST = 10  # steps that the facts speak of


def show(lr: float, beta1: float, beta2: float, steps: int) -> Shown:
    """Return moments and step sizes under a gradient that stays 1, for the project's Adam and without correction."""
    positive(lr=lr)
    at_least(FIRST, steps=steps)
    if not (0 < beta1 < 1 and 0 < beta2 < 1):
        raise ConfigError("beta1, beta2: must be numbers above 0 and below 1")
    corrected, plain = corrected_steps(lr, beta1, beta2, steps), plain_steps(lr, beta1, beta2, steps)
    ratios = [without / kept for without, kept in zip(plain, corrected, strict=True)]
    low, high = min(ratios[:FIRST]), max(ratios[:FIRST])
    settled = next((step for step, ratio in enumerate(ratios, 1) if abs(ratio - 1) < 0.1 and step > FIRST), steps)
    facts = (
        Fact(
            f"After the first step the moments are {1 - beta1:.1%} of the gradient and {1 - beta2:.1%} of its square;"
            " divided by 1 − βᵗ, as Adam does, they are 100% of both.",
            (1 - beta1) < 0.5 and (1 - beta2) < 0.5,
            {"first_moment": 1 - beta1, "second_moment": 1 - beta2},
        ),
        Fact(
            f"With the correction each of the first {FIRST} steps has the size of the learning rate, {lr:g}; without it"
            f" they are {low:.1f} to {high:.1f} times as large.",
            low > 3 and all(math.isclose(step, lr, rel_tol=1e-5) for step in corrected[:FIRST]),
            {"smallest_ratio": low, "largest_ratio": high, "first": plain[0], "first_corrected": corrected[0]},
        ),
        Fact(
            f"After {settled} steps the two differ by less than 10%.",
            settled < steps,
            {"steps": float(settled)},
        ),
    )
    return Shown(
        (
            Figure(
                _by_step([("without bias correction", plain), ("Adam", corrected)], "size of the step"),
                "The size of each step while the gradient stays the same; both axes are logarithmic.",
            ),
            Figure(
                _by_step(
                    [
                        ("first moment / g", [1 - beta1**step for step in range(1, steps + 1)]),
                        ("second moment / g²", [1 - beta2**step for step in range(1, steps + 1)]),
                    ],
                    "share of the true value",
                ),
                "The moments before the correction, as a share of what they estimate. The second is the smaller one for"
                " long, and a step divides by its root.",
            ),
        ),
        facts,
    )


def corrected_steps(lr: float, beta1: float, beta2: float, steps: int) -> list[float]:
    """Return the sizes of the steps of the project's Adam under a gradient of 1."""
    import torch

    point = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    rule = settings("optimizer=adam", f"optimizer.betas=[{beta1},{beta2}]").optimizer
    optimizer, path = rule.function()([{"params": [point]}], lr, 0.0), [0.0]
    for _ in range(steps):
        point.grad = torch.ones_like(point)
        optimizer.step()
        path.append(float(point.item()))
    return [before - after for before, after in itertools.pairwise(path)]


def plain_steps(lr: float, beta1: float, beta2: float, steps: int) -> list[float]:
    """Return the same for Adam's rule without the division by 1 − βᵗ."""
    m, v, sizes = 0.0, 0.0, []
    for _ in range(steps):
        m, v = beta1 * m + (1 - beta1), beta2 * v + (1 - beta2)
        sizes.append(lr * m / (math.sqrt(v) + EPS))
    return sizes


def _by_step(lines: Sequence[tuple[str, list[float]]], title: str) -> dict[str, Any]:
    """Return a figure by step on logarithmic axes, of some forty of the steps."""
    steps = len(lines[0][1])
    chosen = sorted({round(steps ** (place / 40)) for place in range(41)})
    data = [
        line(chosen, [values[step - 1] for step in chosen], name, place) for place, (name, values) in enumerate(lines)
    ]
    vertical = axis(title, type="log", dtick="D2", tickformat="~g")
    return {"data": data, "layout": {"xaxis": axis("step", type="log", dtick=1), "yaxis": vertical}}
