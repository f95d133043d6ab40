"""`train_eval_accuracy` against a computation by hand on the checkpoint, and what it leaves alone."""

import json
from pathlib import Path

import pytest
import torch
from conftest import TINY, compose, program, quick

import trainer.run
from trainer.cli import export, show
from trainer.config.check import check
from trainer.data.loader import load
from trainer.evaluation.inference import load_network
from trainer.records import train_eval
from trainer.records.outcome import read_outcome
from trainer.run import train
from trainer.runtime.files import expanded
from trainer.storage import checkpoint
from trainer.training.build import build_trainer

DROPOUT = ("model=mlp", "model.hidden=[64]", "dataset.image_size=8", "dropout=0.5", "optimizer=adam", "lr=0.01")


def config_of(*setting, validation=True):
    """A run as it is composed; without validation only `finalize` trains one."""
    (config,) = compose(["dataset=digits", "wandb.mode=disabled", "device=cpu", "output_dir=run", *DROPOUT, *setting])
    tree = config.tree()
    return config if validation else check({**tree, "dataset": {**tree["dataset"], "validation_size": 0}})


def images_of(config):
    images = load(config.dataset, expanded(config.data_dir), torch.device("cpu"))
    return config.dataset.shared_function()(images, config.split_seed)


def by_hand(folder, config):
    """The accuracy of `best.safetensors` on the chosen images, from the file alone."""
    training, validation = images_of(config)
    trainer = build_trainer(config, training, validation, torch.device("cpu"))
    positions = train_eval.chosen_positions(trainer, config.split_seed)
    network = load_network(folder / "best.safetensors").network.eval()
    with torch.inference_mode():
        right = network(training.pixels[positions]).argmax(1) == training.labels[positions]
    return right.sum().item() / len(positions)


@pytest.mark.parametrize(
    ("setting", "validation"),
    [
        (("epochs=4", "augmentation=[noise]"), True),
        (("epochs=3", "early_stop_patience=1", "early_stop_min_delta=10.0", "regularization=ema"), True),
        (("epochs=2",), False),
    ],
    ids=["best epoch", "early stop", "no validation"],
)
def test_it_is_the_accuracy_of_the_best_checkpoint(setting, validation):
    config = config_of(*setting, validation=validation)
    result = train(config)
    assert result.train_eval_accuracy == by_hand(Path("run"), config) > 0.5
    outcome = read_outcome(Path("run"))
    assert outcome.train_eval_accuracy == result.train_eval_accuracy and outcome.state == "finished"


def test_a_pruned_run_has_it_too():
    result = train(config_of("epochs=3"), stop=lambda epoch: epoch == 1)
    assert result.stopped and result.train_eval_accuracy is not None


def test_the_images_are_fixed_by_the_split_seed_and_not_more_than_those_of_the_validation(monkeypatch):
    def chosen(*setting, validation=True):
        config = config_of(*setting, validation=validation)
        trainer = build_trainer(config, *images_of(config), torch.device("cpu"))
        return train_eval.chosen_positions(trainer, config.split_seed).tolist()

    first = chosen()
    assert first == chosen("seed=1") != chosen("split_seed=1")
    assert len(set(first)) == 300 and max(first) < 1200 and first == sorted(first)
    monkeypatch.setattr(train_eval, "MAX_IMAGES", 100)
    assert len(chosen()) == len(chosen(validation=False)) == 100


def test_it_changes_nothing_of_the_training(monkeypatch):
    seen = []
    real = train_eval.train_eval_accuracy

    def watched(trainer, folder, split_seed):
        state = torch.get_rng_state(), trainer.generator.get_state(), trainer.model.training
        weights = {key: tensor.clone() for key, tensor in trainer.model.state_dict().items()}
        value = real(trainer, folder, split_seed)
        after = torch.get_rng_state(), trainer.generator.get_state(), trainer.model.training
        seen.append(all(map(torch.equal, state[:2], after[:2])) and state[2] == after[2])
        seen.append(all(torch.equal(weights[key], tensor) for key, tensor in trainer.model.state_dict().items()))
        return value

    monkeypatch.setattr(trainer.run, "train_eval_accuracy", watched)
    quick(*DROPOUT, "output_dir=run", "normalization=batch")
    assert seen == [True, True]


def test_a_run_killed_meanwhile_is_measured_at_its_next_start_and_a_measured_one_is_not_again(monkeypatch):
    def killed(*_):
        raise SystemError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(trainer.run, "train_eval_accuracy", killed)
        with pytest.raises(SystemError):
            quick(*DROPOUT, "output_dir=run")
    Path("run/result.json").unlink()  # a killed process writes none
    (config,) = compose(["resume=run"])
    accuracy = train(config).train_eval_accuracy
    assert accuracy == by_hand(Path("run"), config) == read_outcome(Path("run")).train_eval_accuracy
    monkeypatch.setattr(trainer.run, "train_eval_accuracy", killed)
    assert train(config).train_eval_accuracy == accuracy


def test_without_a_readable_checkpoint_the_run_is_complete_and_a_warning_says_why(monkeypatch, capsys):
    real = checkpoint.load_as

    def torn(kind, path):
        if path.name == "best.safetensors":
            path.write_bytes(b"")
        return real(kind, path)

    monkeypatch.setattr(checkpoint, "load_as", torn)
    assert quick(*TINY, "output_dir=run").train_eval_accuracy is None
    assert "train_eval_accuracy is not measured: run/best.safetensors" in capsys.readouterr().err
    assert read_outcome(Path("run")).state == "finished"


def test_a_study_records_shows_and_exports_it(in_empty_folder, capsys):
    words = ["-m", "dataset=digits", *TINY, "wandb.mode=disabled", "device=cpu", "epochs=3", "lr=0.01,0.001"]
    words += ["sweep.name=s", "sweep.pruner=median", "sweep.method=random", "sweep.trials=2"]
    assert program(*words, cwd=in_empty_folder).returncode == 0
    (study,) = in_empty_folder.glob("outputs/sweeps/s-*")
    export.main([str(study), "--json", "-"])
    for arm in json.loads(capsys.readouterr().out)["arms"]:
        assert arm["gap"] == pytest.approx(arm["train_eval_accuracy"] - arm["mean"])
    run = next(study.glob("*/result.json")).parent
    outcome = read_outcome(run)
    assert show.main([str(run)]) == 0
    told = capsys.readouterr().out
    assert f"{outcome.train_eval_accuracy:.2%}".replace("%", " %") + " in evaluation mode" in told
    side = "below" if outcome.gap < 0 else "above"
    assert f"{100 * abs(outcome.gap):.2f} points {side} the validation accuracy" in told
    assert f"{outcome.train_eval_accuracy:.2%} in evaluation mode" in (run / "log.txt").read_text()
