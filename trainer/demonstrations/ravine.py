"""Momentum in a ravine: swings from wall to wall, at the same effective rate as gradient descent."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.demonstrations.descent import descend, settings
from trainer.demonstrations.figures import COLORS, Fact, Figure, Shown, axis, line, rounded
from trainer.demonstrations.optimizer_paths import contour, mark
from trainer.demonstrations.options import at_least, positive
from trainer.demonstrations.surfaces import SURFACES, Path, equal_rates, sign_changes, travelled

RAVINE = SURFACES["ravine"]
RATES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.49, 0.55, 0.6, 0.7, 0.8)  # sgd diverges from 0.5 on
NAMES = {"sgd": "gradient descent", "momentum": "momentum", "nesterov": "Nesterov"}


def show(rate: float, faster: float, steps: int) -> Shown:
    """Return the paths and the swings at `rate`, the swings by rate, and what is left of them at a `faster` rate."""
    positive(rate=rate, faster=faster)
    at_least(2, steps=steps)
    paths, beyond = walk(rate, steps), walk(faster, steps)
    across = {name: [y for _, y in path] for name, path in paths.items()}
    figures = (
        Figure(above(paths), f"The paths from the ring, {steps} steps at the effective rate {rate:g}.", 340),
        Figure(
            by_step(across),
            "The coordinate across the ravine: gradient descent swings at every step, momentum in slow waves. Whether"
            " they die down sooner depends on the rate.",
            340,
        ),
        Figure(
            by_rate(steps),
            "Swings by effective rate: where gradient descent does not swing, momentum adds some; where it swings at"
            " every step, momentum has far fewer.",
            340,
            wide=True,
        ),
    )
    return Shown(figures, (_swings(across), _way(across), _at_faster(beyond, faster)))


def walk(rate: float, steps: int) -> dict[str, Path]:
    """Return the paths of gradient descent, momentum and Nesterov at the same effective rate lr/(1−β)."""
    return {
        name: descend(RAVINE.loss, RAVINE.begin, settings(f"optimizer={name}").optimizer, lr, steps)
        for name, lr in equal_rates(rate).items()
    }


def _swings(across: Mapping[str, Sequence[float]]) -> Fact:
    found = {name: sign_changes(values) for name, values in across.items()}
    return Fact(
        f"Across the ravine momentum changes its sign {found['momentum']} times in {len(across['sgd']) - 1} steps,"
        f" gradient descent {found['sgd']} times, at the same effective rate.",
        found["momentum"] < found["sgd"],
        {name: float(value) for name, value in found.items()},
    )


def _way(across: Mapping[str, Sequence[float]]) -> Fact:
    found = {name: travelled(values) for name, values in across.items()}
    return Fact(
        f"The way across adds up to {found['momentum']:.1f} with momentum, to {found['sgd']:.1f} without.",
        found["momentum"] < found["sgd"],
        found,
    )


def _at_faster(paths: Mapping[str, Path], rate: float) -> Fact:
    begin = abs(RAVINE.begin[1])
    ends = {name: abs(path[-1][1]) for name, path in paths.items()}
    grown = "grown" if ends["sgd"] > begin else "fallen"
    return Fact(
        f"At the effective rate {rate:g} the distance from the floor of the ravine has {grown} from {begin:g} to"
        f" {ends['sgd']:.3g} with gradient descent; with momentum it is {ends['momentum']:.3g}.",
        ends["momentum"] < begin < ends["sgd"],
        ends,
    )


def above(paths: Mapping[str, Path]) -> dict[str, Any]:
    """Return a figure of the paths over contour lines."""
    begin, minimum = RAVINE.begin, RAVINE.minima[0]
    data = [contour(RAVINE.loss, RAVINE.x, RAVINE.y), mark([begin[0]], [begin[1]], "circle-open")]
    data.append(mark([minimum[0]], [minimum[1]], "x-thin-open"))
    for place, (name, path) in enumerate(paths.items()):
        x, y = (rounded(along) for along in zip(*path, strict=True))
        look = {"color": COLORS[place], "width": 1.5, "dash": "dot" if name == "nesterov" else "solid"}
        data.append(line(x, y, NAMES[name], place, line=look, marker={"size": 4, "color": COLORS[place]}))
    layout = {
        "xaxis": axis("x, along", range=list(RAVINE.x), showgrid=False, zeroline=False),
        "yaxis": axis("y, across", range=list(RAVINE.y), showgrid=False, zeroline=False),
    }
    return {"data": data, "layout": layout}


def by_step(across: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return a figure of the coordinate across the ravine after each step."""
    data = [
        line(range(len(values)), rounded(values), NAMES[name], place, marker={"size": 4, "color": COLORS[place]})
        for place, (name, values) in enumerate(across.items())
    ]
    return {"data": data, "layout": {"xaxis": axis("step"), "yaxis": axis("y, across")}}


def by_rate(steps: int) -> dict[str, Any]:
    """Return a figure of the number of sign changes by effective rate."""
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for rate in RATES:
        for name, path in walk(rate, steps).items():
            found[name].append(sign_changes([y for _, y in path]))
    data = [line(RATES, values, NAMES[name], place) for place, (name, values) in enumerate(found.items())]
    layout = {"xaxis": axis("effective rate, lr/(1−β)"), "yaxis": axis("sign changes across", rangemode="tozero")}
    return {"data": data, "layout": layout}
