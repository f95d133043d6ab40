"""Bias and variance of polynomials fitted to a made-up curve with the squared error. Imports no torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainer.demonstrations.figures import COLORS, Fact, Figure, Shown, axis, line, rounded
from trainer.demonstrations.options import at_least, positive
from trainer.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

GRID = 201  # points of the curve at which the errors are averaged
DECAYS = (0.0, 0.0001, 0.001, 0.01, 0.1, 1.0)
DRAWN = 12  # fitted curves that are shown


def show(examples: int, noise: float, degree: int, sets: int, seed: int) -> Shown:
    """Return bias² and variance by degree, by the number of examples and by weight decay, of many training sets."""
    positive(noise=noise)
    at_least(2, degree=degree, sets=sets)
    if examples <= degree:
        raise ConfigError(f"examples={examples}: must be more than degree={degree}, or the fit is not unique")
    degrees = list(range(degree + 1))
    errors = [errors_of(fits(examples, noise, each, sets, seed)) for each in degrees]
    bias, variance, total = (list(values) for values in zip(*errors, strict=True))
    best = min(degrees, key=lambda each: total[each])
    more = [errors_of(fits(times * examples, noise, degree, sets, seed))[1] for times in (1, 2, 4)]
    decayed = [errors_of(fits(examples, noise, degree, sets, seed, decay)) for decay in DECAYS]
    facts = (
        _in_degree(bias, variance, total, best),
        Fact(
            "Squared error to the curve is bias² plus variance: they differ by at most"
            f" {max(abs(b + v - t) / t for b, v, t in errors):.0e} of it.",
            all(abs(b + v - t) <= 1e-9 * t for b, v, t in errors),
            {"best_error": total[best]},
        ),
        Fact(
            f"At degree {degree} the variance falls with more examples: {more[0]:.3g} with {examples}, {more[1]:.3g}"
            f" with {2 * examples}, {more[2]:.3g} with {4 * examples}.",
            more[2] < more[1] < more[0],
            {"1": more[0], "2": more[1], "4": more[2]},
        ),
        Fact(
            f"At degree {degree} weight decay λ = {DECAYS[-1]:g} takes the variance from {decayed[0][1]:.3g} to"
            f" {decayed[-1][1]:.2g} and bias² from {decayed[0][0]:.2g} to {decayed[-1][0]:.2g}.",
            decayed[-1][1] < decayed[0][1] and decayed[-1][0] > decayed[0][0],
            {"variance_without": decayed[0][1], "variance_with": decayed[-1][1], "bias_with": decayed[-1][0]},
        ),
    )
    shown = sorted({1, best, degree})
    figures = [
        Figure(
            _parts(degrees, errors, axis("degree of the polynomial", dtick=1)),
            f"Squared error to the curve by degree, over {sets} training sets of {examples} examples.",
        ),
        Figure(
            _parts(
                [f"{decay:g}" for decay in DECAYS],
                decayed,
                axis("weight decay λ", type="category"),
            ),
            f"The same at degree {degree}, by weight decay.",
        ),
        *(
            Figure(
                _curves(fits(examples, noise, each, sets, seed)),
                f"Degree {each}: {DRAWN} of the fits (thin), the mean of all (blue), the curve (dashed).",
                300,
            )
            for each in shown
        ),
    ]
    return Shown(tuple(figures), facts)


def _in_degree(bias: list[float], variance: list[float], total: list[float], best: int) -> Fact:
    last = len(bias) - 1
    return Fact(
        f"From degree 1 to {last} bias² goes from {bias[1]:.3g} to {bias[last]:.2g} and the variance from"
        f" {variance[1]:.3g} to {variance[last]:.3g}; the error is lowest at degree {best}, {total[best]:.3g}.",
        bias[last] < bias[1] and variance[last] > variance[1] and 1 < best < last,
        {
            "bias_1": bias[1],
            "bias_last": bias[last],
            "variance_1": variance[1],
            "variance_last": variance[last],
            "best": float(best),
        },
    )


def curve(x: "Array") -> "Array":
    """Return the true values, sin(πx)."""
    import numpy as np

    found: Array = np.sin(np.pi * x)
    return found


def fits(examples: int, noise: float, degree: int, sets: int, seed: int, decay: float = 0.0) -> "Array":
    """Return the fitted curve of each training set on an even grid from -1 to 1, [sets, GRID].

    The fit minimizes the mean squared error plus `decay` times the squared weights but that of the constant.
    """
    import numpy as np

    draw = np.random.default_rng(seed)
    x = draw.uniform(-1, 1, (sets, examples))
    y = curve(x) + noise * draw.normal(size=x.shape)
    inputs = np.polynomial.legendre.legvander(x, degree)
    penalty = examples * decay * np.diag([0.0] + [1.0] * degree)
    normal = np.einsum("sni,snj->sij", inputs, inputs) + penalty
    weights = np.linalg.solve(normal, np.einsum("sni,sn->si", inputs, y)[..., None])[..., 0]
    found: Array = weights @ np.polynomial.legendre.legvander(np.linspace(-1, 1, GRID), degree).T
    return found


def errors_of(fitted: "Array") -> tuple[float, float, float]:
    """Return (bias², variance, mean squared error to the curve), averaged over the grid."""
    import numpy as np

    truth = curve(np.linspace(-1, 1, GRID))
    mean = fitted.mean(0)
    return float(((mean - truth) ** 2).mean()), float(fitted.var(0).mean()), float(((fitted - truth) ** 2).mean())


def _parts(
    x: Sequence[Any], errors: Sequence[tuple[float, float, float]], horizontal: dict[str, Any]
) -> dict[str, Any]:
    """Return a figure of (bias², variance, squared error) for each value of x."""
    bias, variance, total = (list(values) for values in zip(*errors, strict=True))
    data = [line(x, bias, "bias²", 0), line(x, variance, "variance", 1), line(x, total, "squared error", 3)]
    vertical = axis("squared error", type="log", dtick=1, tickformat="~g", range=[-5, 0.3])
    return {"data": data, "layout": {"xaxis": horizontal, "yaxis": vertical}}


def _curves(fitted: "Array") -> dict[str, Any]:
    """Return a figure of some fits, their mean and the true curve."""
    import numpy as np

    x = np.linspace(-1, 1, GRID)[::4]
    thin = {"mode": "lines", "line": {"color": "rgba(127,127,127,0.45)", "width": 1}, "showlegend": False}
    data = [line(rounded(x), rounded(each[::4]), "fit", 0, hoverinfo="skip", **thin) for each in fitted[:DRAWN]]
    bold = {"mode": "lines", "line": {"color": COLORS[0], "width": 3}}
    data.append(line(rounded(x), rounded(fitted.mean(0)[::4]), "mean of all fits", 0, **bold))
    dashed = {"mode": "lines", "line": {"color": COLORS[3], "width": 2, "dash": "dash"}}
    data.append(line(rounded(x), rounded(curve(x)), "curve", 1, **dashed))
    return {"data": data, "layout": {"xaxis": axis("x"), "yaxis": axis("y", range=[-2, 2]), "showlegend": False}}
