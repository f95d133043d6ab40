"""Settings that can never act are named before the run; those that act, and the defaults, are not."""

import pytest
from conftest import compose, interpret, quick

from trainer.cli.reproduce import main
from trainer.config.own import read, using
from trainer.config.schema import CONF, GROUPS
from trainer.study.fingerprint import significant
from trainer.study.search_warnings import search_warnings
from trainer.techniques.doubts import doubtful_settings
from trainer.techniques.idle import idle_settings

IDLE = {
    "scheduler=step epochs=3": "scheduler=step first changes the rate after epoch 30; the run has 3 epochs",
    "scheduler=step epochs=30": "scheduler=step first changes the rate after epoch 30; the run has 30 epochs",
    "scheduler=step scheduler.step_size=3 scheduler.warmup_epochs=2 epochs=5": (
        "scheduler=step first changes the rate after epoch 5; the run has 5 epochs"
    ),
    "scheduler=exponential epochs=1": (
        "scheduler=exponential first changes the rate after epoch 1; the run has 1 epoch"
    ),
    "scheduler=cosine epochs=1": "scheduler=cosine first changes the rate after epoch 1; the run has 1 epoch",
    "scheduler=linear scheduler.min_lr=0.01 lr=0.01": (
        "scheduler=linear never changes the rate, with these settings it is always 0.01"
    ),
    "scheduler=factors scheduler.factors=[1.0,1.0]": (
        "scheduler=factors never changes the rate, with these settings it is always 0.001"
    ),
    "scheduler=factors scheduler.factors=[1.0,0.5,0.1,0.01] epochs=2": (
        "scheduler.factors lists 4, the last 2 are not used: the run has 2 epochs"
    ),
    "scheduler=plateau epochs=7": "scheduler=plateau first lowers the rate after epoch 7; the run has 7 epochs",
    "scheduler=plateau validate_every=4 epochs=28": (
        "scheduler=plateau first lowers the rate after epoch 28; the run has 28 epochs"
    ),
    "scheduler=plateau scheduler.patience=0 scheduler.warmup_epochs=3 epochs=4": (
        "scheduler=plateau first lowers the rate after epoch 4; the run has 4 epochs"
    ),
    "scheduler=plateau scheduler.patience=12 early_stop_patience=5": (
        "scheduler=plateau never lowers the rate: it waits for 13 validations without progress (scheduler.patience=12),"
        " and early_stop_patience=5 ends the run before"
    ),
    "scheduler=plateau scheduler.min_lr=0.001": (
        "scheduler=plateau never lowers the rate: scheduler.min_lr=0.001 is lr=0.001"
    ),
    "early_stop_patience=20 epochs=9": "early_stop_patience=20 first stops a run after epoch 21; the run has 9 epochs",
    "early_stop_min_delta=0.1 early_stop_patience=null": (
        "early_stop_min_delta=0.1 does nothing: early_stop_patience=null"
    ),
    "weight_decay_scope=all": "weight_decay_scope=all does nothing: weight_decay=0",
    "optimizer=sam optimizer.base=sgd optimizer.momentum=0.5": (
        "optimizer.momentum=0.5 does nothing: optimizer.base=sgd has none"
    ),
    "loss=focal loss.gamma=0": "loss=focal is the cross-entropy: loss.gamma=0",
    "loss=poly loss.epsilon=0": "loss=poly is the cross-entropy: loss.epsilon=0",
    "augmentation=flip augmentation.flip.probability=0.0": "augmentation=flip changes no image: probability = 0",
    "augmentation=gray dataset=cifar10 augmentation.gray.probability=0.0": (
        "augmentation=gray changes no image: probability = 0"
    ),
    "augmentation=gray dataset=mnist": "augmentation=gray changes no image: those of dataset=mnist have one channel",
    "augmentation=gray dataset=image_folder dataset.grayscale=true": (
        "augmentation=gray changes no image: those of dataset=image_folder have one channel"
    ),
    "augmentation=blur augmentation.blur.kernel_size=1": "augmentation=blur changes no image: kernel_size = 1",
    "augmentation=random_erasing augmentation.random_erasing.probability=0.0": (
        "augmentation=random_erasing changes no image: probability = 0"
    ),
    "augmentation=random_erasing augmentation.random_erasing.min_area=0.0 augmentation.random_erasing.max_area=0.0": (
        "augmentation=random_erasing changes no image: max_area = 0"
    ),
    "augmentation=scale augmentation.scale.low=1 augmentation.scale.high=1": (
        "augmentation=scale changes no image: low = high = 1"
    ),
    "wandb.log_model=true wandb.mode=disabled": "wandb.log_model=true does nothing: wandb.mode=disabled",
}
ACTING = (
    "epochs=1",
    "scheduler=step epochs=31",
    "scheduler=step scheduler.step_size=2 scheduler.warmup_epochs=2 epochs=5",
    "scheduler=cosine epochs=2",
    "scheduler=cyclic epochs=1",
    "scheduler=triangular epochs=1",
    "scheduler=factors scheduler.factors=[1.0,0.5] epochs=2",
    "scheduler=plateau epochs=8",
    "scheduler=plateau early_stop_patience=7",
    "early_stop_patience=20 epochs=22",
    "early_stop_patience=null",
    "experiment=cifar10_94",
    "weight_decay_scope=all weight_decay=0.1",
    "augmentation=lecture",
    "augmentation=note_000",
    "augmentation=[random_erasing,blur,rand_augment,aug_mix]",
    "augmentation=gray dataset=cifar10",
    "augmentation=rand_augment augmentation.rand_augment.magnitude=0",  # autocontrast and equalize act still
)


@pytest.mark.parametrize("settings", IDLE)
def test_a_setting_that_can_never_act_is_named(settings):
    (run,) = compose(["dataset=digits", *settings.split()])
    assert idle_settings(run) == [IDLE[settings]]


@pytest.mark.parametrize("settings", ACTING)
def test_a_setting_that_acts_is_not(settings):
    (run,) = compose(["dataset=digits", *settings.split()])
    assert idle_settings(run) == []


def test_settings_of_a_search_that_can_never_act():
    small = ("-m", "dataset=digits", "lr=0.1,0.2,0.3,0.4,0.5,0.6,0.7")
    assert list(search_warnings(interpret([*small, "sweep.trials=3"]), ())) == [
        "sweep.trials does nothing: sweep.method=grid tries every point once"
    ]
    pruned = (*small, "sweep.method=random", "sweep.pruner=median")
    assert list(search_warnings(interpret([*pruned, "sweep.trials=5"]), ())) == [
        "sweep.pruner=median first stops a run at point 6; the search has 5"
    ]
    assert list(search_warnings(interpret([*pruned, "sweep.trials=6"]), ())) == []


def test_it_is_said_before_the_run(capsys):
    quick("model=mlp", "model.hidden=[8]", "dataset.image_size=8", "scheduler=step", "epochs=1")
    told = capsys.readouterr().err
    assert told == "trainer: warning: scheduler=step first changes the rate after epoch 30; the run has 1 epoch\n"


def test_a_run_that_another_one_decides_on_is_not_told(capsys):
    """The study has told it, and `reproduce` leaves early stopping out by itself."""
    small = ("model=mlp", "model.hidden=[8]", "dataset.image_size=8", "epochs=1", "early_stop_min_delta=0.1")
    folder = quick(*small, "scheduler=step").folder
    capsys.readouterr()
    assert main([str(folder)]) == 0
    assert capsys.readouterr().err == ""


def test_a_schedule_of_ones_own_is_not_run_for_it(tmp_path):
    file = tmp_path / "scheduler.py"
    file.write_text("raise SystemExit\n\n\ndef flat(lr, epochs):\n    'Flat.'\n    return lambda epoch: lr\n")
    with using([read(str(file), [*GROUPS])]):
        (run,) = compose(["scheduler=flat", "epochs=3"])
        assert idle_settings(run) == []


def test_an_augmentation_that_the_data_set_calls_unfit_is_told_and_others_are_not(in_empty_folder):
    told = "augmentation={} does not suit dataset={}: it changes what an image shows, and the label stays"
    for dataset in ("digits", "mnist", "usps", "svhn", "kmnist", "emnist", "qmnist"):
        (run,) = compose([f"dataset={dataset}", "augmentation=lecture"])
        assert doubtful_settings(run) == [f"{told.format('flip', dataset)} (unfit_augmentation=[flip])"]
    for words in (["dataset=cifar10"], ["dataset=digits", "unfit_augmentation=[]"], ["dataset=fashion_mnist"]):
        assert doubtful_settings(compose([*words, "augmentation=lecture"])[0]) == []
    (run,) = compose(["dataset=bag_of_words", "augmentation=[noise,rotation]"])
    assert [line.startswith(told.format("rotation", "bag_of_words")) for line in doubtful_settings(run)] == [True]
    own = in_empty_folder / "own" / "dataset"
    own.mkdir(parents=True)
    digits = (CONF / "dataset" / "digits.yaml").read_text()
    (own / "signs.yaml").write_text(digits.replace("unfit_augmentation: [flip]", "unfit_augmentation: [rotation]"))
    (run,) = compose(["--config-dir=own", "dataset=signs", "augmentation=[flip,rotation]"])
    assert [line.split()[0] for line in doubtful_settings(run)] == ["augmentation=rotation"]


def test_what_is_unfit_changes_no_run_and_is_told_before_it(capsys):
    quick("augmentation=flip", "model=mlp", "model.hidden=[8]", "epochs=1")
    assert "warning: augmentation=flip does not suit dataset=digits" in capsys.readouterr().err
    plain, other = (compose(["dataset=digits", f"unfit_augmentation={value}"])[0] for value in ("[]", "[crop]"))
    assert significant(plain.tree()) == significant(other.tree())
