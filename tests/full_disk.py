"""A small disk that can be filled: a tmpfs, which only root may mount."""

import contextlib
import subprocess
from pathlib import Path


def mounted(folder: Path) -> bool:
    """Four megabytes in place of the folder; False for those who may not mount."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", folder], check=True)  # W&B's service may not have left yet


def fill(folder: Path, name: str = "filler") -> None:
    """To the last byte, with this file: one that is there already may have room in its last block."""
    with contextlib.suppress(OSError), (folder / name).open("ab", buffering=0) as file:
        while True:
            file.write(b"." * 512)
