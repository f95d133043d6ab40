"""The halves of the validation images: which images they hold, what is measured of them, and what is kept of a run."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import QUICK, compose, last_of, tiny_images
from torch.nn import functional as F

from trainer.data.images import Images
from trainer.errors import RunError
from trainer.records.hits import read_hits
from trainer.records.metrics import read_metrics
from trainer.run import train
from trainer.storage import checkpoint
from trainer.training.build import build_trainer
from trainer.training.halves import Hits, halves_of
from trainer.training.resume_check import refuse_misfit

CPU = torch.device("cpu")
SMALL = ("model=mlp", "model.hidden=[8]", "batch_size=20", "lr=0.05")


def images_of(labels):
    pixels = tiny_images(len(labels), seed=1).pixels
    return Images(pixels, torch.tensor(labels), ("a", "b", "c", "d"))


def trainer_of(*arguments, validation=None):
    (run,) = compose([*SMALL, "epochs=4", *arguments])
    return build_trainer(run, tiny_images(50), validation or tiny_images(30, seed=1), CPU)


@pytest.mark.parametrize("counts", [(10, 7, 1, 5), (1, 1, 1, 1), (2, 0, 0, 0), (3, 3, 3, 0)], ids=str)
def test_a_class_and_the_halves_themselves_differ_by_one_image_at_most(counts):
    labels = torch.arange(4).repeat_interleave(torch.tensor(counts))[torch.randperm(sum(counts))]
    first, second = halves_of(labels, 3)
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(sum(counts)))
    assert abs(len(first) - len(second)) <= 1
    for label in range(4):
        assert abs((labels[first] == label).sum() - (labels[second] == label).sum()) <= 1


def test_the_halves_are_those_of_the_labels_and_the_split_seed_alone():
    labels = tiny_images(30, seed=1).labels
    expected = [half.tolist() for half in halves_of(labels, 0)]
    torch.manual_seed(5)
    assert [half.tolist() for half in halves_of(labels, 0)] == expected
    assert [half.tolist() for half in halves_of(labels, 1)] != expected
    for arm in ((), ("seed=8",), ("optimizer=adam", "precision=bf16", "loss=focal")):
        assert [half.tolist() for half in trainer_of(*arm).validator.members] == expected
    assert [half.tolist() for half in trainer_of("split_seed=1").validator.members] != expected
    # These bits are recorded with runs: another order of draws would compare runs on other halves.
    assert [half.tolist() for half in halves_of(torch.arange(14) % 3, 0)] == [
        [0, 2, 3, 5, 7, 10, 12],
        [1, 4, 6, 8, 9, 11, 13],
    ]


def test_the_figures_of_a_half_are_those_of_its_images(monkeypatch):
    monkeypatch.setattr("trainer.data.loader.EVALUATION_IMAGES", 7)
    images = tiny_images(30, seed=1)
    trainer = trainer_of("loss=focal", "metric=macro_f1")
    report = next(trainer.train_loop())
    with torch.inference_mode():
        logits = trainer.evaluated.eval()(images.pixels)
    focal, f1 = trainer.loss, trainer.validator.metrics["macro_f1"]
    for figures, half in zip(report.halves, halves_of(images.labels, 0), strict=True):
        here, labels = logits[half], images.labels[half]
        assert figures == {
            "validation_loss": pytest.approx(focal(here, labels).item(), rel=1e-5),
            "validation_accuracy": pytest.approx((here.argmax(1) == labels).float().mean().item()),
            "validation_cross_entropy": pytest.approx(F.cross_entropy(here, labels).item(), rel=1e-5),
            "validation_macro_f1": pytest.approx(f1(here, labels).item()),
        }
    sizes = map(len, trainer.validator.members)
    mean = sum(size * each["validation_accuracy"] for size, each in zip(sizes, report.halves, strict=True))
    assert mean / 30 == pytest.approx(report.validation_accuracy)


def test_a_figure_that_half_of_the_images_does_not_suffice_for_is_not_a_number():
    def needs_every_image(logits, labels):
        if len(labels) < 30:
            raise ValueError("too few")
        return logits.sum() * 0

    trainer = trainer_of()
    trainer.validator.metrics = {"odd": needs_every_image}
    report = next(trainer.train_loop())
    assert report.further == {"validation_odd": 0.0}
    assert all(math.isnan(half["validation_odd"]) for half in report.halves)


@pytest.mark.parametrize("labels", [[2], [0, 3]], ids=["one image", "two images"])
def test_of_one_image_there_are_no_halves_and_of_two_there_are(labels):
    trainer = trainer_of(validation=images_of(labels))
    reports = list(trainer.train_loop())
    expected = 2 if len(labels) == 2 else 0
    assert {len(report.halves) for report in reports} == {expected}
    known = trainer.validator.hits.known()
    assert list(known) == (["best", "last", "cross"] if expected else ["best", "last"])


def test_the_hits_are_those_of_the_epochs_that_each_rule_chooses():
    """Half 0, 2 and half 1, 3: the lowest losses of the halves come in the third and the second epoch."""
    hits = Hits(4, (torch.tensor([0, 2]), torch.tensor([1, 3])), CPU)
    assert hits.known() == {}
    epochs = [
        ([1, 0, 0, 0], True, [3.0, 3.0]),
        ([0, 1, 0, 1], True, [2.0, 1.0]),
        ([1, 1, 1, 0], False, [1.0, math.nan]),
        ([0, 0, 0, 0], False, [1.0, 1.0]),  # equal: the first one stays
    ]
    for correct, improved, losses in epochs:
        hits.observe(torch.tensor(correct).bool(), improved, losses)
    known = {rule: each.int().tolist() for rule, each in hits.known().items()}
    #  images 1 and 3 at the third epoch, images 0 and 2 at the second
    assert known == {"best": [0, 1, 0, 1], "last": [0, 0, 0, 0], "cross": [0, 1, 0, 0]}


def test_a_run_that_is_stopped_within_an_epoch_has_the_same_halves_and_hits(tmp_path):
    whole, first, second = (trainer_of("validate_every=3", "epochs=7") for _ in range(3))
    reports = list(whole.train_loop())
    assert [len(report.halves) for report in reports] == [0, 0, 2, 0, 0, 2, 2]  # and after the last epoch
    steps = iter(range(100))
    kept = []
    for report in first.train_loop(pause=lambda: next(steps) == 13):  # within the fifth epoch
        if report is None:
            break
        kept.append(report)
    checkpoint.save(tmp_path / "last.safetensors", last_of(first.state_dict()))
    state = checkpoint.load(tmp_path / "last.safetensors").trainer
    refuse_misfit(second, state)
    second.load_state_dict(state)
    kept += second.train_loop()
    assert [report.halves for report in kept] == [report.halves for report in reports]
    known = whole.validator.hits.known()
    assert len(known) == 3
    assert all(torch.equal(known[rule], each) for rule, each in second.validator.hits.known().items())


def test_a_run_that_continues_from_an_earlier_version_has_no_hits_of_epochs_that_were_not_seen():
    first, second = trainer_of(), trainer_of()
    next(first.train_loop())
    state = first.state_dict()
    del state["hits"]
    state["early_stopping"]["best_loss"] = -math.inf  # no later epoch improves
    refuse_misfit(second, state)
    second.load_state_dict(state)
    list(second.train_loop())
    assert list(second.validator.hits.known()) == ["last"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of eight epochs, of which every second one is validated."""
    folder = tmp_path_factory.mktemp("hits") / "run"
    rate = ("lr=0.5", "epochs=8", "validate_every=2", "dataset.image_size=8", f"output_dir={folder}")
    train(compose([*QUICK, *SMALL, *rate])[0])
    return folder


def test_the_record_holds_the_hits_of_the_scored_epochs_and_the_halves_stay_out_of_sight(run):
    rows = [row for row in read_metrics(run, halves=True) if row["halves"]]
    assert [row["epoch"] for row in rows] == [2, 4, 6, 8]
    best = min(rows, key=lambda row: row["validation_loss"])
    hits = {rule: read_hits(run, rule) for rule in ("best", "last", "cross")}
    assert {len(each) for each in hits.values()} == {300} and hits["best"].dtype == np.bool_
    assert hits["best"].mean() == pytest.approx(best["validation_accuracy"])
    assert hits["last"].mean() == pytest.approx(rows[-1]["validation_accuracy"])
    chosen = [min(rows, key=lambda row: row["halves"][half]["validation_loss"]) for half in (0, 1)]
    cross = (chosen[0]["halves"][1]["validation_accuracy"] + chosen[1]["halves"][0]["validation_accuracy"]) / 2
    assert hits["cross"].mean() == pytest.approx(cross)
    assert read_hits(run, "mean:5") is None and read_hits(run.parent, "best") is None
    assert not any("halves" in row for row in read_metrics(run))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "Expecting value"),
        ('{"images": -1, "best": ""}', "images: must be a whole number up to 100000000"),
        ('{"images": 12, "best": "ff"}', "best: must be 4 hexadecimal digits, for 12 images"),
        ('{"images": 12, "best": "fgff"}', "non-hexadecimal number"),
        ('{"images": 12, "best": 7}', "best: must be 4 hexadecimal digits"),
        ("[1]", "images: must be a whole number"),
    ],
    ids=range(6),
)
def test_hits_that_no_run_writes_are_damage(text, said, tmp_path):
    (tmp_path / "hits.json").write_text(text)
    with pytest.raises(RunError) as caught:
        read_hits(Path(tmp_path), "best")
    assert str(caught.value).startswith(f"{tmp_path}/hits.json is damaged (") and said in str(caught.value)
