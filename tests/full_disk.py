"""A small disk that can be filled, a tmpfs, which only root may mount; output that goes to a full disk."""

import contextlib
import json
import subprocess
from pathlib import Path

from conftest import clean_environment, prefork_server


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


def on_a_full_disk(*arguments, cwd, stderr="/dev/full"):
    """Return the exit code of the program when its output goes to a full disk."""
    job = {"module": "trainer", "arguments": arguments, "folder": str(cwd), "environment": clean_environment()}
    server = prefork_server()
    server.stdin.write(json.dumps(job | {"stdout": "/dev/full", "stderr": stderr}) + "\n")
    server.stdin.flush()
    return int(server.stdout.readline())
