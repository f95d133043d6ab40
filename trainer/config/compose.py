"""From the arguments to checked runs: Hydra composes them, its errors are reworded. Imports no torch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import yaml
from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.hydra_config import HydraConfig
from hydra.plugins.completion_plugin import DefaultCompletionPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from trainer.config.arguments import HYDRA_KEYS, as_forced_override, given_twice, no_such_flag, refuse_typographic_dash
from trainer.config.check import check, check_sweep
from trainer.config.hydra_errors import reworded, usage_errors
from trainer.config.hydra_source import SCHEME, register_source
from trainer.config.option_files import own_conf
from trainer.config.origin import files_of, refuse_hidden, refuse_misplaced, refuse_old_numbers
from trainer.config.own import FLAG, active
from trainer.config.resume import resumed
from trainer.config.run_config import AblationConfig, RunConfig, Tag, tagged
from trainer.config.schema import CONF, own_folder
from trainer.config.settings import OF_STUDY, values_in
from trainer.config.shell import command
from trainer.errors import ConfigError
from trainer.runtime.extras import require
from trainer.runtime.text import complain
from trainer.storage.places import EMPTY

TAKES_VALUE = {"--cfg", "-c", "--info", "-i", "--config-dir", "-cd", "--package", "-p"}
FLAGS = TAKES_VALUE | {"-m", "--multirun", "-r", "--run", "--resolve", "--hydra-help"}
FLAGS_SHOWN = (
    "-m, --multirun, --cfg job, --config-dir DIR, --techniques PATH, --help, --version, --hydra-help, --info,"
    " --shell-completion"
)


@dataclass(frozen=True)
class Job:
    """One run as Hydra composed it, with the settings of its study and the YAML files it was composed of, latest first.

    `overrides`: {key that the command line set: its text}.
    """

    tree: dict[str, Any]
    overrides: Mapping[str, str]
    files: tuple[Path, ...]
    sweep: Any = None
    retrain: Any = False

    def checked(self) -> RunConfig:
        """Return the typed run. Raises ConfigError with one line for the first mistake."""
        refuse_old_numbers(self.files)
        refuse_misplaced(self.tree, self.files)
        run = check(self.tree, self.overrides, self.files)
        for key in tagged(Tag.PLACE):
            if getattr(run, key) == "":  # as of a variable of the shell that is not set
                raise ConfigError(f"{key}=: {EMPTY}")
        if run.dataset.shared["validation_size"] == 0 and run.dataset.shared["folds"] is None:
            raise ConfigError(
                "dataset.validation_size=0 leaves no images to validate on. To train the winner of a study on all"
                " images: python -m trainer finalize STUDY"
            )
        if run.tensorboard:
            require("tensorboard=true", "tensorboard", "tensorboard")
        if run.model.name == "timm":
            require("model=timm", "timm", "timm")
        return run


def replacing_arms(overrides: Sequence[str]) -> list[str]:
    """Return the overrides such that typed arms replace those of an experiment.

    Hydra would merge two groups of arms, and refuses a list in the place of a group.
    """
    typed = any(text.startswith("++sweep.arms=") for text in overrides)
    return [*(["++sweep.arms=null"] if typed else []), *overrides]


class Composer:
    """The composition of `conf/` and of the folder of `--config-dir`, whose files come second.

    `hydra.compose` makes the same call of `load_configuration`; it is not used because its search path is process-wide
    and `glob()` would not see a second folder. `hydra.main` would read `sys.argv`, print errors and exit, compose twice
    and instantiate the callbacks that a YAML file names.
    """

    def __init__(self, config_dir: str | None) -> None:
        _close_environment()
        search_path = create_config_search_path(str(CONF))
        places = [] if config_dir is None else [f"file://{own_folder(config_dir)}"]
        places += [f"file://{folder}" for folder in own_conf()]
        if active():
            register_source()
            places.append(f"{SCHEME}://")
        for place in places:
            search_path.prepend("command-line", place, SearchPathQuery(provider="schema"))
        version.setbase("1.3")  # as hydra.main(version_base="1.3") does
        self.hydra = Hydra("trainer", ConfigLoaderImpl(search_path))
        self.loader: Any = self.hydra.config_loader

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Return the composed tree with Hydra's own part, and make that part the one that `${hydra:…}` reads."""
        tree = self.loader.load_configuration("config", replacing_arms(overrides), RunMode.RUN)
        HydraConfig.instance().set_config(tree)
        return tree


@dataclass(frozen=True)
class Multirun:
    """A command line with `-m`, from which `study.plan` makes the plan of a study. `arguments` are the typed ones."""

    composer: Composer
    overrides: tuple[str, ...]
    arguments: tuple[str, ...]


def interpret(arguments: Sequence[str]) -> RunConfig | Multirun | None:
    """Return a checked run, a Multirun for `-m`, or None if the arguments only print something, such as `--cfg job`.

    Raises ConfigError with one line for the first mistake. No data is read and no file is written.
    """
    flags, typed = sorted_out(arguments)
    with reworded(arguments), usage_errors(arguments):
        asked = get_args_parser().parse_args(flags)
        _refuse_combinations(asked)
        composer = Composer(asked.config_dir)
        if asked.info is not None or asked.hydra_help:
            _show_hydra(composer.hydra, asked, typed)
            return None
    overrides, twice = [as_forced_override(text, asked.multirun) for text in typed], given_twice(typed)
    given = repeatable(arguments)
    with reworded(given):
        if asked.multirun:
            if twice:  # an axis would be lost
                raise ConfigError(f"{twice}. Give it once")
            return Multirun(composer, tuple(overrides), given)
        job = job_of(own_part(composer.compose(overrides)), overrides)
    if fixed := _refuse_study(job, given, asked.cfg is not None):
        overrides = [*fixed, *overrides]
        with reworded(given):
            job = replace(job, tree=job_of(own_part(composer.compose(overrides)), overrides).tree)
    if job.tree.get("resume") is not None:
        tree = resumed(job.tree, job.overrides)
        job = replace(job, tree=tree, files=(Path(tree["resume"]) / "config.yaml",))
    run = job.checked()
    if twice:
        complain(f"warning: {twice}: the last one is taken")
    if asked.cfg is None:
        return run
    if run.resume:
        print(yaml.safe_dump(run.tree(), sort_keys=False, allow_unicode=True), end="")
        return None
    with reworded(arguments), usage_errors(arguments):
        composer.hydra.show_cfg("config", overrides, asked.cfg, asked.package, asked.resolve)
    return None


def _refuse_combinations(asked: argparse.Namespace) -> None:
    """Raise ConfigError for flags that exclude each other: `hydra.main` checks them, its parser does not."""
    if asked.cfg and asked.multirun:
        raise ConfigError("--cfg shows one run: leave -m out")
    modes = ("run", "multirun", "cfg", "info", "hydra_help")
    given = [f"--{mode.replace('_', '-')}" for mode in modes if getattr(asked, mode)]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} (command line): give one of them")
    if (asked.resolve or asked.package) and not asked.cfg:
        raise ConfigError("--resolve and --package (command line): belong to --cfg")


def _show_hydra(hydra: Hydra, asked: argparse.Namespace, overrides: list[str]) -> None:
    """Print Hydra's information or help by the methods that `hydra.main` calls for these flags."""
    if asked.info is not None:
        hydra.show_info(asked.info, "config", overrides)
    else:
        asked.overrides = overrides
        hydra.hydra_help("config", get_args_parser(), asked)


def completions(arguments: Sequence[str], word: str) -> list[str]:
    """Return the settings that begin with `word` and may follow `arguments`. Raises ConfigError for a wrong one."""
    flags, typed = sorted_out(arguments)
    with reworded(arguments), usage_errors(arguments):
        request = get_args_parser().parse_args(flags)
        plugin = DefaultCompletionPlugin(Composer(request.config_dir).loader)
        # A comma stands for several values under -m only. Hydra splits the line at blanks, which only texts hold.
        plain = [text for text in typed if len(text.split()) == 1]
        line = " ".join([*(["-m"] if request.multirun else []), *plain, word])
        names = plugin._query("config", line)
    accepted = ("hydra.", "hydra/")
    return [name for name in names if not name.startswith("hydra") or name in accepted or name.startswith(HYDRA_KEYS)]


def _refuse_study(job: Job, arguments: Sequence[str], shown: bool) -> list[str]:
    """Return the overrides of what an experiment gives one value, which are settings of a run as well.

    Raises ConfigError for what needs `-m`: `sweep.…`, `retrain`, an axis that has no single value. `shown`: by `--cfg`.
    """
    keys = set(job.overrides)
    if study := [key for key in job.overrides if key.partition(".")[0] in OF_STUDY]:
        raise ConfigError(f"{study[0]} (command line): belongs to a study of several runs: add -m")
    sweep = check_sweep(job.sweep, job.overrides, job.files)
    arms = [{word.partition("=")[0] for word in arm.split()} for arm in sweep.arm_texts or ("",)]
    fixed = {key: text for key, text in sweep.params.items() if len(values_in(key, text) or ()) == 1}
    params = [key.removeprefix("tune.") for key in sweep.params if key not in fixed]
    if sweep.ablate or not ({*params} <= keys and any(arm <= keys for arm in arms)):
        several = f"experiment={HydraConfig.get().runtime.choices.get('experiment')} compares several runs"
        if shown:
            missing = [f"{key}=VALUE" for key in params if key not in keys]
            missing += [word for word in " ".join(sweep.arm_texts[:1]).split() if word.partition("=")[0] not in keys]
            raise ConfigError(f"{several}, --cfg shows one: give it {' '.join(missing)}")
        raise ConfigError(f"{several}: {command('-m', *arguments)}")
    return [as_forced_override(f"{key}={text}", many=False) for key, text in fixed.items() if key not in keys]


def sorted_out(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return (flags with their values, settings). They may be typed in any order; Hydra expects the flags first."""
    flags, settings = list[str](), list[str]()
    rest = iter(arguments)
    for argument in rest:
        name = argument.partition("=")[0]
        refuse_typographic_dash(argument)
        if not argument.startswith("-"):
            settings.append(argument)
        elif name not in FLAGS:
            raise ConfigError(no_such_flag(argument, [*rest], sorted({*FLAGS, FLAG}), FLAGS_SHOWN))
        else:
            if name in TAKES_VALUE and name in [flag.partition("=")[0] for flag in flags]:
                raise ConfigError(f"{name} (command line): is given twice")
            flags.append(argument)
            if name in TAKES_VALUE and argument == name:
                flags += [value for value in [next(rest, None)] if value is not None]
    return flags, settings


def repeatable(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments that a printed command repeats: the settings and `--config-dir`, not `-m` or `--cfg`."""
    flags, settings = sorted_out(arguments)
    with usage_errors(arguments):
        folder = get_args_parser().parse_args(flags).config_dir
    return (*([] if folder is None else [f"--config-dir={folder}"]), *settings)


def _close_environment() -> None:
    """Make `${oc.env:NAME}` an error: a secret would be written to records, checkpoints and W&B."""

    def refuse(name: str, *_: object) -> NoReturn:
        raise ConfigError(f'the environment is not read into a run\'s record. Let the shell fill it in: key="${name}"')

    OmegaConf.register_new_resolver("oc.env", refuse, replace=True)


def own_part(tree: DictConfig) -> DictConfig:
    """Return the tree without Hydra's own part."""
    return OmegaConf.masked_copy(tree, [str(key) for key in tree if key != "hydra"])


def job_of(tree: DictConfig, overrides: Sequence[str]) -> Job:
    """Return the job for the tree that was composed last, whose choices Hydra's global state holds."""
    state = HydraConfig.get()
    if state.sweeper.get("params"):
        raise ConfigError("hydra.sweeper.params (a YAML file): is not read, an experiment has its axes in sweep.params")
    values = OmegaConf.to_container(tree, resolve=True)
    assert isinstance(values, dict)
    values = _without_missing(values)
    typed = {key: value for text in overrides for key, _, value in [text.lstrip("+~").partition("=")]}
    sweep, retrain = _with_ablation(values.pop("sweep", None), values), values.pop("retrain", False)
    tune = values.pop("tune", None)
    sweep = {"tune": tune, **sweep} if isinstance(sweep, dict) else sweep
    folders = [Path(source.path) for source in state.runtime.config_sources if source.schema == "file"]
    files = files_of(state.runtime.choices, folders)
    refuse_hidden(files, folders)
    return Job(values, typed, files, sweep, retrain)


def _with_ablation(sweep: Any, values: dict[str, Any]) -> Any:
    """Return the settings of a study with those of an ablation, which stand at the root of the values, and leave it."""
    ablation = {key: values.pop(key) for key in AblationConfig.model_fields if key in values}
    if not isinstance(sweep, dict):
        return sweep
    if key := next((key for key in ablation if key in sweep), None):
        raise ConfigError(f"sweep.{key}: there is no such key. Did you mean {key}, which stands at the root?")
    return {**sweep, **ablation}


def _without_missing(values: Any) -> Any:
    """Return the values without those that are `???`, Hydra's mark for a missing one: the check reports absent keys."""
    if not isinstance(values, dict):
        return values
    return {key: _without_missing(value) for key, value in values.items() if value != "???"}
