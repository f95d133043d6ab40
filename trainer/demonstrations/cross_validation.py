"""How far the accuracy of one validation split and of k folds lies from that on new images. Imports no torch."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.demonstrations.figures import Fact, Figure, Shown, axis, line
from trainer.demonstrations.options import at_least
from trainer.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

SIZES = (50, 100, 200, 400, 800)  # images that are at hand, beside the number that is asked for
MOST = 1000  # of the 1500 digits of the training part: the others are the new images
DECAY = 1.0  # λ of the classifier, in the unit of squared inputs


def show(images: int, folds: int, draws: int, seed: int) -> Shown:
    """Return the mean error of both estimates by the number of images, and each draw's at the number asked for."""
    at_least(2, folds=folds, draws=draws)
    if not 2 * folds <= images <= MOST:
        raise ConfigError(f"images={images}: must be from {2 * folds}, two for each fold, to {MOST}")
    sizes = sorted({*(size for size in SIZES if size >= 2 * folds), images})
    errors = {size: errors_of(size, folds, draws, seed) for size in sizes}
    means = {size: [float(abs(each).mean()) for each in pair] for size, pair in errors.items()}
    single, together = means[images]
    last = sizes[-1]
    gains = {size: means[size][0] - means[size][1] for size in (images, last)}
    facts = [
        Fact(
            f"With {images} images the accuracy on one split is {single:.2g} points from that on new images, that of"
            f" {folds} folds {together:.2g} points (mean over {draws} draws).",
            together < single,
            {"single": single, "folds": together},
        )
    ]
    if last > images:
        facts.append(
            Fact(
                f"The folds bring the estimate {gains[images]:.2g} points nearer with {images} images, and"
                f" {gains[last]:.2g} points with {last}: they matter most where images are few.",
                gains[images] > gains[last],
                {"few": gains[images], "many": gains[last]},
            )
        )
    names = ("one split", f"{folds} folds")
    lines = [line(sizes, [means[size][place] for size in sizes], names[place], place) for place in (0, 1)]
    layout = {
        "xaxis": axis("images at hand", type="log", tickvals=sizes, ticktext=[str(size) for size in sizes]),
        "yaxis": axis("mean error of the estimate, points", rangemode="tozero"),
    }
    figures = (
        Figure({"data": lines, "layout": layout}, "A part of 1 / folds is held out once, or each part in turn."),
        Figure(_dots(errors[images], names), f"The error of each estimate with {images} images: 0 is right."),
    )
    return Shown(figures, tuple(facts))


def errors_of(images: int, folds: int, draws: int, seed: int) -> "tuple[Array, Array]":
    """Return the errors in points of the first fold alone and of the mean of all, for each draw of the images.

    The error is the accuracy on what was held out minus that of the same classifiers on images that were not drawn.
    """
    import numpy as np

    inputs, labels = digits()
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        order = rng.permutation(len(labels))
        drawn, new = order[:images], order[MOST:]
        parts = np.array_split(drawn, folds)
        errors = []
        for held_out in parts:
            kept = np.setdiff1d(drawn, held_out)
            weights = fitted(inputs[kept], labels[kept])
            right = [float(((inputs[some] @ weights).argmax(1) == labels[some]).mean()) for some in (held_out, new)]
            errors.append(100 * (right[0] - right[1]))
        found.append((errors[0], np.mean(errors)))
    single, together = np.array(found).T
    return single, together


def fitted(inputs: "Array", labels: "NDArray[np.int64]") -> "Array":
    """Return the weights [inputs, classes] of a linear classifier: least squares to 0 and 1, with weight decay."""
    import numpy as np

    square = inputs.T @ inputs + DECAY * np.eye(inputs.shape[1])
    return np.asarray(np.linalg.solve(square, inputs.T @ np.eye(10)[labels]), np.float64)


@cache
def digits() -> "tuple[Array, NDArray[np.int64]]":
    """Return the training part of the built-in digits, whose test part is never read, and their classes.

    1500 × 8 × 8 pixels from 0 to 1 and a constant, as [1500, 65].
    """
    import numpy as np

    from trainer.data.sources import digits as read

    images = read(Path(), "train", image_size=8)
    pixels = images.pixels.flatten(1).numpy() / 255
    return np.hstack([pixels, np.ones((len(pixels), 1))]), images.labels.numpy()


def _dots(errors: "tuple[Array, Array]", names: tuple[str, str]) -> dict[str, Any]:
    """Return a figure with a dot for each draw, beside one another by their order."""
    data = []
    for place, (values, name) in enumerate(zip(errors, names, strict=True)):
        across = [place + 0.6 * (number / (len(values) - 1) - 0.5) for number in range(len(values))]
        shown = [round(float(value), 3) for value in values]
        data.append(line(across, shown, name, place, mode="markers", hovertemplate="%{y:.1f} points<extra></extra>"))
    layout = {
        "xaxis": {"tickvals": [0, 1], "ticktext": list(names), "range": [-0.5, 1.5]},
        "yaxis": axis("error of the estimate, points"),
        "showlegend": False,
    }
    return {"data": data, "layout": layout}
