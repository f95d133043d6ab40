"""The faults of the self-test: settings that give a small run each of them, and ten healthy settings."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trainer.data.images import Images
from trainer.training.trainer import ClassificationTrainer

BASE = ("dataset=digits", "device=cpu", "wandb.mode=disabled")
MLP = ("model=mlp",)


@dataclass(frozen=True)
class Fault:
    """A fault and five settings of runs that have it.

    `data`: (all images, seed) → altered images, before the split, one function for each setting; `network`: changes the
    network before the first step; `companions`: other faults that such a run really has.
    """

    name: str
    settings: tuple[tuple[str, ...], ...]
    data: tuple[Callable[[Images, int], Images], ...] = ()
    network: tuple[Callable[[ClassificationTrainer], None], ...] = ()
    companions: frozenset[str] = field(default=frozenset())


def noisy_labels(share: float) -> Callable[[Images, int], Images]:
    """Return a function that replaces this share of the labels by other classes."""

    def alter(images: Images, seed: int) -> Images:
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.rand(len(images), generator=generator) < share
        shift = torch.randint(1, len(images.classes), (len(images),), generator=generator)  # never 0: another class
        labels = torch.where(chosen, (images.labels + shift) % len(images.classes), images.labels)
        return Images(images.storage, labels, images.classes, images.indices)

    return alter


def rare_classes(share: float, classes: int) -> Callable[[Images, int], Images]:
    """Return a function that keeps only this share of the images of `classes` classes."""

    def alter(images: Images, seed: int) -> Images:
        generator = torch.Generator().manual_seed(seed)
        rare = torch.randperm(len(images.classes), generator=generator)[:classes]
        kept = (torch.rand(len(images), generator=generator) < share) | ~torch.isin(images.labels, rare)
        return images.select(kept.nonzero().flatten())

    return alter


def one_picture(share: float) -> Callable[[Images, int], Images]:
    """Return a function that puts the first image in the place of this share of the others."""

    def alter(images: Images, seed: int) -> Images:
        generator = torch.Generator().manual_seed(seed)
        replaced = torch.rand(len(images), generator=generator) < share
        places = torch.arange(len(images)) if images.indices is None else images.indices.cpu()
        return Images(images.storage, images.labels, images.classes, torch.where(replaced, places[0], places))

    return alter


def sunk(share: float, layer: int) -> Callable[[ClassificationTrainer], None]:
    """Return a function that sets the biases of this share of a layer's units so low that they are always zero."""

    def alter(trainer: ClassificationTrainer) -> None:
        weighted = [module for module in trainer.model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
        bias = weighted[layer].bias
        assert isinstance(bias, Tensor)
        with torch.no_grad():
            bias[: round(share * len(bias))] = -50.0

    return alter


# Eight hidden layers: deep enough for gradients to vanish or explode without normalization.
DEEP = "model.hidden=[64,64,64,64,64,64,64,64]"
SMALL_TRAINING = "dataset.validation_size=1400"  # leaves a hundred images to learn from

FAULTS = (
    Fault(
        "images alike",
        (
            ("epochs=4",),
            (*MLP, "epochs=4"),
            (*MLP, "epochs=4", "optimizer=sgd", "lr=0.1"),
            ("epochs=4", "normalization=batch"),
            (*MLP, "epochs=6", "activation=tanh"),
        ),
        data=(one_picture(1.0), one_picture(1.0), one_picture(0.95), one_picture(0.8), one_picture(0.7)),
    ),
    Fault(
        "divergence",
        (
            (*MLP, "activation=leaky_relu", "optimizer=momentum", "lr=3", "epochs=3"),
            ("optimizer=sgd", "lr=3", "activation=leaky_relu", "epochs=3"),
            (*MLP, "optimizer=nesterov", "lr=3", "activation=leaky_relu", "epochs=3"),
            ("optimizer=sgd", "lr=10", "activation=leaky_relu", "batch_size=32", "epochs=3"),
            (*MLP, "optimizer=sgd", "lr=30", "activation=elu", "epochs=3"),
        ),
    ),
    Fault(
        "zero initialization",
        (
            ("init=zeros", "epochs=4"),
            ("init=zeros", "epochs=6", "activation=sigmoid", "model=mlp"),
            ("init=zeros", "epochs=4", "activation=tanh", "optimizer=momentum"),
            ("init=zeros", "epochs=6", "normalization=layer", "model=mlp"),
            ("init=zeros", "epochs=6", "activation=leaky_relu", "optimizer=sgd", "lr=0.1"),
        ),
    ),
    Fault(
        "exploding gradients",
        (
            (*MLP, DEEP, "init=normal", "init.std=0.4", "epochs=5"),
            (*MLP, DEEP, "init=normal", "init.std=0.3", "epochs=5", "optimizer=rmsprop"),
            (*MLP, DEEP, "init=normal", "init.std=0.5", "epochs=5", "activation=elu"),
            (*MLP, DEEP, "init=normal", "init.std=0.35", "epochs=5", "activation=leaky_relu"),
            ("init=normal", "init.std=0.5", "epochs=5"),
        ),
    ),
    Fault(
        "vanishing gradients",
        (
            (*MLP, DEEP, "activation=sigmoid", "epochs=6"),
            (*MLP, DEEP, "activation=sigmoid", "init=xavier_uniform", "epochs=6", "optimizer=momentum", "lr=0.02"),
            (*MLP, DEEP, "init=normal", "init.std=0.02", "epochs=6"),
            (*MLP, DEEP, "activation=tanh", "init=normal", "init.std=0.02", "epochs=6", "optimizer=sgd", "lr=0.1"),
            (*MLP, "model.hidden=[32,32,32,32,32,32,32,32,32,32]", "activation=sigmoid", "epochs=6", "lr=0.003"),
        ),
    ),
    Fault(
        "learning rate too high",
        (
            ("lr=0.05", "epochs=6"),
            (*MLP, "lr=0.1", "epochs=6"),
            ("optimizer=adamw", "lr=0.03", "epochs=6", "dropout=0.2"),
            (*MLP, "optimizer=momentum", "lr=0.3", "epochs=8"),
            (*MLP, "optimizer=rmsprop", "lr=0.05", "epochs=6"),
        ),
    ),
    Fault(
        "learning rate too low",
        (
            ("lr=1e-5", "epochs=8"),
            (*MLP, "lr=1e-6", "epochs=8"),
            ("optimizer=sgd", "lr=0.001", "epochs=8"),
            (*MLP, "optimizer=sgd", "lr=0.0005", "epochs=12"),
            ("optimizer=momentum", "lr=1e-4", "epochs=8"),
        ),
    ),
    Fault(
        "dead ReLUs",
        (
            (*MLP, "epochs=6"),
            (*MLP, "epochs=6", "optimizer=momentum", "lr=0.02"),
            ("epochs=8",),
            ("epochs=8",),
            (*MLP, "epochs=8"),
        ),
        # Units are killed by hand: with settings alone it would depend on the seed.
        network=(sunk(0.8, 0), sunk(0.75, 1), sunk(0.8, 2), sunk(0.8, 1), sunk(0.75, 0)),
    ),
    Fault(
        "saturated units",
        (
            (*MLP, "activation=sigmoid", "init=normal", "init.std=1.0", "epochs=8"),
            (*MLP, "activation=tanh", "init=normal", "init.std=0.5", "epochs=8"),
            ("activation=sigmoid", "init=normal", "init.std=2.0", "epochs=6"),
            ("activation=tanh", "init=normal", "init.std=1.0", "epochs=6", "optimizer=momentum"),
            (*MLP, DEEP, "activation=tanh", "init=normal", "init.std=0.5", "epochs=6"),
        ),
    ),
    Fault(
        "batch too small",
        (
            ("normalization=batch", "batch_size=2", "epochs=2", *MLP),
            ("normalization=batch", "batch_size=4", "epochs=3"),
            ("normalization=batch", "batch_size=3", "epochs=3", *MLP, "optimizer=momentum"),
            ("normalization=batch", "batch_size=2", "epochs=2", "optimizer=sgd", "lr=0.01"),
            ("normalization=batch", "batch_size=5", "epochs=3", "activation=tanh"),
        ),
    ),
    Fault(
        "class imbalance",
        (
            ("epochs=8",),
            (*MLP, "epochs=8"),
            (*MLP, "epochs=8", "optimizer=momentum", "lr=0.02"),
            ("epochs=8", "normalization=batch"),
            (*MLP, "epochs=8", "activation=tanh"),
        ),
        data=(
            rare_classes(0.1, 3),
            rare_classes(0.2, 1),
            rare_classes(0.15, 5),
            rare_classes(0.05, 2),
            rare_classes(0.2, 8),
        ),
    ),
    Fault(
        "label noise",
        (
            ("epochs=12",),
            (*MLP, "epochs=12"),
            (*MLP, "epochs=12", "optimizer=momentum", "lr=0.02"),
            ("epochs=12", "normalization=batch"),
            (*MLP, "epochs=12", "activation=tanh", "dataset.validation_size=400"),
        ),
        data=(noisy_labels(0.2), noisy_labels(0.2), noisy_labels(0.25), noisy_labels(0.3), noisy_labels(0.15)),
        companions=frozenset({"overfitting"}),
    ),
    Fault(
        "early stopping too early",
        (
            ("early_stop_patience=1", "early_stop_min_delta=0.3"),
            (*MLP, "early_stop_patience=1", "early_stop_min_delta=0.3"),
            ("early_stop_patience=1", "early_stop_min_delta=0.8", "optimizer=momentum", "lr=0.02"),
            (*MLP, "early_stop_patience=1", "early_stop_min_delta=0.5", "optimizer=sgd", "lr=0.03"),
            ("early_stop_patience=1", "early_stop_min_delta=0.5", "normalization=layer", "lr=0.0005"),
        ),
    ),
    Fault(
        "underfitting",
        (
            (*MLP, "model.hidden=[3]", "epochs=12"),
            ("weight_decay=1.0", "epochs=10"),
            (*MLP, "weight_decay=0.5", "epochs=8"),
            ("model.channels=[1,1]", "model.hidden=4", "epochs=12"),
            (*MLP, "regularization=l1", "regularization.l1.strength=0.01", "epochs=10"),
        ),
    ),
    Fault(
        "overfitting",
        (
            (*MLP, SMALL_TRAINING, "epochs=60", "early_stop_patience=null"),
            (SMALL_TRAINING, "epochs=60", "early_stop_patience=null", "batch_size=16"),
            (SMALL_TRAINING, "epochs=40", "early_stop_patience=null", "batch_size=16", "optimizer=momentum", "lr=0.01"),
            (*MLP, SMALL_TRAINING, "epochs=60", "early_stop_patience=null", "activation=tanh"),
            (*MLP, "dataset.validation_size=1440", "epochs=60", "early_stop_patience=null", "batch_size=16"),
        ),
    ),
)

# Settings of every kind that train well: a finding in one of them is a false alarm.
HEALTHY = (
    ("epochs=12",),
    ("epochs=12", "optimizer=momentum", "lr=0.02"),
    (*MLP, "epochs=15", "optimizer=sgd", "lr=0.1"),
    (*MLP, "epochs=15", "activation=tanh"),
    (*MLP, "epochs=20", "activation=sigmoid", "lr=0.003"),
    ("epochs=10", "normalization=batch", "optimizer=rmsprop"),
    ("epochs=12", "normalization=layer", "activation=elu", "dropout=0.2"),
    (*MLP, "epochs=15", "optimizer=adagrad", "lr=0.01", "init=kaiming_normal"),
    ("epochs=15", "augmentation=[crop]", "lr=0.002"),
    (*MLP, "epochs=15", "optimizer=nesterov", "lr=0.02", "scheduler=cosine", "regularization=label_smoothing"),
)
