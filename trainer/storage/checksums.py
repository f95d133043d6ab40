"""Checksums of records: each JSON record, line of `metrics.jsonl` and `config.yaml` ends with one. Imports no torch.

JSON ends with the entry `"checksum": "sha256:…"`, a list with that of its last group; YAML with a comment. The digits
are the first 16 of the SHA-256 of the text without them. They detect damage, not a forgery: whoever alters a record can
write the right checksum as well. A record without one is of an earlier version, or was edited by hand and accepted.
"""

import contextlib
import hashlib
import os
import re
from pathlib import Path

from trainer.runtime.files import write_text

DIGITS = "[0-9a-f]{16}"
LONGEST_END = 300  # letters at the end of a text that are searched: far more than a checksum and what closes its group

# A flipped byte destroys one of two marks at most, so that a damaged checksum is not taken for a missing one.
ENTRY = '"checksum": "sha256:{}"'
MARKS = ('"checksum"', '"sha256:')
JSON_END = re.compile(rf",\s*{ENTRY.format(f'({DIGITS})')}(\s*\}}\s*(?:\]\s*)?)\Z")
CLOSING = re.compile(r"(?<![{\s])\s*\}\s*(?:\]\s*)?\Z")  # of a group, or of a list that ends with one

COMMENT = "# checksum sha256:{} (of the lines above; to accept an edit by hand, remove this line)\n"
COMMENT_MARKS = ("# checksum sha256:", "(of the lines above; to accept an edit")
YAML_END = re.compile(re.escape(COMMENT).replace(r"\{\}", f"({DIGITS})") + r"\Z")

# The end of a complete line with something in place of its newline, which a line that is being written never has.
JOINED = re.compile(rb'"checksum": "sha256:[0-9a-f]{16}"\}.', re.DOTALL)


def write_record(path: Path, text: str) -> None:
    """Replace the content of a record by this JSON or YAML and its checksum. Raises RunError as `write_text` does."""
    write_text(path, with_checksum(text) if path.suffix == ".json" else text + COMMENT.format(_digits(text)))


def with_checksum(text: str) -> str:
    """Return JSON with its checksum as the last entry: of the object, or of the last one in a list of objects."""
    closing = CLOSING.search(text, max(0, len(text) - LONGEST_END))
    assert closing, "a record is an object with entries, or a list that ends with one"
    head, end = text[: closing.start()], text[closing.start() :]
    last = head[head.rfind("\n") + 1 :]
    gap = "\n" + last[: len(last) - len(last.lstrip())] if "\n" in end.rstrip() else " "  # as the entries before it
    return f"{head},{gap}{ENTRY.format(_digits(text))}{end}"


def without_checksum(text: str) -> str:
    """Return JSON without its checksum, unchanged if it has none. Raises ValueError if the checksum does not match."""
    place = max(0, len(text) - LONGEST_END)
    found = JSON_END.search(text, place)
    if not found:
        if any(text.find(mark, place) >= 0 for mark in MARKS):
            raise ValueError("its checksum is damaged")
        return text
    content = text[: found.start()] + found[2]
    if found[1] != _digits(content):
        raise ValueError("its checksum does not match")
    return content


def without_comment(text: str) -> str:
    """Return the YAML of a record without its checksum. Raises ValueError as `without_checksum` does."""
    found = YAML_END.search(text, max(0, len(text) - LONGEST_END))
    if found and found[1] == _digits(text[: found.start()]):
        return text[: found.start()]
    if found or any(mark in text for mark in COMMENT_MARKS):
        raise ValueError(
            "it was edited by hand, or is damaged: its checksum does not match. To accept it as it stands, remove the"
            " line of the checksum, its last one"
        )
    return text


def unchecked(folder: Path) -> list[str]:
    """Return the names of the records in a run's folder that have no checksum, in which damage is not noticed."""
    found = []
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.jsonl"), *folder.glob("config.yaml")]):
        with contextlib.suppress(OSError), path.open("rb") as file:
            file.seek(-min(LONGEST_END, path.stat().st_size), os.SEEK_END)
            end = file.read().decode(errors="replace")
            if end and not any(mark in end for mark in (*MARKS, *COMMENT_MARKS)):
                found.append(path.name)
    return found


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
