"""`Images` of any kind of numbers: what is kept, what is refused, and that floats train as bytes do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import compose, tiny_images

from trainer.config.schema import Choice, techniques
from trainer.data import sources
from trainer.data.images import Images
from trainer.data.loader import read_part
from trainer.data.statistics import statistics
from trainer.data.values import pixels_of
from trainer.errors import ConfigError
from trainer.records.samples import picture_of
from trainer.storage import checkpoint
from trainer.storage.checkpoint_state import Best
from trainer.training.build import build_trainer

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "i2", "i4", "u4", "i8", "f2", "f4", ">f4", "f8"])
def test_pixels_keep_their_values(dtype):
    values = np.array([0, 1, 200, 30_000 if np.dtype(dtype).itemsize > 1 else 255], dtype)
    tensor = pixels_of(values)
    assert tensor.dtype == (torch.uint8 if dtype == "u1" else torch.float32)
    assert tensor.tolist() == values.tolist()


def test_tensors_are_taken_as_arrays_are():
    pixels = torch.tensor([0.5, 2.0], dtype=torch.bfloat16, requires_grad=True).view(2, 1, 1, 1)
    images = Images.of(pixels, torch.tensor([[1], [0]], dtype=torch.uint8), np.array(["a", "b"]))
    assert (images.storage.flatten().tolist(), images.labels.tolist()) == ([0.5, 2.0], [1, 0])
    assert not images.storage.requires_grad and [type(name) for name in images.classes] == [str, str]


def test_arrays_that_torch_does_not_take_are_copied():
    whole = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    whole.flags.writeable = False
    for array in (whole, whole[:, ::-1], np.asfortranarray(whole)):
        assert Images.of(array, [0, 1], ["a", "b"]).storage[:, 0].tolist() == array.tolist()


WRONG = {
    "bool": (lambda: Images.of(np.zeros((2, 1, 4, 4), bool), [0, 1], "ab"), "pixels: bool values are no pixels"),
    "complex": (lambda: Images.of(np.zeros((2, 4, 4), "c8"), [0, 1], "ab"), "pixels: complex64 values are no pixels"),
    "objects": (lambda: Images.of(np.array([[None]]), [0, 1], "ab"), "pixels: Python object values are no pixels"),
    "large": (lambda: Images.of(np.full((2, 4, 4), 2**24 + 1), [0, 1], "ab"), "16777217 would be rounded. Accepted:"),
    "flat": (lambda: Images.of(np.zeros((2, 16)), [0, 1], "ab"), "pixels: an array [2, 16], where [N, C, H, W] or"),
    "one-hot": (lambda: Images.of(np.zeros((2, 4, 4)), np.eye(2), "ab"), "labels: an array [2, 2], where one label"),
    "shares": (lambda: Images.of(np.zeros((2, 4, 4)), [0.5, 1.0], "ab"), "labels: float64 values, where whole numbers"),
}


@pytest.mark.parametrize("case", WRONG)
def test_arrays_that_are_no_images_are_refused_in_one_line(case):
    make, sentence = WRONG[case]
    with pytest.raises(ConfigError) as caught:
        make()
    assert sentence in str(caught.value)


GOOD = Images(torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 0, 1]), ("a", "b"))
MALFORMED = {
    "no Images": ([1], "returns list for part train, not Images: Images.of(pixels, labels, classes) converts arrays"),
    "doubles": (
        replace(GOOD, storage=torch.zeros(4, 1, 2, 2).double()),
        "pixels are float64 [4, 1, 2, 2], where uint8",
    ),
    "three axes": (replace(GOOD, storage=torch.zeros(4, 2, 2)), "pixels are float32 [4, 2, 2], where uint8 or float32"),
    "an array": (replace(GOOD, storage=np.zeros((4, 1, 2, 2))), "pixels are ndarray, where uint8 or float32 [N, C"),
    "no width": (replace(GOOD, storage=torch.zeros(4, 1, 2, 0)), "pixels are float32 [4, 1, 2, 0]: no image, or none"),
    "lengths": (replace(GOOD, labels=torch.tensor([0, 1])), "4 images and 2 labels do not belong together"),
    "int32": (replace(GOOD, labels=torch.tensor([0, 1, 0, 1]).int()), "labels are int32 [4], where int64 [N]"),
    "no class": (replace(GOOD, labels=torch.tensor([0, 1, 2, 0])), "label 2, where there are 2 classes: 0 to 1"),
    "negative": (replace(GOOD, labels=torch.tensor([0, 1, -1, 0])), "label -1, where there are 2 classes: 0 to 1"),
    "a list": (replace(GOOD, classes=["a", "b"]), "classes are list, where a tuple of texts is expected"),
    "one class": (replace(GOOD, classes=("a",), labels=torch.zeros(4).long()), "1 class, where at least two are"),
    "twice": (replace(GOOD, classes=("a", "a")), "the class a is named twice"),
    "no name": (replace(GOOD, classes=("a", "\x1b[2J")), "needs a printable name"),
    "NaN": (replace(GOOD, storage=torch.full((4, 1, 2, 2), torch.nan)), "a pixel is NaN or infinite"),
    "infinite": (
        replace(GOOD, storage=torch.tensor([0.0, torch.inf]).expand(4, 1, 1, 2)),
        "a pixel is NaN or infinite",
    ),
    "index": (replace(GOOD, indices=torch.tensor([0, 1, 2, 9])), "index 9, where there are 4 images"),
    "validation": (replace(GOOD, own_validation=4), "own_validation=4 of 4 images, where some must be left"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_a_data_set_returns_is_checked_in_one_place(case, monkeypatch):
    returned, sentence = MALFORMED[case]
    monkeypatch.setattr(sources, "digits", lambda data_dir, part, **options: returned)
    with pytest.raises(ConfigError) as caught:
        read_part(Choice("dataset", "digits"), Path(), "train")
    assert str(caught.value).startswith("dataset=digits") and sentence in str(caught.value)


@pytest.mark.parametrize("offset", [0.0, -1000.0, 1e6])
def test_statistics_of_floats_are_those_of_their_own_unit(offset):
    values = torch.randn(3000, 2, 4, 5, generator=torch.Generator().manual_seed(0)) * 100 + offset
    mean, std = statistics(Images(values, torch.arange(3000) % 2, ("a", "b")))
    torch.testing.assert_close(mean.double(), values.double().mean((0, 2, 3)), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(std.double(), values.double().std((0, 2, 3), correction=0), rtol=1e-6, atol=0)
    flat = Images(torch.full((7, 1, 3, 3), offset + 0.1), torch.zeros(7).long(), ("a", "b"))
    assert statistics(flat)[1].tolist() == [1.0]


def as_floats(images, factor=257.0, offset=-1000.0):
    """The same pictures as 16-bit numbers with an offset, or what else is given."""
    return replace(images, storage=images.storage.float() * factor + offset)


def full_range(shape):
    """Tiny images in which black and white occur, so that a range of floats is that of the bytes."""
    images = tiny_images(40, shape)
    images.storage[:4] = torch.tensor([0, 255, 0, 255], dtype=torch.uint8).view(4, 1, 1, 1)
    return images


# With bytes they round to whole levels, as torchvision's kernels do.
ROUNDED = {"aug_mix", "auto_augment", "blur", "gray", "rand_augment", "trivial_augment"}


@pytest.mark.parametrize("name", sorted(techniques("augmentation")))
def test_an_augmentation_does_the_same_to_floats_of_any_range(name):
    (run,) = compose(["dataset=digits", "model=mlp", "model.hidden=[8]", f"augmentation={name}"])
    for channels in (1, 3, 5):
        whole = full_range((channels, 12, 12))
        changed = []
        for images in (as_floats(whole, 1 / 255, 0.0) if name in ROUNDED else whole, as_floats(whole)):
            trainer = build_trainer(run, images, None, CPU)
            pixels, labels = trainer.train.at(torch.arange(20))
            changed.append(trainer.hooks.augment(pixels, labels, torch.Generator().manual_seed(0))[0])
        unit = changed[0] / 255 if changed[0].dtype == torch.uint8 else changed[0]
        torch.testing.assert_close(changed[1], unit * 255 * 257 - 1000, rtol=1e-4, atol=0.1)


def test_a_network_sees_the_same_whatever_the_unit():
    """Whitening included. Without augmentation the values reach the network as they are."""
    (run,) = compose(["dataset=digits", "model=resnet9", "model.width=4", "epochs=2", "batch_size=20"])
    whole = tiny_images()
    losses = []
    for images in (whole, as_floats(whole), as_floats(whole, 2 / 255, -1.0)):
        trainer = build_trainer(run, images, images, CPU)
        assert torch.equal(trainer.train.at(torch.arange(3))[0], images.pixels[:3])
        losses.append([report.validation_loss for report in trainer.train_loop()])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert losses[2] == pytest.approx(losses[0], rel=1e-3)


def test_floats_and_other_channels_are_shown_as_bytes():
    pixels = torch.tensor([-1.0, 0.0, 1.0, 3.0]).view(1, 1, 2, 2)
    assert picture_of(pixels, (-1.0, 1.0)).flatten().tolist() == [0, 128, 255, 255]
    assert picture_of(torch.full((2, 5, 3, 3), 7, dtype=torch.uint8), (0.0, 255.0)).unique().tolist() == [7]
    assert picture_of(torch.full((2, 5, 3, 3), 0.5), (0.0, 1.0)).shape == (2, 1, 3, 3)


def test_a_checkpoint_keeps_the_range_of_floats_and_none_of_bytes():
    state = Best({}, ["a", "b"], [1, 2, 2], 1, {"0": torch.ones(1)}, [-1000.0, 3000.0])
    checkpoint.save(Path("best.safetensors"), state)
    assert checkpoint.load_as(Best, Path("best.safetensors")).value_range == [-1000.0, 3000.0]
    assert "value_range" not in replace(state, value_range=[]).to_parts()[1]
    Path("bad.safetensors").write_bytes(b"".join(checkpoint.serialize(replace(state, value_range=[1.0]))))
    with pytest.raises(Exception, match=r"value_range=\[1.0\]: must be two numbers, or empty for images of bytes"):
        checkpoint.load(Path("bad.safetensors"))
