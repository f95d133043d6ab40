"""`python -m trainer.find_lr …`: the learning-rate range test. Smith 2017, "Cyclical Learning Rates".

With the very network, data, augmentation and optimizer of the run, by its own loop: what other finders measure is a
loop of their own. The suggestion lies half-way between the two usual rules, a tenth of the rate with the lowest loss
(too careful for sgd and momentum on digits) and the rate of the steepest descent (too bold for them).
"""

import json
import math
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.commands import Parser, count, start
from trainer.errors import ConfigError, NonFiniteError, RunError
from trainer.files import expanded

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.config import RunConfig
    from trainer.schedule import Schedule
    from trainer.seams import Seams

SMOOTHING = 0.9  # of the exponential mean over the steps: ten of them count
DIVERGED = 4.0  # times the lowest smoothed loss (fastai's bound): nothing is to be seen behind it
FEWEST = 20  # steps: ten are averaged
# Measured on digits, three seeds: over eight decades 150, 120, 90 and 60 steps (19, 15, 11 and 7 a decade) suggest for
# momentum 0.018, 0.015, 0.021 and 0.035 in the mean, for adam 0.003, 0.004, 0.009 and 0.009; 60 steps over four decades
# (15) as little as 120 over eight. It is not the smoothing's lag: a mean over fewer steps suggests the same.
STEPS_A_DECADE = 15
ROWS = 16  # of the table in the terminal
BAR = 40

DESCRIPTION = """\
Raises the learning rate from step to step, from one at which nothing happens to one at which the loss flies apart, and
suggests one: half-way, on the logarithmic axis, between the rate of the steepest descent and a tenth of the rate with
the lowest smoothed loss. Nothing of it is kept but a figure in outputs/figures."""

EPILOG = """\
SETTING is what stands behind python -m trainer: data, network, optimizer, batch size, augmentation. The schedule and
lr are replaced by the test's own.

examples:
  python -m trainer.find_lr dataset=digits optimizer=momentum
  python -m trainer.find_lr optimizer=adam normalization=batch steps=300 from=1e-6 to=1

exit code 0: done. 1: the test found nothing. 2: the command or the configuration is wrong."""


@dataclass(frozen=True)
class Range:
    """What the test saw: the rate and the loss of each step. `smoothed` is the bias-corrected exponential mean."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]

    @property
    def lowest(self) -> int:
        """The step with the lowest smoothed loss."""
        return min(range(len(self.smoothed)), key=lambda step: self.smoothed[step])

    @property
    def steepest(self) -> float:
        """The rate at which the smoothed loss falls fastest on the logarithmic axis, before its lowest point."""
        slopes = [after - before for before, after in zip(self.smoothed, self.smoothed[1:], strict=False)]
        before = slopes[: max(self.lowest, 1)]
        return self.rates[min(range(len(before)), key=lambda step: before[step])]

    @property
    def suggestion(self) -> float:
        """The geometric mean of the steepest rate and a tenth of the one with the lowest loss, two digits."""
        return float(f"{math.sqrt(self.steepest * self.rates[self.lowest] / 10):.1e}")


def main(arguments: Sequence[str]) -> int:
    parser = Parser("trainer.find_lr", DESCRIPTION, EPILOG)
    parser.add_argument("settings", nargs="*", metavar="SETTING", help="as for python -m trainer: optimizer=adam …")
    parser.add_argument("--steps", type=count, default=150, metavar="N", help="of the test; default: 150")
    parser.add_argument("--from", dest="low", default="1e-7", metavar="LR", help="the first rate; default: 1e-7")
    parser.add_argument("--to", dest="high", default="10", metavar="LR", help="the last rate; default: 10")
    asked = parser.read(arguments)
    low, high = _rate("from", asked.low), _rate("to", asked.high)
    if low >= high:
        raise ConfigError(f"from={asked.low}: must be below to={asked.high}")
    _refuse_few(asked.steps, low, high)
    from trainer.commandline import interpret
    from trainer.config import RunConfig

    config = interpret(asked.settings)
    assert isinstance(config, RunConfig)
    if config.resume:
        raise ConfigError("resume: the test starts from a network's first weights, leave it out")
    from trainer.console import waiting

    with waiting("Loading torch"):
        import torch  # noqa: F401
    found = measure(config, asked.steps, low, high)
    _show(config, found, asked.settings)
    return 0


def _refuse_few(steps: int, low: float, high: float) -> None:
    """Raises ConfigError where the rate climbs so fast that the network has not learned yet at those that suit it."""
    if steps < FEWEST:
        raise ConfigError(f"steps={steps}: must be at least {FEWEST}, as the loss is averaged over ten steps")
    decades = math.log10(high) - math.log10(low)  # of the quotient it would be infinite for from=1e-308
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


def measure(config: "RunConfig", steps: int, low: float, high: float) -> Range:
    """Trains for so many steps while the rate climbs from `low` to `high`; stops where the loss flies apart.

    Raises RunError if that happens at once.
    """
    from trainer.build import build_trainer, pick_device
    from trainer.data.resident import load
    from trainer.schedule import Schedule
    from trainer.seams import join

    device = pick_device(config.device)
    images = load(config.dataset, expanded(config.data_dir), device)
    training, _ = config.dataset.shared_function()(images, config.split_seed)
    test = _Test(steps)
    trainer = build_trainer(config, training, None, device, test.until_over)
    trainer.schedule = Schedule(trainer.optimizer, lambda done: low ** (1 - done) * high**done, max(steps - 1, 1))
    trainer.seams = join([trainer.seams, test.watch(trainer.schedule)])
    while not test.over:
        try:
            trainer.do_train()
        except RunError as error:  # a loss that is not finite: the test has noted it
            if not (test.over or isinstance(error, NonFiniteError)):
                raise
            break
        trainer.epoch += 1
    if len(test.seen) < 3:
        raise RunError(f"the loss is not finite at lr={low:g} already: the initial weights or the data are at fault")
    found = test.result()
    if found.smoothed[found.lowest] > 0.98 * found.smoothed[0]:
        raise RunError(
            f"the loss falls at no rate from {low:g} to {high:g}: the initial weights or the data are at fault"
        )
    return found


class _Test:
    """Stands in the seams of the trainer's own loop: notes rate and loss of each step, and when it is over."""

    def __init__(self, steps: int) -> None:
        self.steps, self.over = steps, False
        self.seen: list[tuple[float, float, float]] = []  # rate, loss, smoothed
        self.mean, self.lowest = 0.0, math.inf

    def watch(self, schedule: "Schedule") -> "Seams":
        from trainer.seams import Seams

        return Seams(penalty=lambda logits, labels: self.note(schedule.lr, logits, labels))

    def note(self, rate: float, logits: "Tensor", labels: "Tensor") -> "Tensor":
        """Adds nothing to the loss."""
        from torch.nn import functional as F

        loss = F.cross_entropy(logits.detach(), labels).item()
        self.mean = SMOOTHING * self.mean + (1 - SMOOTHING) * loss
        smoothed = self.mean / (1 - SMOOTHING ** (len(self.seen) + 1))
        self.lowest = min(self.lowest, smoothed)
        if math.isfinite(smoothed):
            self.seen.append((rate, loss, smoothed))
        self.over = len(self.seen) >= self.steps or not smoothed <= DIVERGED * self.lowest
        return logits.new_zeros(())

    def until_over(self, batches: Iterable[Any], epoch: int, steps: int, done: int) -> Iterator[Any]:
        for batch in batches:
            yield batch
            if self.over:
                return

    def result(self) -> Range:
        rates, losses, smoothed = zip(*self.seen, strict=True)
        return Range(rates, losses, smoothed)


def _show(config: "RunConfig", found: Range, settings: Sequence[str]) -> None:
    from trainer.console import closing_table, say
    from trainer.evaluate import new_table, show_table

    table = new_table(("lr", "right"), ("loss", "right"), ("", "left"))
    top, low = max(found.smoothed), found.rates[found.lowest]
    chosen = sorted({round(row * (len(found.rates) - 1) / (ROWS - 1)) for row in range(ROWS)} | {found.lowest})
    for step in chosen:
        mark = " lowest" if step == found.lowest else ""
        bar = "▇" * max(1, round(BAR * found.smoothed[step] / top))
        table.add_row(f"{found.rates[step]:.1e}", f"{found.smoothed[step]:.4g}", bar + mark)
    show_table(table)
    kept = [text for text in settings if text.partition("=")[0] not in ("lr", "optimizer.lr")]
    command = shlex.join(["python", "-m", "trainer", *kept, f"lr={found.suggestion:g}"])
    told = [
        ("Suggestion", f"lr={found.suggestion:g}, between the next two"),
        ("Steepest descent", f"at {found.steepest:.2g}"),
        ("Lowest loss", f"at {low:.2g}; a tenth of it is {low / 10:.2g}"),
    ]
    trying = ("To try it", command)
    say("")
    closing_table([*told, trying])  # before the figure: a folder that cannot be written costs nothing else
    closing_table([("Figure", str(_figure(config, found, [*told, trying])))])


def _figure(config: "RunConfig", found: Range, facts: Sequence[tuple[str, str]]) -> Path:
    """A page of its own that needs no network; light or dark and as wide as the reader's window."""
    from plotly.offline import get_plotlyjs

    from trainer.files import write_text
    from trainer.pages.page import own, safe, template
    from trainer.record import OUTPUTS

    numbers = {
        "rates": found.rates,
        "losses": found.losses,
        "smoothed": found.smoothed,
        "lowest": found.rates[found.lowest],
        "suggestion": found.suggestion,
        "top": 1.5 * max(found.smoothed[: found.lowest + 1]),
    }
    page = template("range.html.jinja").render(
        what=f"{config.model.name} on {config.dataset.name} with {config.optimizer.name}",
        facts=[("Batch size", str(config.batch_size)), *facts],
        data=safe(json.dumps(numbers, allow_nan=False)),
        plotly=safe(get_plotlyjs()),
        style=own("page.css"),
    )
    moment = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    path = (
        OUTPUTS / "figures" / f"find_lr_{moment}_{config.dataset.name}_{config.model.name}_{config.optimizer.name}.html"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    return path


if __name__ == "__main__":
    start(main)
