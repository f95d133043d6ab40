"""Archives of data sets: what is asked for is unpacked, and verified by the checksums that the authors publish."""

import re
import tarfile
import tempfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from trainer.data.download import fetch, md5_of
from trainer.errors import RunError


class Archive(NamedTuple):
    """A tar archive in data_dir, the addresses that it is downloaded from, and the folder that it holds."""

    name: str
    addresses: Sequence[str]
    md5: str
    folder: str


def verified(data_dir: Path, name: str, addresses: Sequence[str], md5: str) -> Path:
    """Return the path of a file in data_dir, downloaded if it is absent. Raises RunError unless it has this md5."""
    path = data_dir / name
    if not path.is_file():
        fetch(name, addresses, md5, data_dir)
    if md5_of(path) != md5:
        raise RunError(f"{path} is damaged or altered: its md5 is not {md5}. Delete it and start again")
    return path


def verify_files(folder: Path, checksums: Mapping[str, str]) -> None:
    """Raise RunError unless a folder holds files of these names with these md5."""
    for name, md5 in checksums.items():
        path = folder / name
        if not path.is_file() or md5_of(path) != md5:
            state = "is damaged or altered" if path.is_file() else "is missing"
            raise RunError(f"{path} {state} (md5 {md5} expected). Delete {folder} and start again to download it")


def unpack(data_dir: Path, source: Archive, wanted: Collection[str] | re.Pattern[str], longest: int) -> None:
    """Unpack an archive, after a download if it is absent, into a folder that appears when it is complete.

    Only the files that are wanted, by their names below the folder or a pattern of them, are taken, under these names:
    paths and links in the archive are never followed. Raises RunError for one of more than `longest` bytes.
    """
    archive = verified(data_dir, source.name, source.addresses, source.md5)
    with tempfile.TemporaryDirectory(dir=data_dir, prefix=".unpack-") as temporary:
        unpacked = Path(temporary) / source.folder
        unpacked.mkdir()
        try:
            with tarfile.open(archive) as tar:
                for name, member in _chosen(tar, f"{source.folder}/", wanted):
                    content = tar.extractfile(member) if member.isfile() and member.size <= longest else None
                    if content is None:
                        raise RunError(f"{archive}: {name} is no file of at most {longest} bytes")
                    target = unpacked / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content.read())
        except (KeyError, tarfile.TarError, EOFError, zlib.error) as error:
            raise RunError(f"{archive} cannot be unpacked: {error}") from None
        unpacked.rename(data_dir / source.folder)


def _chosen(
    tar: tarfile.TarFile, prefix: str, wanted: Collection[str] | re.Pattern[str]
) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Yield the wanted members with their names below the folder. Raises KeyError if a named one is missing."""
    found = set[str]()
    for member in tar:
        path = member.name.removeprefix("./")
        name = path.removeprefix(prefix)
        if path == name or not (wanted.fullmatch(name) if isinstance(wanted, re.Pattern) else name in wanted):
            continue
        yield name, member
        found.add(name)
        if not isinstance(wanted, re.Pattern) and len(found) == len(wanted):
            return  # the rest of a large archive need not be unpacked
    missing = [] if isinstance(wanted, re.Pattern) else sorted({*wanted} - found)
    if missing or not found:
        raise KeyError(f"{prefix}{missing[0] if missing else wanted} is missing")
