"""The inputs of the activations of an untrained network, under every normalization in conf/normalization."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from descent import settings
from figure import COLORS, DASHES, SYMBOLS, Panel, go, parser, start, write
from pictures import of_each_class, training_split

from trainer.cli.common import count
from trainer.config.help import options

if TYPE_CHECKING:
    from torch import Tensor

DESCRIPTION = """\
The inputs of the activation of each layer, before training and for a batch of real images, without and with each
normalization. Without it they shrink (or grow) from layer to layer, and the gradients with them.
Settings of a run may follow; the default is an mlp with eight hidden layers, which shows the effect clearly."""

DEFAULT = ("model=mlp", "model.hidden=[128,128,128,128,128,128,128,128]")
SAMPLE = 400  # values of a layer that are drawn


def main(arguments: Sequence[str]) -> int:
    examples = ["", "init=normal init.std=0.2", "dataset=mnist data_dir=data model=lecture_cnn activation=sigmoid"]
    command = parser("normalization", DESCRIPTION, examples)
    command.add_argument("settings", nargs="*", metavar="NAME=VALUE", help="default: dataset=digits, a deep mlp")
    command.add_argument("--images", type=count, default=256, metavar="N", help="in the batch; default: 256")
    request = command.read(arguments)
    if request.images < 2:
        command.error("--images 1: batch normalization needs at least 2")
    found = {name: entering(name, request.settings, request.images) for name in normalizations()}
    spread = Panel(spreads(found), "Standard deviation of each layer; what lies on one line is equal.", 360)
    panels = [
        Panel(violins(values, place), _told(name, values), 360) for place, (name, values) in enumerate(found.items())
    ]
    lead = "The values that come to each layer's activation, before training, for a batch of real images."
    return write(request, "What normalization does to activations", lead, [spread, *panels])


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


def violins(values: "Sequence[Tensor]", place: int) -> go.Figure:
    import torch

    figure, color = go.Figure(), COLORS[place % len(COLORS)]
    reach = 4 * max(1.0, *(float(each.std()) for each in values))  # the same for all that stay small
    for layer, each in enumerate(values, 1):
        chosen = torch.randperm(len(each), generator=torch.Generator().manual_seed(0))[:SAMPLE]
        shown = [round(value, 4) for value in each[chosen].tolist()]
        figure.add_violin(
            y=shown,
            name=str(layer),
            line={"color": color, "width": 1},
            points=False,
            scalemode="width",
            meanline={"visible": True},
            showlegend=False,
        )
    return figure.update_layout(
        xaxis={"title": "layer", "type": "category"}, yaxis={"title": "value", "range": [-reach, reach]}
    )


def spreads(found: "dict[str, list[Tensor]]") -> go.Figure:
    figure = go.Figure()
    for place, (name, values) in enumerate(found.items()):
        look = place % len(COLORS)
        figure.add_scatter(
            x=list(range(1, len(values) + 1)),
            y=[float(each.std()) for each in values],
            name=name,
            mode="lines+markers",
            line={"color": COLORS[look], "dash": DASHES[look]},
            marker={"symbol": SYMBOLS[look], "size": 8},
        )
    axis = {"title": "standard deviation", "type": "log", "dtick": "D2", "tickformat": "~g"}
    return figure.update_layout(xaxis={"title": "layer", "dtick": 1}, yaxis=axis)


if __name__ == "__main__":
    start(main)
