"""The expectation of dropout, from all masks with their probabilities. Nothing is drawn but a check."""

import itertools
import math
from typing import TYPE_CHECKING, Any

from trainer.demonstrations.figures import COLORS, GREY, Fact, Figure, Shown, axis, rounded
from trainer.demonstrations.options import at_least
from trainer.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

MOST, DRAWS = 14, 20_000


def show(p: float, units: int, seed: int) -> Shown:
    """Return the expected activations and the expected output of a neuron, over all 2ⁿ masks of n units."""
    import numpy as np

    if not 0 < p < 1:
        raise ConfigError(f"p={p:g}: must be a number above 0 and below 1")
    at_least(1, units=units)
    if units > MOST:
        raise ConfigError(f"units={units}: must be at most {MOST}, as there are 2 to this power of masks")
    draw = np.random.default_rng(seed)
    x, w = draw.uniform(0.2, 2, units), draw.normal(size=units)
    masks, weights = every_mask(p, units)
    expected = (weights[:, None] * masks * x / (1 - p)).sum(0)
    plain = (weights[:, None] * masks * x).sum(0)
    outputs = (masks * x / (1 - p)) @ w
    mean = float(weights @ outputs)
    sampled, error = _drawn(x, w, p, seed)
    away = max(float(abs(expected - x).max()), abs(mean - float(x @ w)))
    facts = (
        Fact(
            f"Over all {len(masks)} masks of {units} units, with their probabilities, the expected activations and the"
            f" expected output of a neuron are those without dropout: the largest difference is {away:.0e}.",
            away < 1e-12 and math.isclose(float(weights.sum()), 1, rel_tol=1e-12),
            {"largest_difference": away, "masks": float(len(masks)), "output": float(x @ w), "expected": mean},
        ),
        Fact(
            f"Without the scale 1 / (1 − p) they are {float(plain.sum() / x.sum()):.2f} of those: at evaluation the"
            f" weights would have to be multiplied by 1 − p = {1 - p:g}.",
            bool(np.allclose(plain, (1 - p) * x, rtol=1e-12)),
            {"share": float(plain.sum() / x.sum())},
        ),
        Fact(
            f"The mean output of {DRAWS:,} masks drawn by torch's dropout is {sampled:.4f}, exactly it is {mean:.4f}:"
            f" {abs(sampled - mean) / error:.1f} standard errors apart.",
            abs(sampled - mean) < 4 * error,
            {"drawn": sampled, "standard_error": error},
        ),
    )
    figures = (
        Figure(_bars(x, expected, plain), f"Each unit: without dropout, and expected over all masks at p = {p:g}."),
        Figure(
            _outputs(outputs, weights, mean),
            "The output of a neuron over all masks: single ones lie far apart, their mean (line) is the output without"
            " dropout.",
        ),
    )
    return Shown(figures, facts)


def every_mask(p: float, units: int) -> "tuple[Array, Array]":
    """Return (all masks of zeros and ones [2ⁿ, n], their probabilities [2ⁿ])."""
    import numpy as np

    masks = np.array(list(itertools.product((0.0, 1.0), repeat=units)))
    kept = masks.sum(1)
    return masks, (1 - p) ** kept * p ** (units - kept)


def _drawn(x: "Array", w: "Array", p: float, seed: int) -> tuple[float, float]:
    """Return the mean output over masks drawn by torch, and its standard error."""
    import torch
    from torch.nn import functional as F

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inputs = torch.from_numpy(x).expand(DRAWS, -1)
        outputs = F.dropout(inputs, p) @ torch.from_numpy(w)
    return float(outputs.mean()), float(outputs.std()) / math.sqrt(DRAWS)


def _bars(x: "Array", expected: "Array", plain: "Array") -> dict[str, Any]:
    named = (("without dropout", x), ("expected, scaled by 1 / (1 − p)", expected), ("expected, not scaled", plain))
    data = [
        {
            "type": "bar",
            "x": list(range(1, len(x) + 1)),
            "y": rounded(values),
            "name": name,
            "marker": {"color": COLORS[place]},
        }
        for place, (name, values) in enumerate(named)
    ]
    return {"data": data, "layout": {"xaxis": axis("unit", dtick=1), "yaxis": axis("activation"), "barmode": "group"}}


def _outputs(outputs: "Array", weights: "Array", mean: float) -> dict[str, Any]:
    """Return a histogram of the outputs, weighted by the masks' probabilities, with a line at their mean."""
    import numpy as np

    heights, edges = np.histogram(outputs, bins=24, weights=weights)
    middles = (edges[1:] + edges[:-1]) / 2
    bars = {"type": "bar", "x": rounded(middles), "y": rounded(heights), "marker": {"color": COLORS[0]}}
    level = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": mean, "x1": mean}
    return {
        "data": [{**bars, "name": "masks"}],
        "layout": {
            "shapes": [{**level, "line": {"color": GREY, "width": 2, "dash": "dash"}}],
            "xaxis": axis("output of the neuron"),
            "yaxis": axis("probability"),
            "bargap": 0.05,
            "showlegend": False,
        },
    }
