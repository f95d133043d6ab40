"""The validation loss around a trained network, along two random directions. Li et al. 2018."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from figure import GREY, Panel, go, parser, positive, start, write

from trainer.cli.common import best_of, count, device

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from trainer.data.images import Images
    from trainer.evaluation.inference import TrainedNetwork

DESCRIPTION = """\
The validation loss around the best network of a run, along two random directions. Each is scaled filter by filter to
the norm of the weights (Li et al. 2018), so that landscapes of different networks can be compared: at distance 1 a
filter has moved by its own norm. Biases and normalization layers are unchanged."""

COLORSCALE = "Cividis"  # made for colour-blind readers


def main(arguments: Sequence[str]) -> int:
    examples = ["outputs/RUN", "outputs/RUN --resolution 41 --radius 0.5 --images 1000"]
    command = parser("loss_landscape", DESCRIPTION, examples)
    command.add_argument("run", help="the folder of a run, or a checkpoint")
    command.add_argument("--radius", type=positive, default=1.0, metavar="R", help="from -R to R; default: 1")
    command.add_argument("--resolution", type=_odd, default=25, metavar="N", help="N×N points, N odd; default: 25")
    command.add_argument("--images", type=count, default=500, metavar="N", help="of the validation; default: 500")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of the directions; default: 0")
    command.add_argument("--device", type=device, default="auto", help="auto, cpu, mps, cuda, cuda:N; default: auto")
    command.add_argument("--data-dir", metavar="DIR", help="where the data lie; default: where the run had them")
    request = command.read(arguments)
    path = best_of(request.run)
    from trainer.evaluation.inference import load_network
    from trainer.training.build import pick_device

    where, snapshot = pick_device(request.device), load_network(path)
    images = validation_images(snapshot, request.data_dir, request.images, where)
    axis, losses = landscape(snapshot.network.to(where), images, request.radius, request.resolution, request.seed)
    centre, low, high = (float(each) for each in (losses[len(axis) // 2, len(axis) // 2], losses.min(), losses.max()))
    lead = (
        f"{snapshot.name}, epoch {snapshot.epoch}: loss {centre:.4g} at the trained weights (×), on {len(images)}"
        f" validation images; lowest {low:.4g}, highest {high:.4g} in view. Directions: seed {request.seed}."
    )
    panels = [
        Panel(contour(axis, losses), "From above; the lines are loss, evenly spaced on a logarithmic scale.", "5 / 4"),
        Panel(surface(axis, losses), "The same as a surface: drag to turn it.", "5 / 4"),
    ]
    return write(request, "The loss around a trained network", lead, panels)


def validation_images(snapshot: "TrainedNetwork", data_dir: str | None, most: int, where: "torch.device") -> "Images":
    """Return at most `most` of the run's validation images, spread evenly over them."""
    import torch

    from trainer.data.loader import load
    from trainer.errors import ConfigError

    config = snapshot.config
    place = Path(data_dir or config.data_dir).expanduser()
    images = load(config.dataset, place, where)
    if (images.classes, images.shape) != (snapshot.classes, snapshot.shape):
        raise ConfigError(f"data_dir={place}: these are not the images that {snapshot.name} was trained on")
    _, validation = config.dataset.shared_function()(images, config.split_seed)
    if validation is None:
        raise ConfigError("this run was trained on all images: it has no validation to compute a loss on")
    if len(validation) <= most:
        return validation
    return validation.select((torch.arange(most) * (len(validation) / most)).long())


def direction(network: "nn.Module", draw: "torch.Generator") -> "list[Tensor]":
    """Return a random step for each weight of `weights`; each filter or unit has its norm in the network."""
    import torch

    from trainer.techniques.layers import weights

    steps = []
    for weight in weights(network):
        step = torch.randn(weight.shape, generator=draw).to(weight.device)
        ratio = weight.flatten(1).norm(dim=1) / step.flatten(1).norm(dim=1)
        steps.append(step * ratio.view(-1, *[1] * (weight.ndim - 1)))
    return steps


def landscape(
    network: "nn.Module", images: "Images", radius: float, resolution: int, seed: int
) -> "tuple[Tensor, Tensor]":
    """Return (axis [R], losses [R, R]), one row for each step of the second direction. The network is not changed."""
    import torch
    from torch.nn import functional as F

    from trainer.data.loader import DeviceLoader
    from trainer.runtime.console import progress
    from trainer.techniques.layers import weights

    draw = torch.Generator().manual_seed(seed)
    across, along = direction(network, draw), direction(network, draw)
    moved, kept = weights(network), [weight.detach().clone() for weight in weights(network)]
    axis = torch.linspace(-radius, radius, resolution, dtype=torch.float64)
    batches = list(DeviceLoader(images, 1, images.labels.device).in_order())
    losses = torch.empty(resolution, resolution, dtype=torch.float64)
    places = [(row, column) for row in range(resolution) for column in range(resolution)]
    with torch.inference_mode():
        for row, column in progress(places, f"Loss at {len(places)} points"):
            for weight, centre, first, second in zip(moved, kept, across, along, strict=True):
                weight.copy_(centre + float(axis[column]) * first + float(axis[row]) * second)
            sums = [F.cross_entropy(network(pixels).float(), labels, reduction="sum") for pixels, labels in batches]
            losses[row, column] = float(torch.stack(sums).sum()) / len(images)
        for weight, centre in zip(moved, kept, strict=True):
            weight.copy_(centre)
    return axis, losses


def _odd(text: str) -> int:
    value = count(text)
    if value % 2 == 0 or value < 3:
        raise argparse.ArgumentTypeError(f"{text}: must be odd and at least 3, so that the trained weights are a point")
    return value


def _ticks(losses: "Tensor") -> list[float]:
    """Return five losses from the lowest to the highest, evenly spaced on a logarithmic scale."""
    low, high = losses.min().log10().item(), losses.max().log10().item()
    return [10 ** (low + (high - low) * step / 4) for step in range(5)]


def contour(axis: "Tensor", losses: "Tensor") -> go.Figure:
    ticks = _ticks(losses)
    low, high = math.log10(ticks[0]), math.log10(ticks[-1])
    labels = {"tickvals": [math.log10(tick) for tick in ticks], "ticktext": [f"{tick:.2g}" for tick in ticks]}
    figure = go.Figure(
        go.Contour(
            x=axis.tolist(),
            y=axis.tolist(),
            z=losses.log10().tolist(),
            customdata=losses.tolist(),
            zmin=low,
            zmax=high,
            contours={"start": low, "end": high, "size": (high - low) / 20},
            line={"width": 0.6, "color": GREY},
            hovertemplate="%{x:.2f}, %{y:.2f}: loss %{customdata:.4g}<extra></extra>",
            colorscale=COLORSCALE,
            colorbar={"title": "loss", "thickness": 12, **labels},
        )
    )
    mark = {"symbol": "x-thin-open", "size": 14, "color": "white", "line": {"width": 3}}
    figure.add_scatter(x=[0], y=[0], mode="markers", marker=mark, hoverinfo="skip", showlegend=False)
    return figure.update_layout(
        xaxis={"title": "first direction", "constrain": "domain"},
        yaxis={"title": "second direction", "scaleanchor": "x", "constrain": "domain"},
    )


def surface(axis: "Tensor", losses: "Tensor") -> go.Figure:
    shown = go.Surface(
        x=axis.tolist(),
        y=axis.tolist(),
        z=losses.tolist(),
        surfacecolor=losses.log10().tolist(),
        hovertemplate="%{x:.2f}, %{y:.2f}: loss %{z:.4g}<extra></extra>",
        colorscale=COLORSCALE,
        showscale=False,
    )
    labels = [float(f"{value:.2g}") for value in _ticks(losses)]
    height = {"title": "loss", "type": "log", "tickvals": labels, "ticktext": [f"{value:g}" for value in labels]}
    axes = {"xaxis": {"title": "first"}, "yaxis": {"title": "second"}, "zaxis": height}
    scene = {
        **axes,
        "aspectmode": "cube",
        "camera": {"eye": {"x": 1.6, "y": 1.6, "z": 1.1}, "center": {"x": 0, "y": 0, "z": -0.15}},
    }
    return go.Figure(shown).update_layout(scene=scene, margin={"l": 0, "r": 0, "t": 0, "b": 0})


if __name__ == "__main__":
    start(main)
