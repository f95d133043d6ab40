"""The settings of the training loop."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch.optim import Optimizer

from trainer.techniques.hooks import StepHooks
from trainer.techniques.loss import Loss
from trainer.techniques.metric import Metric
from trainer.training.early_stopping import EarlyStopping
from trainer.training.nonfinite import OnNonFinite

Precision = Literal["fp32", "bf16", "fp16"]
Watch = Callable[[Iterable[Any], int, int, int], Iterable[Any]]


def unwatched(batches: Iterable[Any], epoch: int, steps: int, done: int) -> Iterable[Any]:
    """Return the batches as they are: no progress display."""
    return batches


@dataclass(frozen=True)
class TrainerOptions:
    """The settings of a `ClassificationTrainer` besides its network, optimizer, schedule and data.

    `hooks`: the techniques that act on a step. `loss`: what is minimized, None for cross-entropy; beside another one
    the cross-entropy is recorded. `metrics`: by name, what is measured beside them after each validation.
    `validate_every`: in epochs. `split_seed`: decides which validation images form each half. `watch(batches, epoch,
    steps, done)` wraps the batches of an epoch to display progress; `epoch` counts from 1, `done` is the number of
    steps done already. `build_optimizer()` builds the optimizer again, for weights of zero, with which a saved state is
    compared.
    """

    epochs: int
    seed: int
    hooks: StepHooks = field(default_factory=StepHooks)
    loss: Loss | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    validate_every: int = 1
    split_seed: int = 0
    early_stopping: EarlyStopping = field(default_factory=lambda: EarlyStopping(None, 0.0))
    precision: Precision = "fp32"
    deterministic: bool = False
    cuda_graph: bool = False
    on_nonfinite: OnNonFinite = "stop"
    watch: Watch = unwatched
    build_optimizer: Callable[[], Optimizer] | None = None
