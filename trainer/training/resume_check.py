"""The check of a checkpoint against the trainer that is to load it: names, types, shapes, settings and ranges.

A checkpoint may come from elsewhere. A state of the wrong form would fail in the first step with torch's own error, and
one with other settings would silently train differently from `config.yaml`.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trainer.errors import RunError
from trainer.runtime.memory import is_out_of_memory, release_frames
from trainer.storage.checkpoint_guard import reason
from trainer.storage.untrusted import MAX_METRIC, MAX_SECONDS
from trainer.techniques.scheduler import LRFunction, Plateau, StatefulLR
from trainer.training.epoch import EpochProgress, Meters
from trainer.training.optimizer_check import refuse_other_optimizer
from trainer.training.state_forms import refuse_beyond, refuse_other_memory, refuse_other_setting, refuse_unlike

if TYPE_CHECKING:
    from trainer.training.trainer import ClassificationTrainer

# The parts of a trainer's state, all of which are compared before any is loaded.
PARTS = ("epoch", "progress", "model", "optimizer", "schedule", "scaler", "hooks", "early_stopping")


@contextlib.contextmanager
def checkpoint_errors(path: Path) -> Iterator[None]:
    """Turn the errors of loading the checkpoint at `path` into RunError with one line.

    torch and Python raise five types of error for a state of another network or optimizer.
    """
    try:
        yield
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            release_frames(error)
            raise RunError(f"{path} needs more memory than is free") from None
        raise RunError(f"{path} does not fit {path.with_name('config.yaml')}: {reason(error)}") from None


def refuse_misfit(trainer: "ClassificationTrainer", state: Any) -> None:
    """Compare a saved state with that of a newly built trainer. Raises ValueError where names, types or shapes differ.

    Settings must be as they are in `config.yaml`, from which the trainer was built.
    """
    own = trainer.state_dict()
    if not isinstance(state, Mapping) or not set(PARTS) <= state.keys():
        raise ValueError(f"it must hold {', '.join(PARTS)}")
    if "hits" in state:  # missing in checkpoints of earlier versions, and without validation
        refuse_unlike(own.get("hits"), state["hits"], "hits")
    for name in PARTS:
        if name == "optimizer":
            assert trainer.build_optimizer, "a trainer without it cannot be resumed"
            scheduled = {key for key in trainer.schedule.momenta if key}  # set before the next step
            refuse_other_optimizer(trainer.build_optimizer, state[name], tuple(scheduled))
        elif name == "schedule":
            _refuse_other_schedule(trainer.schedule.rule, own[name], state[name])
        elif name == "hooks":
            _refuse_other_hooks(own[name], state[name])
        elif name == "progress":
            _refuse_other_progress(trainer, state[name])
        elif name != "scaler" or state[name] != {}:  # without half precision there is nothing to scale
            refuse_unlike(own[name], state[name], name)
    if state["scaler"]:
        # The other values of the scaler change while it trains; these three are settings.
        for key in ("growth_factor", "backoff_factor", "growth_interval"):
            refuse_other_setting(own["scaler"][key], state["scaler"][key], f"scaler.{key}")


def _refuse_other_schedule(rule: LRFunction, own: Mapping[str, Any], saved: Any) -> None:
    """Check the steps, the factor of `halve_lr`, and the memory of a rule that has one."""
    if isinstance(rule, StatefulLR) and not isinstance(rule, Plateau) and isinstance(saved, Mapping):
        refuse_other_memory(own["rule"], saved.get("rule"), "schedule.rule")
        own, saved = {**own, "rule": None}, {**saved, "rule": None}
    refuse_unlike(own, saved, "schedule")
    refuse_beyond(1.0, saved["scale"], "schedule.scale")  # halve_lr only lowers the rate, and so does Plateau
    if isinstance(rule, Plateau):
        refuse_beyond(own["rule"]["lr"], saved["rule"]["lr"], "schedule.rule.lr")


def _refuse_other_hooks(own: Mapping[str, Any], saved: Any) -> None:
    """Check the state of each technique that acts on a step, which may have begun with None or an empty list."""
    if not isinstance(saved, Mapping) or own.keys() != saved.keys():
        raise ValueError(f"hooks must hold {', '.join(own) or 'nothing'}")
    for name in own:
        refuse_other_memory(own[name], saved[name], f"hooks.{name}", tensors=True)


def _refuse_other_progress(trainer: "ClassificationTrainer", saved: Any) -> None:
    """Check an unfinished epoch: an existing step, sums of the right size, generator states that torch accepts."""
    if saved is None:
        return
    steps = len(trainer.train)
    meters = Meters(steps, trainer.device, trainer.other_loss)
    blank = EpochProgress(trainer.seed, 0, 0.0, meters, torch.Generator(trainer.device))
    meters.gradients = int(trainer.takes_closure)
    blank.started = 0.0  # `begin` would set torch's global generators
    blank.suspend()
    own = blank.state_dict()
    other_device = isinstance(saved, Mapping) and saved.get("device") != own["device"]
    if other_device:  # its generators are not loaded
        own["generators"] = saved.get("generators")
    refuse_unlike(own, saved, "progress")
    if not saved["losses"].isfinite().all():
        raise ValueError("progress.losses are not finite")  # no such state is saved (see raise_if_nonfinite)
    bounds: dict[str, float] = {
        "step": steps,
        "skipped_steps": steps,
        "images": len(trainer.train.labels),
        "seconds": MAX_SECONDS,
        "lr": MAX_METRIC,
        "correct": MAX_METRIC,
        **({"cross_entropy": MAX_METRIC} if trainer.other_loss else {}),
    }
    for name, bound in bounds.items():
        refuse_beyond(bound, float(saved[name]), f"progress.{name}")
    for name, state in ({} if other_device else saved["generators"]).items():
        try:
            torch.Generator("cpu" if name == "cpu" else trainer.device).set_state(state)
        except RuntimeError as error:
            raise ValueError(f"progress.generators.{name}: {reason(error)}") from None
