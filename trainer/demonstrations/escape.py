"""The way out of a local minimum: by momentum, and by the noise of small batches."""

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainer.demonstrations.descent import descend_all, settings
from trainer.demonstrations.figures import COLORS, GREY, Fact, Figure, Shown, axis, line, rounded
from trainer.demonstrations.options import at_least, positive
from trainer.demonstrations.surfaces import SURFACES, equal_rates

if TYPE_CHECKING:
    from torch import Tensor

SURFACE = SURFACES["local_minimum"]
TOP = -0.1536  # x of the rise between the two minima, where x³ − x − 0.15 = 0
NAMES = {"sgd": "gradient descent", "momentum": "momentum", "nesterov": "Nesterov"}
RATES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)  # effective ones; from 0.35 on sgd itself jumps over the rise
WORTH = 0.1  # the share of starts by which momentum must be ahead


def gradient(points: "Tensor") -> "Tensor":
    """Return the gradient of the surface at points [N, 2]."""
    import torch

    x, y = points.unbind(-1)
    return torch.stack([x**3 - x - 0.15, y], -1)


def random_starts(number: int, seed: int) -> "Tensor":
    """Return starts in the basin of the local minimum, x from -2 to the rise and y from -1 to 1, [N, 2]."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    unit = torch.rand(number, 2, generator=draw, dtype=torch.float64)
    return unit * torch.tensor([2 + TOP, 2.0], dtype=torch.float64) - torch.tensor([2.0, 1.0], dtype=torch.float64)


def by_momentum(starts: int, steps: int, seed: int) -> Shown:
    """Return the share of starts near the local minimum that end in the global one, by optimizer and rate."""
    at_least(1, starts=starts, steps=steps)
    points = random_starts(starts, seed)
    over = {name: list[Any]() for name in NAMES}  # for each rate, whether each start ends beyond the rise
    for rate in RATES:
        for name, lr in equal_rates(rate).items():
            ends = descend_all(gradient, points, settings(f"optimizer={name}").optimizer, lr, steps)[-1, :, 0]
            over[name].append(ends > 0)
    shares = {name: [float(each.double().mean()) for each in found] for name, found in over.items()}
    means = {name: sum(values) / len(values) for name, values in shares.items()}
    crossed = points[over["momentum"][-1], 0]
    nearest = float(crossed.max()) if len(crossed) else -2.0
    facts = (
        Fact(
            f"Of {starts} starts in the basin of the local minimum {means['momentum']:.0%} end in the global one with"
            f" momentum, {means['sgd']:.0%} with gradient descent: the mean over {len(RATES)} equal effective rates.",
            means["momentum"] - means["sgd"] >= WORTH,
            {name: 100 * value for name, value in means.items()},
        ),
        Fact(
            f"At the largest rate, {RATES[-1]:g}, it is {shares['momentum'][-1]:.0%} against {shares['sgd'][-1]:.0%}."
            f" All starts that momentum carries over lie left of x = {nearest:.2f}: it needs the run-up.",
            shares["momentum"][-1] > shares["sgd"][-1] and nearest < SURFACE.minima[0][0],
            {"momentum": 100 * shares["momentum"][-1], "sgd": 100 * shares["sgd"][-1], "nearest": nearest},
        ),
    )
    figures = (
        Figure(
            _percent(
                [line(RATES, values, NAMES[name], place) for place, (name, values) in enumerate(shares.items())],
                axis("effective rate, lr/(1−β)"),
            ),
            "Starts that end in the global minimum, by effective rate, the same for all three.",
        ),
        Figure(
            _profile(crossed.tolist()),
            f"The surface along x. Dots: the starts that momentum carries over the rise at the rate {RATES[-1]:g}.",
        ),
    )
    return Shown(figures, facts)


def _percent(lines: Sequence[dict[str, Any]], horizontal: dict[str, Any]) -> dict[str, Any]:
    """Return a figure of shares in percent."""
    data = [{**each, "y": [100 * value for value in each["y"]]} for each in lines]
    return {
        "data": data,
        "layout": {"xaxis": horizontal, "yaxis": axis("in the global minimum, %", rangemode="tozero")},
    }


def _profile(starts: Sequence[float]) -> dict[str, Any]:
    """Return a figure of f(x, 0), with dots on it."""
    x = [-2 + 3.8 * step / 190 for step in range(191)]
    curve = {"type": "scatter", "mode": "lines", "x": rounded(x), "name": "f(x, 0)", "line": {"color": GREY}}
    dots = line(rounded(starts), rounded(map(_height, starts)), "carried over", 1, mode="markers")
    curve["y"] = rounded(map(_height, x))
    return {"data": [curve, dots], "layout": {"xaxis": axis("x"), "yaxis": axis("f(x, 0)")}}


def _height(x: float) -> float:
    return 0.25 * x**4 - 0.5 * x**2 - 0.15 * x


def by_noise(noise: float, lr: float, steps: int, walks: int, seed: int) -> Shown:
    """Return the share of walks from the local minimum that end in the global one, by batch size.

    The gradient has normal noise of standard deviation noise/√n, as the mean of n examples has.
    """
    positive(noise=noise, lr=lr)
    at_least(1, steps=steps, walks=walks)
    sizes = [2**power for power in range(9)]
    paths = {size: _noisy_walks(noise / math.sqrt(size), lr, steps, walks, seed) for size in sizes}
    shares = [float((path[-1] > TOP).double().mean()) for path in paths.values()]
    falls = all(before >= after for before, after in itertools.pairwise(shares))
    last = next((size for size, share in zip(reversed(sizes), reversed(shares), strict=True) if share > 0), 0)
    facts = (
        Fact(
            f"Of {walks} walks of {steps} steps that begin in the local minimum {shares[0]:.0%} end in the basin of the"
            f" global one with batches of 1, {shares[2]:.0%} with 4, {shares[-1]:.0%} with {sizes[-1]}.",
            shares[0] > shares[-1],
            {str(size): 100 * share for size, share in zip(sizes, shares, strict=True)},
        ),
        Fact(
            f"The share falls with every doubling of the batch or is 0 already; beyond {last} no walk gets out.",
            falls and shares[0] > 0,
            {"last": float(last)},
        ),
    )
    place = int((paths[1][-1] - SURFACE.minima[1][0]).abs().argmin())  # of the walk that ends nearest to it
    chosen = {1: paths[1][:, place].tolist(), 64: paths[64][:, place].tolist()}
    walked = [
        line(range(steps + 1), rounded(path), f"n = {size}", place, mode="lines", line={"color": COLORS[place]})
        for place, (size, path) in enumerate(chosen.items())
    ]
    figures = (
        Figure(
            _percent([line(sizes, shares, "sgd", 0)], axis("batch size n", type="log", tickvals=sizes)),
            f"Walks that end in the basin of the global minimum after {steps} steps, by batch size.",
        ),
        Figure(
            {"data": walked, "layout": {"xaxis": axis("step"), "yaxis": axis("x")}},
            "The walk of single examples that ends nearest to the global minimum, x = 1.07, and the same one with"
            " batches of 64, which stays around the local one, x = -0.91.",
        ),
    )
    return Shown(figures, facts)


def _noisy_walks(deviation: float, lr: float, steps: int, walks: int, seed: int) -> "Tensor":
    """Return x of each walk after each step, [steps + 1, walks]; the same draws for every deviation."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    starts = torch.tensor([SURFACE.minima[0]], dtype=torch.float64).repeat(walks, 1)

    def noisy(points: "Tensor") -> "Tensor":
        return gradient(points) + deviation * torch.randn(points.shape, generator=draw, dtype=torch.float64)

    return descend_all(noisy, starts, settings("optimizer=sgd").optimizer, lr, steps)[..., 0]
