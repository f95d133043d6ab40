"""Gradient descent on f(x) = x² with the project's sgd, for several learning rates."""

import math
from collections.abc import Sequence

from descent import descend, settings
from figure import COLORS, GREY, Panel, go, parser, positive, start, write

from trainer.cli.common import count

DESCRIPTION = """\
The path of gradient descent on f(x) = x² for a start, a learning rate and a number of steps, and for rates at which it
creeps, converges, oscillates and diverges. Each step multiplies x by 1 - 2·rate."""


def main(arguments: Sequence[str]) -> int:
    command = parser("gradient_descent", DESCRIPTION, ["", "--start 10 --rate 0.2 --count 10", "--others 0.4 0.6 1.0"])
    command.add_argument("--start", type=float, default=10.0, metavar="X", help="where it begins; default: 10")
    command.add_argument("--rate", type=positive, default=0.2, metavar="RATE", help="learning rate; default: 0.2")
    command.add_argument("--count", type=count, default=10, metavar="N", help="number of steps; default: 10")
    others = [0.02, 0.45, 0.9, 1.1]
    command.add_argument(
        "--others", type=positive, nargs="+", default=others, metavar="RATE", help="default: 0.02 0.45 0.9 1.1"
    )
    request = command.read(arguments)
    if not math.isfinite(request.start) or request.start == 0:
        command.error(f"--start {request.start}: must be a number other than 0, where the minimum is")
    rates = list(dict.fromkeys([request.rate, *request.others]))
    paths = {rate: walk(request.start, rate, request.count) for rate in rates}
    panels = [
        Panel(parabola(path, COLORS[place % len(COLORS)]), caption(rate, path), 300)
        for place, (rate, path) in enumerate(paths.items())
    ]
    distance = Panel(
        distances(paths),
        "Distance from the minimum, |x|, after each step: a straight line here, as each"
        " step multiplies it by the same factor.",
        300,
    )
    lead = "f(x) = x², gradient 2x. The step is x ← x − rate·2x, taken by the project's sgd. The ring is the start."
    return write(request, "Gradient descent on x²", lead, [*panels, distance])


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


def caption(rate: float, path: Sequence[float]) -> str:
    return f"Rate {rate:g} {behaviour(path)}: x = {path[-1]:.6g} after {len(path) - 1} steps from {path[0]:g}."


def parabola(path: Sequence[float], color: str) -> go.Figure:
    """Return a figure of f with the points of the path on it."""
    reach = 1.25 * max(map(abs, path))
    line = [reach * (step / 100 - 1) for step in range(201)]
    figure = go.Figure()
    figure.add_scatter(x=line, y=[x * x for x in line], line={"color": GREY}, hoverinfo="skip")
    figure.add_scatter(
        x=path,
        y=[x * x for x in path],
        mode="lines+markers",
        line={"color": color, "dash": "dot"},
        marker={
            "color": color,
            "size": [13] + [8] * (len(path) - 1),
            "symbol": ["circle-open", *["circle"] * (len(path) - 1)],
        },
        customdata=list(range(len(path))),
        hovertemplate="step %{customdata}: x = %{x:.6g}, f = %{y:.6g}<extra></extra>",
    )
    return figure.update_layout(showlegend=False, xaxis={"title": "x"}, yaxis={"title": "f(x)"})


def distances(paths: dict[float, list[float]]) -> go.Figure:
    figure = go.Figure()
    for place, (rate, path) in enumerate(paths.items()):
        # A logarithmic axis has no zero: rate 0.5 reaches it in one step.
        values = [abs(x) or None for x in path]
        dash = "dash" if behaviour(path) == "diverges" else "solid"
        color = COLORS[place % len(COLORS)]
        figure.add_scatter(y=values, name=f"{rate:g}", mode="lines+markers", line={"color": color, "dash": dash})
    figure.add_hline(y=abs(next(iter(paths.values()))[0]), line={"color": GREY, "width": 1, "dash": "dot"})
    return figure.update_layout(xaxis={"title": "step"}, yaxis={"title": "|x|", "type": "log", "exponentformat": "e"})


if __name__ == "__main__":
    start(main)
