"""The exponential moving average of note 003's twelve values, by the project's `regularization=ema`."""

import itertools
from collections.abc import Sequence
from typing import Any

from trainer.demonstrations.descent import settings
from trainer.demonstrations.figures import COLORS, GREY, Fact, Figure, Shown, axis
from trainer.errors import ConfigError

VALUES = (150.0, 210.0, 320.0, 175.0, 140.0, 250.0, 230.0, 130.0, 300.0, 280.0, 350.0, 230.0)
# As note 003 prints them, to one decimal.
PRINTED = {
    0.2: (120.0, 192.0, 294.4, 198.9, 151.8, 230.4, 230.1, 150.0, 270.0, 278.0, 335.6, 251.1),
    0.5: (75.0, 142.5, 231.3, 203.1, 171.6, 210.8, 220.4, 175.2, 237.6, 258.8, 304.4, 267.2),
    0.8: (30.0, 66.0, 116.8, 128.4, 130.8, 154.6, 169.7, 161.7, 189.4, 207.5, 236.0, 234.8),
}


def show(values: Sequence[float], alpha: Sequence[float]) -> Shown:
    """Return curves and table of the averages, how closely they agree with the note, and how smooth each is."""
    if not values or not alpha or not all(0 < each < 1 for each in alpha):
        raise ConfigError("alpha: must be numbers above 0 and below 1, and values at least one number")
    averages = {each: average(values, each) for each in dict.fromkeys(alpha)}
    figures = (
        Figure(curves(values, averages), "The values l, and their average for each α."),
        Figure(table(values, averages), "g after each value.", 24 * len(values) + 80),
    )
    printed = [PRINTED[each] for each in averages if each in PRINTED] if tuple(values) == VALUES else []
    facts = [_agreement(averages)] if printed else []
    return Shown(figures, (*facts, *([_smoothness(averages)] if len(averages) > 1 and len(values) > 1 else [])))


def _agreement(averages: dict[float, list[float]]) -> Fact:
    apart = [
        abs(ours - note)
        for each, found in averages.items()
        if each in PRINTED
        for ours, note in zip(found, PRINTED[each], strict=True)
    ]
    return Fact(
        f"The {len(apart)} values of note 003's table and those computed here differ by at most {max(apart):.2f}, the"
        " rounding of the note to one decimal.",
        max(apart) < 0.0501,
        {"values": float(len(apart)), "largest_difference": max(apart)},
    )


def _smoothness(averages: dict[float, list[float]]) -> Fact:
    steps = {
        each: sum(abs(after - before) for before, after in itertools.pairwise(found)) / (len(found) - 1)
        for each, found in sorted(averages.items())
    }
    told = ", ".join(f"{step:.1f} at α = {each:g}" for each, step in steps.items())
    found = list(steps.values())
    return Fact(
        f"A larger α is smoother: from one value to the next the average changes by {told}.",
        found == sorted(found, reverse=True),
        {f"{each:g}": step for each, step in steps.items()},
    )


def average(values: Sequence[float], alpha: float) -> list[float]:
    """Return g after each value: the project's average of a network whose only weight takes these values."""
    import torch
    from torch import nn

    network = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(network.weight)
    (choice,) = settings("regularization=ema", f"regularization.ema.decay={alpha}").regularization
    hooks = choice.function()(network)
    hooks.after_step()  # the average begins as a copy of the first weights: zero
    found = []
    for value in values:
        nn.init.constant_(network.weight, value)
        hooks.after_step()
        found.append(float(hooks.evaluated.weight.item()))
    return found


def curves(values: Sequence[float], averages: dict[float, list[float]]) -> dict[str, Any]:
    """Return a figure of the values and of each average."""
    data = [{"y": list(values), "name": "l", "mode": "markers+lines", "line": {"color": GREY, "dash": "dot"}}]
    data += [
        {"y": found, "name": f"α = {alpha:g}", "mode": "lines+markers", "line": {"color": COLORS[place % len(COLORS)]}}
        for place, (alpha, found) in enumerate(averages.items())
    ]
    layout = {"xaxis": axis("t"), "yaxis": axis("g after the value at t", rangemode="tozero")}
    return {"data": [{"type": "scatter", **each} for each in data], "layout": layout}


def table(values: Sequence[float], averages: dict[float, list[float]]) -> dict[str, Any]:
    """Return a table of the values and of each average."""
    cells = [[str(place) for place in range(len(values))], [f"{value:g}" for value in values]]
    cells += [[f"{value:.2f}" for value in found] for found in averages.values()]
    head = ["t", "l", *(f"α = {alpha:g}" for alpha in averages)]
    clear, rule = "rgba(0,0,0,0)", "rgba(127,127,127,0.4)"
    look = {"fill": {"color": clear}, "line": {"color": rule}, "align": "right", "height": 24}
    made = {"type": "table", "header": {"values": head, **look}, "cells": {"values": cells, **look}}
    return {"data": [made], "layout": {"margin": {"l": 4, "r": 4, "t": 4, "b": 4}}}
