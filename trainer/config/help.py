"""The parts of `--help` that are read from `conf/`: the comments of its YAML files."""

import re
from collections.abc import Iterator
from pathlib import Path

from trainer.config.schema import CONF


def options(group: str) -> Iterator[tuple[str, str]]:
    """Yield (option, its purpose) for every YAML file of the group; the default option is marked with a star."""
    default = f"- {group}: "
    chosen = [line.partition(default)[2] for line in _lines(CONF / "config.yaml") if default in line]
    for file in sorted((CONF / group).glob("*.yaml")):
        yield file.stem + (" *" if file.stem in chosen else ""), first_comment(file)


def first_comment(file: Path) -> str:
    """Return the first comment that is not one of Hydra's headers."""
    return next((line[1:].strip() for line in _lines(file) if re.match(r"#\s*[^@\s]", line)), "")


def settings() -> Iterator[tuple[str, str]]:
    """Yield (name=default, its purpose) for every scalar of config.yaml."""
    parent = ""
    for line in _lines(CONF / "config.yaml"):
        if line.startswith(("defaults:", "hydra:")):
            parent = "-"
        elif match := re.fullmatch(r"(\s*)(\w+):\s*([^#]*?)\s*(?:#\s*(.*))?", line):
            indent, name, value, comment = match.groups()
            if not indent:
                parent = "" if value else f"{name}."
            if value and parent != "-":
                yield f"{parent if indent else ''}{name}={value}", comment or ""


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()
