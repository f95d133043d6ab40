"""A report's page in a real Chromium."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import sync_playwright

LINES = "document.querySelectorAll('#loss .scatterlayer .trace:has(.js-line, .js-fill)').length"
CONFUSION = "document.querySelectorAll('#confusion .heatmaplayer image').length === 1"


@contextmanager
def opened(path: Path, width=1200, scheme="light", figures=True):
    """The page in a real Chromium, with what it fetched besides itself and what it complained of: nothing."""
    if not shutil.which("chromium"):
        pytest.skip("chromium is not installed")
    address, wrong = path.resolve().as_uri(), []
    with sync_playwright() as play:
        arguments = ["--no-sandbox", "--enable-unsafe-swiftshader"]
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        view = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        view.on("request", lambda request: wrong.append(request.url) if request.url != address else None)
        view.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        view.on("pageerror", lambda error: wrong.append(str(error)))
        view.goto(address)
        if figures:
            shown(view, "curves", f"{LINES} > 0")
        yield view
        assert [line for line in wrong if not line.startswith(("data:", "blob:"))] == []
        browser.close()


def shown(view, section, condition):
    view.evaluate(f"document.getElementById('{section}').scrollIntoView()")
    view.wait_for_function(condition)
