"""Turns `-m` into a list of composed runs. All of them are composed, then checked, before the first one starts."""

import copy
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from trainer.commandline import opened
from trainer.errors import ConfigError


class StudySweeper:
    """Hydra's grid syntax (commas, range, choice, glob), and what an experiment brings along.

    `params` are axes, each a setting and its values; `arms` are the values of one axis that changes several
    settings at once, each a text such as "optimizer=sgd lr=0.1". Every combination becomes a job. What is typed on
    the command line comes last: it replaces an axis, and a setting in every arm.
    """

    def __init__(self, params: dict[str, str] | None = None, arms: list[str] | None = None) -> None:
        self.params, self.arms = params or {}, arms or []

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.loader, self.task_function, self.config = hydra_context.config_loader, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        """Hands each composed job to the task function, which only collects it."""
        typed = {argument.lstrip("+").partition("=")[0] for argument in arguments}
        axes = [opened(f"{key}={value}") for key, value in self.params.items() if key not in typed]
        overrides = OverridesParser.create(config_loader=self.loader).parse_overrides([*axes, *arguments])
        (grid,) = BasicSweeper.split_arguments(overrides, None)
        jobs = [[*map(opened, arm.split()), *job] for arm in self.arms or [""] for job in grid]
        for number, job in enumerate(jobs):
            config = self.loader.load_sweep_config(self.config, job)
            if (config.hydra.sweeper.params or {}) != self.params or (config.hydra.sweeper.arms or []) != self.arms:
                raise ConfigError("each experiment brings runs of its own: start one after the other, not as an axis")
            with open_dict(config):
                config.hydra.job.id = config.hydra.job.num = number
            HydraConfig.instance().set_config(config)
            self.task_function(_without_hydra(config))


def _without_hydra(config: DictConfig) -> Any:
    tree = copy.deepcopy(config)
    with read_write(tree), open_dict(tree):
        del tree["hydra"]
    return tree
