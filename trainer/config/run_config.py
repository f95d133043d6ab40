"""The typed run: every scalar of config.yaml and every chosen technique, checked before anything is touched."""

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Literal

from annotated_types import Le
from pydantic import BaseModel, ConfigDict, Field

from trainer.config.directions import direction_of
from trainer.config.schema import GROUPS, Choice
from trainer.config.types import (
    Count,
    CountOrZero,
    Device,
    Epochs,
    Figure,
    Fraction,
    Looked,
    Name,
    NonNegative,
    Positive,
    Probability,
    Project,
    Score,
    Switch,
    Text,
)

Shown = Literal["gap", "training_accuracy", "images_per_second"]  # further columns of the table of a study
Question = Literal["superiority", "not_worse", "interaction"]  # beside which arm is better


class Tag(Enum):
    """The role of a setting. One without a tag decides the result and is fixed once the run has begun."""

    RESUMABLE = "may be given anew when the run continues"
    NO_EFFECT = "changes no result: two runs that differ in it alone are the same run"
    ONE_RUN = "names the folder of one run, so that another one cannot take it over"
    PLACE = "says on which machine and in which folder a run happens"


class WandbConfig(BaseModel):
    """The settings of a run in Weights & Biases."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["offline", "online", "disabled"]
    project: Project
    entity: Text | None
    group: Text | None
    name: Text | None
    tags: tuple[Text, ...]
    notes: Text | None
    log_model: Switch
    # Runs recorded before 0.4.0 do not have these.
    job_type: Text = "train"
    arm: Text | None = None
    histograms: Switch = True
    log_code: Switch = False


class AblationConfig(BaseModel):
    """The settings of the root that make a study of the techniques of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ablate: Literal["each", "add", "pairs"] | None = None
    ablate_only: tuple[Text, ...] | None = None


class TuneConfig(BaseModel):
    """The tuning of each arm of a study before the comparison; the settings that are tuned are axes of the study."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trials: Count
    method: Literal["random", "grid", "tpe", "gp"]
    seeds: Count


class SweepConfig(BaseModel):
    """The settings of a study: its search and its comparison. `conf/config.yaml` explains each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[Name | None, Tag.NO_EFFECT]
    method: Literal["grid", "random", "tpe", "gp"]
    trials: Count
    stages: Annotated[Count, Le(10)]  # the tenth has 20 000 times the epochs of the first
    metric: Literal["validation_accuracy", "validation_loss", "validation_cross_entropy"] | Figure
    direction: Literal["maximize", "minimize"] | None
    pruner: Literal["none", "median", "hyperband"]
    seed: CountOrZero
    on_error: Annotated[Literal["continue", "stop", "retry"], Tag.NO_EFFECT]
    concurrent: Annotated[Count | Literal["auto"], Tag.NO_EFFECT] = 1  # studies before 0.4.0 do not have it
    fairness_check: Annotated[Literal["off", "warn", "strict"], Tag.NO_EFFECT]
    # Studies before 0.4.0 do not have these.
    margin: Annotated[Positive | None, Tag.NO_EFFECT] = None
    score: Annotated[Score, Tag.NO_EFFECT] = "best"
    baseline: Text | None = None
    until: Literal["decided"] | None = None
    # The same study with a higher maximum, which breaks the levels of its looks: the verdict says so.
    max_seeds: Annotated[Looked, Tag.NO_EFFECT] = 24
    looks: tuple[Looked, ...] = (3, 4, 6, 8, 12, 16, 24, 32, 48)
    confirm: Annotated[CountOrZero, Tag.NO_EFFECT] = 0
    confirm_seeds: Annotated[Count, Tag.NO_EFFECT] = 3
    tune: TuneConfig | None = None  # None: nothing is tuned
    blocks: Text | tuple[Text, ...] | None = None
    ask: Annotated[tuple[Question, ...], Tag.NO_EFFECT] = ()
    target: Probability | None = None
    question: Annotated[Text | None, Tag.NO_EFFECT] = None
    expect: Annotated[Text | None, Tag.NO_EFFECT] = None
    columns: Annotated[tuple[Shown, ...], Tag.NO_EFFECT] = ()
    dry_run: Annotated[Switch, Tag.NO_EFFECT]
    # Excluded from the manifest of a study, which lists the axes that are made of these.
    params: dict[str, Text] = Field({}, exclude=True)
    arms: tuple[Text, ...] | dict[str, Text] | None = Field(None, exclude=True)
    # Typed at the root, where `compose.job_of` takes them from.
    ablate: Literal["each", "add", "pairs"] | None = Field(None, exclude=True)
    ablate_only: tuple[Text, ...] | None = Field(None, exclude=True)

    @property
    def asked(self) -> list[str]:
        """The question and what to expect as sentences; none of a study without them."""
        told = {"Question": self.question, "Expected": self.expect}
        return [f"{name}: {text}" for name, text in told.items() if text]

    @property
    def arm_texts(self) -> tuple[str, ...]:
        """The settings of each arm, as a text."""
        return tuple(self.arms.values() if isinstance(self.arms, dict) else self.arms or ())

    @property
    def arm_names(self) -> dict[str, str]:
        """The names of arms that have one, by the text of their settings."""
        return {text: name for name, text in self.arms.items()} if isinstance(self.arms, dict) else {}

    @property
    def last_stage(self) -> int:
        """The stage whose runs are compared: behind the tuning of the arms, or the confirmation of a search."""
        return 2 if self.tune else self.stages + (self.confirm > 0)

    @property
    def block_keys(self) -> tuple[str, ...]:
        """The axes that `blocks` names."""
        return (self.blocks,) if isinstance(self.blocks, str) else self.blocks or ()

    @property
    def sign(self) -> int:
        """1 if a higher metric is better, else -1."""
        return -1 if (self.direction or direction_of(self.metric)) == "minimize" else 1


class RunConfig(BaseModel):
    """One run, complete: the scalars of `conf/config.yaml` and one checked `Choice` for each group."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: Choice
    model: Choice
    activation: Choice
    normalization: Choice
    init: Choice
    optimizer: Choice
    scheduler: Choice
    regularization: tuple[Choice, ...]
    augmentation: tuple[Choice, ...]
    # Runs recorded before 0.4.0 do not have these.
    preprocessing: Choice = Choice("preprocessing", "standardize")
    loss: Choice = Choice("loss", "cross_entropy")
    metric: tuple[Choice, ...] = ()

    epochs: Annotated[Epochs, Tag.RESUMABLE]
    batch_size: Count
    lr: Positive
    weight_decay: NonNegative
    weight_decay_scope: Literal["weights", "all"]
    dropout: Fraction
    seed: CountOrZero
    split_seed: CountOrZero
    # Runs recorded before 0.4.0 do not have it.
    unfit_augmentation: Annotated[tuple[Text, ...], Tag.RESUMABLE, Tag.NO_EFFECT] = ()
    device: Annotated[Device, Tag.RESUMABLE, Tag.PLACE]
    precision: Literal["fp32", "bf16", "fp16"]
    compile: Switch
    deterministic: Switch = False  # runs recorded before 0.3.0 do not have it
    cuda_graph: Annotated[Switch, Tag.RESUMABLE] = False  # runs recorded before 0.4.0 do not have it
    validate_every: Count
    layer_stats_every: Annotated[Count | None, Tag.RESUMABLE] = None  # runs recorded before 0.3.0 do not have it
    early_stop_patience: Annotated[Count | None, Tag.RESUMABLE]
    early_stop_min_delta: NonNegative
    checkpoint_minutes: Annotated[Positive | None, Tag.RESUMABLE, Tag.NO_EFFECT]
    on_nonfinite: Literal["stop", "skip", "halve_lr"]
    data_dir: Annotated[Text, Tag.RESUMABLE, Tag.NO_EFFECT, Tag.PLACE]
    # Runs recorded before 0.4.0 do not have it.
    output_root: Annotated[Text | None, Tag.RESUMABLE, Tag.NO_EFFECT, Tag.PLACE] = None
    output_dir: Annotated[Text | None, Tag.ONE_RUN, Tag.NO_EFFECT, Tag.PLACE]
    resume: Annotated[Text | None, Tag.ONE_RUN, Tag.NO_EFFECT, Tag.PLACE]
    tensorboard: Annotated[Switch, Tag.RESUMABLE, Tag.NO_EFFECT] = False  # runs before 0.4.0 do not have it
    wandb: Annotated[WandbConfig, Tag.RESUMABLE, Tag.NO_EFFECT]

    @property
    def eager(self) -> "RunConfig":
        """The same run neither compiled nor captured as a graph, so that hooks on its layers are called."""
        return self.model_copy(update={"compile": False, "cuda_graph": False})

    @property
    def further(self) -> tuple[str, ...]:
        """The names of the figures that an epoch records beside the loss and the accuracy of its images."""
        entropy = () if self.loss.name == "cross_entropy" else ("train_cross_entropy", "validation_cross_entropy")
        return (*entropy, *(f"validation_{choice.name}" for choice in self.metric))

    def tree(self) -> dict[str, Any]:
        """The run as plain YAML values, in the layout of `conf/`; `check(config.tree()) == config`."""
        values = self.model_dump(mode="json", exclude=set(GROUPS))
        for name, group in GROUPS.items():
            chosen = getattr(self, name)
            if group.listed:
                values[name] = {choice.name: _plain(choice.options) for choice in chosen}
            else:
                values[name] = {"name": chosen.name, **_plain(chosen.options), **_plain(chosen.shared)}
        return values


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}


def tagged(*tags: Tag, model: type[BaseModel] = RunConfig) -> tuple[str, ...]:
    """Return the settings that have one of these tags, in the order of their declaration."""
    return tuple(name for name, field in model.model_fields.items() if not set(tags).isdisjoint(field.metadata))
