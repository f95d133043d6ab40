"""A study or a run within a page of another program, such as a notebook: a table, sentences, curves. Imports no torch.

The HTML is whole: no script and nothing from a network. Text and axes have the colour of the page around them, so that
they are readable where it is light and where it is dark.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any

from trainer.errors import OneLineError
from trainer.reports.charts import curves
from trainer.reports.content import Content
from trainer.reports.page import rows, texts, titles

MAX_ARMS = 8  # with curves, the best ones: more cannot be told apart
MAX_ROWS = 30  # of the table
# Of Okabe and Ito (2008), as in a report; the blue is bright enough for a dark page and dark enough for a light one.
COLOURS = ("#3b8ad0", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7a68a6")
PANELS = (
    ("train_loss", "training loss"),
    ("validation_loss", "validation loss"),
    ("validation_accuracy", "validation accuracy"),
)
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 300, 190, 46, 8, 22, 26  # of a panel and its margins, in pixels
TICKS = 4  # at least, on an axis


def of_study(content: Content) -> str:
    """Return the table of arms, the verdict and the mean curves of a study. Every text in it is escaped."""
    head = "".join(f"<th>{escape(title)}</th>" for title in titles(content))
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in texts(rows(content))[:MAX_ROWS]
    )
    left = len(content.arms) - MAX_ROWS
    more = f"<p>… and {left} more arms</p>" if left > 0 else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"
    return _framed(content, table + listed(content.sentences))


def of_run(content: Content) -> str:
    """Return the facts, the result and the curves of a run. Every text in it is escaped."""
    facts = "; ".join(f"{name}: {value}" for name, value in content.facts)
    return _framed(content, f"<p>{escape(facts)}</p>{listed(content.verdict)}")


def shown(make: Callable[[], str]) -> str:
    """Return what `make` returns, or the line of the error where a record is damaged or gone."""
    try:
        return make()
    except OneLineError as error:
        return f"<p>{escape(str(error))}</p>"


def listed(sentences: Sequence[str]) -> str:
    """Return sentences as a list."""
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>"


def _framed(content: Content, inside: str) -> str:
    heading = f"<p><b>{escape(content.title)}</b> <code>{escape(str(content.folder))}</code></p>"
    return f"<div>{heading}{inside}{_figure(content)}</div>"


def _figure(content: Content) -> str:
    """Return a legend and a panel for each quantity, "" without an epoch."""
    arms = [(arm.name, _lines(each)) for arm, each in zip(content.arms, curves(content.arms), strict=True)]
    shown = [(name, lines) for name, lines in arms if any(lines.values())][:MAX_ARMS]
    if not shown:
        return ""
    legend = " ".join(
        f'<span style="white-space: nowrap"><span style="color: {colour}">━</span> {escape(name)}</span>'
        for (name, _), colour in zip(shown, COLOURS, strict=False)
    )
    panels = "".join(_panel(title, [lines[key] for _, lines in shown]) for key, title in PANELS)
    return f"{f'<p>{legend}</p>' if len(shown) > 1 else ''}<div>{panels}</div>"


def _lines(arm: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """Return the points (epoch, value) of each quantity of an arm: the mean of its runs, or its only run."""
    one = arm["runs"][0] if arm["runs"] else {"epoch": []}
    epochs, values = (arm["epochs"], arm["mean"]) if arm["epochs"] else (one["epoch"], one)
    return {
        key: [(epoch, value) for epoch, value in zip(epochs, values[key], strict=False) if value is not None]
        if epochs
        else []
        for key, _ in PANELS
    }


def _panel(title: str, lines: Sequence[Sequence[tuple[float, float]]]) -> str:
    """Return one quantity of several arms over the epochs, as SVG."""
    points = [point for line in lines for point in line]
    if not points:
        return ""
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - margin, high + margin
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(epoch: float) -> float:
        return LEFT + across * ((epoch - first) / (last - first) if last > first else 0.5)

    def y(value: float) -> float:
        return TOP + down * (high - value) / (high - low)

    marks = [f'<text x="{LEFT}" y="14" font-weight="bold">{escape(title)}</text>']
    for tick in _ticks(low, high):
        height = f"{y(tick):.1f}"
        marks.append(f'<path d="M{LEFT} {height}H{WIDTH - RIGHT}" stroke="currentColor" stroke-opacity="0.15"/>')
        marks.append(f'<text x="{LEFT - 5}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in (each for each in _ticks(first, last) if each == int(each)):
        marks.append(f'<text x="{x(tick):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{tick:g}</text>')
    for line, colour in zip(lines, COLOURS, strict=False):
        path = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in line)
        marks.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(line) == 1:
            marks.append(f'<circle cx="{x(line[0][0]):.1f}" cy="{y(line[0][1]):.1f}" r="3" fill="{colour}"/>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        f' font-family="sans-serif" font-size="11" fill="currentColor" role="img">{"".join(marks)}</svg>'
    )


def _ticks(low: float, high: float) -> Iterator[float]:
    """Yield round numbers between two numbers."""
    if high <= low:
        yield low
        return
    power = 10.0 ** math.floor(math.log10((high - low) / TICKS))
    step = next(factor * power for factor in (5, 2, 1) if (high - low) / (factor * power) >= TICKS)
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        yield round(number * step, 10)
