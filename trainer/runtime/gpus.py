"""The GPUs of this machine, and the one of them that a launcher's worker takes. Imports no torch.

CUDA reads CUDA_VISIBLE_DEVICES once in a process, when it is initialized there. A GPU therefore belongs to a worker
process, not to a job: a worker that takes its next job keeps its GPU, and with it the memory that CUDA holds there.

A worker takes a GPU by binding an abstract Unix socket (man 7 unix) with the name of the GPU and a number. One process
on the machine can bind a name, so that no two workers take the same place and studies side by side take turns, too.
The kernel frees the name when the process ends, however it ends, so that a worker that replaces a killed one takes the
GPU of that one. Nothing is written to a disk.
"""

import errno
import itertools
import os
import re
import socket
import subprocess
from collections.abc import Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"
NAME = re.compile(r"\d+|(?:GPU|MIG)-[\w/-]+")  # an entry of the variable: an index, or (the beginning of) a UUID
LIST_SECONDS = 10  # a driver in a bad state keeps nvidia-smi waiting

_held = list[socket.socket]()  # of this process, open until it ends


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them: all, or those that it names."""
    listed = listed_gpus()
    allowed = os.environ.get(VISIBLE)
    if allowed is None:
        return listed

    def usable(name: str) -> bool:
        beyond = bool(listed) and name.isdecimal() and int(name) >= len(listed)
        return NAME.fullmatch(name) is not None and not beyond

    # As CUDA does, which ignores what follows the first entry that it cannot use, such as -1.
    return list(itertools.takewhile(usable, (name.strip() for name in allowed.split(","))))


def listed_gpus() -> list[str]:
    """Return the UUIDs of the NVIDIA GPUs of this machine; of a GPU that is divided (MIG), those of its parts."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], check=False, capture_output=True, text=True, timeout=LIST_SECONDS, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):  # no driver of NVIDIA, or one that does not answer
        return []
    # "GPU 0: NVIDIA A100 (UUID: GPU-…)", then a line for each of its parts: "  MIG 1g.5gb Device 0: (UUID: MIG-…)".
    names = list[str]()
    for kind, name in re.findall(r"^\s*(GPU|MIG) .*\(UUID: ([\w/-]+)\)", done.stdout, re.MULTILINE):
        if kind == "MIG" and names and names[-1].startswith("GPU-"):
            names.pop()  # the GPU that is divided: CUDA uses its parts only
        names.append(name)
    return names


def show_gpus(names: str | None) -> None:
    """Set CUDA_VISIBLE_DEVICES to these names; None removes it. Call it before CUDA is initialized."""
    os.environ.pop(VISIBLE, None)
    if names is not None:
        os.environ[VISIBLE] = names


def take_gpu(gpus: Sequence[str]) -> None:
    """Give this process, a launcher's worker, the GPU of these that the fewest workers have, unless it has one.

    Call it before CUDA is initialized.
    """
    if _held or not gpus:
        return
    # Every GPU once in their order, then every GPU a second time: the workers of two GPUs differ by at most one.
    for number in itertools.count():
        for gpu in gpus:
            place = _place(f"{gpu} {number}")
            if place:
                _held.append(place)
                os.environ[VISIBLE] = gpu
                return


def _place(name: str) -> socket.socket | None:
    """Return a socket bound to this name, None if another process is."""
    place = socket.socket(socket.AF_UNIX)
    try:
        place.bind(f"\0ablation-trainer GPU {name}")
    except OSError as error:
        place.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return place
