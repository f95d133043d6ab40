"""Linear regression: one pass of stochastic gradient descent against one step of gradient descent. Imports no torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainer.demonstrations.figures import COLORS, GREY, Fact, Figure, Shown, axis, line, rounded
from trainer.demonstrations.options import at_least, positive

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

NOISE = 0.3  # standard deviation of the targets around the line
PASSES = 60  # of gradient descent that are computed at most
RATES = tuple(10 ** (place / 10 - 3) for place in range(31))  # from 0.001 to 1, for the best rate of each


def show(examples: int, rate: float, problems: int, seed: int) -> Shown:
    """Return the loss after one pass of each, and the number of passes that gradient descent needs for the same."""
    import numpy as np

    positive(rate=rate)
    at_least(2, examples=examples, problems=problems)
    x, y = draw_problems(examples, problems, seed)
    with np.errstate(all="ignore"):  # the largest rates diverge
        descent, stochastic = by_pass(x, y, rate), by_example(x, y, rate)
        own, needed_own = _at_own_rates(x, y)
    start, after = float(np.median(descent[0])), float(np.median(descent[1]))
    ends = stochastic[-1]
    passes = np.where((descent <= ends).any(0), (descent <= ends).argmax(0), PASSES)
    needed, better = float(np.median(passes)), float((ends < descent[1]).mean())
    facts = (
        Fact(
            f"After one pass over {examples} examples the loss of {problems} random problems goes from"
            f" {start:.2f} to {float(np.median(ends)):.3f} with an update for each example, to {after:.3f} with one"
            f" update for all (medians, rate {rate:g}); the former is lower in {better:.0%} of them.",
            better > 0.95,
            {"start": start, "stochastic": float(np.median(ends)), "descent": after, "better": 100 * better},
        ),
        Fact(
            f"At the same rate gradient descent needs {needed:.0f} passes for what {examples} single updates reach in"
            " one.",
            needed > examples / 2,
            {"passes": needed},
        ),
        Fact(
            f"Each at its own best rate ({own[0]:.2g} against {own[1]:.2g}) it needs {needed_own} passes: slower, but"
            f" not {examples} times, since a mean over all examples allows a larger rate.",
            needed_own > 1,
            {"passes": float(needed_own), "descent_rate": own[0], "stochastic_rate": own[1]},
        ),
    )
    figures = (
        Figure(_by_update(stochastic[:, 0], descent[:, 0], examples), "One of the problems, both at the same rate."),
        Figure(
            _counts(passes.tolist()),
            "Passes that gradient descent needs at the same rate for the loss of one stochastic pass, by problem.",
        ),
    )
    return Shown(figures, facts)


def draw_problems(examples: int, problems: int, seed: int) -> "tuple[Array, Array]":
    """Return (inputs with a column of ones [problems, examples, 2], targets [problems, examples])."""
    import numpy as np

    draw = np.random.default_rng(seed)
    x = draw.normal(size=(problems, examples, 2))
    x[..., 1] = 1
    line_ = draw.normal(size=(problems, 2))
    return x, np.einsum("pnd,pd->pn", x, line_) + NOISE * draw.normal(size=(problems, examples))


def by_pass(x: "Array", y: "Array", rate: float, passes: int = PASSES) -> "Array":
    """Return the mean squared error after 0, 1, … steps of gradient descent on it, [passes + 1, problems]."""
    import numpy as np

    weights, losses = np.zeros((len(x), 2)), [(y**2).mean(1)]
    for _ in range(passes):
        error = np.einsum("pnd,pd->pn", x, weights) - y
        weights = weights - rate * 2 * np.einsum("pn,pnd->pd", error, x) / x.shape[1]
        losses.append(_loss(x, y, weights))
    return np.array(losses)


def by_example(x: "Array", y: "Array", rate: float) -> "Array":
    """Return the mean squared error of all examples after 0, 1, … updates by one each, [examples + 1, problems]."""
    import numpy as np

    weights, losses = np.zeros((len(x), 2)), [(y**2).mean(1)]
    for place in range(x.shape[1]):
        error = (x[:, place] * weights).sum(1) - y[:, place]
        weights = weights - rate * 2 * error[:, None] * x[:, place]
        losses.append(_loss(x, y, weights))
    return np.array(losses)


def _loss(x: "Array", y: "Array", weights: "Array") -> "Array":
    import numpy as np

    found: Array = ((np.einsum("pnd,pd->pn", x, weights) - y) ** 2).mean(1)
    return found


def _at_own_rates(x: "Array", y: "Array") -> tuple[tuple[float, float], int]:
    """Return the best rates of both for the median loss, and the passes that gradient descent then needs.

    The best rate of gradient descent is that by which it needs the fewest passes.
    """
    import numpy as np

    single = {rate: float(np.nan_to_num(np.median(by_example(x, y, rate)[-1]), nan=np.inf)) for rate in RATES}
    best = min(single, key=lambda rate: single[rate])
    passes = {}
    for rate in RATES:
        reached = np.median(by_pass(x, y, rate, 20), axis=1) <= single[best]
        passes[rate] = int(reached.argmax()) if reached.any() else PASSES
    fewest = min(passes, key=lambda rate: passes[rate])
    return (fewest, best), passes[fewest]


def _by_update(stochastic: "Array", descent: "Array", examples: int) -> dict[str, Any]:
    """Return a figure of the loss by the number of examples seen."""
    passes = 5
    once = range(len(stochastic))
    every = [examples * place for place in range(passes + 1)]
    data = [
        line(once, rounded(stochastic), "one pass, an update for each example", 0),
        line(every, rounded(descent[: passes + 1]), "an update for each pass", 1),
    ]
    horizontal = axis("examples seen", dtick=examples)
    return {"data": data, "layout": {"xaxis": horizontal, "yaxis": axis("mean squared error", rangemode="tozero")}}


def _counts(passes: Sequence[int]) -> dict[str, Any]:
    """Return a histogram of whole numbers."""
    values = range(min(passes), max(passes) + 1)
    bars = {"type": "bar", "x": list(values), "y": [passes.count(value) for value in values], "name": "problems"}
    layout = {"xaxis": axis("passes"), "yaxis": axis("problems"), "showlegend": False, "bargap": 0.1}
    return {"data": [{**bars, "marker": {"color": COLORS[0], "line": {"color": GREY}}}], "layout": layout}
