"""What every augmentation promises, and the hand-worked cases of those that do not resample the image.

Those that do are in test_warp.py, those that cut and mix in test_mix.py, those of many operations in test_policies.py.
"""

import math

import numpy as np
import pytest
import torch
from conftest import compose, tiny_images
from networks import composed
from torchvision.transforms import functional as vision

from trainer.config.schema import techniques
from trainer.techniques import augmentation
from trainer.training.build import build_trainer

NAMES = sorted(techniques("augmentation"))
MIXING = {"mixup", "cutmix"}
# How many of 32 draws differ at least; those not listed are continuous: all of them.
DISTINCT = {"flip": 2, "gray": 2, "crop": 20, "cutout": 20, "cutmix": 15, "mixup": 28, "random_erasing": 28}
DISTINCT |= {"rand_augment": 25, "trivial_augment": 20, "auto_augment": 12, "blur": 25}
# So that each image is changed.
ALWAYS = {"random_erasing": {"probability": 1.0}, "blur": {"probability": 1.0}, "gray": {"probability": 0.5}}
ALWAYS |= {name: {"alpha": 1.0} for name in MIXING}
# These work on levels: what bytes are cut off to, floats are not, and one level more may become many.
LEVELS = {"rand_augment", "trivial_augment", "auto_augment", "aug_mix"}
HEIGHT, WIDTH = 12, 20


def apply(name, images, labels=None, seed=0, classes=None, **options):
    labels = torch.arange(len(images)) if labels is None else labels
    draw = torch.Generator().manual_seed(seed)
    return getattr(augmentation, name)(images, labels, classes or len(images), draw, **options)


def random_images(count=32, shape=(3, HEIGHT, WIDTH), seed=1):
    return torch.randint(0, 256, (count, *shape), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def hand_set(monkeypatch, *shares):
    """Replaces the uniform draws: each call takes the next list, 0 the lower end of its range and 1 the upper."""
    queue = iter(shares)

    def uniform(images, draw, low, high):
        return low + (high - low) * torch.tensor(next(queue), dtype=torch.float32).expand(len(images))

    monkeypatch.setattr(augmentation, "_uniform", uniform)


def assert_uniform(values, low, high):
    """All within the range; mean and variance within four standard errors of a uniform distribution's."""
    values, width = values.double(), high - low
    count, slack = values.numel(), 1e-4 * width
    assert low - slack <= values.min() < low + 0.02 * width
    assert high - 0.02 * width < values.max() <= high + slack
    assert abs(values.mean().item() - (low + high) / 2) < 4 * width / math.sqrt(12 * count)
    assert abs(values.var().item() - width**2 / 12) < 4 * width**2 * math.sqrt((1 / 80 - 1 / 144) / count)
    assert len(values.unique()) > 0.99 * count


@pytest.mark.parametrize("name", NAMES)
def test_each_image_draws_its_own(name):
    """32 copies of one image; of those that mix, the label tells the proportion."""
    images = random_images(1).expand(32, -1, -1, -1)
    changed, labels = apply(name, images, **ALWAYS.get(name, {}))
    results = labels.diagonal()[:, None] if name in MIXING else changed.flatten(1)
    distinct = len(results.unique(dim=0))
    assert distinct == 2 if name in ("flip", "gray") else distinct >= DISTINCT.get(name, 32)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_bits(name):
    """The generator is all that is drawn from: torch's own is neither read nor moved."""
    images = random_images()
    torch.manual_seed(1)
    first, first_labels = apply(name, images)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again, again_labels = apply(name, images)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert torch.equal(first_labels, again_labels)
    assert not torch.equal(first, apply(name, images, seed=1)[0])


@pytest.mark.parametrize("kind", ["uint8", "float"])
@pytest.mark.parametrize("name", NAMES)
def test_shape_stays_and_what_came_in_is_not_touched(name, kind):
    images, labels = random_images(), torch.arange(32) % 4
    images = images if kind == "uint8" else images / 255
    kept, kept_labels = images.clone(), labels.clone()
    changed, new_labels = apply(name, images, labels, classes=4)
    assert changed.shape == images.shape
    assert torch.equal(images, kept)
    assert torch.equal(labels, kept_labels)
    assert name in MIXING or torch.equal(new_labels, labels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in LEVELS])
def test_bytes_and_floats_are_changed_alike(name, channels):
    images = random_images(shape=(channels, HEIGHT, WIDTH))
    of_bytes, labels = apply(name, images)
    of_floats, same_labels = apply(name, images / 255)
    as_float = of_bytes / 255 if of_bytes.dtype == torch.uint8 else of_bytes
    assert of_floats.dtype == torch.float32
    level = 1 / 255 if name in ("gray", "blur") else 0  # bytes stay bytes
    torch.testing.assert_close(as_float, of_floats, rtol=0, atol=level + 1e-6)
    assert torch.equal(labels, same_labels)


@pytest.mark.parametrize("name", sorted(MIXING))
def test_label_weights_sum_to_one(name):
    """Also where the labels were mixed before: an image may be blended twice."""
    images, labels = random_images(), torch.arange(32) % 4
    for _ in range(3):
        images, labels = apply(name, images, labels, classes=4)
        assert labels.shape == (32, 4)
        assert labels.min() >= 0
        torch.testing.assert_close(labels.sum(1), torch.ones(32), rtol=0, atol=1e-6)


def test_in_a_run_training_images_change_every_epoch_and_validation_images_never():
    run = composed("augmentation=crop", "model=mlp", "model.hidden=[2]", "batch_size=16", "epochs=2")
    images = tiny_images(1, (3, 8, 8)).select(torch.zeros(16, dtype=torch.int64))  # one image, sixteen times
    trainer, seen = build_trainer(run, images, images, torch.device("cpu")), {True: [], False: []}
    trainer.model.register_forward_pre_hook(lambda model, inputs: seen[model.training].append(inputs[0].clone()))
    list(trainer.train_loop())
    assert [len(batches) for batches in seen.values()] == [2, 2]
    assert not torch.equal(*seen[True])
    assert all(torch.equal(batch, images.pixels) for batch in seen[False])


def test_flip_by_hand():
    images = torch.tensor([[[[1, 2, 3], [4, 5, 6]]]], dtype=torch.uint8)
    assert apply("flip", images, probability=1.0)[0].tolist() == [[[[3, 2, 1], [6, 5, 4]]]]
    assert apply("flip", images, probability=0.0)[0].tolist() == images.tolist()


@pytest.mark.parametrize("probability", [0.5, 0.2])
def test_flip_happens_as_often_as_it_says(probability):
    images = torch.tensor([0.0, 1.0]).expand(20_000, 1, 1, 2)
    share = apply("flip", images, classes=1, probability=probability)[0][:, 0, 0, 0].mean().item()
    assert abs(share - probability) < 4 * math.sqrt(probability * (1 - probability) / 20_000)


def shifted(image, down, right):
    """NumPy: the image moved by whole pixels, black where nothing comes from."""
    result, (height, width) = np.zeros_like(image), image.shape[1:]
    for row in range(max(0, down), min(height, height + down)):
        for column in range(max(0, right), min(width, width + right)):
            result[:, row, column] = image[:, row - down, column - right]
    return result


def test_crop_is_the_shift_that_the_generator_draws():
    images, padding = random_images(), 3
    cropped, _ = apply("crop", images, seed=5, padding=padding)
    draw = torch.Generator().manual_seed(5)
    top, left = torch.randint(0, 2 * padding + 1, (2, 32, 1), generator=draw).flatten(1).tolist()
    for image, result, down, right in zip(images.numpy(), cropped.numpy(), top, left, strict=True):
        np.testing.assert_array_equal(result, shifted(image, padding - down, padding - right))


def test_crop_reaches_every_shift_equally_often():
    """Nine shifts by at most one pixel; each is 1/9 of 9 000 within four standard errors."""
    image, counts = random_images(1, (1, 4, 6)), []
    cropped, _ = apply("crop", image.expand(9000, -1, -1, -1), classes=1, padding=1)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            expected = torch.from_numpy(shifted(image[0].numpy(), down, right))
            counts.append(int((cropped == expected).flatten(1).all(1).sum()))
    assert sum(counts) == 9000
    assert max(abs(count - 1000) for count in counts) < 4 * math.sqrt(9000 * (1 / 9) * (8 / 9))


def test_noise_is_gaussian_with_the_given_std():
    images = random_images(64) / 255
    noisy, _ = apply("noise", images, std=0.2)
    noise = (noisy - images).double()
    count = noise.numel()
    assert abs(noise.mean().item()) < 4 * 0.2 / math.sqrt(count)
    assert abs(noise.std().item() - 0.2) < 4 * 0.2 / math.sqrt(2 * count)
    beyond = (noise.abs() > 0.4).double().mean().item()
    share = math.erfc(math.sqrt(2))  # of a normal distribution beyond two standard deviations: 4.6 %
    assert abs(beyond - share) < 4 * math.sqrt(share / count)
    assert len(noise.unique()) > 0.9 * count  # each pixel of each channel its own


def test_color_jitter_by_hand(monkeypatch):
    """Gray 0.2, 0.6: ×1.5 is 0.3, 0.9; half the contrast around the mean 0.6 is 0.45, 0.75; no saturation in gray."""
    hand_set(monkeypatch, 1.0, 0.0, 1.0)
    gray = torch.tensor([0.2, 0.6]).view(1, 1, 1, 2)
    changed, _ = apply("color_jitter", gray, brightness=0.5, contrast=0.5, saturation=0.5)
    assert changed.flatten().tolist() == pytest.approx([0.45, 0.75])
    # luma of (0.2, 0.4, 0.6): 0.299·0.2 + 0.587·0.4 + 0.114·0.6 = 0.363; factors 0 and 2 for the two images
    hand_set(monkeypatch, 0.5, 0.5, [0.0, 1.0])
    color = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1).expand(2, -1, -1, -1)
    changed, _ = apply("color_jitter", color, brightness=1.0, contrast=1.0, saturation=1.0)
    assert changed[0].flatten().tolist() == pytest.approx([0.363] * 3)
    assert changed[1].flatten().tolist() == pytest.approx([0.037, 0.437, 0.837])


def test_color_jitter_is_torchvisions_three_adjustments(monkeypatch):
    factors = [[0.6, 1.0, 1.4, 1.2], [1.4, 0.7, 1.1, 0.9], [0.8, 1.3, 0.6, 1.1]]
    hand_set(monkeypatch, *[[(factor - 0.5) / 1.0 for factor in row] for row in factors])
    images = random_images(4) / 255
    changed, _ = apply("color_jitter", images, brightness=0.5, contrast=0.5, saturation=0.5)
    for image, result, brightness, contrast, saturation in zip(images, changed, *factors, strict=True):
        expected = vision.adjust_contrast(vision.adjust_brightness(image, brightness), contrast)
        # torchvision rounds its luma weights to 0.2989, 0.587, 0.114
        torch.testing.assert_close(result, vision.adjust_saturation(expected, saturation), rtol=0, atol=5e-4)
    assert changed.min() == 0 and changed.max() == 1


@pytest.mark.parametrize("option", ["brightness", "contrast", "saturation"])
def test_color_jitter_draws_its_factors_uniformly(option):
    """Red beside green: the factor shows in the sum, in the step between the pixels or between the channels."""
    strengths = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0} | {option: 0.3}
    pixels = torch.tensor([[0.6, 0.2], [0.2, 0.6], [0.4, 0.4]]).view(1, 3, 1, 2).expand(5000, -1, -1, -1)
    changed, _ = apply("color_jitter", pixels, classes=1, **strengths)
    measure = {
        "brightness": lambda p: p.sum((1, 2, 3)),
        "contrast": lambda p: p[:, 0, 0, 0] - p[:, 0, 0, 1],
        "saturation": lambda p: p[:, 0, 0, 0] - p[:, 1, 0, 0],
    }[option]
    assert_uniform(measure(changed) / measure(pixels), 0.7, 1.3)


def test_gray_and_blur_act_on_as_many_images_as_they_say():
    images = random_images(2000, (3, 4, 4))
    for name in ("gray", "blur"):
        changed, _ = apply(name, images, classes=1, probability=0.3, **({"min_sigma": 1.0} if name == "blur" else {}))
        share = (changed != images).flatten(1).any(1).float().mean().item()
        assert abs(share - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 2000)
        if name == "gray":
            assert ((changed == changed[:, :1]).flatten(1).all(1).float().mean().item()) == share


def test_blur_draws_its_deviation_uniformly():
    """A single white pixel: of a Gaussian on three pixels the middle has 1 / (1 + 2·exp(−1 / 2σ²))², here inverted."""
    point = torch.zeros(4000, 1, 9, 9)
    point[:, :, 4, 4] = 1
    blurred, _ = apply("blur", point, classes=1, probability=1.0, min_sigma=0.5, max_sigma=1.5)
    beside = (1 / blurred[:, 0, 4, 4].double().sqrt() - 1) / 2
    assert_uniform((-1 / (2 * beside.log())).sqrt(), 0.5, 1.5)


def test_note_000_is_its_four_steps_in_order():
    (run,) = compose(["augmentation=note_000"])
    assert [(choice.name, dict(choice.options)) for choice in run.augmentation] == [
        ("flip", {"probability": 0.5}),
        ("rotation", {"degrees": 10.0}),
        ("color_jitter", {"brightness": 0.2, "contrast": 0.2, "saturation": 0.0}),
        ("crop", {"padding": 4}),
    ]


@pytest.mark.parametrize(
    "order", [("aug_mix", "mixup", "rand_augment", "cutmix"), ("cutmix", "rand_augment", "aug_mix")]
)
def test_operations_compose_with_mixing_in_any_order(order):
    images, labels = random_images(), torch.arange(32) % 4
    for name in order:
        images, labels = apply(name, images, labels, classes=4)
    assert images.dtype == torch.float32 and 0 <= images.min() < images.max() <= 1
    assert labels.shape == (32, 4)
    torch.testing.assert_close(labels.sum(1), torch.ones(32), rtol=0, atol=1e-6)
