"""The groups of scalars in `config.yaml`: how a run appears in W&B, how a study searches."""

from typing import Annotated, Literal

from annotated_types import Le
from pydantic import BaseModel, ConfigDict, Field

from trainer.kinds import Count, CountOrZero, Name, Switch, Text


class WandbConfig(BaseModel):
    """How a run appears in Weights & Biases."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["offline", "online", "disabled"]
    project: Text
    entity: Text | None
    group: Text | None
    name: Text | None
    tags: tuple[Text, ...]
    notes: Text | None
    artifact: Switch


class SweepConfig(BaseModel):
    """How a study searches and judges; see `conf/config.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name | None
    method: Literal["grid", "random", "tpe"]
    trials: Count
    stages: Annotated[Count, Le(10)]  # the tenth has 20 000 times the epochs of the first
    metric: Literal["validation_accuracy", "validation_loss"]
    direction: Literal["maximize", "minimize"] | None
    pruner: Literal["none", "median", "hyperband"]
    seed: CountOrZero
    on_error: Literal["continue", "stop", "retry"]
    fair: Literal["off", "warn", "strict"]
    dry_run: Switch
    # Left out of the manifest of a study, which lists the axes that these become.
    params: dict[str, Text] = Field({}, exclude=True)
    arms: tuple[Text, ...] = Field((), exclude=True)

    @property
    def sign(self) -> int:
        """1 where more of the metric is better, else -1."""
        natural = "maximize" if self.metric == "validation_accuracy" else "minimize"
        return 1 if (self.direction or natural) == "maximize" else -1
