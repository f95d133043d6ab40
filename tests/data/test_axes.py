"""Classes, size, balance and wrong labels of the training images: exact numbers, nested, the same for each seed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, compose, quick, tiny_images

from trainer.cli.main import main
from trainer.data import sources
from trainer.data.images import Images
from trainer.data.splits import split
from trainer.errors import ConfigError
from trainer.storage import checkpoint
from trainer.techniques.idle import idle_settings


def numbered(count=400, classes=4, shares=None):
    """Images whose only pixel is their number."""
    labels = torch.arange(count) % classes if shares is None else torch.repeat_interleave(torch.tensor(shares))
    pixels = torch.arange(len(labels)).float().view(-1, 1, 1, 1)
    return Images(pixels, labels, ("cat", "dog", "ship", "truck")[: int(labels.max()) + 1])


def labels_by_number(images):
    return dict(zip(images.pixels.flatten().int().tolist(), images.labels.tolist(), strict=True))


def training(images, seed=0, **axes):
    return split(images, seed, validation_size=0.1, **axes)[0]


def test_a_smaller_part_lies_in_a_larger_one_with_the_shares_of_the_classes():
    images = numbered(shares=(200, 120, 80))
    sizes, parts = (10, 45, 0.5, 333), []
    for size in sizes:
        part = training(images, train_size=size)
        assert len(part) == (size if size > 1 else 180)
        wanted = np.array((180, 108, 72)) * len(part) / 360
        assert np.abs(part.labels.bincount().numpy() - wanted).max() < 1.5
        parts.append(labels_by_number(part))
    for small, large in zip(parts, [*parts[1:], labels_by_number(training(images))], strict=True):
        assert small.items() < large.items()
    assert list(parts[1]) == sorted(parts[1])  # in the order of the data set
    assert parts[1] != labels_by_number(training(images, seed=1, train_size=45))


def test_validation_images_stay_as_they_are():
    images = numbered()
    plain = split(images, 0, validation_size=100)[1]
    changed = split(images, 0, validation_size=100, train_size=50, imbalance=5.0, label_noise=0.5)[1]
    assert torch.equal(plain.labels, changed.labels) and torch.equal(plain.indices, changed.indices)
    same = split(images, 0, validation_size=100)[0]
    assert torch.equal(same.labels, images.labels[same.indices])


@pytest.mark.parametrize("kind", ["symmetric", "pair"])
@pytest.mark.parametrize("size", [None, 50, 0.3])
def test_exactly_the_share_of_the_labels_is_wrong(kind, size):
    images = numbered()
    true = labels_by_number(images)
    found = labels_by_number(training(images, train_size=size, label_noise=0.2, label_noise_kind=kind))
    wrong = {number: label for number, label in found.items() if label != true[number]}
    assert len(wrong) == len(found) // 5
    steps = {(label - true[number]) % 4 for number, label in wrong.items()}
    assert steps == ({1} if kind == "pair" else {1, 2, 3})


def test_labels_are_equally_often_each_wrong_one_and_stay_wrong_in_larger_parts_and_shares():
    images = numbered(8000)
    part = training(images, label_noise=0.5)
    shift = (part.labels - images.labels[part.indices]) % 4
    assert np.abs(shift.bincount().numpy() - np.array([3600, 1200, 1200, 1200])).max() < 100  # four deviations: 115
    small, large = (labels_by_number(training(images, train_size=n, label_noise=0.2)) for n in (100, 2000))
    assert small.items() < large.items()
    more = labels_by_number(training(images, label_noise=0.4))
    true = labels_by_number(images)
    less = labels_by_number(training(images, label_noise=0.2))
    assert all(more[number] == label for number, label in less.items() if label != true[number])


def test_a_long_tail_is_that_of_cui_et_al():
    """n_c = n·r^(−c / (K − 1)): 1000 images, 10 classes, ratio 100, as in their CIFAR-10-LT."""
    labels = torch.arange(10_000) % 10
    images = Images(torch.zeros(1, 1, 1, 1).expand(10_000, 1, 1, 1), labels, tuple("abcdefghij"))
    tail, _ = split(images, 0, validation_size=0, imbalance=100.0)
    assert tail.labels.bincount().tolist() == [1000, 599, 359, 215, 129, 77, 46, 27, 16, 10]
    half, _ = split(images, 0, validation_size=0, imbalance=100.0, train_size=0.5)
    assert np.abs(half.labels.bincount().numpy() - tail.labels.bincount().numpy() / 2).max() <= 1
    assert set(half.indices.tolist()) < set(tail.indices.tolist())
    noisy, _ = split(images, 0, validation_size=0, imbalance=100.0, label_noise=0.25)
    assert int((noisy.labels != labels[noisy.indices]).sum()) == len(noisy) // 4


@pytest.mark.parametrize("classes", [["ship", "dog"], 3])
def test_only_the_chosen_classes_are_left_in_the_order_of_the_data_set(classes):
    images = numbered()
    whole, chosen = split(images, 0, validation_size=40), split(images, 0, validation_size=40, classes=classes)
    names = ("dog", "ship") if classes != 3 else ("cat", "dog", "ship")
    for all_of_them, part in zip(whole, chosen, strict=True):
        assert part.classes == names
        wanted = {
            number: names.index(images.classes[label])
            for number, label in labels_by_number(all_of_them).items()
            if images.classes[label] in names
        }
        assert labels_by_number(part) == wanted and len(part) == len(all_of_them) * len(names) // 4


def test_folds_and_a_validation_part_of_its_own_have_the_axes_too():
    images = numbered()
    axes = {"classes": 2, "train_size": 60, "label_noise": 0.5}
    for fold in (0, 1):
        part, validation = split(images, 0, folds=4, fold=fold, **axes)
        assert (len(part), len(validation)) == (60, 50)
        assert int((part.labels != images.labels[part.indices]).sum()) == 30
        assert torch.equal(validation.labels, images.labels[validation.indices])
    own = Images(images.storage, images.labels, images.classes, own_validation=40)
    part, validation = split(own, 0, **axes)
    assert (len(part), len(validation), part.classes) == (60, 20, ("cat", "dog"))
    assert int(part.indices.max()) < 360 <= int(validation.indices.min())
    rare = numbered(shares=(100, 100, 2))
    assert len(split(rare, 0, folds=4, fold=0, classes=2)[1]) in (50, 51)


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        ({"train_size": 3}, "dataset.train_size=3 leaves no training image of class "),
        ({"train_size": 400}, "dataset.train_size=400: there are 360 training images"),
        ({"classes": 2, "train_size": 200}, "dataset.train_size=200: there are 180 training images"),
        ({"imbalance": 1000.0}, "dataset.imbalance=1000 leaves no training image of class ship: at most 90, the"),
        ({"train_size": 4, "label_noise": 0.1}, "dataset.label_noise=0.1 changes no label of 4 training images"),
        ({"classes": 5}, "dataset.classes=5: this data set has 4 classes, so that it must be from 2 to 4"),
        ({"classes": 1}, "dataset.classes=1: this data set has 4 classes, so that it must be from 2 to 4"),
        ({"classes": ("cat",)}, "dataset.classes=[cat]: at least two classes are needed"),
        ({"classes": ("cat", "cat")}, "dataset.classes lists cat twice"),
        ({"classes": ("cat", "shipp")}, "dataset.classes: there is no class shipp. Did you mean ship? Accepted: cat,"),
    ],
)
def test_what_cannot_be_is_refused(axes, sentence):
    with pytest.raises(ConfigError) as caught:
        training(numbered(), **axes)
    assert str(caught.value).startswith(sentence)


def test_a_ratio_below_one_is_refused_and_an_idle_kind_is_warned_of():
    with pytest.raises(ConfigError) as caught:
        compose(["dataset.imbalance=0.01"])
    assert str(caught.value).startswith("dataset.imbalance=0.01: must be at least 1, the images of the largest class")
    run = compose(["dataset=digits", "dataset.label_noise_kind=pair"])[0]
    assert "dataset.label_noise_kind=pair does nothing: dataset.label_noise=0" in idle_settings(run)
    assert tiny_images(8).classes == split(tiny_images(8), 0, validation_size=0)[0].classes


def test_a_run_says_keeps_and_resumes_them_and_is_tested_on_its_classes(capsys):
    axes = ("dataset.classes=[0,1,8]", "dataset.train_size=100", "dataset.label_noise=0.2")
    words = (*TINY, *axes, "dataset.imbalance=4.0", "batch_size=20")
    whole = quick(*words, "epochs=2", "output_dir=whole")
    told = capsys.readouterr().out
    assert "100 training (long-tailed, 4 to 1; 20 % wrong labels) and 89 validation images 1×8×8, 3 classes;" in told
    quick(*words, "epochs=1", "output_dir=part")
    assert main(["resume=part", "epochs=2"]) == 0
    ends = [checkpoint.load(Path(folder, "last.safetensors")) for folder in ("whole", "part")]
    assert ends[0].classes == ["0", "1", "8"] and whole.training_images == 100
    for name, value in ends[0].trainer["model"].items():
        assert torch.equal(value, ends[1].trainer["model"][name]), name
    capsys.readouterr()
    assert main(["evaluate", "part"]) == 0
    test = sources.digits(Path(), "test", image_size=8)
    counts = {name: count for name, count in test.class_counts().items() if name in "018"}
    reading = json.loads(Path("outputs/test_readings.jsonl").read_text().splitlines()[-1])
    assert reading["images"] == sum(counts.values())
    assert main(["resume=part", "epochs=3", "dataset.label_noise=0.1"]) == 2
