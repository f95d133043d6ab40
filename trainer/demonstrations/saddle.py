"""The steps that optimizers need to leave a saddle, by how near to its ridge they start."""

import math
from typing import TYPE_CHECKING, Any

from trainer.demonstrations.descent import descend_all, settings
from trainer.demonstrations.figures import COLORS, SYMBOLS, Fact, Figure, Shown, axis, line
from trainer.demonstrations.options import at_least, positive
from trainer.demonstrations.surfaces import equal_rates

if TYPE_CHECKING:
    from torch import Tensor

SCALED = {"adagrad": 0.01, "rmsprop": 0.001, "adam": 0.01}  # these scale each direction by its own gradients
NEAREST, FARTHEST, AWAY = 1e-6, 1e-2, 0.1  # |y| of the starts, and |y| at which the saddle is left
NAMES = {"sgd": "gradient descent", "nesterov": "Nesterov", "rmsprop": "RMSProp", "adam": "Adam", "adagrad": "Adagrad"}


def show(rate: float, starts: int, steps: int, seed: int) -> Shown:
    """Return the steps until |y| exceeds 0.1, for starts at random distances from the ridge y = 0."""
    positive(rate=rate)
    at_least(10, starts=starts, steps=steps)
    points = random_starts(starts, seed)
    rates = {**equal_rates(rate), **SCALED}
    found = {name: leaving(name, lr, points, steps) for name, lr in rates.items()}
    medians = {name: float(each.median()) for name, each in found.items()}
    slowest = max(SCALED, key=lambda name: medians[name])
    later = float((found["sgd"] > found[slowest]).double().mean())
    dearer = {name: _a_decade(points[:, 1].abs(), each) for name, each in found.items()}
    facts = (
        Fact(
            f"Of {starts} starts half have left the saddle after {medians['sgd']:.0f} steps of gradient descent, and"
            f" after {', '.join(f'{medians[name]:.0f} of {NAMES[name]}' for name in SCALED)}; gradient descent is the"
            f" later one on {later:.0%} of the starts.",
            all(medians[name] < medians["sgd"] for name in SCALED),
            {**medians, "later": 100 * later},
        ),
        Fact(
            f"A start ten times nearer to the ridge costs gradient descent {dearer['sgd']:.0f} further steps,"
            f" {', '.join(f'{NAMES[name]} {dearer[name]:.1f}' for name in SCALED)}.",
            all(dearer[name] < dearer["sgd"] / 2 for name in SCALED),
            dearer,
        ),
    )
    figure = by_distance(points[:, 1].abs().tolist(), {name: each.tolist() for name, each in found.items()}, rates)
    caption = (
        "Steps until |y| exceeds 0.1, by the distance of the start from the ridge. Momentum, at the same effective"
        " rate, is held up even longer than gradient descent: it has to gather speed."
    )
    return Shown((Figure(figure, caption, 440),), facts)


def random_starts(number: int, seed: int) -> "Tensor":
    """Return starts with x from -2 to 2 and |y| from 1e-6 to 1e-2, evenly spread on a logarithmic scale, [N, 2]."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    unit = torch.rand(number, 3, generator=draw, dtype=torch.float64)
    distance = NEAREST * (FARTHEST / NEAREST) ** unit[:, 1]
    return torch.stack([4 * unit[:, 0] - 2, distance * (unit[:, 2] - 0.5).sign()], -1)


def gradient(points: "Tensor") -> "Tensor":
    """Return the gradient of x²/2 − y²/2 + y⁴/4 at points [N, 2]."""
    import torch

    x, y = points.unbind(-1)
    return torch.stack([x, y**3 - y], -1)


def leaving(optimizer: str, lr: float, starts: "Tensor", steps: int) -> "Tensor":
    """Return the first step with |y| above 0.1 of each path, `steps` where it has none, [N]."""
    import torch

    path = descend_all(gradient, starts, settings(f"optimizer={optimizer}").optimizer, lr, steps)[..., 1].abs()
    beyond = torch.cat([path > AWAY, torch.ones(1, len(starts), dtype=torch.bool)])
    return beyond.int().argmax(0).clamp(max=steps)


def _a_decade(distances: "Tensor", steps: "Tensor") -> float:
    """Return the slope of the steps on −log10 of the distance: the steps that a ten times nearer start costs."""
    x, y = -distances.log10(), steps.double()
    return float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())


def by_distance(distances: list[float], steps: dict[str, list[int]], rates: dict[str, float]) -> dict[str, Any]:
    """Return a figure of a point for each start and optimizer."""
    data = []
    for place, (name, values) in enumerate(steps.items()):
        marker = {"size": 5, "symbol": SYMBOLS[place], "color": COLORS[place], "opacity": 0.7}
        told = f"{NAMES.get(name, name)} {rates[name]:g}"
        x = [float(f"{each:.4g}") for each in distances]
        data.append(line(x, values, told, place, mode="markers", marker=marker))
    ticks = list(range(round(math.log10(NEAREST)), round(math.log10(FARTHEST)) + 1))
    horizontal = axis(
        "|y| of the start",
        type="log",
        tickvals=[10.0**tick for tick in ticks],
        ticktext=[f"1e{tick}" for tick in ticks],
    )
    vertical = axis("steps until |y| > 0.1", rangemode="tozero")
    legend = {"title": {"text": "optimizer and its learning rate", "side": "top"}}
    return {"data": data, "layout": {"xaxis": horizontal, "yaxis": vertical, "legend": legend}}
