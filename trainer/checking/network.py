"""The checks of a model and of its parts: preprocessing, activation, normalization, initialization."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainer.checking.subject import Subject, fail, first_difference, of_channels, stirred, told
from trainer.runtime.text import counted
from trainer.training.network import ignored_slots

TOLERANCE = 1e-3


def takes_channels(subject: Subject) -> str | None:
    """Build the model for 1 and 3 channels, and compute logits in both modes."""
    for channels in (1, 3):
        try:
            with stirred(1):
                trainer = subject.trainer(channels)
                images, _ = trainer.train.at(torch.arange(4, device=subject.device))
                for mode in (True, False):
                    logits = trainer.model.train(mode)(images)
        except Exception as error:
            fail(f"with {counted(channels, 'channel')}: {told(subject, error)}")
        count = len(trainer.train.images.classes)
        if not isinstance(logits, Tensor) or logits.shape != (4, count):
            shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            fail(f"4 images of {counted(channels, 'channel')} become {shape}, where [4, {count}] is expected")
    return None


def trains_all(subject: Subject) -> str | None:
    """Compute the gradients of a batch, which must reach every parameter."""
    with stirred(1):
        trainer = subject.trainer()
        trainer.model.train()
        trainer.differentiate(*trainer.train.at(torch.arange(16, device=subject.device)))
    missing = [name for name, each in trainer.model.named_parameters() if each.requires_grad and each.grad is None]
    if missing:
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        fail(f"no gradient reaches {missing[0]}{more}: each parameter must take part, or have requires_grad=False")
    return None


@torch.no_grad()
def evaluates_one(subject: Subject) -> str | None:
    """Compare the logits of one image with those it has in a batch, in evaluation mode."""
    with stirred(1):
        trainer = subject.trainer()
        images, _ = trainer.train.at(torch.arange(8, device=subject.device))
        model = trainer.model.eval()
        together, alone = model(images), model(images[:1])
    if alone.shape != (1, together.shape[1]):
        fail(f"one image becomes {list(alone.shape)} in evaluation mode, where [1, {together.shape[1]}] is expected")
    if not torch.allclose(alone[0], together[0], atol=TOLERANCE * max(1.0, float(together.abs().max()))):
        fail("in evaluation mode the logits of an image depend on the others of its batch")
    return None


def builds_the_same(subject: Subject) -> str | None:
    """Build it twice from one seed."""
    states = []
    for seed in (1, 2):
        with stirred(seed):
            states.append(subject.trainer().model.state_dict())
    if (name := first_difference(*states)) is not None:
        fail(f"two networks from the same seed differ ({name}): draw weights with torch, without a generator")
    return None


def names_its_slots(subject: Subject) -> str | None:
    """Tell the settings that the model has no place for."""
    ignored = ignored_slots(subject.config, subject.parts[0])
    return f"ignores {', '.join(ignored)}" if ignored else None


@torch.no_grad()
def prepares(subject: Subject) -> str | None:
    """Fit a preprocessing to images of 1 and 3 channels, and compare what bytes become with what floats do."""
    for channels in (1, 3):
        images = of_channels(subject.parts[0], channels)
        layer = subject.choice.function()(images.shape)
        if not isinstance(layer, nn.Module):
            fail(f"it returns {type(layer).__name__}, where a torch.nn.Module is expected")
        if fit := getattr(layer, "fit", None):
            fit(images)
        layer, pixels = layer.to(subject.device).eval(), images.storage[:8]
        result = layer(pixels)
        if not isinstance(result, Tensor) or result.shape != pixels.shape or not result.is_floating_point():
            shape = list(result.shape) if isinstance(result, Tensor) else type(result).__name__
            fail(f"pixels {list(pixels.shape)} become {shape}, where floats of that shape are expected")
        if not result.isfinite().all():
            fail("what pixels become is not finite")
        same = layer(pixels.float() / 255)
        if images.are_bytes and not torch.allclose(same, result, atol=TOLERANCE * max(1.0, float(result.abs().max()))):
            fail("bytes x and floats x / 255 become different numbers: an augmentation may give the latter")
        if not torch.allclose(layer(pixels[:1]), result[:1], atol=TOLERANCE * max(1.0, float(result.abs().max()))):
            fail("what an image becomes depends on the others of its batch")
    return None


def activates(subject: Subject) -> str | None:
    """Build an activation and compute it and its gradient on features [N, F] and [N, C, H, W]."""
    activation = subject.choice.function()()
    if not 0 < float(activation.gain) < float("inf"):
        fail(f"its gain is {activation.gain}, where a finite number above 0 is expected")
    for shape in ((4, 8), (4, 8, 5, 5)):
        wide = (shape[0], shape[1] * activation.pieces, *shape[2:])
        _refuse_malformed(activation.build(), wide, shape)
    return None


def normalizes(subject: Subject) -> str | None:
    """Build a normalization for features (F,) and (C, H, W), and compute it in both modes."""
    for features in ((8,), (8, 5, 5)):
        layer = subject.choice.function()(features)
        if layer is None:
            continue
        if not isinstance(layer, nn.Module):
            fail(f"it returns {type(layer).__name__} for {features}, where a torch.nn.Module or None is expected")
        _refuse_malformed(layer, (4, *features), (4, *features))
        _refuse_malformed(layer.eval(), (1, *features), (1, *features))
    return None


def _refuse_malformed(layer: nn.Module, given: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Let the check fail unless a layer turns features of a shape into those of another, with a finite gradient."""
    draw = torch.Generator().manual_seed(1)
    features = (5 * torch.randn(given, generator=draw)).requires_grad_()
    result = layer(features)
    if not isinstance(result, Tensor) or result.shape != expected:
        shape = list(result.shape) if isinstance(result, Tensor) else type(result).__name__
        fail(f"features {list(given)} become {shape}, where {list(expected)} is expected")
    result.sum().backward()
    if not result.isfinite().all() or features.grad is None or not features.grad.isfinite().all():
        fail(f"for features {list(given)} the result or its gradient is not finite")


def initializes(subject: Subject) -> str | None:
    """Initialize a linear layer and a convolution, with a bias and without."""
    function, untouched = subject.choice.function(), list[str]()
    for kind in (nn.Linear(8, 6), nn.Linear(8, 6, bias=False), nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3, bias=False)):
        ends = []
        for _ in range(2):
            before = {name: each.detach().clone() for name, each in kind.named_parameters()}
            with stirred(1):
                finishes = callable(function(kind, 1.5))  # the whole network, once all layers are set
            after = {name: each.detach().clone() for name, each in kind.named_parameters()}
            ends.append(after)
            if {name: each.shape for name, each in after.items()} != {n: each.shape for n, each in before.items()}:
                fail(f"the parameters of {kind} have other shapes or names after it")
            if not all(each.isfinite().all() for each in after.values()):
                fail(f"the weights of {kind} are not finite after it")
            if not ends[1:] and not finishes and torch.equal(before["weight"], after["weight"]):
                untouched.append(type(kind).__name__)
        if not torch.equal(ends[0]["weight"], ends[1]["weight"]) and type(kind).__name__ not in untouched:
            fail(f"{kind} gets other weights from the same seed: they must depend on nothing but torch's draws")
    if len(untouched) == 4:
        fail("the weights stay what torch has set: it must change the layer in place, such as by layer.weight.copy_")
    return f"leaves {untouched[0]} as it is" if untouched else None


Checks = tuple[Callable[[Subject], str | None], ...]
MODEL: Checks = (takes_channels, trains_all, evaluates_one, builds_the_same, names_its_slots)
PREPROCESSING: Checks = (prepares,)
ACTIVATION: Checks = (activates,)
NORMALIZATION: Checks = (normalizes,)
INIT: Checks = (initializes, builds_the_same)
