"""The command that trains a run once more with one setting changed, from what the run recorded. Imports no torch."""

import contextlib
import shlex
from pathlib import Path

from trainer.config.run_config import Tag, tagged
from trainer.config.schema import GROUPS, shared_parameters
from trainer.config.shell import resume_command
from trainer.errors import ConfigError, RunError
from trainer.records.layout import JOB, MANIFEST
from trainer.storage.untrusted import read_json
from trainer.study.axes import command_at
from trainer.study.manifest import Manifest

START = ["python", "-m", "trainer"]


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
    left = [
        word for key, word in settings.items() if key not in tagged(Tag.ONE_RUN) and not _of_replaced(key, override)
    ]
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
    if not commands or any(words[:3] != START or _is_command(words[3:]) for words in commands):
        return None  # started by another command, such as finalize, or with flags
    return [word for words in commands for word in words[3:]]


def _is_command(words: list[str]) -> bool:
    """Return whether these words are not settings alone."""
    return any(word.startswith("-") for word in words) or any("=" not in word for word in words[:1])


def _of_study(folder: Path) -> list[str]:
    study = Manifest.read(folder.parent)
    texts = {entry.folder: entry.texts for entry in study.entries}[folder.name]
    return shlex.split(command_at(study.command, study.varied, texts))[3:]


def continue_hint(folder: Path) -> str:
    """How a run that was stopped goes on: resume= refuses those of a study, and those that a command repeats."""
    place = folder.resolve().parent
    if (folder / JOB).is_file():
        with contextlib.suppress(ConfigError, RunError):
            return f"To go on: {Manifest.read(place).restart_command}"
        return "It goes on by its study's command"
    if place.name == "final" and (place.parent / MANIFEST).is_file():
        return "It goes on by the same command: trainer finalize"
    if place.name == "reproduced":
        return "The same command, trainer reproduce, begins it again"
    return f"To go on: {resume_command(folder)}"
