"""A report as one HTML file that contains everything it needs. Imports no torch."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from trainer.reports.charts import coincident, constant_rate, figures
from trainer.reports.content import ArmReport, BlockContent, Content
from trainer.reports.differences import differences, forest
from trainer.reports.progress import Progress
from trainer.runtime.files import write_text

TEMPLATES = Path(__file__).parent / "templates"
PAGE = "report.html"
SCRIPTS = (
    "common.js",
    "curves.js",
    "study.js",
    "descriptive.js",
    "classes.js",
    "layers.js",
    "page.js",
)  # in the order of their use
REFRESH_SECONDS = 5  # after which the page of a running study loads itself again
MAX_COMPARISONS = 6  # shown; the others are collapsed
MAX_ARMS = 20  # in the figures that have a row for each
TITLES = ("{unit}s", "best epoch", "epochs to 95 % of own best", "seconds", "parameters")


def write(content: Content, progress: Progress | None = None) -> Path:
    """Write `report.html` into the folder and return its path. Raises RunError if it cannot be written."""
    path = content.folder / PAGE
    write_text(path, render(content, progress))
    return path


def render(content: Content, progress: Progress | None = None) -> str:
    """Return the page. Every text of the study is escaped: names of classes and arms are untrusted.

    `progress`: of a study that is running, whose page loads itself again.
    """
    from plotly.offline import get_plotlyjs  # only where a page is written

    # Plain values go into the page as JSON, which the script reads; no text of a study becomes code.
    numbers = {**figures(content), "max_arms": MAX_ARMS}
    return template("page.html.jinja").render(
        content=content,
        metric=content.metric.replace("_", " "),
        table={"titles": titles(content), "rows": rows(content)},
        has_curves=any(run.epochs for arm in content.arms for run in arm.runs),
        has_values=any(arm.values for arm in content.arms),
        several=any(len(arm.runs) > 1 for arm in content.arms),
        progress=progress,
        refresh_seconds=REFRESH_SECONDS,
        forests=[(block.name, each) for block in parts(content) if (each := forest(block.content, MAX_ARMS))],
        coincident=coincident(content.arms),
        constant_rate=constant_rate(content.arms),
        has_gap=_has_gap(content),
        stopped_early=any(run["stopped"] for arm in numbers["curves"] for run in arm["runs"]),
        further=[each["name"].replace("_", " ") for each in numbers["further"]],
        profile=numbers["profile"],
        tuning=numbers["tuning"],
        tuned=_legend(numbers["tuning"]),
        layers=numbers["layers"],
        has_classes=numbers["classes"] is not None,
        best=content.arms[0].name if content.arms else "",
        max_comparisons=MAX_COMPARISONS,
        max_arms=MAX_ARMS,
        written=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        data=safe(json.dumps(numbers, allow_nan=False, separators=(",", ":"), ensure_ascii=False)),
        plotly=safe(get_plotlyjs()),
        sorting=asset("table.js"),
        script=safe("\n".join(asset(name) for name in SCRIPTS)),
        style=styles(),
    )


def _legend(tuning: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
    """Return the place and the name of each arm in the figures of tuned settings."""
    return sorted({(arm["place"], arm["name"]) for figure in tuning for arm in figure["arms"]})


def template(name: str) -> Any:
    """Return a template of this package, with HTML escaped."""
    import jinja2

    loader = jinja2.FileSystemLoader(TEMPLATES)
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined).get_template(name)


def asset(name: str) -> Any:
    """Return a file of this package, which goes into a page without escaping."""
    return safe((TEMPLATES / name).read_text(encoding="utf-8"))


def styles() -> Any:
    """Return the style sheets of a page, on the screen and on paper."""
    return safe("\n".join(asset(name) for name in ("page.css", "print.css")))


def safe(text: str) -> Any:
    """Return the text for the inside of <script> or <style>, which nothing in it may close."""
    from markupsafe import Markup

    # These character sequences alone end or disturb such an element; \u003c is "<" in a JSON text.
    return Markup(re.sub(r"<(?=/script|/style|!--)", r"\\u003c", text, flags=re.I))


def titles(content: Content) -> list[str]:
    """Return the column titles of the table of arms."""
    metric = content.scored
    first = ["arm", f"{metric} ± sd"] if content.kind == "study" else ["run", metric]
    if content.baseline:
        first.append(f"Δ to {content.baseline}")
    if _has_gap(content):
        first.append("training − validation")
    return [*first, *(title.format(unit=content.unit) for title in TITLES)]


def _has_gap(content: Content) -> bool:
    return any(arm.gap is not None for arm in content.arms)


def rows(content: Content) -> list[list[dict[str, Any]]]:
    """Return the cells of each arm in the order of `titles`: the text, and the value to sort by ("" for none)."""
    return [row for block in parts(content) for row in _rows(content, block)]


def parts(content: Content) -> list[BlockContent]:
    """Return the blocks of a study, else all of it as one, without a name."""
    return content.blocks or [BlockContent("", "", content, content.arms)]


def _rows(content: Content, block: BlockContent) -> list[list[dict[str, Any]]]:
    """Return the cells of each arm of a block."""
    changes = {each.name: each for each in differences(block.content)} if content.baseline else {}
    has_gap = _has_gap(content)
    table = []
    for arm, named in zip(block.content.arms, block.arms, strict=True):
        cells = [
            _cell(named.name, named.name),
            _cell(content.format_value(arm.mean, arm.deviation), arm.mean if arm.values else None),
        ]
        if content.baseline:
            change = changes.get(arm.name)
            cells.append(_cell(change.text if change else "—", change.value if change else None))
        if has_gap:
            cells.append(_cell("—" if arm.gap is None else f"{100 * arm.gap:+.2f}".replace("-", "−"), arm.gap))
        cells += [
            _cell(_counts(arm), len(arm.values)),
            _cell(_plain(arm.best_epoch), arm.best_epoch),
            _cell(_plain(arm.epochs_to_near_best), arm.epochs_to_near_best),
            _cell("—" if arm.seconds is None else f"{arm.seconds:.1f}", arm.seconds),
            _cell(_grouped(arm.parameters), arm.parameters),
        ]
        table.append(cells)
    return table


def _counts(arm: ArmReport) -> str:
    """Return the number of runs with a value: "5", or "1 of 4: 3 queued" where some have none."""
    left_out = arm.left_out()
    return f"{len(arm.values)} of {len(arm.runs)}: {left_out}" if left_out else f"{len(arm.values)}"


def _cell(text: str, value: Any) -> dict[str, Any]:
    return {"text": text, "value": "" if value is None else value}


def _plain(value: float | None) -> str:
    return "—" if value is None else f"{value:g}"


def _grouped(count: int | None) -> str:
    return "—" if count is None else f"{count:,}".replace(",", " ")


def texts(table: Sequence[Sequence[dict[str, Any]]]) -> list[list[str]]:
    """Return the texts of cells without their values."""
    return [[cell["text"] for cell in row] for row in table]
