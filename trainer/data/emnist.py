"""The reader of EMNIST: packed IDX files in one zip archive, or unpacked as torchvision leaves them."""

import zipfile
from pathlib import Path
from string import ascii_letters, ascii_lowercase, digits

from trainer.data.archives import verified
from trainer.data.download import refuse_mistyped
from trainer.data.images import Images, Part
from trainer.data.mnist import gunzip, paired, parse
from trainer.errors import RunError

MAX_BYTES = 600_000_000  # unpacked; the largest file has 547 million
# Names and md5 as in torchvision.
ARCHIVE, ADDRESS, MD5 = (
    "gzip.zip",
    "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
    ("58c8d27c78d21e728a6bc7b3cc06412e"),
)
MERGED = set("cijklmopsuvwxyz")  # lower-case letters that look like their capitals
_ALL = sorted(digits + ascii_letters)
_MERGED = tuple(letter for letter in _ALL if letter not in MERGED)
CLASSES = {
    "byclass": tuple(_ALL),
    "bymerge": _MERGED,
    "balanced": _MERGED,
    "letters": tuple(ascii_lowercase),
    "digits": tuple(digits),
    "mnist": tuple(digits),
}


def read(data_dir: Path, part: Part, split: str) -> Images:
    """Read one part, after a download if it is absent. Raises RunError naming a file that is damaged or missing."""
    refuse_mistyped("EMNIST", data_dir)
    raw = data_dir / "EMNIST" / "raw"
    names = [f"emnist-{split}-{part}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
    if not (raw / ARCHIVE).is_file() and all((raw / name).is_file() for name in names):
        contents = [_unpacked(raw / name) for name in names]
    else:
        archive = verified(raw, ARCHIVE, [ADDRESS], MD5)
        contents = [_packed(archive, f"gzip/{name}.gz") for name in names]
    pixels, labels = (parse(content, raw / name) for content, name in zip(contents, names, strict=True))
    # The letters count from 1, and torchvision has a class of this number without images.
    labels = labels.int() - 1 if split == "letters" else labels
    return paired(pixels, labels, CLASSES[split], raw)


def _unpacked(path: Path) -> bytes:
    if (size := path.stat().st_size) > MAX_BYTES:
        raise RunError(f"{path} has {size} bytes, where at most {MAX_BYTES} are expected")
    return path.read_bytes()


def _packed(archive: Path, member: str) -> bytes:
    """Return the unpacked content of a member."""
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as stream:
            return gunzip(stream, archive / member, MAX_BYTES)
    except (KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise RunError(f"{archive}: {member} cannot be read: {error}") from None
