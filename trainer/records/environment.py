"""What a run ran on: versions, commit, device, seeds. No host name, no user, no environment variable."""

import platform
import shlex
import subprocess
import sys
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import trainer
from trainer.config.run_config import RunConfig

PACKAGES = ("torch", "torchvision", "hydra-core", "omegaconf", "numpy", "scikit-learn", "wandb")


def stamp(config: RunConfig, device: torch.device, run_id: str) -> dict[str, Any]:
    """Plain values for `environment.json`."""
    return {
        "run_id": run_id,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "trainer", *sys.argv[1:]]),
        "trainer": trainer.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _versions(),
        "git": git_state(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "seed": config.seed,
        "split_seed": config.split_seed,
    }


def _versions() -> dict[str, str]:
    """Of the packages that are there: without wandb a run is trained as well."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def git_state() -> dict[str, Any] | None:
    """Commit of the trainer's own checkout and whether it was changed since; None outside one."""
    root = Path(trainer.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain")
    return None if commit is None else {"commit": commit, "dirty": bool(changes)}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", root, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
