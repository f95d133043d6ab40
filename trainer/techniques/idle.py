"""Settings that can never act in a run, such as a schedule whose first step comes after the last epoch.

They contradict nothing and are not refused: a warning before the run names them. Imports no torch.
"""

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from trainer.config.run_config import RunConfig
from trainer.config.schema import CONF, Choice
from trainer.runtime.text import counted
from trainer.techniques.scheduler import StatefulLR

# {augmentation: {setting: the value of it with which no image changes, whatever the other settings are}}
_NEEDED = {"random_erasing": {"probability": 0, "max_area": 0}, "blur": {"probability": 0, "kernel_size": 1}}
_ONE_CHANNEL = ("digits", "mnist", "fashion_mnist", "kmnist", "qmnist", "emnist", "usps")
MOST_EPOCHS = 10_000  # of a schedule that are looked at


def idle_settings(run: RunConfig) -> list[str]:
    """Return a sentence for each setting that can never act in this run."""
    augmentations = (sentence for choice in run.augmentation for sentence in _augmentation(choice, run.dataset))
    return [
        *_schedule(run),
        *_plateau(run),
        *_early_stopping(run),
        *_weight_decay(run),
        *_labels(run),
        *_base(run),
        *_loss(run),
        *augmentations,
        *_wandb(run),
    ]


def _schedule(run: RunConfig) -> Iterator[str]:
    """Compare the rates of all epochs with the first one."""
    if run.scheduler.own:  # the code of one's own is not run before the first run is built
        return
    name, epochs = run.scheduler.name, run.epochs
    warmup = run.scheduler.shared["warmup_epochs"]
    rule = run.scheduler.function()(run.lr, epochs - warmup)
    if name == "constant" or isinstance(rule, StatefulLR):
        return
    factors = len(run.scheduler.options.get("factors", ()))
    if factors > math.ceil(epochs - warmup):
        unused = factors - math.ceil(epochs - warmup)
        yield f"scheduler.factors lists {factors}, the last {unused} are not used: {_length(run)}"
    # The middle of an epoch as well, and the last step: some schedules change in every step.
    last = math.nextafter(epochs - warmup, 0)
    times = [last, *(half / 2 for half in range(2 * min(math.ceil(epochs - warmup), MOST_EPOCHS)))]
    if any(rule(time) != rule(0.0) for time in times if time < epochs - warmup):
        return
    after = range(math.ceil(epochs - warmup), math.ceil(epochs - warmup) + MOST_EPOCHS)
    change = next((epoch for epoch in after if rule(epoch) != rule(0.0)), None)
    if change is None:
        yield f"scheduler={name} never changes the rate, with these settings it is always {rule(0.0):g}"
    else:
        yield f"scheduler={name} first changes the rate after epoch {change + warmup:g}; {_length(run)}"


def _plateau(run: RunConfig) -> Iterator[str]:
    """Count the validations that a plateau needs: one to compare with, and more than `patience` without progress."""
    if run.scheduler.name != "plateau":
        return
    options, every = run.scheduler.options, run.validate_every
    waits, patience = options["patience"] + 1, run.early_stop_patience
    # Losses count once the warm-up is over.
    first = every * max(1, math.ceil(run.scheduler.shared["warmup_epochs"] / every))
    lowered = first + waits * every
    without = counted(waits, "validation", "validations")
    if options["min_lr"] >= run.lr:
        yield f"scheduler=plateau never lowers the rate: scheduler.min_lr={options['min_lr']:g} is lr={run.lr:g}"
    elif lowered >= run.epochs:
        yield f"scheduler=plateau first lowers the rate after epoch {lowered}; {_length(run)}"
    elif patience is not None and patience <= waits:
        yield (
            f"scheduler=plateau never lowers the rate: it waits for {without} without progress"
            f" (scheduler.patience={options['patience']}), and early_stop_patience={patience} ends the run before"
        )


def _early_stopping(run: RunConfig) -> Iterator[str]:
    """Look for a patience, or a least progress, that was set and cannot end the run."""
    patience = run.early_stop_patience
    if patience is None:
        if run.early_stop_min_delta != _default("early_stop_min_delta"):
            yield f"early_stop_min_delta={run.early_stop_min_delta:g} does nothing: early_stop_patience=null"
    elif patience != _default("early_stop_patience") and run.validate_every * (patience + 1) >= run.epochs:
        first = run.validate_every * (patience + 1)
        yield f"early_stop_patience={patience} first stops a run after epoch {first}; {_length(run)}"


def _weight_decay(run: RunConfig) -> Iterator[str]:
    if run.weight_decay == 0 and run.weight_decay_scope != _default("weight_decay_scope"):
        yield f"weight_decay_scope={run.weight_decay_scope} does nothing: weight_decay=0"


def _base(run: RunConfig) -> Iterator[str]:
    """Look for a momentum that the base of an optimizer does not have."""
    options = run.optimizer.options
    if not run.optimizer.own and options.get("base") == "sgd" and options["momentum"] != 0.9:
        yield f"optimizer.momentum={options['momentum']:g} does nothing: optimizer.base=sgd has none"


def _loss(run: RunConfig) -> Iterator[str]:
    """Look for a loss whose setting makes it the cross-entropy."""
    setting = {"focal": "gamma", "poly": "epsilon"}.get(run.loss.name)
    if setting and run.loss.options[setting] == 0:
        yield f"loss={run.loss.name} is the cross-entropy: loss.{setting}=0"


def _labels(run: RunConfig) -> Iterator[str]:
    shared = run.dataset.shared
    if not shared["label_noise"] and shared["label_noise_kind"] != "symmetric":
        yield f"dataset.label_noise_kind={shared['label_noise_kind']} does nothing: dataset.label_noise=0"


def _augmentation(choice: Choice, dataset: Choice) -> Iterator[str]:
    """Look for an augmentation that leaves each image as it is."""
    options = choice.options
    still = {
        "flip": ("probability",),
        "translate": ("fraction",),
        "color_jitter": ("brightness", "contrast", "saturation"),
        "gray": ("probability",),
    }.get(choice.name, ())
    if still and not any(options[name] for name in still):
        yield f"augmentation={choice.name} changes no image: {', '.join(still)} = 0"
    for setting, least in _NEEDED.get(choice.name, {}).items():
        if options[setting] == least:
            yield f"augmentation={choice.name} changes no image: {setting} = {least}"
    if choice.name == "gray" and (dataset.name in _ONE_CHANNEL or dataset.options.get("grayscale") is True):
        yield f"augmentation=gray changes no image: those of dataset={dataset.name} have one channel"
    if choice.name == "scale" and options["low"] == options["high"] == 1:
        yield "augmentation=scale changes no image: low = high = 1"


def _wandb(run: RunConfig) -> Iterator[str]:
    for name in ("log_model", "log_code"):
        if getattr(run.wandb, name) and run.wandb.mode == "disabled":
            yield f"wandb.{name}=true does nothing: wandb.mode=disabled"


def _length(run: RunConfig) -> str:
    return f"the run has {counted(run.epochs, 'epoch', 'epochs')}"


@cache
def _default(name: str) -> Any:
    """Return the value of a setting that nobody has set."""
    # Not by yaml alone, which takes 1e-5 for a text.
    return OmegaConf.select(OmegaConf.load(CONF / "config.yaml"), name)
