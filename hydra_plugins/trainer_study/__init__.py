"""The door through which Hydra 1.3 finds the sweeper: it accepts one from the `hydra_plugins` namespace alone."""

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper

from trainer.study.sweeper import StudySweeper


class TrainerStudySweeper(StudySweeper, Sweeper):
    """`hydra/sweeper: trainer_study`."""


@dataclass
class TrainerStudyConf:
    _target_: str = "hydra_plugins.trainer_study.TrainerStudySweeper"
    params: dict[str, str] | None = None
    arms: list[str] | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="trainer_study", node=TrainerStudyConf, provider="trainer")
