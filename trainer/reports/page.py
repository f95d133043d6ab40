"""One HTML file that holds all it needs: the report of a study or a run. Imports no torch."""

import json
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from trainer.reports.charts import figures
from trainer.reports.content import Content
from trainer.runtime.files import write_text

HERE = Path(__file__).parent / "templates"
TOLD = 6  # comparisons in sight; the others fold out
SHOWN = 20  # arms in the figures that have a row for each
TITLES = ("{metric} ± sd", "{unit}s", "best epoch", "epochs to 95 %", "seconds", "parameters")


def write(content: Content) -> Path:
    """Writes `report.html` into the folder and returns its path. Raises RunError if it cannot be written."""
    path = content.folder / "report.html"
    write_text(path, render(content))
    return path


def render(content: Content) -> str:
    """The whole page. Every text of the study is escaped: names of classes and arms come from outside."""
    from plotly.offline import get_plotlyjs

    numbers = {**figures(content), "shown": SHOWN}
    return template("page.html.jinja").render(
        content=content,
        metric=content.metric.replace("_", " "),
        table={"titles": titles(content), "rows": rows(content)},
        has_curves=any(run.epochs for arm in content.arms for run in arm.runs),
        several=any(len(arm.runs) > 1 for arm in content.arms),
        inside=numbers["inside"],
        has_classes=numbers["classes"] is not None,
        best=content.arms[0].name if content.arms else "",
        told=TOLD,
        shown=SHOWN,
        written=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        data=safe(json.dumps(numbers, allow_nan=False, separators=(",", ":"), ensure_ascii=False)),
        plotly=safe(get_plotlyjs()),
        sorting=own("table.js"),
        script=own("page.js"),
        style=own("page.css"),
    )


def template(name: str) -> Any:
    import jinja2

    loader = jinja2.FileSystemLoader(HERE)
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined).get_template(name)


def own(name: str) -> Any:
    """A file of this folder, to be put into a page as it is."""
    return safe((HERE / name).read_text(encoding="utf-8"))


def safe(text: str) -> Any:
    """To stand inside <script> or <style>, which nothing in it may close."""
    from markupsafe import Markup

    return Markup(re.sub(r"<(?=/script|/style|!--)", r"\\u003c", text, flags=re.I))


def titles(content: Content) -> list[str]:
    metric = content.metric.replace("_", " ")
    first = "arm" if content.kind == "study" else "run"
    return [first, *(title.format(metric=metric, unit=content.unit) for title in TITLES)]


def rows(content: Content) -> list[list[dict[str, Any]]]:
    """Of each arm the cells in the order of `titles`: the text, and the value to sort by ("" where there is none)."""
    return [
        [
            _cell(arm.name, arm.name),
            _cell(content.format_value(arm.mean, arm.deviation), arm.mean),
            _cell(f"{len(arm.values)}" + (f" ({arm.left_out()})" if arm.left_out() else ""), len(arm.values)),
            _cell(_plain(arm.best_epoch), arm.best_epoch),
            _cell(_plain(arm.epochs_to_near_best), arm.epochs_to_near_best),
            _cell("—" if arm.seconds is None else f"{arm.seconds:.1f}", arm.seconds),
            _cell(_grouped(arm.parameters), arm.parameters),
        ]
        for arm in content.arms
    ]


def _cell(text: str, value: Any) -> dict[str, Any]:
    return {"text": text, "value": "" if value is None else value}


def _plain(value: float | None) -> str:
    return "—" if value is None else f"{value:g}"


def _grouped(count: int | None) -> str:
    return "—" if count is None else f"{count:,}".replace(",", " ")


def texts(table: Sequence[Sequence[dict[str, Any]]]) -> list[list[str]]:
    return [[cell["text"] for cell in row] for row in table]
