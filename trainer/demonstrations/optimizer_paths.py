"""The animated paths of the lecture's optimizers and adamw over a ravine, a saddle and a local minimum."""

from collections.abc import Callable, Sequence
from typing import Any

from trainer.demonstrations.descent import descend, settings
from trainer.demonstrations.figures import COLORS, DASHES, GREY, SHADES, SYMBOLS, Figure, Shown, axis, rounded
from trainer.demonstrations.options import at_least, positive
from trainer.demonstrations.surfaces import OPTIMIZERS, SURFACES, Path, Surface
from trainer.errors import ConfigError


def show(surfaces: Sequence[str], lr: Sequence[str], steps: int | None) -> Shown:
    """Return an animated figure for each surface, and the facts of its caption where nothing is changed."""
    if unknown := [name for name in surfaces if name not in SURFACES]:
        raise ConfigError(f"surface={unknown[0]}: there is none of this name. Accepted: {', '.join(SURFACES)}")
    at_least(1, steps=steps)
    rates = read_rates(lr)
    chosen = [SURFACES[name] for name in dict.fromkeys(surfaces or SURFACES)]
    paths = [walk(each, rates, steps or each.steps) for each in chosen]
    figures = [Figure(draw(each, found), each.caption, 560) for each, found in zip(chosen, paths, strict=True)]
    seen = [
        each.seen({name: path for name, (_, path) in found.items()}) for each, found in zip(chosen, paths, strict=True)
    ]
    return Shown(tuple(figures), () if rates or steps else tuple(seen))


def read_rates(words: Sequence[str]) -> dict[str, float]:
    """Return {optimizer: learning rate} of words such as "0.1", for all of them, and "adam=0.1"."""
    rates = dict[str, float]()
    for word in words:
        name, equals, value = word.rpartition("=")
        if equals and name not in OPTIMIZERS:
            raise ConfigError(f"lr={word}: there is no optimizer {name}. Accepted: {', '.join(OPTIMIZERS)}")
        try:
            rate = float(value)
        except ValueError:
            raise ConfigError(f"lr={word}: must be a number above 0, or OPTIMIZER=NUMBER") from None
        positive(lr=rate)
        rates |= dict.fromkeys([name] if equals else OPTIMIZERS, rate)
    return rates


def walk(surface: Surface, rates: dict[str, float], steps: int) -> dict[str, tuple[float, Path]]:
    """Return {optimizer: (learning rate, path)}."""
    found = {}
    for name in OPTIMIZERS:
        lr = rates.get(name, surface.lr[name])
        found[name] = lr, descend(surface.loss, surface.begin, settings(f"optimizer={name}").optimizer, lr, steps)
    return found


def draw(surface: Surface, paths: dict[str, tuple[float, Path]]) -> dict[str, Any]:
    """Return a figure of contour lines, minima and the path of each optimizer, with a frame for every step."""
    last = max(len(path) for _, path in paths.values()) - 1
    still = [contour(surface.loss, surface.x, surface.y), *_marks(surface)]
    moving = list(range(len(still), len(still) + 2 * len(paths)))
    frames = [{"name": str(step), "data": _lines(paths, step), "traces": moving} for step in range(last + 1)]
    lines = [{**line, **look} for line, look in zip(_lines(paths, last), _looks(paths), strict=True)]
    # The title and two columns leave room for the longest name on a phone.
    legend = {"entrywidth": 0.5, "entrywidthmode": "fraction", "traceorder": "normal", "font": {"size": 11}}
    layout = {
        "legend": {**legend, "title": {"text": "optimizer and its learning rate", "side": "top"}},
        "xaxis": axis("x", range=list(surface.x), showgrid=False, zeroline=False),
        "yaxis": axis("y", range=list(surface.y), showgrid=False, zeroline=False),
        **_controls(last),
    }
    return {"data": [*still, *lines], "layout": layout, "frames": frames}


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
        "x": 0.42,
        "len": 0.58,
        "currentvalue": {"prefix": "step ", "font": {"color": GREY, "size": 13}},
        "ticklen": 0,
        "minorticklen": 0,
        "font": {"color": "rgba(0,0,0,0)", "size": 1},  # its ticks are too many to be read
    }
    return {"updatemenus": [{**menu, **below}], "sliders": [{**slider, **below}]}


def contour(
    loss: Callable[[Any, Any], Any], x_range: tuple[float, float], y_range: tuple[float, float]
) -> dict[str, Any]:
    """Return contour lines of a surface over this part of the plane."""
    import torch

    x, y = (torch.linspace(low, high, 61, dtype=torch.float64) for low, high in (x_range, y_range))
    z = loss(x[None, :], y[:, None])
    # Steps that grow with the height: as many lines near the minimum as on the slopes.
    height = (z - z.min()).sqrt()
    return {
        "type": "contour",
        "x": rounded(x),
        "y": rounded(y),
        "z": [rounded(row) for row in height],
        "ncontours": 16,
        "colorscale": SHADES,
        "showscale": False,
        "line": {"width": 0.7, "color": "rgba(127,127,127,0.6)"},
        "customdata": [rounded(row) for row in z],
        "hovertemplate": "f(%{x:.2f}, %{y:.2f}) = %{customdata:.3f}<extra></extra>",
    }


def _marks(surface: Surface) -> list[dict[str, Any]]:
    x, y = zip(*surface.minima, strict=True)
    begin_x, begin_y = surface.begin
    return [mark([begin_x], [begin_y], "circle-open"), mark(x, y, "x-thin-open")]


def mark(x: Sequence[float], y: Sequence[float], symbol: str) -> dict[str, Any]:
    """Return points that are named in the caption: a ring for the start, × for a minimum."""
    look = {"symbol": symbol, "size": 13, "color": GREY, "line": {"width": 2}}
    points = {"type": "scatter", "x": list(x), "y": list(y), "mode": "markers", "marker": look}
    return {**points, "showlegend": False, "hoverinfo": "skip"}


def _lines(paths: dict[str, tuple[float, Path]], step: int) -> list[dict[str, Any]]:
    """Return two lines for each path at this step: the path so far, and the current point."""
    ways = [[rounded(along) for along in zip(*path[: step + 1], strict=True)] for _, path in paths.values()]
    return [{"type": "scatter", "x": x[end:], "y": y[end:]} for x, y in ways for end in (0, -1)]


def _looks(paths: dict[str, tuple[float, Path]]) -> list[dict[str, Any]]:
    """Return colour, dash and name of the lines, which no frame changes."""
    looks = list[dict[str, Any]]()
    for place, (name, (lr, _)) in enumerate(paths.items()):
        color, symbol = COLORS[place % len(COLORS)], SYMBOLS[place % len(SYMBOLS)]
        dash = DASHES[place % len(DASHES)]  # a path that covers another (adamw without decay is adam) lets it through
        told = {"legendgroup": name, "hovertemplate": f"{name}: %{{x:.3f}}, %{{y:.3f}}<extra></extra>"}
        line = {"color": color, "width": 2, "dash": dash}
        looks.append({"mode": "lines", "line": line, "name": f"{name} {lr:g}", **told})
        marker = {"color": color, "symbol": symbol, "size": 10}
        looks.append({"mode": "markers", "marker": marker, "showlegend": False, **told})
    return looks
