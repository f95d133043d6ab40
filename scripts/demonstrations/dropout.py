"""The effect of dropout on the activations of a layer: the mask, the scale, and the unchanged mean."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from descent import settings
from figure import COLORS, GREY, Panel, go, parser, start, write
from pictures import of_each_class, training_split

from trainer.cli.common import count
from trainer.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

DESCRIPTION = """\
The activations that enter a dropout layer of the untrained network, for real images, and its output in training: a
share p is dropped and the rest scaled by 1 / (1 - p), so that the mean is the same as in evaluation.
Settings of a run may follow, among them dropout=p."""

FEATURES, DRAWS = 48, 200  # shown; passes whose mean is followed


def main(arguments: Sequence[str]) -> int:
    examples = ["", "dropout=0.2 --layer 1", "dataset=mnist data_dir=data model=mlp"]
    command = parser("dropout", DESCRIPTION, examples)
    command.add_argument("settings", nargs="*", metavar="NAME=VALUE", help="default: dataset=digits dropout=0.5")
    command.add_argument("--layer", type=count, metavar="N", help="which of the dropout layers; default: the last")
    command.add_argument("--images", type=count, default=16, metavar="N", help="default: 16")
    request = command.read(arguments)
    share, before, after, mask = passes(request.settings, request.layer, request.images)
    scale = 1 / (1 - share)
    dropped = 1 - float(mask.float().mean())
    means = [float(each) for each in (before.mean(), after[0].mean(), after.mean())]
    reach = float(after[0].max())  # one scale of colours for both
    panels = [
        Panel(grid(before, None, reach), "In evaluation: every activation passes unchanged. A row is an image.", 320),
        Panel(
            grid(after[0], mask, reach), f"In training: {dropped:.1%} are dropped (orange), the others ×{scale:g}.", 320
        ),
        Panel(
            scatter(before, after[0], mask, scale),
            f"Each activation in training over the same in evaluation: on 0, or on the line of slope {scale:g}.",
            320,
        ),
        Panel(
            average(before, after),
            f"The mean is kept: {means[0]:.4f} in evaluation, {means[1]:.4f} in one pass,"
            f" {means[2]:.4f} over {len(after)} passes.",
            320,
        ),
    ]
    return write(
        request,
        f"Dropout with p = {share:g}",
        "The lecture's network on real images, before training."
        if not request.settings
        else "Before training, with " + " ".join(request.settings),
        panels,
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
        raise ConfigError(f"--layer {layer}: this network has {len(layers)} dropout layers")
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


def grid(values: "Tensor", mask: "Tensor | None", reach: float) -> go.Figure:
    """Return a heat map: one row per image, one column per feature, dropped ones orange. `reach`: the darkest blue."""
    rows = values[:, :FEATURES].tolist()
    figure, gaps = go.Figure(), {"xgap": 1, "ygap": 1}
    if mask is not None:
        kept = mask[:, :FEATURES].tolist()
        rows = [
            [value if there else None for value, there in zip(*row, strict=True)]
            for row in zip(rows, kept, strict=True)
        ]
        lost = [[None if there else 1 for there in row] for row in kept]
        orange = [[0, COLORS[3]], [1, COLORS[3]]]
        figure.add_heatmap(z=lost, colorscale=orange, showscale=False, hovertemplate="dropped<extra></extra>", **gaps)
    template = "image %{y}, feature %{x}: %{z:.3f}<extra></extra>"
    bar = {"thickness": 10}
    figure.add_heatmap(
        z=rows,
        colorscale="Blues",
        zmin=min(0.0, float(values.min())),
        zmax=reach,
        colorbar=bar,
        hovertemplate=template,
        **gaps,
    )
    return figure.update_layout(
        xaxis={"title": "feature", "showgrid": False}, yaxis={"title": "image", "showgrid": False}
    )


def scatter(before: "Tensor", after: "Tensor", mask: "Tensor", scale: float) -> go.Figure:
    figure, reach = go.Figure(), float(before.max())
    low = min(float(before.min()), 0.0)
    figure.add_scatter(
        x=[low, reach],
        y=[scale * low, scale * reach],
        mode="lines",
        line={"color": GREY, "dash": "dot"},
        name=f"slope {scale:g}",
        hoverinfo="skip",
    )
    for kept, name, color in ((mask, "kept", COLORS[0]), (~mask, "dropped", COLORS[3])):
        look = {"color": color, "size": 5, "opacity": 0.6}
        figure.add_scatter(x=before[kept].tolist(), y=after[kept].tolist(), mode="markers", name=name, marker=look)
    return figure.update_layout(xaxis={"title": "in evaluation"}, yaxis={"title": "in training"})


def average(before: "Tensor", after: "Tensor") -> go.Figure:
    """Return a figure of the mean activation over the first n passes, beside that of evaluation."""
    import torch

    numbers = torch.arange(1, len(after) + 1)
    running = after.mean((1, 2)).cumsum(0) / numbers
    level = float(before.mean())
    figure = go.Figure()
    figure.add_scatter(
        x=numbers.tolist(), y=running.tolist(), mode="lines", name="in training", line={"color": COLORS[0]}
    )
    figure.add_scatter(
        x=[1, len(after)],
        y=[level, level],
        mode="lines",
        name="in evaluation",
        line={"color": COLORS[3], "dash": "dash"},
    )
    reach = [level - abs(level) * 0.1, level + abs(level) * 0.1]
    return figure.update_layout(
        xaxis={"title": "training passes averaged"}, yaxis={"title": "mean activation", "range": reach}
    )


if __name__ == "__main__":
    start(main)
