"""The progress bar below a notebook's cell: a text and an element of HTML, replaced as it moves. Imports no torch."""

import sys
import time
from html import escape
from typing import Any

REFRESH_SECONDS = 0.3


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    shell: Any = sys.modules.get("IPython")
    return shell is not None and hasattr(shell.get_ipython(), "kernel")


class Bar:
    """A progress bar in the output of the cell that is running; nothing outside of a notebook."""

    def __init__(self, on: bool = True) -> None:
        self.on, self.shown, self.updated = on and in_notebook(), None, 0.0

    def show(self, text: str, done: int, total: int) -> None:
        """Move the bar; most calls do nothing, because a browser that is sent every step would lag behind."""
        if self.on and time.monotonic() - self.updated > REFRESH_SECONDS:
            self.updated = time.monotonic()
            self._draw(f'<progress value="{done}" max="{total}"></progress> {escape(text)}')

    def close(self) -> None:
        """Remove the bar."""
        if self.shown:
            self._draw("")

    def _draw(self, inside: str) -> None:
        display: Any = sys.modules["IPython"].display
        if self.shown is None:
            self.shown = display.display(display.HTML(inside), display_id=True)
        else:
            self.shown.update(display.HTML(inside))
