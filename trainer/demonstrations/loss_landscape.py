"""The validation loss around a trained network, along two random directions. Li et al. 2018."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.demonstrations.descent import settings
from trainer.demonstrations.figures import GREY, Figure, Shown, axis
from trainer.demonstrations.options import at_least, positive
from trainer.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from trainer.data.images import Images
    from trainer.evaluation.inference import TrainedNetwork

COLORSCALE = "Cividis"  # made for colour-blind readers
SMALL = ("model=mlp", "model.hidden=[32]", "optimizer=adam", "lr=0.01")  # the network that is trained without a run
STEPS = 100


def show(
    run: str | None, radius: float, resolution: int, images: int, seed: int, device: str, data_dir: str | None
) -> Shown:
    """Return the landscape from above and as a surface, around a run's best network or a small one trained here."""
    positive(radius=radius)
    at_least(1, images=images)
    if resolution % 2 == 0 or resolution < 3:
        raise ConfigError(
            f"resolution={resolution}: must be odd and at least 3, so that the trained weights are a point"
        )
    network, shown, name = _of_run(run, images, device, data_dir) if run else _trained(images, seed)
    places, losses = landscape(network, shown, radius, resolution, seed)
    middle = len(places) // 2
    centre, low, high = (float(each) for each in (losses[middle, middle], losses.min(), losses.max()))
    told = (
        f"{name}: loss {centre:.4g} at the trained weights (×), on {len(shown)} validation images; lowest {low:.4g},"
        f" highest {high:.4g} in view. The lines are loss, evenly spaced on a logarithmic scale."
    )
    return Shown(
        (
            Figure(contour(places, losses), told, "5 / 4"),
            Figure(surface(places, losses), "The same as a surface: drag to turn it.", "5 / 4"),
        )
    )


def _of_run(run: str, images: int, device: str, data_dir: str | None) -> "tuple[nn.Module, Images, str]":
    """Return a run's best network, its validation images and a name for them."""
    from trainer.evaluation.inference import load_network
    from trainer.records.layout import best_of
    from trainer.training.build import pick_device

    path = best_of(run)
    where, snapshot = pick_device(device), load_network(path)
    chosen = validation_images(snapshot, data_dir, images, where)
    return snapshot.network.to(where), chosen, f"{snapshot.name}, epoch {snapshot.epoch}"


def _trained(images: int, seed: int) -> "tuple[nn.Module, Images, str]":
    """Return a small network, trained on all digits at once for some steps, and validation images."""
    import torch
    from torch.nn import functional as F

    from trainer.data.loader import load
    from trainer.training.network import build_model

    run = settings(*SMALL, f"seed={seed}")
    data = load(run.dataset, Path(run.data_dir).expanduser(), torch.device("cpu"))
    training, validation = run.dataset.shared_function()(data, run.split_seed)
    network = build_model(run, training)
    rule = run.optimizer.function()([{"params": list(network.parameters())}], run.lr, 0.0)
    for _ in range(STEPS):
        rule.zero_grad()
        F.cross_entropy(network(training.pixels), training.labels).backward()
        rule.step()
    return network.eval(), _spread(validation, images), f"An mlp of 32 hidden units after {STEPS} steps on the digits"


def validation_images(snapshot: "TrainedNetwork", data_dir: str | None, most: int, where: "torch.device") -> "Images":
    """Return at most `most` of the run's validation images, spread evenly over them."""
    from trainer.data.loader import load

    config = snapshot.config
    place = Path(data_dir or config.data_dir).expanduser()
    images = load(config.dataset, place, where)
    if (images.classes, images.shape) != (snapshot.classes, snapshot.shape):
        raise ConfigError(f"data_dir={place}: these are not the images that {snapshot.name} was trained on")
    _, validation = config.dataset.shared_function()(images, config.split_seed)
    if validation is None:
        raise ConfigError("this run was trained on all images: it has no validation to compute a loss on")
    return _spread(validation, most)


def _spread(images: "Images", most: int) -> "Images":
    """Return at most that many images, evenly spread over all."""
    import torch

    if len(images) <= most:
        return images
    return images.select((torch.arange(most) * (len(images) / most)).long())


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
    """Return (places [R], losses [R, R]), one row for each step of the second direction. The network is not changed."""
    import torch
    from torch.nn import functional as F

    from trainer.data.loader import DeviceLoader
    from trainer.runtime.console import progress
    from trainer.techniques.layers import weights

    draw = torch.Generator().manual_seed(seed)
    across, along = direction(network, draw), direction(network, draw)
    moved, kept = weights(network), [weight.detach().clone() for weight in weights(network)]
    places = torch.linspace(-radius, radius, resolution, dtype=torch.float64)
    batches = list(DeviceLoader(images, 1, images.labels.device).in_order())
    losses = torch.empty(resolution, resolution, dtype=torch.float64)
    points = [(row, column) for row in range(resolution) for column in range(resolution)]
    with torch.inference_mode():
        for row, column in progress(points, f"Loss at {len(points)} points"):
            for weight, centre, first, second in zip(moved, kept, across, along, strict=True):
                weight.copy_(centre + float(places[column]) * first + float(places[row]) * second)
            sums = [F.cross_entropy(network(pixels).float(), labels, reduction="sum") for pixels, labels in batches]
            losses[row, column] = float(torch.stack(sums).sum()) / len(images)
        for weight, centre in zip(moved, kept, strict=True):
            weight.copy_(centre)
    return places, losses


def _ticks(losses: "Tensor") -> list[float]:
    """Return five losses from the lowest to the highest, evenly spaced on a logarithmic scale."""
    low, high = losses.min().log10().item(), losses.max().log10().item()
    return [10 ** (low + (high - low) * step / 4) for step in range(5)]


def contour(places: "Tensor", losses: "Tensor") -> dict[str, Any]:
    """Return a figure of the losses from above."""
    ticks = _ticks(losses)
    low, high = math.log10(ticks[0]), math.log10(ticks[-1])
    labels = {"tickvals": [math.log10(tick) for tick in ticks], "ticktext": [f"{tick:.2g}" for tick in ticks]}
    made = {
        "type": "contour",
        "x": places.tolist(),
        "y": places.tolist(),
        "z": losses.log10().tolist(),
        "customdata": losses.tolist(),
        "zmin": low,
        "zmax": high,
        "contours": {"start": low, "end": high, "size": (high - low) / 20},
        "line": {"width": 0.6, "color": GREY},
        "hovertemplate": "%{x:.2f}, %{y:.2f}: loss %{customdata:.4g}<extra></extra>",
        "colorscale": COLORSCALE,
        "colorbar": {"title": {"text": "loss"}, "thickness": 12, **labels},
    }
    cross = {"symbol": "x-thin-open", "size": 14, "color": "white", "line": {"width": 3}}
    mark = {"type": "scatter", "x": [0], "y": [0], "mode": "markers", "marker": cross, "hoverinfo": "skip"}
    layout = {
        "xaxis": axis("first direction", constrain="domain"),
        "yaxis": axis("second direction", scaleanchor="x", constrain="domain"),
    }
    return {"data": [made, {**mark, "showlegend": False}], "layout": layout}


def surface(places: "Tensor", losses: "Tensor") -> dict[str, Any]:
    """Return a figure of the losses as a surface."""
    made = {
        "type": "surface",
        "x": places.tolist(),
        "y": places.tolist(),
        "z": losses.tolist(),
        "surfacecolor": losses.log10().tolist(),
        "hovertemplate": "%{x:.2f}, %{y:.2f}: loss %{z:.4g}<extra></extra>",
        "colorscale": COLORSCALE,
        "showscale": False,
    }
    labels = [float(f"{value:.2g}") for value in _ticks(losses)]
    height = axis("loss", type="log", tickvals=labels, ticktext=[f"{value:g}" for value in labels])
    scene = {
        "xaxis": axis("first"),
        "yaxis": axis("second"),
        "zaxis": height,
        "aspectmode": "cube",
        "camera": {"eye": {"x": 1.6, "y": 1.6, "z": 1.1}, "center": {"x": 0, "y": 0, "z": -0.15}},
    }
    return {"data": [made], "layout": {"scene": scene, "margin": {"l": 0, "r": 0, "t": 0, "b": 0}}}
