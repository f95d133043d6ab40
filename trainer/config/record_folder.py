"""How a folder is known as the record of a run or a study, which anyone may have sent. Imports no torch."""

import os
from collections.abc import Sequence
from pathlib import Path

# The files by which a record is known: one of each group. A run may have been sent in part.
RUN_FILES = ("environment.json", "metrics.jsonl", "result.json", "job.json", "*.safetensors", "techniques/index.json")
SIGNS = {
    "run": (("config.yaml",), RUN_FILES),
    "study": (("study.json",),),
    "run's techniques": (("index.json",), ("*.py.txt",)),
}


def record_around(place: Path) -> tuple[str, Path] | None:
    """Return (its kind, its folder) of the record in which a path lies, as it is written or behind its links."""
    written = Path(os.path.normpath(place.absolute()))
    for folder in dict.fromkeys(each for path in (written, place.resolve()) for each in (path, *path.parents)):
        for kind, signs in SIGNS.items():
            if all(_holds(folder, names) for names in signs):
                return kind, folder
    return None


def _holds(folder: Path, names: Sequence[str]) -> bool:
    return any(next(folder.glob(name), None) for name in names)
