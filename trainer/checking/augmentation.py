"""The checks of an augmentation: shape, range, labels, and draws for each image from the generator it is given."""

from collections.abc import Callable

import torch
from torch import Tensor

from trainer.checking.common import fail_of_draw
from trainer.checking.subject import Subject, fail, stirred

COUNT, CLASSES = 12, 10
OVER = 0.5  # how far floats may leave 0 … 1: noise does, bytes that were not divided by 255 go much further
SEEDS = 5


def keeps_shape_and_range(subject: Subject) -> str | None:
    """Give it bytes and floats of 1 and 3 channels."""
    lowest, highest = 0.0, 1.0
    for channels in (1, 3):
        for pixels in (_pixels(subject, channels), _pixels(subject, channels).float() / 255):
            given, (images, _) = _described(pixels), _augmented(subject, pixels, _labels(subject))
            if not isinstance(images, Tensor) or images.shape != pixels.shape:
                fail(f"{given} become {_described(images)}: the shape must stay")
            if images.dtype not in (torch.uint8, torch.float32) or (
                images.dtype == torch.uint8 and pixels.dtype != torch.uint8
            ):
                fail(f"{given} become {_described(images)}: bytes must stay bytes or become float32 from 0 to 1")
            if not images.isfinite().all():
                fail(f"{given} get values that are not finite")
            if images.is_floating_point():
                low, high = float(images.min()), float(images.max())
                if low < -OVER or high > 1 + OVER:
                    fail(f"{given} get values from {low:.3g} to {high:.3g}: floats go from 0 to 1, bytes to 255")
                lowest, highest = min(low, lowest), max(high, highest)
    return None if lowest > -0.01 and highest < 1.01 else f"values from {lowest:.2f} to {highest:.2f}"


def keeps_labels(subject: Subject) -> str | None:
    """Give it labels [N] and mixed ones [N, K]."""
    pixels, mixed_at_all = _pixels(subject, subject.parts[0].shape[0]), False
    plain = _labels(subject)
    mixed = torch.eye(CLASSES, device=plain.device)[plain] * 0.75 + 0.25 / CLASSES
    for labels in (plain, mixed):
        _, after = _augmented(subject, pixels, labels)
        if not isinstance(after, Tensor) or after.shape not in (plain.shape, mixed.shape) or len(after) != COUNT:
            fail(f"labels {list(labels.shape)} become {_described(after)}: [N] or, once mixed, [N, K] is expected")
        if labels.ndim == 2 and after.ndim == 1:
            fail("mixed labels [N, K] become [N]: what another augmentation has mixed is lost")
        if after.ndim == 1 and (after.dtype != torch.int64 or not bool(((after >= 0) & (after < CLASSES)).all())):
            fail(f"labels [N] become {_described(after)} from {after.min()} to {after.max()}: int64 below the classes")
        if after.ndim == 2 and not torch.allclose(after.sum(1), torch.ones_like(after.sum(1)), atol=1e-4):
            fail(f"mixed labels sum to {after.sum(1)[0]:.4g} in an image: the probabilities must sum to 1")
        mixed_at_all = mixed_at_all or (labels.ndim == 1 and after.ndim == 2)
    return "mixes labels" if mixed_at_all else None


def draws_from_its_generator(subject: Subject) -> str | None:
    """Give it two generators of one seed, while the global ones have other states."""
    pixels, labels = _pixels(subject, subject.parts[0].shape[0]), _labels(subject)
    ends = []
    for seed in (1, 2):
        with stirred(seed) as drawn:
            ends.append(_augmented(subject, pixels, labels))
            if names := drawn():
                fail_of_draw(subject, names[0], "which is not the generator that it is given: pass generator=generator")
    if not all(map(torch.equal, *ends)):
        fail("two generators of the same seed lead to other images or labels: it must draw from its generator alone")
    return None


def draws_for_each_image(subject: Subject) -> str | None:
    """Give it a batch of equal images: where the result depends on the seed, it must not be the same for all."""
    pixels, labels = _pixels(subject, subject.parts[0].shape[0]), _labels(subject)
    same = pixels[:1].repeat(COUNT, 1, 1, 1)
    results = [_augmented(subject, same, labels, seed)[0] for seed in range(SEEDS)]
    random = any(not torch.equal(results[0], other) for other in results[1:])
    if random and all(torch.equal(images, images[:1].expand_as(images)) for images in results):
        fail(
            f"{COUNT} equal images stay equal to each other, while another seed changes all of them: it draws once a"
            " batch, where each image needs a draw of its own (shape [N])"
        )
    return None


def _augmented(subject: Subject, pixels: Tensor, labels: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator(subject.device).manual_seed(seed)
    result = subject.choice.function()(pixels.clone(), labels.clone(), CLASSES, generator)
    if not isinstance(result, tuple) or len(result) != 2:
        fail(f"it returns {_described(result)}, where (images, labels) is expected")
    return result


def _pixels(subject: Subject, channels: int) -> Tensor:
    """Return noise, on which every shift, turn and change of colour is seen; in it black and white occur."""
    size = subject.parts[0].shape[1:]
    draw = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (COUNT, channels, *size), generator=draw, dtype=torch.uint8).to(subject.device)


def _labels(subject: Subject) -> Tensor:
    return (torch.arange(COUNT) % CLASSES).to(subject.device)


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return type(value).__name__


CHECKS: tuple[Callable[[Subject], str | None], ...] = (
    keeps_shape_and_range,
    keeps_labels,
    draws_from_its_generator,
    draws_for_each_image,
)
