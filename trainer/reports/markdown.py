"""A report as Markdown: the content of the page without its figures. Imports no torch."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from trainer.reports.content import Content
from trainer.reports.page import rows, texts, titles
from trainer.runtime.files import write_text


def write(content: Content) -> Path:
    """Write `report.md` into the folder and return its path. Raises RunError if it cannot be written."""
    path = content.folder / "report.md"
    write_text(path, render(content))
    return path


def render(content: Content) -> str:
    """Return the Markdown text."""
    parts = [
        f"# {plain(content.title)}",
        *map(plain, content.asked),
        _list(f"{name}: {f'`{value}`' if name == 'Command' else plain(value)}" for name, value in content.facts),
        "## Verdict" if content.kind == "study" else "## Result",
        _list(plain(line) for line in (*content.verdict, *content.findings)),
        *(plain(f"{line}.") for line in content.footnotes),
        "## Arms" if content.kind == "study" else "## The run",
        _table(titles(content), texts(rows(content))),
    ]
    if content.search and content.search["importance"]:
        shares = [(key, f"{100 * share:.0f} %") for key, share in content.search["importance"].items()]
        parts += ["## Importance of each setting (fANOVA)", _table(("setting", "share"), shares)]
    if content.differences:
        # By setting → by arm.
        columns = zip(*content.differences.values(), strict=True)
        cells = [[arm.name, *values] for arm, values in zip(content.arms, columns, strict=True)]
        parts += ["## Differences between the arms", _table(("arm", *content.differences), cells)]
    if changed := [(each.key, each.value, each.default) for each in content.settings if each.differs]:
        parts += ["## Settings that differ from the default", _table(("setting", "value", "default"), changed)]
    if content.words:
        parts += ["## The words of the verdict", _table(("word", "meaning"), content.words)]
    if content.method:
        parts += ["## The method, for a paper", plain(content.method)]
    if content.environment:
        parts += ["## Environment", _list(f"{name}: {plain(value)}" for name, value in content.environment)]
    return "\n\n".join(parts) + "\n"


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    marks = f"| --- |{' ---: |' * (len(head) - 1)}"
    lines = [f"| {' | '.join(map(plain, row))} |" for row in (head, *body)]
    return "\n".join([lines[0], marks, *lines[1:]])


def plain(text: str) -> str:
    """Return the text with the characters escaped that Markdown or HTML would interpret."""
    # The backslash comes first, or the escapes of the others would be escaped again.
    for mark in ("\\", "|", "<", "*", "_", "`", "["):
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())
