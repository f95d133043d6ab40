"""From the arguments to checked runs: Hydra composes, its complaints are worded anew. Imports no torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import hydra
import yaml
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from trainer.config.check import check
from trainer.config.hydra_errors import reworded, usage_errors
from trainer.config.run_config import RunConfig, Tag, tagged
from trainer.config.schema import CONF, GROUPS, PACKAGE
from trainer.config.suggestions import no_such_flag
from trainer.errors import ConfigError
from trainer.runtime.files import expanded
from trainer.storage.untrusted import read_config, refuse_download

if TYPE_CHECKING:
    from trainer.study.plan import Plan

# Hydra's flags that show something instead of running; --cfg shows a run, which is checked like one that starts.
SHOWING = {"--cfg", "-c", "--info", "-i", "--hydra-help", "--shell-completion", "-sc"}
TAKES_VALUE = {"--cfg", "-c", "--info", "-i", "--config-dir", "-cd", "--package", "-p"}
FLAGS = SHOWING | TAKES_VALUE | {"-m", "--multirun", "-r", "--run", "--resolve"}
FLAGS_SHOWN = "-m, --multirun, --cfg job, --config-dir DIR, --help, --version, --hydra-help, --info, --shell-completion"
# Of Hydra's own settings those that belong to a sweep; a run's folder and its log are the trainer's.
HYDRA_KEYS = ("hydra/launcher", "hydra.launcher", "hydra.sweeper")


@dataclass(frozen=True)
class Job:
    """One run as Hydra composed it, with what it says of its study and of the YAML files in play, latest first.

    `overrides` are the keys that the command line set.
    """

    tree: dict[str, Any]
    overrides: tuple[str, ...]
    files: tuple[str, ...]
    sweep: Any = None
    retrain: Any = False

    def checked(self) -> RunConfig:
        run = check(self.tree, self.overrides, self.files)
        if run.dataset.shared["validation_size"] == 0 and run.dataset.shared["folds"] is None:
            raise ConfigError(
                "dataset.validation_size=0 leaves nothing to choose by. What is trained on all images is the winner of"
                " a study: python -m trainer finalize STUDY"
            )
        return run


def interpret(arguments: Sequence[str]) -> RunConfig | Plan | None:
    """What the arguments ask for: a checked run, under `-m` the plan of a study, None where something was shown.

    Raises ConfigError with one line for the first mistake; until then nothing has been read or written.
    """
    flags, overrides = _sorted_out(arguments)
    names = {flag.partition("=")[0] for flag in flags}
    if not SHOWING.isdisjoint(names):
        _show(arguments, flags, overrides, names)
        return None
    found = _run_hydra([*flags, *map(as_forced_override, overrides)])
    if not isinstance(found, Job):
        from trainer.study.plan import Plan

        with reworded(arguments):
            return Plan.of(found, (*_own_yaml(flags), *overrides))
    study = [key for key in found.overrides if key.partition(".")[0] in ("sweep", "retrain")]
    if study:
        raise ConfigError(f"{study[0]} (command line): belongs to a study of several runs: add -m")
    return _resumed(found).checked()


def _show(arguments: Sequence[str], flags: list[str], overrides: list[str], names: set[str]) -> None:
    if not {"--cfg", "-c"}.isdisjoint(names):
        if not {"-m", "--multirun"}.isdisjoint(names):
            raise ConfigError("--cfg shows one run: leave -m out")
        run = interpret(overrides)
        if isinstance(run, RunConfig) and run.resume:
            print(yaml.safe_dump(run.tree(), sort_keys=False, allow_unicode=True), end="")
            return
    _run_hydra([*flags, *overrides])
    if "install=bash" in arguments:  # Hydra's own function completes `trainer`, not `python -m trainer`
        print((PACKAGE / "config" / "completion.bash").read_text(encoding="utf-8"))


def _sorted_out(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """(flags with their values, settings), in whatever order they were typed: Hydra wants the flags first."""
    flags, settings = list[str](), list[str]()
    rest = iter(arguments)
    for argument in rest:
        name = argument.partition("=")[0]
        if not argument.startswith("-"):
            settings.append(argument)
        elif name not in FLAGS:
            raise ConfigError(no_such_flag(argument, FLAGS_SHOWN))
        else:
            flags.append(argument)
            if name in TAKES_VALUE and argument == name:
                flags += [value for value in [next(rest, None)] if value is not None]
    return flags, settings


def _own_yaml(flags: Sequence[str]) -> list[str]:
    """`--config-dir`, by whose files a study goes on, in one word."""
    words = list(flags)
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in ("--config-dir", "-cd"):
            return [f"--config-dir={value if equals else words[index + 1]}"]
    return []


def _run_hydra(arguments: Sequence[str]) -> Any:
    """Hydra with a task that only takes what was composed: a Job, or from our sweeper a Sweep."""
    overrides = [argument for argument in arguments if argument[:1] != "-"]
    found: list[Any] = []  # stays empty under --cfg, which prints and runs no task

    def take(composed: Any) -> None:
        try:
            found.append(job_of(composed, overrides) if isinstance(composed, DictConfig) else composed)
        except Exception as error:
            found.append(error)  # raised outside Hydra, which would print a heading of its own

    _close_environment()
    task = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(take)
    before, sys.argv = sys.argv, [sys.argv[0], *arguments]
    # It would compose everything once more, for a mode that -m alone sets here.
    get_mode, Hydra.get_mode = Hydra.get_mode, lambda *_, **__: None  # type: ignore[method-assign]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise its errors instead of printing them
    try:
        with reworded(arguments), usage_errors(arguments):
            task()
            if found and isinstance(found[0], Exception):
                raise found[0]
            return found[0] if found else None
    finally:
        sys.argv, Hydra.get_mode = before, get_mode  # type: ignore[method-assign]
        del os.environ["HYDRA_FULL_ERROR"]


def _close_environment() -> None:
    """Takes `${oc.env:NAME}` away: what is composed is written into records, logs, checkpoints and W&B."""

    def refuse(name: str, *_: object) -> NoReturn:
        raise ConfigError(f'the environment is not read into a run\'s record. Let the shell fill it in: key="${name}"')

    OmegaConf.register_new_resolver("oc.env", refuse, replace=True)


def job_of(tree: DictConfig, overrides: Sequence[str]) -> Job:
    """The job for a composed tree; Hydra's state is still that of its composition."""
    state = HydraConfig.get()
    keys = tuple(text.lstrip("+~").partition("=")[0] for text in overrides)
    arms = [{word.partition("=")[0] for word in arm.split()} for arm in state.sweeper.get("arms") or [""]]
    chosen = {*(state.sweeper.get("params") or {})} <= set(keys) and any(arm <= set(keys) for arm in arms)
    if state.mode == RunMode.RUN and not chosen:
        name = state.runtime.choices.get("experiment")
        raise ConfigError(f"experiment={name} compares several runs: python -m trainer -m experiment={name}")
    files = [
        f"{group}/{option}.yaml"
        for group, chosen in state.runtime.choices.items()
        for option in ([chosen] if isinstance(chosen, str) else chosen or [])
        if not group.startswith("hydra/")
    ]
    values = OmegaConf.to_container(tree, resolve=True)
    assert isinstance(values, dict)
    values = _without_missing(values)
    sweep, retrain = values.pop("sweep", None), values.pop("retrain", False)
    return Job(values, keys, (*reversed(files), "config.yaml"), sweep, retrain)


def _without_missing(values: Any) -> Any:
    """`???` is YAML's mark for a value that must be given: the checker names a key that is absent."""
    if not isinstance(values, dict):
        return values
    return {key: _without_missing(value) for key, value in values.items() if value != "???"}


def as_forced_override(argument: str) -> str:
    """Lets Hydra take any key, `weight_decy=1` like `+weight_decy=1`: the closed check that follows words it better."""
    key, equals, value = argument.partition("=")
    if argument.startswith("~") or not equals:
        return argument
    key = key.lstrip("+")
    if key.startswith("hydra") and not key.startswith(HYDRA_KEYS):
        raise ConfigError(
            f"{key} (command line): of Hydra's own settings only {', '.join(HYDRA_KEYS)} are accepted;"
            " a run's folder is output_dir=FOLDER, a study is asked for by -m"
        )
    if value.startswith("~/"):
        value = f'"{value}"'  # Hydra reads no bare ~
    group = key.partition("@")[0]
    if key.startswith("hydra."):
        return argument  # with the + that a new key of a dictionary needs, as in ray.init
    if "/" in key or (CONF / group).is_dir():
        if value in ("", "null") and group in GROUPS:
            options = ", ".join(sorted(file.stem for file in (CONF / group).glob("*.yaml")))
            raise ConfigError(f"{key}={value} (command line): must be one of {options}")
        return f"{key}={value}"
    return f"++{key}={value}"


def _resumed(job: Job) -> Job:
    """For `resume=<folder>` the run that is recorded there, with what may change about it."""
    if job.tree.get("resume") is None:
        return job
    path = expanded(str(job.tree["resume"])) / "config.yaml"
    if (path.parent / "study.json").is_file():
        raise ConfigError(f"resume={path.parent}: is a study, which goes on by its own command (study.json has it)")
    if not path.is_file():
        raise ConfigError(f"resume={path.parent}: there is no run, {path} does not exist")
    saved, resumable = read_config(path), tagged(Tag.RESUMABLE)
    tree = saved | {"resume": str(path.parent), "output_dir": None}
    for key in job.overrides:
        root, _, option = key.partition(".")
        if root in resumable and root in job.tree:
            # `wandb` is the one that has options; one that does not exist is left to the check.
            given, before, top = job.tree[root], tree.get(root), option.partition(".")[0]
            if option and isinstance(given, dict) and isinstance(before, dict):
                tree[root] = {**before, top: given.get(top)}
            else:
                tree[root] = given
        elif root != "resume":
            raise ConfigError(
                f"{key}: a run that goes on keeps its settings. Accepted beside resume=: {', '.join(resumable)}"
            )
    dataset = tree.get("dataset")
    if "data_dir" not in job.overrides and isinstance(dataset, dict) and isinstance(dataset.get("name"), str):
        refuse_download(dataset["name"], str(tree.get("data_dir")), path, "data_dir=DIR")
    return replace(job, tree=tree, files=())
