"""The book as one HTML file that needs no network, its slides, and the files beside it. Imports no torch."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainer.demonstrations.figures import Figure
from trainer.lecture.book import markdown, outline
from trainer.lecture.content import FAILED, NOT_RUN, VERDICTS, Book, StatementResult
from trainer.lecture.titles import brief
from trainer.runtime.files import write_text

TEMPLATES = Path(__file__).parent / "templates"
PAGE, MARKDOWN, SLIDES = "book.html", "book.md", "slides.html"
EDGE = 6.0  # percent of an interval's picture that stay free at its ends


def write_book(book: Book, folder: Path, slides: bool = False) -> Path:
    """Write `book.html`, `book.md` and, if wanted, `slides.html`; return the path of the first.

    Raises RunError if a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / MARKDOWN, markdown.render(book))
    if slides:
        write_text(folder / SLIDES, render_slides(book))
    write_text(folder / PAGE, render_book(book, slides))
    return folder / PAGE


def render_book(book: Book, slides: bool = False) -> str:
    """Return the page. Every text of a claim is escaped: a course's files are untrusted. `slides`: link to them."""
    placed = [(claim.name, figure) for claim in book.claims for figure in claim.figures]
    return _render("book.html.jinja", ("base.css", "book.css"), ("figures.js", "book.js"), book, placed, slides=slides)


def render_slides(book: Book) -> str:
    """Return the slides: a claim each, with its first picture; those that were not run are counted on the front."""
    shown = [claim for claim in book.claims if claim.verdict not in (NOT_RUN, FAILED)]
    placed = [(claim.name, claim.figures[0]) for claim in shown if claim.figures]
    more = {"shown": shown, "left_out": len(book.claims) - len(shown)}
    return _render("slides.html.jinja", ("base.css", "slides.css"), ("figures.js", "slides.js"), book, placed, **more)


def _render(
    name: str,
    styles: Iterable[str],
    scripts: Iterable[str],
    book: Book,
    placed: list[tuple[str, Figure]],
    **more: Any,
) -> str:
    """Return a filled template. `placed`: (claim, figure) in the order of the page, which its boxes number."""
    import jinja2
    from plotly.offline import get_plotlyjs  # only where a page is written

    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    numbered: dict[str, list[tuple[int, Figure]]] = {}
    for place, (claim, figure) in enumerate(placed):
        numbered.setdefault(claim, []).append((place, figure))
    figures = [_plain(dict(figure.figure)) for _, figure in placed]
    return environment.get_template(name).render(
        book=book,
        chapters=outline.chapters(book),
        counts=outline.counts(book),
        summary=outline.summary,
        facts=outline.facts(book),
        alarms=outline.alarms(book),
        anchor=outline.anchor,
        places=outline.places,
        numbers=outline.numbers,
        strip=strip,
        shape=shape,
        signs=outline.SIGNS,
        classes=outline.CLASSES,
        meanings=outline.MEANINGS,
        verdicts=[verdict for verdict in VERDICTS if verdict in outline.counts(book)],
        figures_of=lambda claim: numbered.get(claim.name, []),
        columns_of=outline.columns_of,
        ended=outline.ended,
        parted=outline.parted,
        brief=brief,
        effort=outline.effort,
        formula_of=outline.formula_of,
        data=_inside(json.dumps(figures, allow_nan=False, separators=(",", ":"), ensure_ascii=False)),
        plotly=_inside(get_plotlyjs()),
        style=_inside("\n".join(_text(each) for each in styles)),
        script=_inside("\n".join(_text(each) for each in scripts)),
        **more,
    )


def shape(figure: Figure) -> str:
    """Return the height of a figure as a declaration of CSS, in units that grow with the text of the page."""
    if isinstance(figure.shape, int):
        return f"height: {figure.shape / 16:g}rem"
    return f"aspect-ratio: {figure.shape}" if re.fullmatch(r"[\d. ]+/[\d. ]+", figure.shape) else "aspect-ratio: 3 / 2"


def strip(result: StatementResult) -> Mapping[str, Any] | None:
    """Return the picture of an interval: places in percent of the width, None without an interval that can be drawn.

    `asked`: the range in which the claim wants the difference. `ticks`: (place, text).
    """
    if result.interval is None or result.estimate is None:
        return None
    if not all(map(math.isfinite, (*result.interval, result.estimate, result.least))):
        return None
    marks = {"more": [result.least], "less": [-result.least], "same": [-result.least, result.least]}
    wanted = marks.get(result.expect, [])
    shown = (0.0, *wanted, result.estimate, *result.interval)
    low, high = min(shown), max(shown)
    if high <= low:
        return None

    def place(value: float) -> float:
        return round(EDGE + (100 - 2 * EDGE) * (value - low) / (high - low), 2)

    ends = {"more": (place(wanted[0]), 100.0), "less": (0.0, place(wanted[0]))} if wanted else {}
    asked = ends.get(result.expect) or (place(wanted[0]), place(wanted[-1]))
    return {
        "zero": place(0.0),
        "estimate": place(result.estimate),
        "interval": tuple(map(place, result.interval)),
        "asked": asked,
        "bounds": [(place(value), outline.number(value)) for value in dict.fromkeys(wanted) if value],
    }


def _plain(value: Any) -> Any:
    """Return plain values for JSON, with None for a number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _inside(text: str) -> Any:
    """Return the text for the inside of <script> or <style>, which nothing in it may close."""
    from trainer.reports.page import safe

    return safe(text)
