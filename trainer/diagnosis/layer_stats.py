"""What goes on inside the network: activations, gradients and updates of every layer in one step of a copy of it."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from trainer.config.run_config import RunConfig
from trainer.runtime.console import warn
from trainer.runtime.memory import skip_on_oom
from trainer.techniques.activation import Activation
from trainer.techniques.hooks import StepHooks, join
from trainer.training.build import build_hooks
from trainer.training.determinism import deterministic_mode
from trainer.training.epoch import EpochReport
from trainer.training.trainer import ClassificationTrainer

IMAGES = 256  # of the fixed batch: enough for a share of units, half a usual step
BINS = 30
FILTERS = 16  # of the first layer, as many as are kept
WEIGHTED = (nn.Conv2d, nn.Linear)
ZERO = 1e-6  # GELU comes close to it and never arrives
FLAT = 0.05  # of the steepest slope: below a twentieth a unit hardly learns any more


def with_layer_stats(
    trainer: ClassificationTrainer, config: RunConfig, report: EpochReport | None
) -> EpochReport | None:
    """The report, every `layer_stats_every` epochs and after the last one with the layer_stats of that moment."""
    every = config.layer_stats_every
    if report is None or every is None or (report.epoch % every and not trainer.finished):
        return report
    with skip_on_oom():
        return replace(report, layer_stats=layer_stats_of(trainer, config))
    warn(f"epoch {report.epoch} is recorded without a look inside: there is no memory for a copy of the network")
    return report


def layer_stats_of(
    trainer: ClassificationTrainer,
    config: RunConfig,
    count: int = IMAGES,
    model: nn.Module | None = None,
    optimizer: Optimizer | None = None,
) -> dict[str, Any]:
    """Return the layer statistics of a trainer's network, or of another one, on `count` training images.

    The images are chosen at even distances: a folder of pictures is sorted by class."""
    labels = trainer.train.labels
    # Not the first ones: a folder of pictures comes class by class.
    positions = torch.linspace(0, len(labels) - 1, min(count, len(labels)), dtype=torch.float64).long()
    positions = positions.to(labels.device)
    images = trainer.train.images.at(positions)
    model, optimizer = model or trainer.model, optimizer or trainer.optimizer
    activation = config.activation.function()()
    with deterministic_mode(config.deterministic):
        return measure_layers(
            model, optimizer, images, labels[positions], activation, lambda twin: build_hooks(config, twin)
        )


def measure_layers(
    model: nn.Module,
    optimizer: Optimizer,
    images: Tensor,
    labels: Tensor,
    activation: Activation,
    hooks_of: Callable[[nn.Module], list[StepHooks]] = lambda twin: [],
) -> dict[str, Any]:
    """One training step on `images` [N, C, H, W] by a copy of both, in plain values of five digits.

    `layers` holds by name: of a convolution or linear layer `gradient_norm`, `gradient` (a histogram, before any
    clipping), `weights` (how many), `weight_norm`, `update_ratio` (‖ΔW‖ / ‖W‖) and `alike` (the share of the other
    units that have the first one's weights); of an activation its histogram `activation`, and `dead` (the share of
    features or channels that are zero for every image) or `saturated` (the share of outputs where the slope is below a
    twentieth of its largest); of both `mean` and `std` of the outputs. A histogram holds `low`, `high` and `counts` of
    ten thousand. No bit of the run changes: `hooks_of` gives what acts on the copy's step, and random numbers are
    drawn aside. fp32, without augmentation.
    """
    twin, twin_optimizer = copy.deepcopy((model, optimizer), _without_graphs(model))
    measured = (*WEIGHTED, type(activation.build()))
    modules = {name: module for name, module in twin.named_modules() if isinstance(module, measured)}
    layers: dict[str, dict[str, Any]] = {}

    def look(name: str, module: nn.Module, output: Tensor) -> None:
        layers[name] = {
            "kind": type(module).__name__,
            **_of_output(output.detach(), None if isinstance(module, WEIGHTED) else activation),
        }

    for name, module in modules.items():
        module.register_forward_hook(lambda module, _inputs, output, name=name: look(name, module, output))
    learning = {name: _weight(module) for name, module in modules.items() if isinstance(module, WEIGHTED)}
    hooks = join(hooks_of(twin))
    with _drawing_aside(labels.device):
        logits = twin.train()(images).float()
        loss = F.cross_entropy(logits, labels)
        total = loss + hooks.penalty(logits, labels) if hooks.penalty else loss
        twin_optimizer.zero_grad()
        total.backward()
    layers = {name: layers[name] for name in modules if name in layers}  # in the network's order, to be counted
    for name, weight in learning.items():
        if name in layers:
            layers[name] |= _of_gradient(weight) | _of_weight(weight)
    before = {name: weight.detach().clone() for name, weight in learning.items()}
    if hooks.limit_gradients:
        hooks.limit_gradients()
    twin_optimizer.step()
    if hooks.after_step:
        hooks.after_step()
    for name in layers.keys() & learning.keys():
        change = (learning[name].detach() - before[name]).norm()
        layers[name]["update_ratio"] = _short(change / before[name].norm())
    return {"images": len(labels), "loss": _short(loss), "layers": layers, "filters": _filters(before)}


def _without_graphs(model: nn.Module) -> dict[int, Any]:
    """For deepcopy: what networks with several heads keep of their last step is not to be followed back."""
    kept = [value for module in model.modules() for value in vars(module).values()]
    tensors = [each for value in kept for each in (value if isinstance(value, list) else [value])]
    return {id(each): each.detach() for each in tensors if isinstance(each, Tensor) and each.grad_fn is not None}


def _drawing_aside(device: torch.device) -> Any:
    """Use as a context: dropout draws from torch's own generators, which are put back after it."""
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
        largest = output.abs().amax(tuple(axis for axis in range(output.ndim) if axis != 1))
        values["dead"] = _short((largest <= ZERO).float().mean())
    if activation.slope:
        values["saturated"] = _short((activation.slope(output) < FLAT).float().mean())
    return values | {"activation": _histogram(output)}


def _of_gradient(weight: nn.Parameter) -> dict[str, Any]:
    gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
    return {"gradient_norm": _short(gradient.norm()), "gradient": _histogram(gradient)}


def _of_weight(weight: nn.Parameter) -> dict[str, Any]:
    rows = weight.detach().flatten(1)
    alike = ((rows[1:] - rows[:1]).abs().amax(1) <= 1e-6 * rows.abs().max()).float()
    share = _short(alike.mean()) if len(alike) else 0.0
    return {"weights": rows.numel(), "weight_norm": _short(rows.norm()), "alike": share}


def _histogram(values: Tensor) -> dict[str, Any] | None:
    """None where nothing is finite, or all."""
    low, high = values.min().item(), values.max().item()
    if not math.isfinite(low) or not math.isfinite(high):
        return None
    # On the CPU: on a GPU histc has no deterministic form, as deterministic=true asks for.
    counts = torch.histc(values.detach().float().cpu(), BINS, low, high) if high > low else torch.zeros(BINS)
    shares = counts * (10_000 / values.numel())
    return {"low": _short(low), "high": _short(high), "counts": [round(share) for share in shares.tolist()]}


def _filters(weights: dict[str, Tensor]) -> dict[str, Any] | None:
    """The first layer's, if it is a convolution: `values` [F][C][H][W] from 0 (which is `low`) to 255 (`high`)."""
    name = next(iter(weights))
    weight = weights[name]
    if weight.ndim != 4 or not weight.isfinite().all():
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
    """Five digits; None for what is not finite, which strict JSON cannot hold."""
    number = float(value.detach() if isinstance(value, Tensor) else value)
    return float(f"{number:.5g}") if math.isfinite(number) else None
