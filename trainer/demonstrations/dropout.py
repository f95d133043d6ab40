"""The effect of dropout on the activations of a layer: the mask, the scale, and the unchanged mean."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainer.demonstrations.descent import settings
from trainer.demonstrations.figures import COLORS, GREY, Fact, Figure, Shown, axis
from trainer.demonstrations.options import at_least
from trainer.demonstrations.pictures import of_each_class, training_split
from trainer.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

# Spelled out, as plotly.js means other colours by the name than plotly for Python.
BLUES = [[0.0, "#f7fbff"], [0.5, "#6baed6"], [1.0, "#08306b"]]
FEATURES, DRAWS = 48, 200  # shown; passes whose mean is followed


def show(words: Sequence[str], layer: int | None, images: int) -> Shown:
    """Return mask, scale and mean of the activations that enter a dropout layer."""
    at_least(1, layer=layer, images=images)
    share, before, after, mask = passes(words, layer, images)
    scale = 1 / (1 - share)
    dropped = 1 - float(mask.float().mean())
    means = [float(each) for each in (before.mean(), after[0].mean(), after.mean())]
    reach = float(after[0].max())  # one scale of colours for both
    captions = (
        "In evaluation: every activation passes unchanged. A row is an image.",
        f"In training: {dropped:.1%} are dropped (orange), the others ×{scale:g}.",
        f"Each activation in training over the same in evaluation: on 0, or on the line of slope {scale:g}.",
        f"The mean is kept: {means[0]:.4f} in evaluation, {means[1]:.4f} in one pass,"
        f" {means[2]:.4f} over {len(after)} passes.",
    )
    drawn = (
        grid(before, None, reach),
        grid(after[0], mask, reach),
        scatter(before, after[0], mask, scale),
        average(before, after),
    )
    panels = [Figure(figure, caption, 320) for figure, caption in zip(drawn, captions, strict=True)]
    return Shown(tuple(panels), (_scaled(before, after[0], mask, scale), _mean(before, after)))


def _scaled(before: "Tensor", after: "Tensor", mask: "Tensor", scale: float) -> Fact:
    import torch

    apart = float((after - torch.where(mask, before * scale, torch.zeros(()))).abs().max())
    dropped = 1 - float(mask.float().mean())
    return Fact(
        f"In one training pass {dropped:.1%} of the {mask.numel():,} activations are 0, the others are {scale:g} times"
        " those of evaluation.",
        apart < 1e-5 * max(1.0, float(before.abs().max())),
        {"dropped": dropped, "scale": scale, "largest_difference": apart},
    )


def _mean(before: "Tensor", after: "Tensor") -> Fact:
    means = after.mean((1, 2))
    error = float(means.std()) / len(means) ** 0.5
    gap = float(means.mean() - before.mean())
    return Fact(
        f"The mean activation over {len(means)} passes is {float(means.mean()):.4f}, that of evaluation"
        f" {float(before.mean()):.4f}: {abs(gap) / error:.1f} standard errors apart.",
        abs(gap) < 4 * error,
        {"training": float(means.mean()), "evaluation": float(before.mean()), "standard_error": error},
    )


def passes(words: Sequence[str], layer: int | None, images: int) -> "tuple[float, Tensor, Tensor, Tensor]":
    """Return (p, activations in evaluation [N, F], in training passes [D, N, F], mask of the first of these [N, F])."""
    import torch

    from trainer.training.network import build_model

    run = settings("dropout=0.5", *words)
    training = training_split(words)
    network, shown = build_model(run, training), of_each_class(training, images)
    layers = [module for module in network.modules() if isinstance(module, torch.nn.Dropout)]
    if not layers:
        raise ConfigError("dropout=0 leaves no dropout layer to look at: it must be a number above 0 and below 1")
    if layer is not None and layer > len(layers):
        raise ConfigError(f"layer={layer}: this network has {len(layers)} dropout layers")
    chosen = layers[(layer or len(layers)) - 1]
    before = entering(network.eval(), chosen, shown.pixels)
    chosen.train()
    with torch.inference_mode():
        torch.manual_seed(0)
        after = torch.stack([chosen(before) for _ in range(DRAWS)])
        torch.manual_seed(0)  # the same draw, of ones: a zero activation does not tell whether it was dropped
        mask = chosen(torch.ones_like(before)) > 0
    return run.dropout, before, after, mask


def entering(network: "nn.Module", module: "nn.Module", pixels: "Tensor") -> "Tensor":
    """Return the input of this module for the images, [N, F]."""
    import torch

    found = []
    handle = module.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].flatten(1)))
    with torch.inference_mode():
        network(pixels)
    handle.remove()
    return found[0]


def grid(values: "Tensor", mask: "Tensor | None", reach: float) -> dict[str, Any]:
    """Return a heat map, a row for each image and a column for each feature, dropped ones orange.

    `reach`: the darkest blue.
    """
    rows = values[:, :FEATURES].tolist()
    data: list[dict[str, Any]] = []
    gaps: dict[str, Any] = {"type": "heatmap", "xgap": 1, "ygap": 1}
    if mask is not None:
        kept = mask[:, :FEATURES].tolist()
        rows = [
            [value if there else None for value, there in zip(*row, strict=True)]
            for row in zip(rows, kept, strict=True)
        ]
        lost = [[None if there else 1 for there in row] for row in kept]
        orange = [[0, COLORS[3]], [1, COLORS[3]]]
        look: dict[str, Any] = {"colorscale": orange, "showscale": False, "hovertemplate": "dropped<extra></extra>"}
        data.append({"z": lost, **look, **gaps})
    data.append(
        {
            "z": rows,
            "colorscale": BLUES,
            "zmin": min(0.0, float(values.min())),
            "zmax": reach,
            "colorbar": {"thickness": 10},
            "hovertemplate": "image %{y}, feature %{x}: %{z:.3f}<extra></extra>",
            **gaps,
        }
    )
    layout = {"xaxis": axis("feature", showgrid=False), "yaxis": axis("image", showgrid=False)}
    return {"data": data, "layout": layout}


def scatter(before: "Tensor", after: "Tensor", mask: "Tensor", scale: float) -> dict[str, Any]:
    """Return a figure of each activation in training over the same in evaluation."""
    reach, low = float(before.max()), min(float(before.min()), 0.0)
    data: list[dict[str, Any]] = [
        {
            "x": [low, reach],
            "y": [scale * low, scale * reach],
            "mode": "lines",
            "line": {"color": GREY, "dash": "dot"},
            "name": f"slope {scale:g}",
            "hoverinfo": "skip",
        }
    ]
    for kept, name, color in ((mask, "kept", COLORS[0]), (~mask, "dropped", COLORS[3])):
        look = {"mode": "markers", "name": name, "marker": {"color": color, "size": 5, "opacity": 0.6}}
        x, y = ([round(value, 4) for value in values[kept].tolist()] for values in (before, after))
        data.append({"x": x, "y": y, **look})
    layout = {"xaxis": axis("in evaluation"), "yaxis": axis("in training")}
    return {"data": [{"type": "scatter", **each} for each in data], "layout": layout}


def average(before: "Tensor", after: "Tensor") -> dict[str, Any]:
    """Return a figure of the mean activation over the first n passes, beside that of evaluation."""
    import torch

    numbers = torch.arange(1, len(after) + 1)
    running = after.mean((1, 2)).cumsum(0) / numbers
    level = float(before.mean())
    data: list[dict[str, Any]] = [
        {"x": numbers.tolist(), "y": running.tolist(), "name": "in training", "line": {"color": COLORS[0]}},
        {
            "x": [1, len(after)],
            "y": [level, level],
            "name": "in evaluation",
            "line": {"color": COLORS[3], "dash": "dash"},
        },
    ]
    reach = [level - abs(level) * 0.1, level + abs(level) * 0.1]
    layout = {"xaxis": axis("training passes averaged"), "yaxis": axis("mean activation", range=reach)}
    return {"data": [{"type": "scatter", "mode": "lines", **each} for each in data], "layout": layout}
