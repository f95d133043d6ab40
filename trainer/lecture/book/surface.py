"""The picture of a measure over pairs of two settings, with the points that a grid and a random search try on it.

Imports no torch.
"""

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.demonstrations.figures import Figure
from trainer.lecture.claim import Statement
from trainer.lecture.titles import brief, plain, title_of

SEED = 0  # of the random points that are shown


def surface(statement: Statement, values: Mapping[str, Sequence[float]], caption: str) -> Figure | None:
    """Return the means over the seeds by both settings. `values`: by the pairs, "lr=0.01 dropout=0.2".

    For a reduction that compares both searches, a grid and random points of its size lie over it, in equal number.
    """
    assert statement.over
    pairs = {tuple(text.split()): _mean(numbers) for text, numbers in values.items() if len(text.split()) == 2}
    if not pairs:
        return None
    across, up = (list(dict.fromkeys(pair[part] for pair in pairs)) for part in (0, 1))
    heights = [[pairs.get((column, row)) for column in across] for row in up]
    side = statement.over.options.get("side")
    points = _searches(len(across), len(up), int(side)) if statement.over.take == "random_minus_grid" and side else []
    layout = {"xaxis": _axis(across), "yaxis": _axis(up), "showlegend": bool(points)}
    title = {"text": plain(title_of(statement, reduced=False)), "side": "right"}
    heat = {"type": "heatmap", "z": heights, "colorscale": "Cividis", "colorbar": {"title": title, "thickness": 14}}
    told = {"hovertemplate": "%{z:.4~g}<extra></extra>", "xgap": 1, "ygap": 1}
    return Figure({"data": [{**heat, **told}, *points], "layout": layout}, caption, 440)


def _searches(across: int, up: int, side: int) -> list[dict[str, Any]]:
    """Return the points of a grid in the middle, and as many random ones."""
    columns, rows = _middle(across, side), _middle(up, side)
    grid = [(column, row) for column in columns for row in rows]
    cells = [(column, row) for column in range(across) for row in range(up)]
    tried = random.Random(SEED).sample(cells, min(side * side, len(cells)))
    # Their outlines are seen on both ends of the colours, and in the legend of a light and of a dark page.
    square = {"symbol": "square", "size": 15, "color": "#ffffff", "line": {"width": 2, "color": "#1b1f24"}}
    circle = {"symbol": "circle", "size": 10, "color": "#D55E00", "line": {"width": 1.5, "color": "#ffffff"}}
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": f"{name}: {len(points)} points",
            "x": [column for column, _ in points],
            "y": [row for _, row in points],
            "marker": marker,
            "hoverinfo": "skip",
        }
        for name, points, marker in (("grid", grid, square), ("random", tried, circle))
    ]


def _middle(count: int, side: int) -> range:
    """Return `side` evenly spaced places among `count`, in their middle."""
    step = max(1, count // side)
    start = max(0, (count - 1 - (side - 1) * step) // 2)
    return range(start, min(count, start + (side - 1) * step + 1), step)


def _axis(words: Sequence[str]) -> dict[str, Any]:
    """Return the axis of a setting's values, side by side."""
    keys, texts = {word.partition("=")[0] for word in words}, [plain(brief(word.partition("=")[2])) for word in words]
    return {
        "title": {"text": plain(", ".join(sorted(keys)))},
        "tickvals": list(range(len(words))),
        "ticktext": texts,
        "showgrid": False,
        "zeroline": False,
    }


def _mean(numbers: Sequence[float]) -> float | None:
    finite = [each for each in numbers if math.isfinite(each)]
    return float(f"{statistics.fmean(finite):.5g}") if finite else None
