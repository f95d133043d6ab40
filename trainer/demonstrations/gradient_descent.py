"""Gradient descent on f(x) = x² with the project's sgd, for several learning rates."""

import math
from collections.abc import Sequence
from typing import Any

from trainer.demonstrations.descent import descend, settings
from trainer.demonstrations.figures import COLORS, GREY, Fact, Figure, Shown, axis
from trainer.demonstrations.options import at_least, positive
from trainer.errors import ConfigError


def show(start: float, rate: float, count: int, others: Sequence[float]) -> Shown:
    """Return the paths for all rates, and whether each ends where (1 − 2·rate) to the power of the steps says."""
    if not math.isfinite(start) or start == 0:
        raise ConfigError(f"start={start}: must be a number other than 0, where the minimum is")
    at_least(1, count=count)
    rates = list(dict.fromkeys([rate, *others]))
    for each in rates:
        positive(rate=each)
    paths = {each: walk(start, each, count) for each in rates}
    figures = [
        Figure(parabola(path, COLORS[place % len(COLORS)]), caption(each, path), 300)
        for place, (each, path) in enumerate(paths.items())
    ]
    told = (
        "Distance from the minimum, |x|, after each step: a straight line here, as each step multiplies it by the same"
        " factor."
    )
    facts = [_fact(each, path) for each, path in sorted(paths.items())]
    return Shown((*figures, Figure(distances(paths), told, 300)), tuple(facts))


def walk(begin: float, rate: float, steps: int) -> list[float]:
    """Return x after 0, 1, … steps."""
    sgd = settings("optimizer=sgd").optimizer
    return [x for (x,) in descend(lambda x: x.square(), [begin], sgd, rate, steps)]


def behaviour(path: Sequence[float]) -> str:
    """Return creeps, converges, oscillates or diverges, as the path alone shows."""
    first, last = abs(path[0]), abs(path[-1])
    if last > first:
        return "diverges"
    if path[0] * path[1] < 0:
        return "oscillates"
    return "creeps" if last > first / 2 else "converges"


def _fact(rate: float, path: Sequence[float]) -> Fact:
    factor, steps = 1 - 2 * rate, len(path) - 1
    expected = path[0] * factor**steps
    return Fact(
        f"{caption(rate, path)[:-1]}; each step multiplies x by 1 − 2·{rate:g} = {factor:g}.",
        math.isclose(path[-1], expected, rel_tol=1e-9, abs_tol=1e-300),
        {"rate": rate, "factor": factor, "last": path[-1], "expected": expected},
    )


def caption(rate: float, path: Sequence[float]) -> str:
    """Return the sentence on a path: its behaviour and its end."""
    return f"Rate {rate:g} {behaviour(path)}: x = {path[-1]:.6g} after {len(path) - 1} steps from {path[0]:g}."


def parabola(path: Sequence[float], color: str) -> dict[str, Any]:
    """Return a figure of f with the points of the path on it."""
    reach = 1.25 * max(map(abs, path))
    x = [reach * (step / 100 - 1) for step in range(201)]
    curve = {"x": x, "y": [each * each for each in x], "mode": "lines", "line": {"color": GREY}, "hoverinfo": "skip"}
    points = {
        "x": list(path),
        "y": [each * each for each in path],
        "mode": "lines+markers",
        "line": {"color": color, "dash": "dot"},
        "marker": {
            "color": color,
            "size": [13] + [8] * (len(path) - 1),
            "symbol": ["circle-open", *["circle"] * (len(path) - 1)],
        },
        "customdata": list(range(len(path))),
        "hovertemplate": "step %{customdata}: x = %{x:.6g}, f = %{y:.6g}<extra></extra>",
    }
    data = [{"type": "scatter", **each} for each in (curve, points)]
    return {"data": data, "layout": {"showlegend": False, "xaxis": axis("x"), "yaxis": axis("f(x)")}}


def distances(paths: dict[float, list[float]]) -> dict[str, Any]:
    """Return a figure of |x| after each step, a line for each rate."""
    data = [
        {
            "type": "scatter",
            # A logarithmic axis has no zero: rate 0.5 reaches it in one step.
            "y": [abs(x) or None for x in path],
            "name": f"{rate:g}",
            "mode": "lines+markers",
            "line": {
                "color": COLORS[place % len(COLORS)],
                "dash": "dash" if behaviour(path) == "diverges" else "solid",
            },
        }
        for place, (rate, path) in enumerate(paths.items())
    ]
    begin = abs(next(iter(paths.values()))[0])
    level = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": begin, "y1": begin}
    layout = {
        "shapes": [{**level, "line": {"color": GREY, "width": 1, "dash": "dot"}}],
        "xaxis": axis("step"),
        "yaxis": axis("|x|", type="log", exponentformat="e"),
    }
    return {"data": data, "layout": layout}
