"""The command that trains a run once more with one setting changed, from what the run recorded. Imports no torch."""

import shlex
from pathlib import Path

from trainer.errors import ConfigError, RunError
from trainer.schema import GROUPS, shared_parameters
from trainer.strangers import read_json
from trainer.study.manifest import MANIFEST, Manifest, command_at

START = ["python", "-m", "trainer"]
OWN = ("output_dir", "resume")  # of the run that was: the other one gets a folder of its own


def command_with(folder: Path, override: str) -> str:
    """The run's own command with the override in it, to be pasted; the override alone where no command is recorded.

    The record may be a stranger's: it is taken apart into settings, and each is quoted for the shell.
    """
    folder = folder.resolve()
    try:
        words = _of_study(folder) if (folder.parent / MANIFEST).is_file() else _of_run(folder)
    except (OSError, ValueError, LookupError, TypeError, ConfigError, RunError):
        words = None
    if words is None:
        return shlex.quote(override)
    settings = {word.lstrip("+").partition("=")[0]: word for word in [*words, override] if "=" in word}
    left = [word for key, word in settings.items() if key not in OWN and not _of_replaced(key, override)]
    return shlex.join([*START, *left])


def _of_replaced(key: str, override: str) -> bool:
    """Whether the setting is an option of a technique that the override replaces: it would be refused beside the new
    one, or bring the old one back."""
    group, _, chosen = override.partition("=")
    above, _, option = key.partition(".")
    if above != group or group not in GROUPS or not option:
        return False
    if GROUPS[group].listed:
        return option.partition(".")[0] not in chosen.strip("[]").split(",")
    return option not in shared_parameters(group)


def _of_run(folder: Path) -> list[str] | None:
    """The settings of each time that it was started: what a resumed run was given anew comes behind, and holds."""
    commands = [shlex.split(str(stamp["command"])) for stamp in read_json(folder / "environment.json")]
    if not commands or any(words[:3] != START or any(word[:1] == "-" for word in words[3:]) for words in commands):
        return None  # another command's, such as trainer.finalize, or with flags
    return [word for words in commands for word in words[3:]]


def _of_study(folder: Path) -> list[str]:
    study = Manifest.read(folder.parent)
    texts = {entry.folder: entry.texts for entry in study.entries}[folder.name]
    return shlex.split(command_at(study.command, study.varied, texts))[3:]
