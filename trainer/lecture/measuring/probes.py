"""Measures that use a trained network anew, on images of its validation part. The test set is never read.

Each draws from a generator of its own, so that it returns the same number every time and all arms meet the same draws.
"""

import math
import statistics
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainer.config.types import Count, CountOrZero, Probability
from trainer.data.images import Images
from trainer.lecture.measuring.trained import Trained
from trainer.records.train_eval import chosen_of
from trainer.techniques.networks.joint_networks import Ensemble

SHARES = (0.25, 0.5, 0.75)  # of the first image in a mixture
PAIRS = 1000  # of images at most


def gap_last(trained: Trained) -> float:
    """Return the training accuracy in evaluation mode minus the validation accuracy, both with the last weights.

    Measured are the training images of `train_eval`. Unit: points.
    """
    chosen = chosen_of(len(trained.training), len(trained.validation), trained.config.split_seed)
    training = trained.training.select(chosen.to(trained.training.labels.device))
    network = trained.last
    known = trained.accuracy(trained.logits(network, training), training)
    return known - trained.accuracy(trained.logits(network))


def ensemble_minus_mean(trained: Trained) -> float:
    """Return the accuracy of an ensemble minus the mean accuracy of its members. Of model=ensemble. Unit: points."""
    together, alone = _members(trained)
    return together - statistics.fmean(alone) if alone else math.nan


def ensemble_minus_best(trained: Trained) -> float:
    """Return the accuracy of an ensemble minus that of its best member, on the same images. Of model=ensemble.

    Unit: points.
    """
    together, alone = _members(trained)
    return together - max(alone) if alone else math.nan


def thinned_mean(trained: Trained, *, count: Count = 50) -> float:
    """Return the accuracy of the mean of `count` networks thinned by dropout minus that of the usual, scaled network.

    Their probabilities are averaged, as of an ensemble. nan without dropout. Unit: points.
    """
    thinned = _thinned(trained, count)
    return math.nan if thinned is None else trained.accuracy(thinned.mean(0)) - _usual(trained)


def thinned_single(trained: Trained, *, count: Count = 50) -> float:
    """Return the mean accuracy of `count` networks thinned by dropout, each alone, minus that of the scaled network.

    nan without dropout. Unit: points.
    """
    thinned = _thinned(trained, count)
    if thinned is None:
        return math.nan
    return statistics.fmean(trained.accuracy(each) for each in thinned) - _usual(trained)


def units_removed(trained: Trained, *, share: Probability, draws: Count = 10) -> float:
    """Return the accuracy that is lost where a share of the units of each hidden layer is set to zero.

    A unit is what an activation returns of a linear layer, or a channel of it. `share`: from 0 to 1; the mean over
    `draws` choices of units. nan without hidden layers. Unit: points.
    """
    kind = type(trained.config.activation.function()().build())
    hidden = [module for module in trained.network.modules() if isinstance(module, kind)]
    if not hidden:
        return math.nan
    accuracies = []
    for draw in range(draws):
        with _without_units(hidden, share, draw):
            accuracies.append(trained.accuracy(trained.logits(trained.network)))
    return _usual(trained) - statistics.fmean(accuracies)


def occluded(trained: Trained, *, hole: CountOrZero, draws: Count = 4) -> float:
    """Return the validation accuracy where a black square of `hole` × `hole` pixels covers a part of each image.

    It lies within the image, at a place drawn anew for each image and each of `draws` passes. Unit: points.
    """
    _, height, width = trained.validation.shape
    generator = torch.Generator().manual_seed(0)

    def cover(pixels: Tensor) -> Tensor:
        """Return the pixels [B, C, H, W] with a black square in each image."""
        rows, columns = (_inside(length, hole, len(pixels), generator) for length in (height, width))
        square = (rows[:, :, None] & columns[:, None, :])[:, None].to(pixels.device)
        return pixels.masked_fill(square, trained.black)

    passes = (trained.logits(trained.network, change=cover) for _ in range(draws))
    return statistics.fmean(trained.accuracy(logits) for logits in passes)


def mixup_bend(trained: Trained) -> float:
    """Return by how much the answer to a mixture of two images misses the same mixture of the answers to both.

    The distance of the probabilities is half the sum of their absolute differences, from 0 (a straight line between the
    images) to 100; the mean over pairs of validation images and shares of ¼, ½ and ¾. Unit: points.
    """
    images = trained.validation.select(trained.validation.spread(PAIRS))
    pixels = images.pixels if images.pixels.is_floating_point() else images.pixels / 255  # as a network takes them
    other = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).to(pixels.device)

    def answers(mixture: Tensor) -> Tensor:
        """Return the probabilities [N, K] of these pixels [N, C, H, W]."""
        return trained.logits(trained.network, Images(mixture, images.labels, images.classes)).softmax(1)

    ends = answers(pixels)
    bends = [
        (answers(share * pixels + (1 - share) * pixels[other]) - share * ends - (1 - share) * ends[other]).abs().sum(1)
        for share in SHARES
    ]
    return 100 * torch.cat(bends).double().mean().item() / 2


def _usual(trained: Trained) -> float:
    return trained.accuracy(trained.logits(trained.network))


def _members(trained: Trained) -> tuple[float, list[float]]:
    """Return the accuracy of an ensemble and of each member; no members if the network is no ensemble."""
    ensemble = next((module for module in trained.network.modules() if isinstance(module, Ensemble)), None)
    if ensemble is None:
        return math.nan, []
    alone: list[list[Tensor]] = [[] for _ in ensemble.members]
    handles = [
        member.register_forward_hook(lambda _module, _inputs, output, kept=kept: kept.append(output))
        for member, kept in zip(ensemble.members, alone, strict=True)
    ]
    try:
        together = _usual(trained)
    finally:
        for handle in handles:
            handle.remove()
    return together, [trained.accuracy(torch.cat(logits)) for logits in alone]


def _thinned(trained: Trained, count: int) -> Tensor | None:
    """Return the probabilities [count, N, K] with the features that dropout leaves in each pass; None without it."""
    layers = [
        module for module in trained.network.modules() if isinstance(module, nn.Dropout | nn.Dropout2d) and module.p > 0
    ]
    if not layers:
        return None
    device = trained.validation.labels.device
    devices = [] if device.type == "cpu" else [device]
    try:
        for layer in layers:
            layer.train()
        with torch.random.fork_rng(devices, device_type="cuda" if device.type == "cpu" else device.type):
            torch.manual_seed(0)  # dropout draws from torch's own generators
            return torch.stack([trained.logits(trained.network).softmax(1) for _ in range(count)])
    finally:
        for layer in layers:
            layer.eval()


@contextmanager
def _without_units(hidden: list[nn.Module], share: float, draw: int) -> Iterator[None]:
    """Set a share of the units of these modules to zero while the block runs, in all batches the same ones."""
    generator, masks = torch.Generator().manual_seed(draw), dict[int, Tensor]()

    def remove(module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        """Return the output [N, F, …], or [N, tokens, F], without the units that were drawn."""
        axis = 2 if output.ndim == 3 else 1
        units = output.shape[axis]
        if id(module) not in masks:
            kept = torch.ones(units)
            kept[torch.randperm(units, generator=generator)[: round(share * units)]] = 0
            masks[id(module)] = kept.to(output.device)
        return output * masks[id(module)].view([units if place == axis else 1 for place in range(output.ndim)])

    handles = [module.register_forward_hook(remove) for module in hidden]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _inside(length: int, hole: int, count: int, generator: torch.Generator) -> Tensor:
    """Return [count, length], true where a stretch of `hole` places lies, which begins at a random place."""
    size = min(hole, length)
    start = torch.randint(0, length - size + 1, (count, 1), generator=generator)
    places = torch.arange(length)
    return (places >= start) & (places < start + size)
