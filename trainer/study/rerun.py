"""Commands that repeat or continue a recorded run. Imports no torch."""

import contextlib
import shlex
from pathlib import Path

from trainer.config.own import taken
from trainer.config.own_record import words as own_words
from trainer.config.run_config import Tag, tagged
from trainer.config.schema import GROUPS, shared_parameters
from trainer.config.shell import command, resume_command
from trainer.errors import ConfigError, RunError
from trainer.records.layout import JOB, MANIFEST
from trainer.runtime.text import complain_once
from trainer.storage.untrusted import read_json
from trainer.study.axes import command_at
from trainer.study.manifest import Manifest

START = ["python", "-m", "trainer"]


def command_with(folder: Path, override: str) -> str:
    """Return the command of the run with the override added; the override alone where no command is recorded."""
    settings = _settings(folder)
    if settings is None:
        return shlex.quote(override)
    settings[override.lstrip("+~").partition("=")[0]] = override  # in the place of the earlier value
    return command(*(word for key, word in settings.items() if not _of_replaced(key, override)))


def command_of(folder: Path) -> str | None:
    """Return the command that trains such a run alone; None where none is recorded, or another than training."""
    settings = _settings(folder)
    return None if settings is None else command(*settings.values(), *own_words([folder]))


def _settings(folder: Path) -> dict[str, str] | None:
    """Return {setting: its override} of the recorded commands of a run, without those that name a folder of one run."""
    folder = folder.resolve()
    try:
        words = _of_study(folder) if (folder.parent / MANIFEST).is_file() else _of_run(folder)
    except (OSError, ValueError, LookupError, TypeError, ConfigError, RunError):
        words = None
    if words is None:
        return None
    # The record may be untrusted and the command be pasted into a shell: only settings are kept, each of them quoted.
    # The last value of a setting that occurs twice wins.
    typed = [word for word in words if "=" in word or word.startswith("~")]
    settings = {word.lstrip("+~").partition("=")[0]: word for word in typed}
    return {key: word for key, word in settings.items() if key not in tagged(Tag.ONE_RUN)}


def _of_replaced(key: str, override: str) -> bool:
    """Return whether the setting is an option of a technique that the override replaces."""
    # Such an option would be refused beside the new technique, or bring the old one back into a list.
    group, _, chosen = override.partition("=")
    above, _, option = key.partition(".")
    if above != group or group not in GROUPS or not option:
        return False
    if GROUPS[group].listed:
        return option.partition(".")[0] not in chosen.strip("[]").split(",")
    return option not in shared_parameters(group)


def _of_run(folder: Path) -> list[str] | None:
    """Return the settings of every start of the run, in order; None if it was not begun by a training command."""
    from trainer.config.compose import repeatable  # late: it imports Hydra, which a report does not need

    path = folder / "environment.json"
    try:
        stamps = read_json(path)
    except ValueError:
        complain_once(f"{path} is damaged: the command of the run is not known")
        return None
    commands = [shlex.split(str(stamp["command"])) for stamp in stamps]
    settings: list[str] = []
    # The settings of a resume come last, and so replace those of the first start.
    for words in commands:
        typed, _ = taken(words[4:] if words[3:4] == ["train"] else words[3:])
        typed = [word for word in typed if word != "--strict"]
        named = typed[:1] and "=" not in typed[0] and not typed[0].startswith(("-", "~"))
        if words[:3] != START or "-m" in typed or named:
            return None  # a study, or another command, such as trainer finalize
        settings += repeatable(typed)
    return settings if commands else None


def _of_study(folder: Path) -> list[str]:
    """Return the settings of one run of a study, from the study's command and the run's point."""
    study = Manifest.read(folder.parent)
    texts = {entry.folder: entry.texts for entry in study.entries}[folder.name]
    return shlex.split(command_at(study.command, study.varied, texts, study.arm_words))[3:]


def continue_hint(folder: Path) -> str:
    """Return the sentence that says how to continue a run that was stopped."""
    # resume= refuses the runs of a study, of trainer finalize and of trainer reproduce: their command continues them.
    place = folder.resolve().parent
    if (folder / JOB).is_file():
        with contextlib.suppress(ConfigError, RunError):
            return f"To continue: {Manifest.read(place).restart_command}"
        return "To continue it, repeat the command of its study"
    if place.name == "final" and (place.parent / MANIFEST).is_file():
        return f"To continue it, with the options that it was begun with: {command('finalize', place.parent)}"
    if place.name == "reproduced":
        return "To begin it again, repeat the command: python -m trainer reproduce RUN"
    return f"To continue: {resume_command(folder)}"
