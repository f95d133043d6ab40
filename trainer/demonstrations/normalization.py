"""The inputs of the activations of an untrained network, under every normalization in conf/normalization."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainer.config.help import options
from trainer.demonstrations.descent import settings
from trainer.demonstrations.figures import COLORS, Fact, Figure, Shown, axis, line
from trainer.demonstrations.options import at_least
from trainer.demonstrations.pictures import of_each_class, training_split

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT = ("model=mlp", "model.hidden=[128,128,128,128,128,128,128,128]")
SAMPLE = 400  # values of a layer that are drawn


def show(words: Sequence[str], images: int) -> Shown:
    """Return the spread of each layer's values by normalization, and their distributions."""
    at_least(2, images=images)  # batch normalization needs two
    found = {name: entering(name, words, images) for name in normalizations()}
    spread = Figure(spreads(found), "Standard deviation of each layer; what lies on one line is equal.", 360)
    panels = [
        Figure(violins(values, place), _told(name, values), 360) for place, (name, values) in enumerate(found.items())
    ]
    return Shown((spread, *panels), (_kept(found),))


def _kept(found: "dict[str, list[Tensor]]") -> Fact:
    spread = {name: [float(each.std()) for each in found[name]] for name in ("none", "batch")}
    lost = spread["none"][-1] / spread["none"][0]
    kept = spread["batch"][-1] / spread["batch"][0]
    return Fact(
        f"From the first to the last layer the standard deviation goes from {spread['none'][0]:.3g} to"
        f" {spread['none'][-1]:.3g} without normalization; with batch normalization it is"
        f" {spread['batch'][0]:.3g} in the first and {spread['batch'][-1]:.3g} in the last.",
        abs(kept - 1) < 0.1 and not 0.5 < lost < 2,
        {"ratio_none": lost, "ratio_batch": kept},
    )


def normalizations() -> list[str]:
    """Return the names of the normalizations that an mlp can have, none first."""
    names = [name.removesuffix(" *") for name, _ in options("normalization")]
    names.remove("instance")  # it acts on feature maps
    return sorted(names, key=lambda name: (name != "none", name))


def entering(name: str, words: Sequence[str], images: int) -> "list[Tensor]":
    """Return the inputs of each activation of the network: [N·F] values of a batch in training mode."""
    import torch

    from trainer.training.network import build_model

    model = () if any(word.startswith("model") for word in words) else DEFAULT
    run = settings(*model, *words, f"normalization={name}")
    training = training_split(words)
    network, batch = build_model(run, training).train(), of_each_class(training, images)
    kind, found = type(run.activation.function()().build()), list[torch.Tensor]()
    for module in network.modules():
        if isinstance(module, kind):
            module.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].detach().flatten()))
    torch.manual_seed(0)  # of dropout, where it is on
    with torch.inference_mode():
        network(batch.pixels)
    return found


def _told(name: str, values: "Sequence[Tensor]") -> str:
    first, last = float(values[0].std()), float(values[-1].std())
    return f"normalization={name}: standard deviation {first:.3g} in the first layer, {last:.3g} in the last."


def violins(values: "Sequence[Tensor]", place: int) -> dict[str, Any]:
    """Return a figure of the distribution in each layer."""
    import torch

    data, color = [], COLORS[place % len(COLORS)]
    reach = 4 * max(1.0, *(float(each.std()) for each in values))  # the same for all that stay small
    for layer, each in enumerate(values, 1):
        chosen = torch.randperm(len(each), generator=torch.Generator().manual_seed(0))[:SAMPLE]
        data.append(
            {
                "type": "violin",
                "y": [round(value, 4) for value in each[chosen].tolist()],
                "name": str(layer),
                "line": {"color": color, "width": 1},
                "points": False,
                "scalemode": "width",
                "meanline": {"visible": True},
                "showlegend": False,
            }
        )
    layout = {"xaxis": axis("layer", type="category"), "yaxis": axis("value", range=[-reach, reach])}
    return {"data": data, "layout": layout}


def spreads(found: "dict[str, list[Tensor]]") -> dict[str, Any]:
    """Return a figure of the standard deviation of each layer, a line for each normalization."""
    data = [
        line(list(range(1, len(values) + 1)), [float(each.std()) for each in values], name, place)
        for place, (name, values) in enumerate(found.items())
    ]
    deviation = axis("standard deviation", type="log", dtick="D2", tickformat="~g")
    return {"data": data, "layout": {"xaxis": axis("layer", dtick=1), "yaxis": deviation}}
