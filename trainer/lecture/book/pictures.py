"""The pictures of a claim's study: curves by epoch, a measure by a setting, a dot for each run. Imports no torch.

All texts of a study are escaped: plotly reads markup in them.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.demonstrations.figures import COLORS, GREY, SYMBOLS, Figure
from trainer.lecture.book.lines import Arms, lines_of, names_of
from trainer.lecture.book.surface import surface
from trainer.lecture.claim import Claim, Picture, Statement
from trainer.lecture.content import StatementResult
from trainer.lecture.measuring.runs import RunRecord
from trainer.lecture.titles import brief, folded, log_axis, plain, title_of
from trainer.reports.scale import is_log

Measured = Callable[[Statement, RunRecord], float]
DASHES = ("solid", "dash", "dot", "dashdot")  # told apart on grey paper
BAND = 0.16  # opacity of a range over the seeds
LEGEND = 4  # entries of a legend, beyond which the figure is as wide as the page
HIGHEST = 30  # times the median of all losses, where their axis is cut
MARKED = 20  # epochs, up to which each is a mark on its curve
TICKS = 9  # values of a setting on a logarithmic axis, up to which each has its label
WIDE_RATIO = 20  # of the values of a setting, from which its axis is logarithmic
ROW, ROWS = 46, 110  # pixels of a row of dots, and of what is above and below them


def figures_of(claim: Claim, arms: Arms, results: Sequence[StatementResult], measured: Measured) -> tuple[Figure, ...]:
    """Return the pictures of a claim; one without anything to show is left out.

    `measured`: the value of a statement's measure in a run, before any reduction. Called for pictures by a setting.
    """
    return tuple(figure for picture in claim.pictures if (figure := _figure(picture, claim, arms, results, measured)))


def _figure(
    picture: Picture, claim: Claim, arms: Arms, results: Sequence[StatementResult], measured: Measured
) -> Figure | None:
    """Return one picture, None where it has nothing to show."""
    if picture.kind == "curves":
        return _curves(picture, claim, arms)
    at = picture.statement - 1
    if at >= min(len(claim.statements), len(results)):
        return None
    statement = claim.statements[at]
    alike = [(each, found) for each, found in zip(claim.statements, results, strict=False) if _alike(each, statement)]
    if picture.kind == "values" or not statement.over:
        rows = {arm: values for _, found in alike for arm, values in found.values.items()}
        return _dots(picture, statement, rows)
    chosen = {arm: arms[arm] for each, _ in alike for arm in each.arms if arm in arms}
    values = {
        arm: {value: [measured(statement, run) for run in runs.values()] for value, runs in settings.items()}
        for arm, settings in chosen.items()
    }
    if " " in statement.over.setting:
        return surface(statement, next(iter(values.values()), {}), picture.caption)
    return _by_setting(picture, statement, values)


def _alike(first: Statement, second: Statement) -> bool:
    return (first.measure, first.over) == (second.measure, second.over)


@dataclass(frozen=True)
class _Range:
    """The lowest, the mean and the highest value over the seeds at one place of an axis."""

    low: float
    mean: float
    high: float


def _range(values: Sequence[float]) -> _Range:
    return _Range(*(float(f"{each:.5g}") for each in (min(values), statistics.fmean(values), max(values))))


def _curves(picture: Picture, claim: Claim, arms: Arms) -> Figure | None:
    """Return a line for each arm, and for each value of a further setting: the mean over its seeds by epoch."""
    name, share = picture.figure, picture.figure.endswith("accuracy")
    setting = next((each.over.setting for each in claim.statements if each.over and each.over.setting), "")
    lines, key = lines_of(arms, setting)
    traces: list[dict[str, Any]] = []
    for line in lines:
        points, broken = _epochs(list(line.runs.values()), name, 100 if share else 1)
        label = line.name + (f" ({broken} of {len(line.runs)} not finite)" if broken else "")
        traces += _line(list(points), list(points.values()), plain(label), line.color, line.dash)
    shown = [y for trace in traces for y in trace["y"]]
    if not shown:
        return None
    title = name.replace("train_", "training ").replace("_", " ") + (" (%)" if share else "")
    y: dict[str, Any] = {"title": {"text": plain(title)}}
    if not share:
        y |= _losses(shown, title)
    last = max(x for trace in traces for x in trace["x"])
    x = {"title": {"text": "epoch"}, **({"dtick": 1} if last <= 10 else {"nticks": 9})}
    return _made(traces, x, y, key, picture.caption)


def _losses(shown: Sequence[float], title: str) -> dict[str, Any]:
    """Return the axis of losses: logarithmic if they span much, and cut where a few that diverged would fill it."""
    top, high = HIGHEST * statistics.median(shown), max(shown)
    cut = 0 < top < high
    seen = [min(each, top) if cut else each for each in shown]
    if not is_log(seen):
        span = {"range": [0, top], "autorange": False} if cut else {}
    else:
        low = math.log10(min(shown)) - 0.1
        span = {**log_axis(seen), **({"range": [low, math.log10(top)], "autorange": False} if cut else {})}
    return {**span, **({"title": {"text": f"{plain(title)}, cut at {top:.2g}"}} if cut else {})}


def _epochs(runs: Sequence[RunRecord], name: str, factor: float) -> tuple[dict[float, _Range], int]:
    """Return the values by epoch, for the epochs that all runs have, and how many runs ended with one not finite."""
    columns = [
        {row["epoch"]: factor * row[name] for row in run.epochs if _finite(row.get(name))} for run in runs if run.epochs
    ]
    ends = [run.epochs[-1].get(name) if run.epochs else None for run in runs]
    broken = sum(run.stopped_as_not_finite or not _finite(end) for run, end in zip(runs, ends, strict=True))
    columns = [column for column in columns if column]
    shared = sorted(epoch for epoch in columns[0] if all(epoch in column for column in columns)) if columns else []
    return {epoch: _range([column[epoch] for column in columns]) for epoch in shared}, broken


def _by_setting(
    picture: Picture, statement: Statement, values: Mapping[str, Mapping[str, Sequence[float]]]
) -> Figure | None:
    """Return a line for each arm: the mean of its measure over the seeds, by the values of a setting."""
    assert statement.over
    names, key = names_of(list(values))
    found: dict[str, dict[str, _Range]] = {}
    for arm, settings in values.items():
        finite = {value: [each for each in numbers if math.isfinite(each)] for value, numbers in settings.items()}
        found[arm] = {value: _range(numbers) for value, numbers in finite.items() if numbers}
    scale = _Scale.of([value for points in found.values() for value in points])
    traces: list[dict[str, Any]] = []
    for place, (arm, points) in enumerate(found.items()):
        where = [scale.place(value, place - (len(found) - 1) / 2) for value in points]
        if points:
            traces += _line(where, list(points.values()), plain(names[arm]), place, place, joined=scale.joined)
    shown = [y for trace in traces for y in trace["y"]]
    if not shown:
        return None
    y: dict[str, Any] = {"title": {"text": folded(title_of(statement, reduced=False))}}
    y |= log_axis(shown) if is_log(shown) else {}
    return _made(traces, {"title": {"text": plain(statement.over.setting)}, **scale.axis}, y, key, picture.caption)


@dataclass(frozen=True)
class _Scale:
    """The axis of a setting's values: numbers on a linear or logarithmic scale, or texts side by side."""

    texts: tuple[str, ...]
    numbers: tuple[float, ...] | None  # None: side by side
    joined: bool  # whether a line may join the points
    axis: Mapping[str, Any]

    @classmethod
    def of(cls, values: Sequence[str]) -> "_Scale":
        """Return the scale for these texts, in their order."""
        texts = tuple(dict.fromkeys(values))
        try:
            numbers = tuple(float(each) for each in texts)
        except ValueError:
            numbers = ()
        plain_numbers = len(numbers) == len(texts) > 0 and all(map(math.isfinite, numbers))
        positive = [each for each in numbers if each > 0]
        wide = len(positive) > 1 and max(positive) / min(positive) >= WIDE_RATIO
        if not plain_numbers or (wide and len(positive) < len(numbers)):
            ticks = {"tickvals": list(range(len(texts))), "ticktext": [folded(brief(each), 18) for each in texts]}
            return cls(texts, None, plain_numbers, {**ticks, "range": [-0.5, len(texts) - 0.5], "zeroline": False})
        few = len(texts) <= (TICKS if wide else 6)
        ticks = {"tickvals": list(numbers), "ticktext": list(map(brief, texts))} if few else {}
        return cls(texts, numbers, True, {**(log_axis(numbers) if wide else {}), **ticks})

    def place(self, value: str, beside: float) -> float:
        """Return where a value stands; of texts side by side the arms stand beside each other."""
        at = self.texts.index(value)
        return at + (0 if self.joined else 0.14 * beside) if self.numbers is None else self.numbers[at]


def _line(
    x: Sequence[float], points: Sequence[_Range], label: str, place: int, dash: int, joined: bool = True
) -> Iterator[dict[str, Any]]:
    """Yield the range over the seeds as a band behind, then the line of the means; not joined: bars and marks."""
    color, y = COLORS[place % len(COLORS)], [each.mean for each in points]
    look = {"type": "scatter", "x": list(x), "y": y, "name": label, "legendgroup": f"{place}/{dash}"}
    marker = {"symbol": SYMBOLS[dash % len(SYMBOLS)], "size": 8, "color": color}
    if not joined:
        up = [each.high - each.mean for each in points]
        down = [each.mean - each.low for each in points]
        bar = {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "color": color}
        yield {**look, "mode": "markers", "marker": marker, "error_y": bar}
        return
    if any(each.high > each.low for each in points):
        ends = [each.high for each in points] + [each.low for each in reversed(points)]
        outline = {"x": [*x, *reversed(x)], "y": ends}
        hidden = {"showlegend": False, "hoverinfo": "skip", "line": {"width": 0}, "mode": "lines"}
        yield {**look, **outline, **hidden, "fill": "toself", "fillcolor": _faint(color)}
    line = {"color": color, "dash": DASHES[dash % len(DASHES)], "width": 2.5}
    yield {**look, "mode": "lines+markers" if len(points) <= MARKED else "lines", "line": line, "marker": marker}


def _dots(picture: Picture, statement: Statement, rows: Mapping[str, Mapping[str, float | None]]) -> Figure | None:
    """Return a row for each arm with a dot for each seed and the mean. `rows`: the values by arm and seed."""
    short, key = names_of(list(rows))
    traces: list[dict[str, Any]] = []
    names: list[str] = []
    for row, (arm, each) in enumerate(rows.items()):
        values = {seed: value for seed, value in each.items() if value is not None and math.isfinite(value)}
        missing = len(each) - len(values)
        told = f" ({missing} of {len(each)} without a number)" if missing else ""
        names.append(folded(short[arm] + told, 24))
        if values:
            traces += _dotted(values, row, names[-1], row)
    if not traces:
        return None
    x: dict[str, Any] = {"title": {"text": folded(title_of(statement))}, "zeroline": False}
    shown = [value for trace in traces for value in trace["x"]]
    if len(statement.arms) == 1:
        traces.append(_against(statement.against, len(rows)))
        shown.append(statement.against)
    if is_log(shown):
        x |= log_axis(shown)
    y = {"tickvals": list(range(len(rows))), "ticktext": names, "range": [len(rows) - 0.5, -0.5], "showgrid": False}
    y |= {"zeroline": False, **({"title": {"text": plain(key)}} if key else {})}
    layout = {"xaxis": x, "yaxis": y, "showlegend": len(statement.arms) == 1}
    return Figure({"data": traces, "layout": layout}, picture.caption, ROWS + ROW * len(rows))


def _dotted(values: Mapping[str, float], row: int, name: str, place: int) -> Iterator[dict[str, Any]]:
    """Yield the dots of an arm, a little above each other so that equal ones are seen, and the mark of their mean."""
    color, count = COLORS[place % len(COLORS)], len(values)
    heights = [row + 0.55 * ((at + 0.5) / count - 0.5) for at in range(count)]
    look = {"type": "scatter", "mode": "markers", "showlegend": False}
    marker = {"symbol": SYMBOLS[place % len(SYMBOLS)], "size": 8, "color": color, "opacity": 0.75}
    seeds = [plain(f"seed {seed}") for seed in values]
    told = {"text": seeds, "hovertemplate": "%{x:.4~g}<extra>%{text}</extra>"}
    yield {**look, **told, "x": [float(f"{each:.5g}") for each in values.values()], "y": heights, "marker": marker}
    mean = float(f"{statistics.fmean(values.values()):.5g}")
    bar = {"symbol": "line-ns", "size": 26, "line": {"width": 3, "color": color}}
    yield {**look, "x": [mean], "y": [row], "marker": bar, "hovertemplate": f"mean %{{x:.4~g}}<extra>{name}</extra>"}


def _against(value: float, rows: int) -> dict[str, Any]:
    """Return the upright line of the number that an arm is held against."""
    line = {"color": GREY, "dash": "dash", "width": 2}
    name = f"held against {value:g}"
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [value, value],
        "y": [-0.5, rows - 0.5],
        "name": name,
        "line": line,
    }


def _made(
    traces: Sequence[Mapping[str, Any]],
    x: Mapping[str, Any],
    y: Mapping[str, Any],
    key: str,
    caption: str,
) -> Figure:
    """Return the figure with its axes, and a legend whose title is the setting that tells the arms apart."""
    named = [trace for trace in traces if trace.get("showlegend", True)]
    # Beside many entries plotly does not count the title's width.
    side = "left" if len(named) <= 3 else "top"
    legend = {"title": {"text": f"{plain(key)} ", "side": side}} if key else {}
    layout = {"xaxis": dict(x), "yaxis": dict(y), "legend": legend, "showlegend": len(named) > 1}
    return Figure({"data": [dict(trace) for trace in traces], "layout": layout}, caption, wide=len(named) > LEGEND)


def _faint(color: str) -> str:
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{BAND})"


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
