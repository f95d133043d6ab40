"""Commands that are printed for the user to paste, quoted for the shell and for Hydra. Imports no torch."""

import re
import shlex
from pathlib import Path


def command(*words: object) -> str:
    """Return the command line of this program with these words, quoted for the shell."""
    return shlex.join(["python", "-m", "trainer", *map(str, words)])


def sync_command(folder: Path, runs: str = "") -> str:
    """Return the command that uploads an offline run of W&B, or those in `folder` that match the pattern `runs`."""
    return f"wandb sync {shlex.quote(str(folder))}" + (f"/{runs}" if runs else "")


def resume_command(folder: Path, *overrides: str) -> str:
    """Return the command that resumes a single run."""
    plain = re.fullmatch(r"[\w./+-]+", str(folder), re.ASCII)
    return command(f"resume={folder}" if plain else f'resume="{folder}"', *overrides)
