"""Fetches a file into its folder: whole and verified, or not at all."""

import contextlib
import hashlib
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from trainer.errors import RunError

MOST_BYTES = 1_000_000_000  # the largest of these files, CIFAR-10's archive, has 170 million


def md5_of(path: Path) -> str:
    """The file's md5, which is what the data sets' authors publish; it guards against damage, not against malice.

    Of a file far larger than any of theirs "", at once: one with holes may have a terabyte, and hours to read.
    """
    if path.stat().st_size > MOST_BYTES:
        return ""
    content = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            content.update(piece)
    return content.hexdigest()


def fetch(name: str, urls: Sequence[str], md5: str, folder: Path) -> Path:
    """Downloads `name` from the first address that delivers it, checks its md5 and only then moves it in place.

    Raises RunError with what to place where, if none does.
    """
    from torchvision.datasets.utils import download_url

    target = folder / name
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as aside:
            reason = _first(urls, lambda url: download_url(url, aside, name, md5))
            if reason is None:
                (Path(aside) / name).replace(target)
                return target
    except OSError as error:
        reason = f"{folder}: {error.strerror}"
    for path in created:  # leave nothing behind, not even an empty folder
        with contextlib.suppress(OSError):
            path.rmdir()
    raise RunError(
        f"{name} could not be downloaded ({reason}). Place the file (md5 {md5}) at {target}"
        " and start again, or train without a download: dataset=digits"
    )


def _first(urls: Sequence[str], attempt: Callable[[str], None]) -> str | None:
    """None once one of the addresses succeeded, else the last reason."""
    reason = "no address"
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)  # seconds of silence; torchvision itself would wait for ever
    try:
        for url in urls:
            try:
                attempt(url)
            except (OSError, RuntimeError) as error:  # URLError is an OSError, a wrong md5 a RuntimeError
                reason = str(getattr(error, "reason", error))
            else:
                return None
        return reason
    finally:
        socket.setdefaulttimeout(before)
