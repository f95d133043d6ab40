"""Download of one file, which appears in its folder complete and verified or not at all. Imports no torch before it."""

import contextlib
import hashlib
import shlex
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from trainer.errors import ConfigError, RunError, reason_of
from trainer.runtime.files import expanded, realpath
from trainer.storage.places import absent

DEFAULT = Path("data")  # the data_dir of conf/config.yaml
MAX_BYTES = 3_000_000_000  # the largest file, STL-10's archive, has 2.6 billion

# Data set → the places in data_dir, one of which its reader finds if it was downloaded.
DOWNLOADED = {
    "cifar10": ("cifar-10-batches-py", "cifar-10-python.tar.gz"),
    "mnist": ("MNIST/raw",),
    "fashion_mnist": ("FashionMNIST/raw",),
    "kmnist": ("KMNIST/raw",),
    "qmnist": ("QMNIST/raw",),
    "emnist": ("EMNIST/raw",),
    "usps": ("usps.bz2", "usps.t.bz2"),
    "svhn": ("train_32x32.mat", "test_32x32.mat"),
    "cifar100": ("cifar-100-python", "cifar-100-python.tar.gz"),
    "stl10": ("stl10_binary", "stl10_binary.tar.gz"),
    "imagenette": tuple(f"imagenette2{size}{end}" for size in ("-160", "-320", "") for end in ("", ".tgz")),
}


def refuse_download(dataset: str, data_dir: str, recorded_in: Path, how: str) -> None:
    """Refuse to download to a data_dir that a file names, not the person. Raises ConfigError.

    A folder below the current one, such as the default, is accepted.
    """
    folder = expanded(data_dir)
    if realpath(folder).is_relative_to(Path.cwd()):
        return
    if dataset in DOWNLOADED and not any((folder / name).exists() for name in DOWNLOADED[dataset]):
        raise ConfigError(
            f"{recorded_in}: {dataset} does not lie in the data_dir that is recorded there, {folder}. Say where it"
            f" lies, or may be downloaded to: {how}"
        )


def refuse_mistyped(dataset: str, data_dir: Path) -> None:
    """Refuse to download to a folder that does not exist, except the default one: its name may be mistyped."""
    if not data_dir.exists() and data_dir.absolute() != DEFAULT.absolute():
        reason, make = absent(data_dir), f"mkdir -p {shlex.quote(str(data_dir))}"
        end = "" if reason.endswith("?") else "."
        raise ConfigError(f"data_dir={data_dir}: {reason}{end} To download {dataset} into a new one, make it: {make}")


def md5_of(path: Path) -> str:
    """Return the md5 of a file, the checksum that the authors of the data sets publish, or "" if it is too large.

    md5 detects damage, not a forgery.
    """
    if path.stat().st_size > MAX_BYTES:
        return ""  # at once: a sparse file of a terabyte would take hours
    content = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            content.update(piece)
    return content.hexdigest()


def fetch(name: str, urls: Sequence[str], md5: str, folder: Path) -> Path:
    """Download `name` from the first address that delivers it, check its md5, then move it into the folder.

    Raises RunError, with the file to place by hand, if no address delivers it.
    """
    from torchvision.datasets.utils import download_url

    target = folder / name
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
            reason = _first(urls, lambda url: download_url(url, temporary, name, md5))
            if reason is None:
                (Path(temporary) / name).replace(target)
                return target
    except OSError as error:
        reason = f"{folder} cannot be written ({error.strerror}): name another folder by data_dir"
    for path in created:  # remove the empty folders as well
        with contextlib.suppress(OSError):
            path.rmdir()
    raise RunError(
        f"{name} could not be downloaded ({reason}). Place the file (md5 {md5}) at {target}"
        " and start again, or train without a download: dataset=digits"
    )


def _first(urls: Sequence[str], attempt: Callable[[str], None]) -> str | None:
    """Try the addresses in turn; return None if one succeeds, else the last reason."""
    reason = "no address"
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)  # seconds without an answer; torchvision sets no limit
    try:
        for url in urls:
            try:
                attempt(url)
            except (OSError, RuntimeError) as error:  # URLError is an OSError, a wrong md5 a RuntimeError
                reason = reason_of(getattr(error, "reason", error))
            else:
                return None
        return reason
    finally:
        socket.setdefaulttimeout(previous)
