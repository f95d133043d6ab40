"""Metrics against scikit-learn and a loop written by hand; which values are better is read from the source text."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, top_k_accuracy_score

from trainer.config.directions import direction_of
from trainer.config.schema import techniques
from trainer.errors import ConfigError
from trainer.techniques.metric import calibration_error, class_accuracy, macro_f1, top_k_accuracy


def answers(count=200, classes=7, seed=0):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (count,), generator=draw)
    return torch.randn(count, classes, generator=draw) * 2 + 2 * torch.eye(classes)[labels], labels


@pytest.mark.parametrize("k", [1, 3, 5])
def test_top_k_accuracy_is_that_of_scikit_learn(k):
    logits, labels = answers()
    expected = top_k_accuracy_score(labels, logits, k=k, labels=range(7))
    assert top_k_accuracy(logits, labels, k=k).item() == pytest.approx(expected, abs=1e-6)


def test_of_fewer_classes_than_k_all_are_right():
    assert top_k_accuracy(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0]), k=5) == 1


def test_class_accuracy_is_that_of_the_images_of_these_classes():
    logits, labels = answers()
    right = (logits.argmax(1) == labels).numpy()
    expected = right[np.isin(labels.numpy(), [2, 5])].mean()
    assert class_accuracy(logits, labels, classes=(2, 5)).item() == pytest.approx(expected, abs=1e-6)
    assert class_accuracy(logits, torch.zeros(200).long(), classes=(1,)).isnan()
    with pytest.raises(
        ConfigError, match=r"class_accuracy.classes: there is no class 7, they are numbered from 0 to 6"
    ):
        class_accuracy(logits, labels, classes=(0, 7))


@pytest.mark.parametrize("missing", [False, True])
def test_macro_f1_is_that_of_scikit_learn_where_a_class_is_missing_as_well(missing):
    logits, labels = answers()
    if missing:  # neither a label nor an answer
        labels[labels == 3] = 4
        logits[:, 3] = -100
    expected = f1_score(labels, logits.argmax(1), average="macro")
    assert macro_f1(logits, labels).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_the_calibration_error_is_the_mean_gap_of_the_bins(bins):
    logits, labels = answers()
    probabilities = logits.softmax(1).numpy()
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels.numpy()
    error = 0.0
    for low, high in zip(np.linspace(0, 1, bins + 1), np.linspace(0, 1, bins + 1)[1:], strict=False):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert calibration_error(logits, labels, bins=bins).item() == pytest.approx(error, abs=1e-6)


def test_a_confident_network_that_is_right_is_calibrated():
    logits = 1000 * torch.eye(5)
    assert calibration_error(logits, torch.arange(5)) == 0  # a confidence of 1 lies in the last bin


def test_every_metric_says_which_values_are_better():
    found = {name: direction_of(f"validation_{name}") for name in techniques("metric")}
    assert found == {
        "top_k_accuracy": "maximize",
        "class_accuracy": "maximize",
        "macro_f1": "maximize",
        "calibration_error": "minimize",
    }
    usual = {name: direction_of(f"validation_{name}") for name in ("accuracy", "loss", "cross_entropy", "other")}
    assert usual == {"accuracy": "maximize", "loss": "minimize", "cross_entropy": "minimize", "other": None}
