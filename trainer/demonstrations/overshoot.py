"""Nesterov's momentum and plain momentum on quadratics: how far each runs past the minimum."""

from typing import TYPE_CHECKING, Any

from trainer.demonstrations.descent import descend_all, settings
from trainer.demonstrations.figures import COLORS, Fact, Figure, Shown, axis, line, rounded
from trainer.demonstrations.options import at_least
from trainer.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

NAMES = {"momentum": "momentum", "nesterov": "Nesterov"}
LR = 0.1  # only its product with the curvature matters
SMALL = 0.001  # share of the way that counts as overshoot


def show(beta: float, quadratics: int, steps: int) -> Shown:
    """Return the overshoot on f(x) = h·x²/2 by curvature h, from x = 1."""
    import torch

    if not 0 < beta < 1:
        raise ConfigError(f"beta={beta:g}: must be a number above 0 and below 1")
    at_least(2, quadratics=quadratics, steps=steps)
    # Plain momentum diverges from lr·h = 2(1 + β) on, Nesterov's from 2(1 + β) / (1 + 2β) on, which is above 1.
    curvatures = torch.logspace(-3, 0, quadratics, dtype=torch.float64) / LR
    paths = {name: walk(name, beta, curvatures, steps) for name in NAMES}
    past = {name: (-path.min(0).values).clamp(min=0) for name, path in paths.items()}
    swinging = past["momentum"] > SMALL
    ahead = (past["momentum"] - past["nesterov"])[swinging]
    less, more = int((ahead > 1e-9).sum()), int((ahead < -1e-9).sum())  # equal where lr·h = 1
    place = int((curvatures * LR - 0.1).abs().argmin())
    at = {name: float(each[place]) for name, each in past.items()}
    facts = (
        Fact(
            f"Of the {int(swinging.sum())} quadratics on which momentum runs past the minimum, Nesterov runs less far"
            f" past it on {less} and farther on {'none' if more == 0 else more}.",
            less > 0 and more == 0,
            {"less": float(less), "more": float(more), "of": float(swinging.sum())},
        ),
        Fact(
            f"At lr·curvature = {float(curvatures[place]) * LR:.2g} momentum runs {at['momentum']:.0%} of its way past"
            f" the minimum, Nesterov {at['nesterov']:.0%}.",
            at["nesterov"] < at["momentum"],
            {"curvature": float(curvatures[place]), **at},
        ),
    )
    shown = {name: path[:, place].tolist() for name, path in paths.items()}
    figures = (
        Figure(
            by_curvature((curvatures * LR).tolist(), {name: each.tolist() for name, each in past.items()}),
            "The largest distance beyond the minimum, in percent of the way to it, by curvature times learning rate.",
        ),
        Figure(by_step(shown), f"The way from x = 1 at lr·curvature = {float(curvatures[place]) * LR:.2g}."),
    )
    return Shown(figures, facts)


def walk(optimizer: str, beta: float, curvatures: "Tensor", steps: int) -> "Tensor":
    """Return x after each step on every quadratic, [steps + 1, quadratics]."""
    import torch

    starts = torch.ones(len(curvatures), 1, dtype=torch.float64)
    rule = settings(f"optimizer={optimizer}", f"optimizer.momentum={beta}").optimizer
    return descend_all(lambda points: points * curvatures[:, None], starts, rule, LR, steps)[..., 0]


def by_curvature(curvatures: list[float], past: dict[str, list[float]]) -> dict[str, Any]:
    """Return a figure of the overshoot in percent by lr·curvature."""
    data = [
        line(curvatures, [100 * each for each in values], NAMES[name], place)
        for place, (name, values) in enumerate(past.items())
    ]
    layout = {
        "xaxis": axis("lr · curvature", type="log", dtick=1, tickformat="~g"),
        "yaxis": axis("overshoot, %", rangemode="tozero"),
    }
    return {"data": data, "layout": layout}


def by_step(paths: dict[str, list[float]], most: int = 60) -> dict[str, Any]:
    """Return a figure of x after each of the first steps."""
    data = [
        line(range(len(path[:most])), rounded(path[:most]), NAMES[name], place, marker={"size": 4, "color": color})
        for place, ((name, path), color) in enumerate(zip(paths.items(), COLORS, strict=False))
    ]
    return {"data": data, "layout": {"xaxis": axis("step"), "yaxis": axis("x")}}
