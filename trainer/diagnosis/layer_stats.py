"""Statistics of every layer: its activations, gradient and update in one training step of a copy of the network."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainer.config.run_config import RunConfig
from trainer.runtime.console import warn
from trainer.runtime.memory import skip_on_oom
from trainer.techniques.activation import Activation
from trainer.techniques.hooks import StepHooks, join
from trainer.techniques.loss import Loss, cross_entropy
from trainer.training.build import build_hooks
from trainer.training.closure_step import step_with_closure
from trainer.training.copies import detached_copy
from trainer.training.determinism import deterministic_mode
from trainer.training.epoch import EpochReport
from trainer.training.optimizer_state import needs_closure, set_mode
from trainer.training.trainer import ClassificationTrainer

IMAGES = 256  # in the fixed batch: enough for shares of units
BINS = 30  # of a histogram
FILTERS = 16  # of the first layer, at most
WEIGHTED = (nn.Conv2d, nn.Linear)
ZERO = 1e-6  # up to which an output counts as zero: GELU comes close to it without reaching it
FLAT = 0.05  # of the steepest slope: below a twentieth a unit hardly learns any more


def with_layer_stats(
    trainer: ClassificationTrainer, config: RunConfig, report: EpochReport | None
) -> EpochReport | None:
    """Return the report, with layer statistics every `layer_stats_every` epochs and after the last one."""
    every = config.layer_stats_every
    if report is None or every is None or (report.epoch % every and not trainer.finished):
        return report
    with skip_on_oom():
        return replace(report, layer_stats=layer_stats_of(trainer, config))
    warn(f"epoch {report.epoch} is recorded without layer statistics: there is no memory for a copy of the network")
    return report


def layer_stats_of(
    trainer: ClassificationTrainer,
    config: RunConfig,
    count: int = IMAGES,
    model: nn.Module | None = None,
    optimizer: Optimizer | None = None,
) -> dict[str, Any]:
    """Return the layer statistics of a trainer's network, or of another one, on `count` training images.

    The step is in fp32 and without augmentation.
    """
    positions = trainer.train.images.spread(count)
    images, labels = trainer.train.images.at(positions), trainer.train.labels[positions]
    model, optimizer = model or trainer.model, optimizer or trainer.optimizer
    activation = config.activation.function()()
    with deterministic_mode(config.deterministic):
        return measure_layers(
            model, optimizer, images, labels, activation, lambda twin: build_hooks(config, twin), trainer.loss
        )


def measure_layers(
    model: nn.Module,
    optimizer: Optimizer,
    images: Tensor,
    labels: Tensor,
    activation: Activation,
    hooks_of: Callable[[nn.Module], list[StepHooks]] = lambda twin: [],
    loss_of: Loss = cross_entropy,
) -> dict[str, Any]:
    """Do a training step on `images` [N, C, H, W] with a copy of network and optimizer; return statistics of it.

    They are plain values of five digits. `layers` maps a layer's name to, for a convolution or linear layer,
    `gradient_norm`, `gradient` (a histogram, before clipping), `weights` (their number), `weight_norm`, `update_ratio`
    (‖ΔW‖ / ‖W‖) and `alike` (the share of the other units that have the weights of the first); for an activation the
    histogram `activation`, and `dead` (the share of features or channels that are zero for every image) or `saturated`
    (the share of outputs where the slope is below a twentieth of the steepest); for both `mean` and `std` of the
    outputs. A histogram holds `low`, `high` and `counts`, which add up to ten thousand. `hooks_of` builds the
    techniques that act on the copy's step, `loss_of` is the run's loss. The run itself does not change by a bit.
    """
    twin, twin_optimizer = detached_copy((model, optimizer))
    measured = (*WEIGHTED, type(activation.build()))
    modules = {name: module for name, module in twin.named_modules() if isinstance(module, measured)}
    layers: dict[str, dict[str, Any]] = {}

    def record(name: str, module: nn.Module, output: Tensor) -> None:
        layers[name] = {
            "kind": type(module).__name__,
            **_of_output(output.detach(), None if isinstance(module, WEIGHTED) else activation),
        }

    handles = [
        module.register_forward_hook(lambda module, _inputs, output, name=name: record(name, module, output))
        for name, module in modules.items()
    ]
    learning = {name: _weight(module) for name, module in modules.items() if isinstance(module, WEIGHTED)}
    hooks = join(hooks_of(twin))

    # The order of a real step: forward, loss, backward, limits of the gradients, update, limits of the weights.
    def differentiate() -> tuple[Tensor, Tensor, Tensor]:
        """Compute the gradients; return logits, loss, and loss with penalty."""
        # Of the techniques beside augmentation: one may remember the batch here for its penalty.
        generator = torch.Generator(images.device).manual_seed(0)
        batch, targets = hooks.augment(images, labels, generator) if hooks.augment else (images, labels)
        logits = twin(batch).float()
        loss = loss_of(logits, targets)
        total = loss + hooks.penalty(logits, targets) if hooks.penalty else loss
        twin_optimizer.zero_grad()
        total.backward()
        return logits, loss, total

    twin.train()
    set_mode(twin_optimizer, training=True)
    with _separate_generators(labels.device):
        _, loss, _ = differentiate()
    for handle in handles:
        handle.remove()
    layers = {name: layers[name] for name in modules if name in layers}  # in the network's order, which titles count by
    for name, weight in learning.items():
        if name in layers:
            layers[name] |= _of_gradient(weight) | _of_weight(weight)
    # Copied before the limits and the update: both the ratio and the filters are of the weights of this step.
    before = {name: weight.detach().clone() for name, weight in learning.items()}
    with _separate_generators(labels.device):
        if needs_closure(twin_optimizer):
            step_with_closure(twin_optimizer, differentiate, hooks.limit_gradients)
        else:
            if hooks.limit_gradients:
                hooks.limit_gradients()
            twin_optimizer.step()
    if hooks.after_step:
        hooks.after_step()
    for name in layers.keys() & learning.keys():
        change = (learning[name].detach() - before[name]).norm()
        layers[name]["update_ratio"] = _short(change / before[name].norm())
    return {"images": len(labels), "loss": _short(loss), "layers": layers, "filters": _filters(before, images.shape[1])}


def _separate_generators(device: torch.device) -> Any:
    """Return a context that restores torch's own generators, from which dropout draws."""
    if device.type == "cpu":
        return torch.random.fork_rng([])
    return torch.random.fork_rng([device], device_type=device.type)


def _of_output(output: Tensor, activation: Activation | None) -> dict[str, Any]:
    """Return the statistics of a layer's output, [N, F] or [N, C, H, W]; `activation` is None behind weights.

    A unit is a feature, or a channel at all its places.
    """
    values: dict[str, Any] = {"mean": _short(output.mean()), "std": _short(output.std())}
    if activation is None:
        return values
    if activation.can_die:
        # Over all axes but the second, the units: images, and places in a channel.
        largest = output.abs().amax(tuple(axis for axis in range(output.ndim) if axis != 1))
        values["dead"] = _short((largest <= ZERO).float().mean())
    if activation.slope:
        values["saturated"] = _short((activation.slope(output) < FLAT).float().mean())
    return values | {"activation": _histogram(output)}


def _of_gradient(weight: nn.Parameter) -> dict[str, Any]:
    """Return the statistics of a weight's gradient, which is zero for a layer that does not act."""
    gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
    return {"gradient_norm": _short(gradient.norm()), "gradient": _histogram(gradient)}


def _of_weight(weight: nn.Parameter) -> dict[str, Any]:
    """Return the statistics of a weight, one row for each unit."""
    rows = weight.detach().flatten(1)
    # Relative to the largest weight, so that rounding does not hide equal units.
    alike = ((rows[1:] - rows[:1]).abs().amax(1) <= 1e-6 * rows.abs().max()).float()
    share = _short(alike.mean()) if len(alike) else 0.0
    return {"weights": rows.numel(), "weight_norm": _short(rows.norm()), "alike": share}


def _histogram(values: Tensor) -> dict[str, Any] | None:
    """Return a histogram, or None if a value is not finite."""
    low, high = values.min().item(), values.max().item()
    if not math.isfinite(low) or not math.isfinite(high):
        return None
    # On the CPU: on a GPU histc has no deterministic form, which deterministic=true needs.
    counts = torch.histc(values.detach().float().cpu(), BINS, low, high) if high > low else torch.zeros(BINS)
    shares = counts * (10_000 / values.numel())
    return {"low": _short(low), "high": _short(high), "counts": [round(share) for share in shares.tolist()]}


def _filters(weights: dict[str, Tensor], channels: int) -> dict[str, Any] | None:
    """Return the filters of a first layer that is a convolution: `values` [F][C][H][W], 0 is `low` and 255 `high`.

    None if they are no pictures: if the layer is linear, or does not see the channels of an image but features.
    """
    name = next(iter(weights))
    weight = weights[name]
    if weight.ndim != 4 or weight.shape[1] != channels or not weight.isfinite().all():
        return None
    kept = weight[:FILTERS]
    low, high = kept.min(), kept.max()
    values = ((kept - low) / (high - low).clamp(min=1e-12) * 255).round().int().tolist()
    return {"layer": name, "low": _short(low), "high": _short(high), "values": values}


def _weight(module: nn.Module) -> nn.Parameter:
    weight = module.weight
    assert isinstance(weight, nn.Parameter)
    return weight


def _short(value: Tensor | float) -> float | None:
    """Round to five digits; None for NaN and infinity, which strict JSON cannot hold."""
    number = float(value.detach() if isinstance(value, Tensor) else value)
    return float(f"{number:.5g}") if math.isfinite(number) else None
