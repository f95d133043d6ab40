"""`python -m trainer find-lr …`: the learning-rate range test. Smith 2017, "Cyclical Learning Rates".

The test uses the network, data, augmentation, optimizer and training loop of the run itself. The suggestion lies
half-way between the two usual rules: a tenth of the rate with the lowest loss (too low for sgd and momentum on digits)
and the rate of the steepest descent (too high for them).
"""

import json
import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.cli.common import Parser, count
from trainer.config.shell import command
from trainer.errors import ConfigError
from trainer.techniques.remedies import has_momentum

if TYPE_CHECKING:
    from trainer.config.run_config import RunConfig
    from trainer.training.lr_range_test import Range

MIN_STEPS = 20  # ten are averaged
# Measured on digits, three seeds: over eight decades 150, 120, 90 and 60 steps (19, 15, 11 and 7 a decade) suggest for
# momentum 0.018, 0.015, 0.021 and 0.035 in the mean, for adam 0.003, 0.004, 0.009 and 0.009; 60 steps over four decades
# (15) the same as 120 over eight. The lag of the smoothing is not the cause: a mean over fewer steps suggests the same.
STEPS_A_DECADE = 15
ROWS = 16  # of the table in the terminal
BAR = 40  # letters of the longest bar

DESCRIPTION = """\
Suggest a learning rate: raise it from step to step until the loss diverges, and compare the losses.

The suggestion lies half-way, on a logarithmic axis, between the rate of the steepest descent and a tenth of the rate
with the lowest smoothed loss. For a schedule in cycles two bounds are printed: half the suggestion and twice as much.
The trained weights are discarded; a figure is written to outputs/figures."""

EPILOG = """\
SETTING is any setting of python -m trainer: data, network, optimizer, batch size, augmentation. The test replaces lr
and the schedule.

examples:
  python -m trainer find-lr dataset=digits optimizer=momentum
  python -m trainer find-lr optimizer=adam normalization=batch steps=300 from=1e-6 to=1

exit code 0: done. 1: the loss did not fall, or diverged at once. 2: the command or the configuration is wrong."""


def parser() -> Parser:
    """Return the parser of the command."""
    options = Parser("find-lr", DESCRIPTION, EPILOG)
    options.add_argument("settings", nargs="*", metavar="SETTING", help="a setting of the run, such as optimizer=adam")
    options.add_argument("--config-dir", metavar="DIR", help="a folder with YAML files of your own, as for training")
    options.add_argument("--steps", type=count, default=150, metavar="N", help="number of steps; default: 150")
    options.add_argument("--from", dest="low", default="1e-7", metavar="LR", help="the first rate; default: 1e-7")
    options.add_argument("--to", dest="high", default="10", metavar="LR", help="the last rate; default: 10")
    return options


def main(arguments: Sequence[str]) -> int:
    """Run the range test and print the suggestion. Return 0."""
    request = parser().read(arguments)
    low, high = _rate("from", request.low), _rate("to", request.high)
    if low >= high:
        raise ConfigError(f"from={request.low}: must be below to={request.high}")
    _refuse_few(request.steps, low, high)
    from trainer.config.compose import interpret
    from trainer.config.run_config import RunConfig

    own = [] if request.config_dir is None else [f"--config-dir={request.config_dir}"]
    settings = [*own, *request.settings]
    config = interpret(settings)
    assert isinstance(config, RunConfig)
    if config.resume:
        raise ConfigError("resume: the test starts from a network's first weights, leave it out")
    from trainer.runtime.console import waiting

    with waiting("Loading torch"):
        from trainer.training.lr_range_test import measure
    result = measure(config, request.steps, low, high)
    _show(config, result, settings)
    return 0


def _refuse_few(steps: int, low: float, high: float) -> None:
    """Raise ConfigError if the rate rises so fast that the network cannot learn at the rates that suit it."""
    if steps < MIN_STEPS:
        raise ConfigError(f"steps={steps}: must be at least {MIN_STEPS}, as the loss is averaged over ten steps")
    decades = math.log10(high) - math.log10(low)  # log10(high / low) would overflow for from=1e-308
    least = math.ceil(round(STEPS_A_DECADE * decades, 6))
    if steps < least:
        raise ConfigError(
            f"steps={steps}: from {low:g} to {high:g} at least {least} are needed, {STEPS_A_DECADE} each time that the"
            " rate grows tenfold; with fewer the suggestion comes out too high. Give more, or a narrower from= and to="
        )


def _rate(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ConfigError(f"{name}={text}: must be a number above 0")
    return value


def _show(config: "RunConfig", result: "Range", settings: Sequence[str]) -> None:
    from trainer.runtime.console import closing_table, new_table, say, show_table

    table = new_table(("lr", "right"), ("loss", "right"), ("", "left"))
    top, low = max(result.smoothed), result.rates[result.lowest]
    # Evenly spaced steps, and the one with the lowest loss.
    chosen = sorted({round(row * (len(result.rates) - 1) / (ROWS - 1)) for row in range(ROWS)} | {result.lowest})
    for step in chosen:
        mark = " lowest" if step == result.lowest else ""
        bar = "▇" * max(1, round(BAR * result.smoothed[step] / top))
        table.add_row(f"{result.rates[step]:.1e}", f"{result.smoothed[step]:.4g}", bar + mark)
    show_table(table)
    kept = [text for text in settings if text.partition("=")[0] not in ("lr", "optimizer.lr")]
    unscheduled = [text for text in kept if text.partition("=")[0].partition(".")[0] != "scheduler"]
    bottom, peak = result.bounds
    fixed = () if has_momentum(config.optimizer) else ("scheduler.cycle_momentum=false",)
    cycle = command(*unscheduled, "scheduler=cyclic", f"scheduler.min_lr={bottom:g}", f"lr={peak:g}")
    between = "half-way between the steepest descent and a tenth of the lowest loss's rate"
    lines = [
        ("Suggestion", f"lr={result.suggestion:g}, {between}"),
        ("Steepest descent", f"at lr={result.steepest:.2g}: there the loss falls fastest"),
        ("Lowest loss", f"at lr={low:.2g}; a tenth of this rate is {low / 10:.2g}"),
    ]
    lines += [
        ("To try it", command(*kept, f"lr={result.suggestion:g}")),
        ("In cycles", cycle),
        ("In one cycle", command(*unscheduled, "scheduler=one_cycle", *fixed, f"lr={peak:g}")),
    ]
    say("")
    closing_table(lines)  # before the figure: a folder that cannot be written costs nothing else
    closing_table([("Figure", str(_figure(config, result, lines)))])


def _figure(config: "RunConfig", result: "Range", facts: Sequence[tuple[str, str]]) -> Path:
    """Write the figure as a page that needs no network. Return its path."""
    from plotly.offline import get_plotlyjs

    from trainer.reports.page import safe, styles, template
    from trainer.runtime.files import make_folder, write_text
    from trainer.storage.places import output_root

    numbers = {
        "rates": result.rates,
        "losses": result.losses,
        "smoothed": result.smoothed,
        "lowest": result.rates[result.lowest],
        "suggestion": result.suggestion,
        # The axis ends there: at the last rates the loss is so large that the curve before them would look flat.
        "top": 1.5 * max(result.smoothed[: result.lowest + 1]),
    }
    page = template("range.html.jinja").render(
        what=f"{config.model.name} on {config.dataset.name} with {config.optimizer.name}",
        facts=[("Batch size", str(config.batch_size)), *facts],
        data=safe(json.dumps(numbers, allow_nan=False)),
        plotly=safe(get_plotlyjs()),
        style=styles(),
    )
    moment = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    path = (
        output_root(config.output_root)
        / "figures"
        / f"find_lr_{moment}_{config.dataset.name}_{config.model.name}_{config.optimizer.name}.html"
    )
    make_folder(path.parent)
    write_text(path, page)
    return path
