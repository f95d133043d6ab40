"""Commands that are printed to be pasted: quoted for the shell, and for Hydra where it reads them. Imports no torch."""

import re
import shlex
from pathlib import Path


def command(*words: object) -> str:
    """Return the command line of this program with these words, quoted for the shell."""
    return shlex.join(["python", "-m", "trainer", *map(str, words)])


def sync_command(folder: Path, runs: str = "") -> str:
    """The command that uploads a run that W&B has recorded, or those in the folder that the shell finds for `runs`."""
    return f"wandb sync {shlex.quote(str(folder))}" + (f"/{runs}" if runs else "")


def resume_command(folder: Path, *overrides: str) -> str:
    """The command with which a run by itself goes on."""
    plain = re.fullmatch(r"[\w./+-]+", str(folder), re.ASCII)
    return command(f"resume={folder}" if plain else f'resume="{folder}"', *overrides)
