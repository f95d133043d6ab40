"""The exponential moving average of note 003's twelve values, by the project's `regularization=ema`."""

from collections.abc import Sequence

from descent import settings
from figure import COLORS, GREY, Panel, go, parser, start, write

DESCRIPTION = """\
The exponential moving average g ← α·g + (1 − α)·l of a list of values, from g = 0, for several α: table and curve.
The default values are those of lecture note 003. A large α is smooth and slow, a small one fast and noisy."""

VALUES = [150.0, 210.0, 320.0, 175.0, 140.0, 250.0, 230.0, 130.0, 300.0, 280.0, 350.0, 230.0]


def main(arguments: Sequence[str]) -> int:
    command = parser("moving_average", DESCRIPTION, ["", "--values 1 1 1 1 0 0 0 0 --alpha 0.5 0.9"])
    command.add_argument("--values", type=float, nargs="+", default=VALUES, metavar="L", help="default: the note's 12")
    command.add_argument("--alpha", type=float, nargs="+", default=[0.2, 0.5, 0.8], help="default: 0.2 0.5 0.8")
    request = command.read(arguments)
    if not all(0 < alpha < 1 for alpha in request.alpha):
        command.error("--alpha: must be numbers above 0 and below 1")
    averages = {alpha: average(request.values, alpha) for alpha in dict.fromkeys(request.alpha)}
    panels = [
        Panel(curves(request.values, averages), "The values l, and their average for each α."),
        Panel(table(request.values, averages), "g after each value.", 24 * len(request.values) + 80),
    ]
    lead = "g ← α·g + (1 − α)·l, from g = 0: the average that rmsprop and Adam keep of squared gradients, and"
    return write(request, "The exponential moving average", f"{lead} regularization=ema of weights.", panels)


def average(values: Sequence[float], alpha: float) -> list[float]:
    """Return g after each value: the project's average of a network whose only weight takes these values."""
    import torch
    from torch import nn

    network = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(network.weight)
    (choice,) = settings("regularization=ema", f"regularization.ema.decay={alpha}").regularization
    seam = choice.function()(network)
    seam.after_step()  # the average begins as a copy of the first weights: zero
    found = []
    for value in values:
        nn.init.constant_(network.weight, value)
        seam.after_step()
        found.append(seam.evaluated.weight.item())
    return found


def curves(values: Sequence[float], averages: dict[float, list[float]]) -> go.Figure:
    figure = go.Figure()
    figure.add_scatter(y=values, name="l", mode="markers+lines", line={"color": GREY, "dash": "dot"})
    for place, (alpha, found) in enumerate(averages.items()):
        figure.add_scatter(
            y=found, name=f"α = {alpha:g}", mode="lines+markers", line={"color": COLORS[place % len(COLORS)]}
        )
    return figure.update_layout(xaxis={"title": "t"}, yaxis={"title": "g after the value at t", "rangemode": "tozero"})


def table(values: Sequence[float], averages: dict[float, list[float]]) -> go.Figure:
    cells = [list(range(len(values))), [f"{value:g}" for value in values]]
    cells += [[f"{value:.2f}" for value in found] for found in averages.values()]
    head = ["t", "l", *(f"α = {alpha:g}" for alpha in averages)]
    clear, line = "rgba(0,0,0,0)", "rgba(127,127,127,0.4)"
    look = {"fill": {"color": clear}, "line": {"color": line}, "align": "right", "height": 24}
    made = go.Table(header={"values": head, **look}, cells={"values": cells, **look})
    return go.Figure(made).update_layout(margin={"l": 4, "r": 4, "t": 4, "b": 4})


if __name__ == "__main__":
    start(main)
