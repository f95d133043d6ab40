"""The figures of a study for print, as SVG and PDF, drawn by matplotlib. Imports no torch."""

import io
import itertools
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainer.reports.content import ArmReport, Content
from trainer.reports.descriptive import profile_figure, tuning_figures
from trainer.runtime.text import slug

FORMATS = ("svg", "pdf")
# Of Okabe and Ito (2008): told apart by people who see fewer colours. With the line styles there are 32 of them.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
DASHES = ("-", "--", ":", "-.")
MAX_CURVES = 8  # arms in the learning curves, the best ones: more cannot be told apart
MAX_ROWS = 60  # arms in a plot with a row for each
WIDTH, ROW = 7.0, 0.32  # inches: that of a page's text, and the height of an arm
PANELS = (
    ("train_loss", "training loss"),
    ("validation_loss", "validation loss"),
    ("train_accuracy", "training accuracy (%)"),
    ("validation_accuracy", "validation accuracy (%)"),
)
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "text.parse_math": False,  # a name with two $ is no formula
    "pdf.fonttype": 42,  # TrueType, which journals ask for
    "svg.hashsalt": "trainer",  # the same study, the same bytes
}


def drawn(content: Content) -> dict[str, bytes]:
    """Return the content of the files by their names: "learning_curves.svg", …; a figure without data is left out."""
    import matplotlib

    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    files = {}
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font does not have
        for name, figure in _figures(content):
            for form in FORMATS:
                file = io.BytesIO()
                # Without the date: the same study, the same bytes.
                dated = {"Date": None} if form == "svg" else {"CreationDate": None}
                figure.savefig(file, format=form, bbox_inches="tight", metadata=dated)
                files[f"{name}.{form}"] = file.getvalue()
    return files


def _figures(content: Content) -> Iterator[tuple[str, Any]]:
    for block in content.blocks:  # each has figures of its own, so that no arms of different data sets stand together
        for name, figure in _figures(block.content):
            yield f"{name}_{slug([block.name])}", figure
    if profile := profile_figure(content):
        yield "profile", _profile(content, profile)
    if content.blocks:
        return
    if any(run.epochs for arm in content.arms for run in arm.runs):
        yield "learning_curves", _learning_curves(content)
    if content.kind == "study" and any(arm.values for arm in content.arms):
        yield "arms", _arms(content)
    if content.judged and any(each.half_width is not None for each in content.judged.comparisons):
        yield "differences", _differences(content)
    for tuned in tuning_figures(content):
        yield slug(["sensitivity", tuned["key"]]), _sensitivity(content, tuned)


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> Any:
    """Return (figure, axes [rows, columns]), those of a row with one scale."""
    from matplotlib.figure import Figure  # not pyplot, which keeps every figure and looks for a screen

    figure = Figure((width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharey="row")


def _learning_curves(content: Content) -> Any:
    """Draw the mean of each quantity over an arm's runs, with a band from the lowest to the highest run."""
    arms = [arm for arm in content.arms if any(run.epochs for run in arm.runs)][:MAX_CURVES]
    names = [_label(arm.name) for arm in arms]
    figure, axes = _figure(WIDTH, 5.2 + 0.2 * len(arms) / _columns(names), 2, 2)
    styles = list(itertools.islice(itertools.cycle(COLORS), len(arms)))
    lines = []
    for axis, (name, title) in zip(axes.flat, PANELS, strict=True):
        factor = 100 if name.endswith("accuracy") else 1
        for arm, color, dash in zip(arms, styles, itertools.cycle(DASHES), strict=False):
            curve = _curve(arm, name)
            low, mean, high = ([factor * value for value in column] for column in zip(*curve.values(), strict=True))
            marker = "o" if len(curve) == 1 else None
            (line,) = axis.plot(list(curve), mean, dash, color=color, linewidth=1.4, marker=marker, markersize=3)
            axis.fill_between(list(curve), low, high, color=color, alpha=0.18, linewidth=0)
            lines += [line] if axis is axes.flat[0] else []
        axis.set_ylabel(title)
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.margins(x=0.02)
    if len(arms) > 1:
        figure.legend(lines, names, loc="outside upper center", ncols=_columns(names))
    notes = ["band: lowest to highest run"] if any(len(arm.values) > 1 for arm in arms) else []
    left_out = len(content.arms) - len(arms)
    notes += [f"the best {len(arms)} of {len(content.arms)} arms"] if left_out else []
    figure.supxlabel("; ".join(notes), fontsize=8, color="#555555")
    return figure


def _curve(arm: ArmReport, name: str) -> Mapping[int, tuple[float, float, float]]:
    """Return (lowest, mean, highest) over an arm's runs by epoch, for the epochs that all of them have.

    Of the runs that finished, if any did: one that failed ends early, and from there the mean would be over others.
    """
    runs = [run for run in arm.runs if run.epochs]
    runs = [run for run in runs if run.outcome.state == "finished"] or runs
    columns = [{row["epoch"]: row[name] for row in run.epochs if row[name] is not None} for run in runs]
    shared = [epoch for epoch in columns[0] if all(epoch in column for column in columns)] if columns else []
    values = {epoch: [column[epoch] for column in columns] for epoch in shared}
    return {epoch: (min(each), sum(each) / len(each), max(each)) for epoch, each in values.items()}


def _arms(content: Content) -> Any:
    """Draw a row for each arm, best on top: a dot for each run, and the mean with its standard deviation."""
    arms = [arm for arm in content.arms if arm.values][:MAX_ROWS]
    factor = 100 if content.share else 1
    figure, axes = _figure(WIDTH, 0.9 + ROW * len(arms))
    axis = axes[0, 0]
    for row, arm in enumerate(arms):
        values = [factor * value for value in arm.values.values()]
        spread = None if arm.deviation is None else factor * arm.deviation
        axis.plot(values, [row] * len(values), "o", color=COLORS[0], alpha=0.5, markersize=5, zorder=3)
        axis.errorbar(
            [factor * arm.mean], [row], xerr=spread, fmt="D", color="black", markersize=4, capsize=3, linewidth=1
        )
    _rows(axis, [arm.name for arm in arms])
    several = any(arm.deviation is not None for arm in arms)
    marks = ", each run; mean ± standard deviation" if several else ""
    axis.set_xlabel(_quantity(content) + marks + _shown(arms, [arm for arm in content.arms if arm.values]))
    return figure


def _differences(content: Content) -> Any:
    """Draw each arm minus the one that it is compared with, with the interval, and a line at no difference."""
    judged = content.judged
    assert judged
    factor = 100 if content.share else 1
    tested = [each for each in judged.with_reference if each.half_width is not None]
    names, rows = [], tested[:MAX_ROWS]
    figure, axes = _figure(WIDTH, 1.1 + ROW * len(rows))
    axis = axes[0, 0]
    for row, each in enumerate(rows):
        is_first = each.second.name == judged.reference
        names.append((each.first if is_first else each.second).name)
        difference = factor * (each.difference if is_first else -each.difference)
        color, fill = (COLORS[1], COLORS[1]) if each.concluded else ("#555555", "white")
        style = {"fmt": "s", "markersize": 5, "capsize": 3, "color": color, "markerfacecolor": fill}
        axis.errorbar([difference], [row], xerr=factor * (each.half_width or 0.0), **style)
    axis.axvline(0, color="black", linewidth=0.8)
    _rows(axis, names)
    unit = " (points)" if content.share else ""
    better = "right" if content.sign > 0 else "left"
    axis.set_xlabel(
        f"difference from {_label(judged.reference)} in {content.scored}{unit}\n"
        f"95 % interval; further {better}: better; filled: concluded{_shown(rows, tested)}"
    )
    return figure


def _profile(content: Content, profile: Mapping[str, Any]) -> Any:
    """Draw the share of each arm's runs over all blocks that reach each score, with its band."""
    factor = 100 if content.share else 1
    names = [_label(arm["name"]) for arm in profile["arms"]]
    figure, axes = _figure(WIDTH, 3.2 + 0.2 * len(names) / _columns(names))
    axis, scores = axes[0, 0], [factor * score for score in profile["scores"]]
    where, word = ("pre", "least") if content.sign > 0 else ("post", "most")
    lines = []
    for arm, color, dash in zip(profile["arms"], COLORS, itertools.cycle(DASHES), strict=False):
        share, low, high = ([100 * value for value in arm[name]] for name in ("share", "low", "high"))
        lines += axis.step(scores, share, dash, where=where, color=color, linewidth=1.4)
        axis.fill_between(scores, low, high, step=where, color=color, alpha=0.15, linewidth=0)
    axis.set_xlim(scores[0], scores[-1])
    axis.set_ylim(-2, 102)
    axis.set_ylabel(f"runs with at {word} this value (%)")
    left_out = _shown(names, range(profile["of"]))
    axis.set_xlabel(
        f"{_quantity(content)}, over {profile['blocks']}\n"
        f"band: 95 %, bootstrap within each {content.blocks[0].noun}; descriptive, no test{left_out}"
    )
    figure.legend(lines, names, loc="outside upper center", ncols=_columns(names))
    return figure


def _sensitivity(content: Content, tuned: Mapping[str, Any]) -> Any:
    """Draw the score of every trial against a setting that was tuned, with the chosen value of each arm."""
    factor = 100 if content.share else 1
    names = [_label(arm["name"]) for arm in tuned["arms"]]
    figure, axes = _figure(WIDTH / 2, 2.7 + 0.2 * len(names) / max(1, _columns(names) // 2))
    axis, lines = axes[0, 0], []
    for arm in tuned["arms"]:
        color, dash = COLORS[arm["place"]], DASHES[arm["place"] % len(DASHES)] if tuned["alone"] else ""
        settings, values = zip(*arm["points"], strict=True)
        marks = {"marker": "o", "markersize": 3.5, "linestyle": dash, "linewidth": 1.2, "color": color}
        lines += axis.plot(settings, [factor * value for value in values], **marks)
        setting, value = arm["chosen"]
        axis.plot([setting], [factor * value], "D", color=color, markeredgecolor="black", markersize=6.5, zorder=3)
    for name, at in (("x", 0), ("y", 1)):
        if tuned["log" if name == "x" else "log_scores"]:
            _log_scale(axis, name, [point[at] for arm in tuned["arms"] for point in arm["points"]])
    axis.set_xlabel(f"{_label(tuned['key'])}\neach trial; diamond: chosen")
    axis.set_ylabel(_quantity(content))
    figure.legend(lines, names, loc="outside upper center", ncols=max(1, _columns(names) // 2))
    return figure


def _log_scale(axes: Any, name: str, numbers: Sequence[float]) -> None:
    """Give the axis "x" or "y" of these numbers a logarithmic scale with plain labels."""
    from matplotlib import ticker

    axes.set(**{f"{name}scale": "log"})
    axis, narrow = getattr(axes, f"{name}axis"), max(numbers) / min(numbers) < 30
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if narrow else (1,)))
    axis.set_major_formatter("{x:g}")  # matplotlib's own labels are formulas
    axis.set_minor_formatter(ticker.NullFormatter())


def _rows(axis: Any, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), [_label(name) for name in names])
    axis.set_ylim(len(names) - 0.5, -0.5)  # the first on top
    axis.grid(visible=False, axis="y")


def _shown(some: Sequence[Any], every: Sequence[Any]) -> str:
    return f"; the first {len(some)} of {len(every)}" if len(some) < len(every) else ""


def _quantity(content: Content) -> str:
    return content.scored + (" (%)" if content.share else "")


def _label(name: str) -> str:
    """Return a name that fits beside a figure, and that matplotlib does not leave out for its first letter."""
    short = name if len(name) <= 48 else f"{name[:24]}…{name[-23:]}"
    return f" {short}" if short.startswith("_") else short


def _columns(names: Sequence[str]) -> int:
    """Return how many names stand side by side in a legend as wide as the figure."""
    return max(1, min(4, len(names), 80 // (max(map(len, names)) + 6)))
