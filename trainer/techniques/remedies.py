"""Techniques that help against a cause of bad training, or may be a cause themselves. Imports no torch."""

from typing import NamedTuple

from trainer.config.schema import Choice


class Remedy(NamedTuple):
    """An option of a config group; `instead_of`: only for a run that has chosen this other option of the group."""

    group: str
    option: str
    instead_of: str | None = None


# Cause → techniques, in the order in which they are suggested: the first that a run does not use already.
REMEDIES = {
    # A start that enlarges or shrinks what passes through a layer. σ = gain·√(2 / (fan_in + fan_out)) suits activations
    # that are nearly linear around zero (Glorot & Bengio 2010), σ = gain / √fan_in those that are zero on one side
    # (He et al. 2015).
    "badly scaled symmetric start": (
        Remedy("init", "xavier_normal"),
        Remedy("normalization", "batch"),
        Remedy("activation", "relu"),
    ),
    "badly scaled start": (
        Remedy("init", "kaiming_normal"),
        Remedy("normalization", "batch"),
        Remedy("activation", "relu"),
    ),
    "small gradients": (
        Remedy("normalization", "batch", instead_of="none"),
        Remedy("activation", "relu"),
        Remedy("init", "kaiming_normal"),
    ),
    "dead units": (Remedy("activation", "leaky_relu"),),
    "saturation": (Remedy("activation", "relu"),),
    "few images": tuple(Remedy("augmentation", name) for name in ("crop", "translate", "rotation")),
    "wrong labels": (Remedy("augmentation", "mixup"), Remedy("augmentation", "cutmix")),
}
# A learning rate at which each optimizer usually learns: the scale of its steps differs a hundredfold. Those of
# experiment=optimizers_tuned, and of a trial on digits (8 epochs, 2026-11-28).
USUAL_LR = {
    "sgd": 0.1,
    "momentum": 0.02,
    "nesterov": 0.02,
    "adagrad": 0.01,
    "rmsprop": 0.001,
    "adam": 0.001,
    "adamw": 0.001,
    "adadelta": 1.0,
    "nadam": 0.001,
    "radam": 0.003,
    "adamax": 0.003,
    "adafactor": 0.03,
    "lion": 0.0003,
    "muon": 0.01,
    "sam": 0.02,
    "lookahead": 0.001,
    "schedule_free": 0.003,
}
SYMMETRIC_ACTIVATIONS = ("sigmoid", "tanh", "maxout")
STARTS_WITH_ZEROS = ("fixup",)  # initializations that set some layers to zero, which others then take out of it
BATCH_STATISTICS = ("batch",)  # normalizations by the mean and deviation of a batch: noise in a small one
WEIGHT_LIMITS = (
    "l1",
    "l2",
    "max_norm",
    "spectral_norm",
)  # regularizations that keep weights small: too strong, they prevent learning
# The options of each model that are numbers of units or channels; the last one decides over most of its weights. By the
# model's name: in a model of someone's own the same word may mean something else.
_LECTURE = ("channels", "hidden")
WIDTHS = {
    "lecture_cnn": _LECTURE,
    "ensemble": _LECTURE,
    "hard_sharing": _LECTURE,
    "soft_sharing": _LECTURE,
    "mlp": ("hidden",),
    "note_000_cnn": ("channels",),
    "convmixer": ("width",),
    "resnet9": ("width",),
    "resnet18": ("width",),
    "resnet20": ("width",),
    "resnet32": ("width",),
    "resnet56": ("width",),
    "timm": (),
    "vgg": ("width",),
    "vit": ("width",),
    "wide_resnet": ("width",),
}

# Models with residual branches, which some techniques act on, and those with less than two convolutions in a row.
RESIDUAL = ("resnet9", "resnet18", "resnet20", "resnet32", "resnet56", "wide_resnet", "convmixer", "vit")
FEW_CONVOLUTIONS = {"mlp": 0, "note_000_cnn": 1, "vit": 1}


def has_momentum(optimizer: Choice) -> bool:
    """Return whether an optimizer has a momentum that a schedule can set, as far as its settings tell."""
    if optimizer.own:
        return True
    options = optimizer.options
    return "betas" in options or (bool(options.get("momentum")) and options.get("base") != "sgd")


RESIZED = (
    "arrays",
    "digits",
    "image_folder",
    "imagenette",
    "stl10",
)  # data sets that bring images to dataset.image_size, a square


def size_read(dataset: Choice) -> int | None:
    """Return the side of the square images that a data set is read as, None if it is not known before."""
    # An option of that name may mean something else to a data set of one's own.
    return dataset.options["image_size"] if dataset.name in RESIZED else None
