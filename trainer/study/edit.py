"""Changes to a study on disk: its command with more values, runs that are dropped, other names."""

import difflib
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from trainer.config.arguments import as_forced_override
from trainer.config.own_record import refuse_missing
from trainer.config.settings import comparable
from trainer.errors import ConfigError, RunError, printable
from trainer.records.layout import MANIFEST, SWEEPS
from trainer.records.outcome import DONE
from trainer.runtime.lock import locked
from trainer.runtime.text import slug
from trainer.storage.places import output_root
from trainer.storage.untrusted import refuse_links
from trainer.study.axes import ARM, REPLICATES, canonical, override_key
from trainer.study.folder import Study, rename_aside, study_id
from trainer.study.growth import fixed_values, unique, values_of, with_values
from trainer.study.home import earlier_studies
from trainer.study.manifest import Change, Entry, Manifest
from trainer.study.plan import Plan, plan_from
from trainer.study.results import arms_of

# Hydra's settings that are taken from a file: other ones name programs, functions and folders.
LAUNCHING = re.compile(
    r"hydra/launcher=\w+|hydra\.launcher\.(n_jobs|array_parallelism|timeout_min|partition|qos|account|nodes|mem_gb|"
    r"gpus_per_node|cpus_per_task|tasks_per_node)=[\w.-]+"
)


def with_config_dir(study: Manifest, typed: str | None) -> Manifest:
    """Return the study with the typed folder of YAML files in its command. Raises ConfigError if it needs one.

    The recorded one is not taken: a study that was sent could name files that start a program.
    """
    own = "--config-dir="
    # Any other flag, such as the short form of this one, stands in no command that was recorded here.
    if flags := [word for word in study.command if word.startswith("-") and not word.startswith(own)]:
        raise ConfigError(
            f"{study.folder / MANIFEST}: {flags[0]} is not taken from a file, which could be sent by anyone"
        )
    recorded = [word.removeprefix(own) for word in study.command if word.startswith(own)]
    if recorded and not typed:
        raise ConfigError(
            f"{study.folder} was begun with YAML files of {recorded[0]}, which are taken from the command line alone:"
            f" add --config-dir {shlex.quote(recorded[0])}"
        )
    for entry in study.entries:
        refuse_missing(study.path(entry), entry.config)
    words = [word for word in study.command if not word.startswith(own)]
    return replace(study, command=(*([f"{own}{typed}"] if typed else []), *words))


def recorded_command(study: Manifest) -> list[str]:
    """Return the study's command without retrain, to be started. Raises ConfigError if it could run a program."""
    for word in study.command:
        if word.lstrip("+~").startswith("hydra") and not LAUNCHING.fullmatch(word):
            raise ConfigError(
                f"{study.folder / MANIFEST}: {word.partition('=')[0]} is not taken from a file, which could be sent by"
                f" anyone. Type the study's command with output_dir={study.folder}"
            )
    return [word for word in study.command if override_key(word) != "retrain"]


def with_added(study: Manifest, words: Sequence[str]) -> list[str]:
    """Return the study's command with further values of its axes, as in `seed=3,4`. Raises ConfigError.

    In a study whose arms change several settings at once, settings other than seed and folds make one more arm.
    """
    compared = [text.partition("=")[0] for text in study.axes]
    if study.settings.until is not None:
        return _with_higher_maximum(study, words)
    if study.settings.method != "grid":
        return _with_more_trials(study, words)
    if study.tuned:
        raise ConfigError(
            f"add {' '.join(words)}: a comparison of tuned arms stays as it was planned. Its command with more seeds or"
            " arms is another study, which takes over the finished runs of this one"
        )
    if study.ablation and (other := [word for word in words if override_key(word) not in REPLICATES]):
        raise ConfigError(
            f"add {other[0]}: the arms of an ablation follow from its recipe: give the command anew with another one."
            f" Accepted here: {', '.join(REPLICATES)}"
        )
    values = values_of(study)
    new: dict[str, list[str]] = {}
    for word in words:
        key = override_key(word)
        if "=" not in word or not key:
            raise ConfigError(f"add {word}: must be SETTING=VALUE, such as seed=3,4")
        if ARM in compared and key not in REPLICATES:
            continue
        if key not in (*compared, *REPLICATES) and compared:
            raise ConfigError(f"add {word}: {key} is no axis of the study. It compares {'; '.join(study.axes)}")
        if not comparable(key):
            raise ConfigError(f"add {word}: {key} cannot have several values")
        new[key] = [*new.get(key, []), *_values(word)]
    arm = [word for word in words if override_key(word) not in new]
    if arm:
        new[ARM] = [" ".join(arm)]
    # A setting that no axis varied has one value so far, that of the runs.
    configs = [entry.config for entry in study.entries]
    before = {key: values.get(key) or unique(fixed_values(key, configs)) for key in new}
    known = [key for key in new if len(unique([*before[key], *new[key]])) == len(before[key])]
    # The same words again, after a start that was stopped, train what is left.
    if known and all(study.told_outcome(entry).state in DONE for entry in study.entries):
        raise ConfigError(f"add {known[0]}: the study has {', '.join(new[known[0]])} already")
    return with_values(recorded_command(study), {**values, **{key: unique([*before[key], *new[key]]) for key in new}})


def _with_higher_maximum(study: Manifest, words: Sequence[str]) -> list[str]:
    """Return the command of a study that chooses its seeds itself, with more of them. Raises ConfigError."""
    if [override_key(word) for word in words] != ["sweep.max_seeds"]:
        raise ConfigError(
            f"add {' '.join(words)}: sweep.until={study.settings.until} fixes the arms, and chooses the seeds. More"
            f" of them: add sweep.max_seeds=N above {study.settings.max_seeds}"
        )
    return [*(word for word in recorded_command(study) if override_key(word) != "sweep.max_seeds"), *words]


def _with_more_trials(study: Manifest, words: Sequence[str]) -> list[str]:
    """Return the command of a search with more trials. Raises ConfigError if anything else is added."""
    if [override_key(word) for word in words] != ["sweep.trials"]:
        raise ConfigError(
            f"add {' '.join(words)}: sweep.method={study.settings.method} chooses its points itself. More of them:"
            " add sweep.trials=N"
        )
    trials = words[0].partition("=")[2]
    if trials.isdecimal() and int(trials) <= study.settings.trials:
        raise ConfigError(f"add {words[0]}: the study has {study.settings.trials} already")
    return [*(word for word in recorded_command(study) if override_key(word) != "sweep.trials"), *words]


def chosen(study: Manifest, word: str) -> list[Entry]:
    """Return the runs with a value of an axis, as `seed=3` or `optimizer=adam`, or of an arm by its name.

    Raises ConfigError if there are none, or if they are all.
    """
    if study.settings.until is not None:
        raise ConfigError(f"drop {word}: sweep.until={study.settings.until} has looked at all arms together")
    if study.settings.method != "grid":
        raise ConfigError(f"drop {word}: sweep.method={study.settings.method} chose its points by all that were tried")
    if study.tuned:
        raise ConfigError(f"drop {word}: a comparison of tuned arms stays as it was planned")
    key, _, value = word.partition("=")
    found = [entry for entry in study.entries if key in entry.point and _same(entry.point[key], value)]
    arms = {arm.name: list(arm.entries) for arm in arms_of(study, study.entries)}
    found = found or arms.get(word, [])
    if not found:
        axes = [f"{key}={value}" for key, values in values_of(study).items() for value in values if key != ARM]
        accepted = list(dict.fromkeys([*axes, *arms]))
        near = difflib.get_close_matches(word, accepted, n=1, cutoff=0.6)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"drop {word}: the study has no such runs.{hint} Accepted: {'; '.join(accepted)}")
    if len(found) == len(study.entries):
        raise ConfigError(f"drop {word}: these are all runs of the study")
    if len({entry.texts[ARM] for entry in study.entries if ARM in entry.texts and entry not in found}) == 1:
        raise ConfigError(f"drop {word}: leaves one arm, which has nothing to be compared with")
    return found


def drop(study: Manifest, entries: Sequence[Entry], word: str) -> list[Path]:
    """Take runs out of a study; return their folders, which are kept in it under other names. Raises RunError."""
    kept = [entry for entry in study.entries if entry not in entries]
    ended = sum(study.told_outcome(entry).state in DONE for entry in study.entries)
    change = Change(_now(), f"dropped ({word})", len(entries), ended)
    left = replace(study, entries=tuple(kept))
    plan = plan_from(["-m", *with_values(study.command, values_of(left))])
    with _changed(study, plan, kept) as changed:
        changed.changes.append(change)
        changed.save()  # before the folders: a kill between the two leaves folders that no manifest names
        folders = [study.folder / entry.own_folder for entry in entries]  # a run of another study stays as it is
        return [rename_aside(folder, "dropped") for folder in folders if folder.is_dir()]


def rename(study: Manifest, name: str) -> Path:
    """Give a study another name; return its folder, whose name is changed as well if it is the one that it was given.

    Raises ConfigError for a name that is no name of a folder, RunError if it is taken.
    """
    if slug([name]) != name:
        raise ConfigError(f"rename {name}: must be of letters, digits, dots, plus signs and dashes")
    words = [word for word in study.command if override_key(word) != "sweep.name"]
    plan = plan_from(["-m", *words, f"sweep.name={name}"])
    folder = study.folder
    for other in earlier_studies(plan):
        if other.name == name and other.folder.resolve() != folder.resolve():
            raise ConfigError(f"rename {name}: is the name of {other.folder}")
    with _changed(study, plan, study.entries) as changed:
        changed.name = name
        changed.save()
    if folder.resolve().parent == (output_root() / SWEEPS).resolve():
        target = folder.with_name(f"{name}-{study.id}")
        if target.exists() and target.resolve() != folder.resolve():
            raise RunError(f"{target} exists already: the folder keeps its name, {folder}")
        return folder.rename(target)
    return folder


def label(study: Manifest, arm: str, name: str) -> None:
    """Give an arm another name in tables and reports. Raises ConfigError without such an arm, or for a used name."""
    arms = [each.name for each in arms_of(study, study.entries)]
    if arm not in arms:
        raise ConfigError(f"rename {arm}: the study has no such arm. Accepted: {', '.join(arms)}")
    if printable(name) != name or "${" in name:  # which no file may hold
        raise ConfigError(f"rename {arm} {printable(name)}: must have no control characters and no ${{…}}")
    if not name.strip() or name in arms:
        raise ConfigError(f"rename {arm} {name}: must be a name that no arm has")
    # A name may have been given to the settings of an arm, or to a whole name: the last one is replaced.
    original = {new: old for old, new in study.labels.items()}.get(arm, arm)
    plan = plan_from(["-m", *study.command])
    with _changed(study, plan, study.entries) as changed:
        changed.labels[original] = name
        changed.save()


class _changed:
    """The study of a manifest under its lock, with another plan and these runs. Raises RunError if it is in use."""

    def __init__(self, study: Manifest, plan: Plan, entries: Sequence[Entry]) -> None:
        plan_id = study.plans[-1] if study.plans else study.id
        if len(entries) < len(study.entries):  # with its names alone it stays the plan that it was
            plan_id = study_id(plan, study.code, study.data, [entry.id for entry in entries])
        self.study, self.entries = Study(plan, study.folder, study.code, study.data, plan_id), entries
        self.lock = locked(study.folder)

    def __enter__(self) -> Study:
        self.lock.__enter__()
        refuse_links(self.study.folder)
        self.study.open()
        ids = {(entry.id, entry.trial, entry.stage) for entry in self.entries}
        self.study.entries = [e for e in self.study.entries if (e.id, e.trial, e.stage) in ids]
        return self.study

    def __exit__(self, *error: object) -> None:
        self.lock.__exit__(*error)  # type: ignore[arg-type]


def _values(word: str) -> list[str]:
    """Return the values in an override, as `seed=3,4` or `seed=range(3,5)`. Raises ConfigError."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(as_forced_override(word, many=True))
    except HydraException as error:
        raise ConfigError(f"add {word}: {str(error).splitlines()[0]}") from None
    if not override.is_sweep_override():
        return [str(override.input_line).partition("=")[2]]
    if override.is_interval_sweep():
        raise ConfigError(f"add {word}: must list values, such as {override_key(word)}=1,2")
    return list(override.sweep_string_iterator())


def _same(value: str, other: str) -> bool:
    return canonical(f"={value}") == canonical(f"={other}")


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
