"""Techniques against overfitting; a run may use several, in the order of its list.

Most act on a training step and return `StepHooks`. Those annotated with -> None change the network itself, when it is
built: its layers or what passes through them.

"Weights" are those of convolutions and linear layers, without biases and normalization.
"""

import copy
from itertools import compress
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from trainer.config.types import Count, Fraction, NonNegative, OpenFraction, Positive, Repeats
from trainer.errors import ConfigError
from trainer.techniques.hooks import StepHooks
from trainer.techniques.layers import weights
from trainer.techniques.networks.branches import branches
from trainer.techniques.networks.layer_noise import without_blocks, without_branch, without_inputs
from trainer.techniques.networks.reweighting import reweight
from trainer.techniques.networks.weight_functions import SpectralNormalization, WeightStandardization
from trainer.techniques.steps.annealed_noise import GradientNoise
from trainer.techniques.steps.averaging import EpochAverage


def l1(model: nn.Module, *, strength: Positive = 1e-4) -> StepHooks:
    """Add λ‖W‖₁ to the loss; gradient λ·sgn(W)."""
    matrices = weights(model)
    return StepHooks(penalty=lambda _logits, _labels: strength * torch.stack([w.abs().sum() for w in matrices]).sum())


def l2(model: nn.Module, *, strength: Positive = 1e-4) -> StepHooks:
    """Add (λ/2)‖W‖² to the loss; gradient λW."""
    matrices = weights(model)
    return StepHooks(
        penalty=lambda _logits, _labels: strength / 2 * torch.stack([w.square().sum() for w in matrices]).sum()
    )


def gradient_clipping(model: nn.Module, *, max_norm: Positive = 1.0) -> StepHooks:
    """Scale all gradients together so that their joint norm is at most `max_norm`. Pascanu et al. 2013."""
    parameters = list(model.parameters())

    def clip() -> None:
        """Limit the gradients, after the backward pass and before the optimizer's step."""
        nn.utils.clip_grad_norm_(parameters, max_norm)

    return StepHooks(limit_gradients=clip)


def max_norm(model: nn.Module, *, limit: Positive = 3.0) -> StepHooks:
    """Scale the incoming weights of each unit back to the norm `limit` after a step. Srebro et al. 2005."""
    matrices = weights(model)

    @torch.no_grad()
    def constrain() -> None:
        """Limit the weights, after the optimizer's step."""
        for weight in matrices:
            # A norm below the limit counts as the limit, so that the factor limit / norm is 1 there.
            norms = weight.flatten(1).norm(dim=1).clamp(min=limit)
            weight.mul_((limit / norms).view(-1, *[1] * (weight.ndim - 1)))

    return StepHooks(after_step=constrain)


def ema(model: nn.Module, *, decay: OpenFraction = 0.99) -> StepHooks:
    """Evaluate and save an exponential moving average of the weights: average ← decay·average + (1 − decay)·W."""
    average = _Average(model, decay)
    return StepHooks(after_step=average.update, evaluated=average.module, state={"ema": average})


class _Average:
    """The averaged model, as torch's AveragedModel but without its step counter on the device, which makes it wait."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        # `started`: before the first step there is nothing to average with, the average is the network itself.
        self.model, self.module, self.started = model, copy.deepcopy(model).requires_grad_(False), False
        self.combine = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights after a step into the average, and the running statistics of normalization with them.

        The latest statistics are those of the latest weights: beside averaged ones they would scale wrongly.
        """
        if not self.started:
            self.module.load_state_dict(self.model.state_dict())
            self.started = True
            return
        averages, currents = ([*part.parameters(), *part.buffers()] for part in (self.module, self.model))
        fractional = [average.is_floating_point() for average in averages]
        self.combine(list(compress(averages, fractional)), list(compress(currents, fractional)), None)
        for average, current, averaged in zip(averages, currents, fractional, strict=True):
            if not averaged:  # a count
                average.copy_(current)

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights, and whether there are any yet."""
        return {"started": self.started, "module": self.module.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.started = state["started"]
        self.module.load_state_dict(state["module"])


def label_smoothing(model: nn.Module, *, smoothing: OpenFraction = 0.1) -> StepHooks:
    """Train on (1 − ε)·label + ε·uniform. Szegedy et al. 2016.

    It is a penalty, ε·(cross-entropy to uniform − cross-entropy to the label): the reported training loss stays that of
    the true labels, and arms with and without smoothing can be compared.
    """

    def penalty(logits: Tensor, labels: Tensor) -> Tensor:
        # The cross-entropy to the uniform distribution: the mean over classes and over images at once.
        to_uniform = -F.log_softmax(logits, 1).mean()
        return smoothing * (to_uniform - F.cross_entropy(logits, labels))

    return StepHooks(penalty=penalty)


def swa(model: nn.Module, *, start: Fraction = 0.75, every: Count = 1) -> StepHooks:
    """Evaluate and save the mean of the weights after the last epochs. Izmailov et al. 2018.

    Its batch statistics are measured anew before each validation.
    """
    average = EpochAverage(model, start, every)
    return StepHooks(after_epoch=average.after_epoch, evaluated=average.module, state={"swa": average})


def r_drop(model: nn.Module, *, strength: Positive = 1.0) -> StepHooks:
    """Add the loss of a second pass and strength·(KL(p‖q) + KL(q‖p)) / 2 of both passes. Liang et al. 2021."""
    batch: list[Tensor] = []

    def remember(images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        batch[:] = [images]  # after all augmentations, which come before a regularization
        return images, labels

    def penalty(logits: Tensor, labels: Tensor) -> Tensor:
        first, second = F.log_softmax(logits, 1), F.log_softmax(model(batch[0]).float(), 1)
        there = F.kl_div(first, second, reduction="batchmean", log_target=True)
        back = F.kl_div(second, first, reduction="batchmean", log_target=True)
        return F.cross_entropy(second, labels) + strength * (there + back) / 2

    return StepHooks(augment=remember, penalty=penalty, penalty_runs_network=True)


def gradient_noise(model: nn.Module, *, eta: Positive = 0.01, gamma: NonNegative = 0.55) -> StepHooks:
    """Add normal noise of the variance eta / (1 + step)^gamma to the gradients. Neelakantan et al. 2015."""
    noise = GradientNoise(model.parameters(), eta, gamma)
    return StepHooks(limit_gradients=noise.add, after_step=noise.count, state={"gradient_noise": noise})


def stochastic_depth(model: nn.Module, *, drop: OpenFraction = 0.1) -> None:
    """Leave out residual branches at random, for each image by itself: the l-th of L with probability drop·l/L.

    Huang et al. 2016. Raises ConfigError for a network without residual branches.
    """
    found = branches(model)
    if not found:
        raise ConfigError("regularization=stochastic_depth leaves out residual branches: this network has none")
    for number, modules in enumerate(found, 1):
        modules[-1].register_forward_hook(without_branch(drop * number / len(found)))


def input_dropout(model: nn.Module, *, rate: OpenFraction = 0.2) -> None:
    """Set values of the images to zero behind their preprocessing, and enlarge the others. Srivastava et al. 2014."""
    _preprocessing, network = model.children()
    network.register_forward_pre_hook(without_inputs(rate))


def drop_block(model: nn.Module, *, drop: OpenFraction = 0.1, block_size: Count = 7) -> None:
    """Set squares of the features that enter a convolution to zero, and enlarge the others. Ghiasi et al. 2018.

    Raises ConfigError for a network of less than two convolutions.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    if len(layers) < 2:
        raise ConfigError("regularization=drop_block acts between convolutions: this network has less than two")
    for layer in layers:
        layer.register_forward_pre_hook(without_blocks(drop, block_size))


def weight_standardization(model: nn.Module, *, eps: Positive = 1e-5) -> None:
    """Compute with the weights of each filter of a convolution less their mean, over their deviation. Qiao et al. 2019.

    Raises ConfigError for a network without a convolution.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    if not layers:
        raise ConfigError("regularization=weight_standardization acts on convolutions: this network has none")
    for layer in layers:
        reweight(layer, WeightStandardization(eps))


def spectral_norm(model: nn.Module, *, iterations: Repeats = 1) -> None:
    """Compute with the weight matrix of each layer over its largest singular value. Miyato et al. 2018."""
    for layer in [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]:
        reweight(layer, SpectralNormalization(layer.weight, iterations))
