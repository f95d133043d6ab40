"""The environment of a run: versions, commit, device, seeds; no host name, user or environment variable."""

import os
import platform
import subprocess
import sys
from contextlib import suppress
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import trainer
from trainer.config.own_record import libraries
from trainer.config.run_config import RunConfig
from trainer.config.shell import command
from trainer.records.code import code_hashes

MAX_PATCH = 2**20  # letters of the changes of a checkout that a run keeps
PACKAGES = ("torch", "torchvision", "hydra-core", "omegaconf", "numpy", "scikit-learn", "wandb")


def stamp(config: RunConfig, device: torch.device, run_id: str, data: str) -> dict[str, Any]:
    """Return the values for `environment.json`, one entry each time a run is started. `data`: their fingerprint."""
    return {
        "run_id": run_id,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": command(*sys.argv[1:]),
        "trainer": trainer.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {**_versions(), **libraries(config)},
        "git": git_state(),
        "code": code_hashes(config),
        "data": data,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "seed": config.seed,
        "split_seed": config.split_seed,
    }


def _versions() -> dict[str, str]:
    """Return the versions of the installed packages; a run needs no wandb."""
    versions = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def git_state() -> dict[str, Any] | None:
    """Return the commit of the trainer's checkout and whether files differ from it; None outside a checkout."""
    root = Path(trainer.__file__).resolve().parent.parent
    # Without this an installed package would report the commit of whatever checkout it happens to be inside of.
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain")
    return None if commit is None else {"commit": commit, "dirty": bool(changes)}


@cache  # once in a process, which runs what it has imported
def uncommitted_changes() -> str:
    """Return the changes of the trainer's checkout that are in no commit, as a patch; "" without any.

    Files that git does not know are not part of it. Of a patch above `MAX_PATCH` bytes nothing is kept.
    """
    state = git_state()
    if not state or not state["dirty"]:
        return ""
    patch = _git(Path(trainer.__file__).resolve().parent.parent, "diff", "HEAD", "--", "trainer", "conf") or ""
    return f"{patch}\n" if 0 < len(patch) <= MAX_PATCH else ""


def _git(root: Path, *arguments: str) -> str | None:
    # A hook of git sets GIT_DIR, GIT_INDEX_FILE and others, which name the repository that it works on.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            # Reading must not write .git/index, which a parallel git command may hold.
            ["git", "--no-optional-locks", "-C", root, *arguments],
            check=False,
            capture_output=True,
            timeout=10,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None
