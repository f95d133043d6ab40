"""The common parts of the demonstrations: arguments, colours, and the page of figures.

A page is one HTML file that needs no network; it follows the reader's light or dark mode and the width of the window.
"""

import argparse
import html
import json
import math
import shutil
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.cli.common import Parser, count, exit_code_of
from trainer.errors import ConfigError, RunError
from trainer.runtime.process import run_and_exit
from trainer.runtime.stdio import stdout_exit_code

try:
    import plotly.graph_objects as go
    from plotly.io import templates
    from plotly.offline import get_plotlyjs
except ImportError:
    raise SystemExit("trainer: the demonstrations need plotly: pip install plotly") from None

# Okabe & Ito 2008, told apart by colour-blind readers; its yellow and black are left out: each vanishes in one mode.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C8C8C")
DASHES = ("solid", "solid", "dash", "solid", "dash", "dot", "solid")
SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star")
GREY = "#808080"  # to be read on white and on black
# The fills of a contour plot lie over one another: what is almost clear darkens with every line.
SHADES = [[0.0, "rgba(127,127,127,0.04)"], [1.0, "rgba(127,127,127,0.04)"]]
TEXT = {"light": "#1f2328", "dark": "#e6e6e6"}
GRID = {"light": "#dde2e8", "dark": "#3a4149"}

STYLE = """
:root { color-scheme: light dark; }
body { margin: 0 auto; max-width: 1240px; padding: 16px; box-sizing: border-box;
       font: 16px/1.45 system-ui, "DejaVu Sans", sans-serif; color: #1f2328; background: #ffffff; }
h1 { font-size: 1.4em; margin: 0 0 .2em; }
p { margin: 0 0 1em; max-width: 75ch; text-wrap: pretty; }
main { display: grid; gap: 20px; grid-template-columns: repeat(auto-fit, minmax(min(100%, var(--least)), 1fr)); }
figure { margin: 0; min-width: 0; display: grid; grid-row: span 2; grid-template-rows: subgrid; row-gap: 6px; }
figure > div { min-width: 0; }
figure.wide { grid-column: 1 / -1; }
figcaption { font-size: .92em; }
@media (prefers-color-scheme: dark) { body { color: #e6e6e6; background: #14171a; } }
"""

# The plots are made when all their boxes stand: until then a box takes the width of those still to come.
SCRIPT = """
const dark = matchMedia("(prefers-color-scheme: dark)");
const template = () => dark.matches ? TEMPLATES.dark : TEMPLATES.light;
const boxes = document.querySelectorAll("figure > div");
boxes.forEach((box, place) => Plotly.newPlot(box, {
  ...FIGURES[place], layout: {...FIGURES[place].layout, template: template()},
  config: {responsive: true, displayModeBar: false}}));
dark.addEventListener("change", () => boxes.forEach(box => Plotly.relayout(box, {template: template()})));
"""


@dataclass(frozen=True)
class Panel:
    """One figure with its caption. `shape`: its height in pixels, or width / height as "3 / 2"."""

    figure: go.Figure
    caption: str
    shape: int | str = 380
    wide: bool = False


def parser(script: str, description: str, examples: Sequence[str]) -> Parser:
    """Return a parser with --output. `script` is the file's name, each example the arguments after it."""
    command = f"python scripts/demonstrations/{script}.py"
    lines = "\n".join(f"  {command} {example}".rstrip() for example in examples)
    epilog = f"examples:\n{lines}\n\nexit code 0: done. 1: it failed. 2: the command is wrong."
    made = Parser(script, description, epilog)
    made.prog = command
    default = Path("outputs", "figures", f"{script}.html")
    made.add_argument(
        "--output", type=_output, default=default, metavar="PATH", help=f"an .html or .png file; default: {default}"
    )
    made.add_argument("--width", type=count, default=1200, metavar="PX", help="of a .png in pixels; default: 1200")
    return made


def positive(text: str) -> float:
    """Parse a number above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: must be a number above 0")
    return value


def write(request: Namespace, title: str, lead: str, panels: Sequence[Panel]) -> int:
    """Write the page to `request.output` and print its path. Return 0."""
    from trainer.runtime.files import write_text

    path: Path = request.output
    path.parent.mkdir(parents=True, exist_ok=True)
    page = _page(title, lead, panels)
    if path.suffix == ".png":
        _photograph(page, path, request.width)
    else:
        write_text(path, page)
    print(path)
    return 0


def _output(text: str) -> Path:
    path = Path(text).expanduser()
    if path.suffix not in (".html", ".png") or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: must be a file that ends in .html or .png")
    return path


def _page(title: str, lead: str, panels: Sequence[Panel]) -> str:
    themes = {name: _template(name) for name in TEXT}
    figures = [panel.figure.update_layout(template="none", autosize=True).to_json() for panel in panels]
    script = f"const TEMPLATES = {json.dumps(themes)}, FIGURES = [{','.join(figures)}];".replace("</", "<\\/")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{STYLE}</style><script>{get_plotlyjs()}</script></head>
<body><h1>{html.escape(title)}</h1><p>{html.escape(lead)}</p>
<main style="--least: {460 if len(panels) in (2, 4) else 340}px">
{chr(10).join(map(_box, panels))}
</main><script>{script}{SCRIPT}</script></body></html>
"""


def _box(panel: Panel) -> str:
    shape = f"height: {panel.shape}px" if isinstance(panel.shape, int) else f"aspect-ratio: {panel.shape}"
    wide = ' class="wide"' if panel.wide else ""
    caption = f"<figcaption>{html.escape(panel.caption)}</figcaption>" if panel.caption else ""
    return f'<figure{wide}>{caption}<div style="{shape}"></div></figure>'


def _template(name: str) -> dict[str, Any]:
    """Return Plotly's layout for a light or dark page, with a transparent background."""
    layout = templates["plotly_white" if name == "light" else "plotly_dark"].layout.to_plotly_json()
    clear, line = "rgba(0,0,0,0)", {"gridcolor": GRID[name], "zerolinecolor": GRID[name], "linecolor": GRID[name]}
    for axis in ("xaxis", "yaxis"):
        layout[axis] |= line
        layout["scene"][axis] |= {"showbackground": False, **line}
    layout["scene"]["zaxis"] |= {"showbackground": False, **line}
    layout |= {
        "paper_bgcolor": clear,
        "plot_bgcolor": clear,
        "colorway": COLORS,
        "font": {"color": TEXT[name], "size": 12, "family": 'system-ui, "DejaVu Sans", sans-serif'},
        "margin": {"l": 50, "r": 12, "t": 12, "b": 44},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.01, "x": 0, "xanchor": "left"},
    }
    return {"layout": layout}


def _photograph(page: str, path: Path, width: int) -> None:
    """Write an image of the page in a Chromium window of this width in pixels.

    Raises ConfigError without playwright, RunError without a browser.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise ConfigError("a .png needs playwright: pip install playwright. An .html file needs nothing") from None
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        source, shot = Path(folder, "page.html"), Path(folder, "page.png")
        source.write_text(page, encoding="utf-8")
        arguments = ["--enable-unsafe-swiftshader"]  # surfaces in 3D, drawn without a graphics card
        try:
            browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        except Error as error:
            reason = error.message.splitlines()[0]
            raise RunError(
                f"a .png needs Chromium, which did not start ({reason}): playwright install chromium"
            ) from None
        view = browser.new_page(viewport={"width": width, "height": 300})
        view.goto(source.as_uri())
        view.wait_for_timeout(1000)  # a surface is drawn after the page has loaded
        view.screenshot(path=shot, full_page=True)
        browser.close()
        # A third of the size. A plain median cut would give all colours to the shades and none to the thin lines.
        small = Image.open(shot).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3)
        small.save(path, optimize=True)


def start(main: Callable[[Sequence[str]], int]) -> None:
    """Run a demonstration as a program: one line for an error, and the exit codes of `python -m trainer`."""
    run_and_exit(lambda: exit_code_of(lambda: main(sys.argv[1:]) or stdout_exit_code()))
