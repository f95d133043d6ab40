"""The animated paths of the lecture's optimizers and adamw over a ravine, a saddle and a local minimum."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from descent import descend, settings
from figure import COLORS, DASHES, GREY, SHADES, SYMBOLS, Panel, go, parser, positive, start, write

from trainer.cli.common import Parser, count

DESCRIPTION = """\
The paths of the lecture's optimizers and adamw over a ravine, a saddle and a local minimum, each with a learning rate
that suits it there. A button plays the steps, a slider selects one, a click on a name hides its path."""

Path = list[tuple[float, ...]]


@dataclass(frozen=True)
class Surface:
    """f(x, y), the start of the paths, the visible part, and a learning rate for each optimizer.

    The rates are limited by the steepest part of the surface.
    """

    loss: Callable[[Any, Any], Any]
    begin: tuple[float, float]
    x: tuple[float, float]
    y: tuple[float, float]
    minima: tuple[tuple[float, float], ...]
    steps: int
    lr: dict[str, float]
    caption: str


SURFACES = {
    "ravine": Surface(
        loss=lambda x, y: 0.05 * x**2 + 2 * y**2,
        begin=(-9.0, 1.8),
        x=(-10, 4),
        y=(-2.4, 2.4),
        minima=((0, 0),),
        steps=60,
        lr={
            "sgd": 0.45,
            "momentum": 0.05,
            "nesterov": 0.05,
            "adagrad": 1.0,
            "rmsprop": 0.05,
            "adam": 0.4,
            "adamw": 0.4,
        },
        caption="Ravine, 0.05x² + 2y²: forty times steeper across than along. Plain sgd swings from wall to wall and"
        " creeps along.",
    ),
    "saddle": Surface(
        loss=lambda x, y: 0.5 * x**2 - 0.5 * y**2 + 0.25 * y**4,
        begin=(-1.8, 0.01),
        x=(-2.1, 1.2),
        y=(-0.6, 1.5),
        minima=((0, 1),),
        steps=60,
        lr={"sgd": 0.1, "momentum": 0.03, "nesterov": 0.03, "adagrad": 0.3, "rmsprop": 0.01, "adam": 0.1, "adamw": 0.1},
        caption="Saddle, x²/2 − y²/2 + y⁴/4: a start almost on the ridge. sgd is held up where it is flat; those that"
        " scale each direction by its own gradients are not.",
    ),
    "local_minimum": Surface(
        loss=lambda x, y: 0.25 * x**4 - 0.5 * x**2 - 0.15 * x + 0.5 * y**2,
        begin=(-1.9, 1.2),
        x=(-2.2, 1.8),
        y=(-1.2, 1.5),
        minima=((-0.9143, 0), (1.0679, 0)),
        steps=60,
        lr={"sgd": 0.1, "momentum": 0.05, "nesterov": 0.05, "adagrad": 0.3, "rmsprop": 0.05, "adam": 0.1, "adamw": 0.1},
        caption="Local minimum, x⁴/4 − x²/2 − 0.15x + y²/2: the lower one lies behind a rise. Those with momentum can"
        " roll over it.",
    ),
}
OPTIMIZERS = sorted(SURFACES["ravine"].lr)


def main(arguments: Sequence[str]) -> int:
    examples = ["", "--surface ravine --steps 100 --lr sgd=0.3 adam=0.1", "--output paths.png"]
    command = parser("optimizer_paths", DESCRIPTION, examples)
    command.add_argument("--surface", nargs="+", choices=list(SURFACES), default=list(SURFACES), help="default: all")
    command.add_argument(
        "--lr", nargs="+", default=[], metavar="RATE", help="0.1 for all optimizers, or NAME=0.1 for one of them"
    )
    command.add_argument("--steps", type=count, metavar="N", help="default: what each surface needs")
    request = command.read(arguments)
    rates = read_rates(command, request.lr)
    panels = [_panel(SURFACES[name], rates, request.steps) for name in dict.fromkeys(request.surface)]
    lead = "Each path begins at the ring; × marks a minimum."
    return write(request, "How optimizers find their way", lead, panels)


def read_rates(command: Parser, words: Sequence[str]) -> dict[str, float]:
    """Return {optimizer: learning rate} of the arguments."""
    rates = dict[str, float]()
    for word in words:
        name, equals, value = word.rpartition("=")
        if equals and name not in OPTIMIZERS:
            command.error(f"--lr {word}: there is no optimizer {name}. Accepted: {', '.join(OPTIMIZERS)}")
        try:
            rates |= dict.fromkeys([name] if equals else OPTIMIZERS, positive(value))
        except argparse.ArgumentTypeError as error:
            command.error(f"--lr {error}")
    return rates


def walk(surface: Surface, rates: dict[str, float], steps: int) -> dict[str, tuple[float, Path]]:
    """Return {optimizer: (learning rate, path)}."""
    found = {}
    for name in OPTIMIZERS:
        lr = rates.get(name, surface.lr[name])
        found[name] = lr, descend(surface.loss, surface.begin, settings(f"optimizer={name}").optimizer, lr, steps)
    return found


def _panel(surface: Surface, rates: dict[str, float], steps: int | None) -> Panel:
    return Panel(draw(surface, walk(surface, rates, steps or surface.steps)), surface.caption, 560)


def draw(surface: Surface, paths: dict[str, tuple[float, Path]]) -> go.Figure:
    """Return a figure of contour lines, minima and the path of each optimizer, with a frame for every step."""
    last = max(len(path) for _, path in paths.values()) - 1
    figure = go.Figure([_contour(surface), *_marks(surface), *_lines(paths, last)])
    _dress(figure, paths)
    moving = list(range(len(figure.data) - 2 * len(paths), len(figure.data)))
    figure.frames = [go.Frame(name=str(step), data=_lines(paths, step), traces=moving) for step in range(last + 1)]
    # The title and two columns leave room for the longest name on a phone.
    legend = {"entrywidth": 0.5, "entrywidthmode": "fraction", "traceorder": "normal", "font": {"size": 11}}
    return figure.update_layout(
        legend={**legend, "title": {"text": "optimizer and its learning rate", "side": "top"}},
        xaxis={"range": surface.x, "title": "x", "showgrid": False, "zeroline": False},
        yaxis={"range": surface.y, "title": "y", "showgrid": False, "zeroline": False},
        **_controls(last),
    )


def _controls(last: int) -> dict[str, Any]:
    """Return the layout of the buttons and of the slider over the steps."""
    # Without a redraw a step is drawn faster, and the contour vanishes with the first one.
    still = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    play = {**still, "frame": {"duration": 90, "redraw": True}, "fromcurrent": False}
    buttons = [
        {"label": "▶", "method": "animate", "args": [None, play]},
        {"label": "❚❚", "method": "animate", "args": [[None], still]},
    ]
    steps = [{"label": str(step), "method": "animate", "args": [[str(step)], still]} for step in range(last + 1)]
    below = {"y": -0.13, "yanchor": "top", "pad": {"t": 0, "b": 0}}
    menu = {"type": "buttons", "direction": "left", "showactive": False, "buttons": buttons, "x": 0, "xanchor": "left"}
    slider = {
        "active": last,
        "steps": steps,
        "x": 0.3,
        "len": 0.7,
        "currentvalue": {"prefix": "step ", "font": {"color": GREY, "size": 13}},
        "ticklen": 0,
        "minorticklen": 0,
        "font": {"color": "rgba(0,0,0,0)", "size": 1},  # its ticks are too many to be read
    }
    return {"updatemenus": [{**menu, **below}], "sliders": [{**slider, **below}]}


def _contour(surface: Surface) -> go.Contour:
    import torch

    x, y = (torch.linspace(low, high, 81, dtype=torch.float64) for low, high in (surface.x, surface.y))
    z = surface.loss(x[None, :], y[:, None])
    # Steps that grow with the height: as many lines near the minimum as on the slopes.
    height = (z - z.min()).sqrt()
    return go.Contour(
        x=x.numpy(),
        y=y.numpy(),
        z=height.numpy(),
        ncontours=16,
        colorscale=SHADES,
        showscale=False,
        line={"width": 0.7, "color": "rgba(127,127,127,0.6)"},
        customdata=z.numpy(),
        hovertemplate="f(%{x:.2f}, %{y:.2f}) = %{customdata:.3f}<extra></extra>",
    )


def _marks(surface: Surface) -> list[go.Scatter]:
    x, y = zip(*surface.minima, strict=True)
    marks = [((surface.begin[0],), (surface.begin[1],), "circle-open"), (x, y, "x-thin-open")]
    return [
        go.Scatter(
            x=x,
            y=y,
            mode="markers",
            marker={"symbol": symbol, "size": 13, "color": GREY, "line": {"width": 2}},
            showlegend=False,
            hoverinfo="skip",
        )
        for x, y, symbol in marks
    ]


def _lines(paths: dict[str, tuple[float, Path]], step: int) -> list[go.Scatter]:
    """Return two lines for each path at this step: the path so far, and the current point."""
    ways = [
        [[round(value, 5) for value in axis] for axis in zip(*path[: step + 1], strict=True)]
        for _, path in paths.values()
    ]
    return [go.Scatter(x=x[end:], y=y[end:]) for x, y in ways for end in (0, -1)]


def _dress(figure: go.Figure, paths: dict[str, tuple[float, Path]]) -> None:
    """Return colour, dash and name of the lines, which no frame changes."""
    dressed = figure.data[-2 * len(paths) :]
    for place, (name, (lr, _)) in enumerate(paths.items()):
        color, symbol = COLORS[place % len(COLORS)], SYMBOLS[place % len(SYMBOLS)]
        dash = DASHES[place % len(DASHES)]  # a path that covers another (adamw without decay is adam) lets it through
        told = {"legendgroup": name, "hovertemplate": f"{name}: %{{x:.3f}}, %{{y:.3f}}<extra></extra>"}
        line = {"color": color, "width": 2, "dash": dash}
        dressed[2 * place].update(mode="lines", line=line, name=f"{name} {lr:g}", **told)
        marker = {"color": color, "symbol": symbol, "size": 10}
        dressed[2 * place + 1].update(mode="markers", marker=marker, showlegend=False, **told)


if __name__ == "__main__":
    start(main)
