"""The page of a demonstration: one HTML file without a network, or a photograph of it.

The page follows the reader's light or dark mode and the width of the window.
"""

import html
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from trainer.demonstrations.figures import COLORS, Fact, Figure, Shown
from trainer.errors import ConfigError, RunError

TEXT = {"light": "#1f2328", "dark": "#e6e6e6"}
GRID = {"light": "#dde2e8", "dark": "#3a4149"}

STYLE = """
:root { color-scheme: light dark; }
body { margin: 0 auto; max-width: 1240px; padding: 16px; box-sizing: border-box;
       font: 16px/1.45 system-ui, "DejaVu Sans", sans-serif; color: #1f2328; background: #ffffff; }
h1 { font-size: 1.4em; margin: 0 0 .2em; }
p { margin: 0 0 1em; max-width: 75ch; text-wrap: pretty; }
main { display: grid; gap: 20px; grid-template-columns: repeat(auto-fit, minmax(min(100%, var(--least)), 1fr)); }
ul { margin: 0 0 1.2em; padding: 0; list-style: none; max-width: 90ch; }
li { margin: 0 0 .3em; padding-left: 1.5em; text-indent: -1.5em; text-wrap: pretty; }
li b { display: inline-block; width: 1.5em; text-indent: 0; }
.holds b { color: #009E73; } .fails b { color: #D55E00; }
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
// The blue of the colours is too dark for a dark page.
const shown = place => JSON.parse(JSON.stringify(FIGURES[place]).replace(/#0072b2/gi, dark.matches ? "#3b8ad0" : "$&"));
const draw = (box, place) => {
  const figure = shown(place);
  Plotly.newPlot(box, {...figure, layout: {...figure.layout, template: template()},
    config: {responsive: true, displayModeBar: false}});
};
boxes.forEach(draw);
dark.addEventListener("change", () => boxes.forEach(draw));
"""


def write(path: Path, title: str, lead: str, shown: Shown, width: int = 1200) -> None:
    """Write the page as .html, or as a .png of this width in pixels."""
    from trainer.runtime.files import write_text

    path.parent.mkdir(parents=True, exist_ok=True)
    text = page(title, lead, shown)
    if path.suffix == ".png":
        _photograph(text, path, width)
    else:
        write_text(path, text)


def page(title: str, lead: str, shown: Shown) -> str:
    """Return the page: the facts as a list, below them the figures."""
    from plotly.offline import get_plotlyjs

    # Plain values go into the page as JSON: no text of a file or a data set becomes code.
    themes = {name: _template(name) for name in TEXT}
    figures = [each.figure for each in shown.figures]
    numbers = [json.dumps(each, allow_nan=False, separators=(",", ":")) for each in (themes, figures)]
    script = f"const TEMPLATES = {numbers[0]}, FIGURES = {numbers[1]};".replace("</", "<\\/")
    facts = f"<ul>{''.join(map(_item, shown.facts))}</ul>" if shown.facts else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{STYLE}</style><script>{get_plotlyjs()}</script></head>
<body><h1>{html.escape(title)}</h1><p>{html.escape(lead)}</p>{facts}
<main style="--least: {460 if len(shown.figures) in (2, 4) else 340}px">
{chr(10).join(map(_box, shown.figures))}
</main><script>{script}{SCRIPT}</script></body></html>
"""


def _item(fact: Fact) -> str:
    mark = "✓" if fact.holds else "✗"
    return f'<li class="{"holds" if fact.holds else "fails"}"><b>{mark}</b> {html.escape(fact.sentence)}</li>'


def _box(panel: Figure) -> str:
    shape = f"height: {panel.shape}px" if isinstance(panel.shape, int) else f"aspect-ratio: {panel.shape}"
    wide = ' class="wide"' if panel.wide else ""
    caption = f"<figcaption>{html.escape(panel.caption)}</figcaption>" if panel.caption else ""
    return f'<figure{wide}>{caption}<div style="{shape}"></div></figure>'


def _template(name: str) -> dict[str, Any]:
    """Return Plotly's layout for a light or dark page, with a transparent background."""
    from plotly.io import templates

    layout: dict[str, Any] = templates["plotly_white" if name == "light" else "plotly_dark"].layout.to_plotly_json()
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
