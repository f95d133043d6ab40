"""Files: written whole or not at all. Imports no torch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from trainer.errors import RunError


def write_text(path: Path, text: str) -> None:
    """Replaces the file by this text, or leaves it as it was."""
    with replacing(path) as file:
        file.write(text.encode())


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write aside, flushed to the disk; on success it takes the place of `path`, else it vanishes."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.writing")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise RunError(f"{path} could not be written: {error.strerror}") from None
    finally:
        aside.unlink(missing_ok=True)
