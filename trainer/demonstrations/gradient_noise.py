"""The variance of the mini-batch gradient by batch size, on a small network and the digits."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.demonstrations.descent import settings
from trainer.demonstrations.figures import GREY, Fact, Figure, Shown, axis, line
from trainer.demonstrations.options import at_least

if TYPE_CHECKING:
    from torch import Tensor

SIZES = tuple(2**power for power in range(9))
NETWORK = ("dataset.image_size=16", "model=mlp", "model.hidden=[16]")
SLOPE, LEAST = -1.0, 0.2  # what it should be, and how far from it is still the same


def show(batches: int, seed: int) -> Shown:
    """Return the variance by batch size, its slope on logarithmic axes, and the angle to the full gradient."""
    at_least(2, batches=batches)
    full, found = gradients(batches, seed)
    variances = [float((each - full).square().sum(1).mean()) for each in found]
    cosines = [float(((each @ full) / (each.norm(dim=1) * full.norm())).mean()) for each in found]
    slope = log_slope(SIZES, variances)
    facts = (
        Fact(
            f"With {SIZES[-1]} examples a batch the variance of the gradient is {variances[-1]:.2g}, with one"
            f" {variances[0]:.2g}; on logarithmic axes it falls with the slope {slope:.2f}, as 1 / n does with −1.",
            abs(slope - SLOPE) <= LEAST,
            {"slope": slope, "one": variances[0], "largest": variances[-1]},
        ),
        Fact(
            f"The gradient of one example has a cosine of {cosines[0]:.2f} with that of all images, that of"
            f" {SIZES[-1]} examples {cosines[-1]:.2f}.",
            cosines[-1] > cosines[0],
            {"one": cosines[0], "largest": cosines[-1]},
        ),
    )
    return Shown(
        (
            Figure(
                _by_size(variances),
                f"Mean squared distance between the gradient of a batch and that of all images, over {batches} random"
                " batches a size; dotted: the value of one example divided by n.",
            ),
            Figure(
                {
                    "data": [line(SIZES, cosines, "batches", 0)],
                    "layout": {
                        "xaxis": axis("batch size n", type="log", tickvals=list(SIZES)),
                        "yaxis": axis("cosine with the full gradient", rangemode="tozero"),
                    },
                },
                "How well the direction of a batch agrees with that of all images.",
            ),
        ),
        facts,
    )


def gradients(batches: int, seed: int) -> "tuple[Tensor, list[Tensor]]":
    """Return (the gradient of all training images [P], those of random batches for each size [batches, P])."""
    import torch
    from torch.nn import functional as F

    from trainer.data.loader import load
    from trainer.training.network import build_model

    run = settings(*NETWORK, f"seed={seed}")
    data = load(run.dataset, Path(run.data_dir).expanduser(), torch.device("cpu"))
    images, _ = run.dataset.shared_function()(data, run.split_seed)
    network = build_model(run, images)
    weights = [each for each in network.parameters() if each.requires_grad]
    draw = torch.Generator().manual_seed(seed)

    def gradient(places: "Tensor") -> "Tensor":
        loss = F.cross_entropy(network(images.pixels[places]), images.labels[places])
        return torch.cat([each.flatten() for each in torch.autograd.grad(loss, weights)])

    full = gradient(torch.arange(len(images)))
    # Drawn with replacement: without it the variance would reach 0 when a batch holds all images.
    found = [
        torch.stack([gradient(torch.randint(len(images), (size,), generator=draw)) for _ in range(batches)])
        for size in SIZES
    ]
    return full, found


def log_slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of the least-squares line through the logarithms."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    middle, level = sum(x) / len(x), sum(y) / len(y)
    return sum((a - middle) * (b - level) for a, b in zip(x, y, strict=True)) / sum((a - middle) ** 2 for a in x)


def _by_size(variances: Sequence[float]) -> dict[str, Any]:
    rule = {"mode": "lines", "line": {"color": GREY, "dash": "dot"}}
    data = [
        line(SIZES, variances, "measured", 0),
        line(SIZES, [variances[0] / size for size in SIZES], "1 / n", 1, **rule),
    ]
    layout = {
        "xaxis": axis("batch size n", type="log", tickvals=list(SIZES)),
        "yaxis": axis("variance of the gradient", type="log", dtick=1, tickformat="~g"),
    }
    return {"data": data, "layout": layout}
