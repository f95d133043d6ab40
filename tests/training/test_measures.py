"""Another loss than cross-entropy, and metrics, in the loop: what is trained, what is recorded, and at what cost."""

import inspect

import pytest
import torch
from conftest import compose, last_of, tiny_images
from torch.nn import functional as F

from trainer.config.own import read, using
from trainer.config.schema import GROUPS
from trainer.errors import ConfigError, RunError
from trainer.storage import checkpoint
from trainer.training.build import build_trainer
from trainer.training.measures import measure

CPU = torch.device("cpu")


def squared(logits, labels, *, scale=1.0):
    """scale·Σ(p − y)², the Brier score, for plain and mixed labels."""
    targets = F.one_hot(labels, logits.shape[1]).float() if labels.ndim == 1 else labels
    return scale * (logits.softmax(1) - targets).square().sum(1).mean()


@pytest.fixture
def own(in_empty_folder):
    """`squared` as a technique of one's own."""
    head = "from torch.nn import functional as F\n\n\n"
    (in_empty_folder / "loss.py").write_text(
        head + inspect.getsource(squared).replace("scale=1.0", "scale: float = 1.0")
    )
    with using([read("loss.py", tuple(GROUPS))]):
        yield


def trainer_of(*arguments):
    small = ("model=mlp", "model.hidden=[8]", "batch_size=20", "epochs=3", "lr=0.01")
    (run,) = compose([*small, *arguments])
    return build_trainer(run, tiny_images(50), tiny_images(30, seed=1), CPU)


def scores(trainer, images):
    with torch.inference_mode():
        return trainer.evaluated.eval()(images.pixels)


def test_the_loss_is_what_is_trained_validated_and_reported_and_cross_entropy_stays_beside_it(own):
    trainer, images = trainer_of("loss=squared", "loss.scale=3.0"), tiny_images(30, seed=1)
    by_hand = trainer_of()
    torch.testing.assert_close(scores(trainer, images), scores(by_hand, images))
    reports = list(trainer.train_loop())
    first, last = reports[0], reports[-1]
    logits = scores(trainer, images)
    assert last.validation_loss == pytest.approx(squared(logits, images.labels, scale=3.0).item(), rel=1e-5)
    expected = F.cross_entropy(logits, images.labels).item()
    assert last.further["validation_cross_entropy"] == pytest.approx(expected, rel=1e-5)
    assert trainer.early_stopping.best_loss == min(report.validation_loss for report in reports)

    # The first epoch, by hand: in the same order, from the same weights, on the other loss.
    optimizer, total, entropy, data = by_hand.optimizer, 0.0, 0.0, tiny_images(50)
    by_hand.model.train()
    for positions in by_hand.train.positions(0, 0):
        logits, labels = by_hand.model(data.pixels[positions]), data.labels[positions]
        loss = squared(logits, labels, scale=3.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total, entropy = (
            total + loss.item() * len(labels),
            entropy + F.cross_entropy(logits, labels).item() * len(labels),
        )
    assert first.train_loss == pytest.approx(total / 50, rel=1e-5)
    assert first.further["train_cross_entropy"] == pytest.approx(entropy / 50, rel=1e-5)


def test_with_cross_entropy_nothing_is_recorded_beside_it_and_it_is_computed_once_an_image(monkeypatch):
    trainer, calls = trainer_of(), []
    monkeypatch.setattr(F, "cross_entropy", lambda *a, real=F.cross_entropy, **k: (calls.append(1), real(*a, **k))[1])
    report = next(trainer.train_loop())
    assert report.further == {} and len(calls) == 3 + 2  # three steps, one validation batch: its sum, and each image


def test_a_run_with_a_loss_and_metrics_that_is_stopped_within_an_epoch_has_the_same_bits(own, tmp_path):
    def trainer():
        return trainer_of("metric=[macro_f1,top_k_accuracy]", "metric.top_k_accuracy.k=2", "loss=squared")

    whole, first, second = trainer(), trainer(), trainer()
    reports = list(whole.train_loop())
    steps = iter(range(2))
    assert next(first.train_loop(pause=lambda: next(steps) == 1)) is None
    checkpoint.save(tmp_path / "last.safetensors", last_of(first.state_dict()))
    second.load_state_dict(checkpoint.load(tmp_path / "last.safetensors").trainer)
    assert [report.further for report in second.train_loop()] == [report.further for report in reports]
    assert list(reports[0].further) == [
        "train_cross_entropy", "validation_macro_f1", "validation_top_k_accuracy", "validation_cross_entropy"
    ]  # fmt: skip


def test_a_class_that_the_data_do_not_have_is_refused_before_the_first_step():
    with pytest.raises(
        ConfigError, match=r"class_accuracy.classes: there is no class 4, they are numbered from 0 to 3"
    ):
        trainer_of("metric=class_accuracy", "metric.class_accuracy.classes=[4]")


def test_a_metric_is_called_with_all_images_in_order_and_with_each_half(monkeypatch):
    seen = []
    monkeypatch.setattr("trainer.data.loader.EVALUATION_IMAGES", 7)
    trainer = trainer_of()
    trainer.validator.metrics = {"seen": lambda logits, labels: seen.append((logits, labels)) or 0.25}
    trainer.validate_every = 2
    reports = list(trainer.train_loop())
    assert [report.further for report in reports] == [{}, {"validation_seen": 0.25}, {"validation_seen": 0.25}]
    images = tiny_images(30, seed=1)
    every = scores(trainer, images)
    for (logits, labels), positions in zip(seen[-3:], (torch.arange(30), *trainer.validator.members), strict=True):
        torch.testing.assert_close(logits, every[positions])
        assert torch.equal(labels, images.labels[positions])


def test_the_members_of_an_ensemble_train_on_the_chosen_loss(own):
    """As each would alone: its gradient is that of its own loss."""
    size = ("model=ensemble", "model.members=2", "model.hidden=8")
    (run,) = compose([*size, "batch_size=20", "loss=squared"])
    trainer, images = build_trainer(run, tiny_images(50), None, CPU), tiny_images(50)
    trainer.train_step(torch.arange(50))
    together = [member[-1].bias.grad for member in trainer.model[1].members]
    fresh = build_trainer(run, tiny_images(50), None, CPU).model
    for member, gradient in zip(fresh[1].members, together, strict=True):
        squared(member(fresh[0](images.pixels)), images.labels).backward()
        torch.testing.assert_close(member[-1].bias.grad, gradient)


@pytest.mark.parametrize(
    ("returned", "what"),
    [
        ('F.cross_entropy(logits, labels, reduction="none")', "a tensor of shape [2]"),
        ("0.5", "a float"),
        ("logits.detach().mean()", "a tensor of shape [] without a gradient"),
    ],
)
def test_a_loss_that_is_no_mean_is_refused_before_training(returned, what, in_empty_folder):
    source = f"from torch.nn import functional as F\n\n\ndef odd(logits, labels):\n    return {returned}\n"
    (in_empty_folder / "loss.py").write_text(source)
    with using([read("loss.py", tuple(GROUPS))]), pytest.raises(ConfigError) as caught:
        trainer_of("loss=odd")
    assert str(caught.value) == f"loss=odd returned {what}: it must be the mean over the images, a scalar"


def test_a_metric_that_is_not_one_number_is_told_in_a_line():
    with pytest.raises(RunError) as caught:
        measure({"odd": lambda logits, labels: logits}, [torch.zeros(3, 2)], torch.zeros(3))
    assert str(caught.value) == "metric=odd returned a tensor of shape [3, 2]: it must be one number"
