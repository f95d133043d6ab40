"""The rules on cases made by hand, the replay of a failed epoch, the command, and the self-test in short."""

import json
import math
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from conftest import PICTURES, clean_environment, compose, draw_pictures, interpret, last_of, quick, tiny_images
from fake_studies import fake_study
from PIL import Image

from trainer.cli import doctor
from trainer.config.run_config import RunConfig
from trainer.config.schema import Choice, techniques
from trainer.diagnosis import summary
from trainer.diagnosis.examine import examine, held_out
from trainer.diagnosis.faults import BASE, FAULTS, HEALTHY, noisy_labels, rare_classes
from trainer.diagnosis.inputs import Divergence, Evidence, HeldOut
from trainer.diagnosis.remedies import against, larger_rate, smaller_rate, without
from trainer.diagnosis.replay import find_first_nonfinite
from trainer.diagnosis.rules import RULES, diagnose
from trainer.diagnosis.selftest import Trial, findings_in, scores, trained, trials
from trainer.diagnosis.thresholds import as_trained, chance, fall, fit, lower_bound
from trainer.errors import ConfigError, RunError
from trainer.records.outcome import Outcome
from trainer.run import train
from trainer.runtime.lock import locked
from trainer.storage.untrusted import read_json
from trainer.study.rerun import command_with
from trainer.techniques.remedies import USUAL_LR
from trainer.training.build import build_trainer

TINY = ("model=mlp", "model.hidden=[16]", "dataset.image_size=16")
LN10 = math.log(10)


@cache
def config_of(*overrides: str) -> RunConfig:
    (config,) = compose(["dataset=digits", "model=mlp", *overrides])
    return config


def rows(train_losses, validation_losses=None, accuracies=(0.99, 0.97)):
    """Epochs with these losses; the accuracies, of training and validation, are those of every epoch."""
    validation_losses = validation_losses or train_losses
    return [
        {
            "epoch": epoch,
            "train_loss": loss,
            "train_accuracy": accuracies[0],
            "validation_loss": other,
            "validation_accuracy": accuracies[1],
        }
        for epoch, (loss, other) in enumerate(zip(train_losses, validation_losses, strict=True), 1)
    ]


def layers(loss=LN10, linear=None, relu=None, last=None):
    """An layer_stats into linear → ReLU → linear in which nothing is wrong but what is given."""
    plain = {"kind": "Linear", "gradient_norm": 0.1, "weight_norm": 2.0, "update_ratio": 5e-3, "alike": 0.0}
    found = {
        "1": plain | (linear or {}),
        "2": {"kind": "ReLU", "dead": 0.1} | (relu or {}),
        "3": plain | (last or {}),
    }
    return {"images": 256, "loss": loss, "layers": found, "filters": None}


def evidence(*overrides, **changes) -> Evidence:
    """A healthy run of five epochs, but for what is given."""
    healthy = Evidence(
        config_of(*overrides),
        rows([1.5, 0.4, 0.2, 0.12, 0.08], [0.6, 0.3, 0.2, 0.15, 0.13]),
        {str(label): 120 for label in range(10)},
        300,
        layers(),
        layers(loss=0.1),
        HeldOut(300, 0.97, 150, 0, (0.97,) * 10),
    )
    return replace(healthy, **changes)


NOISE = HeldOut(300, 0.8, 150, 21, (0.8,) * 10)
STUCK = rows([2.31, 2.31, 2.31, 2.31], accuracies=(0.1, 0.1))
SLOW = rows([2.30, 2.27, 2.24, 2.21, 2.18], accuracies=(0.3, 0.3))
CREEP = layers(linear={"update_ratio": 2e-4}, last={"update_ratio": 1e-4})
STEEP = rows([1.9, 0.9, 0.45], [1.2, 0.6, 0.5], (0.85, 0.85))
BY_HEART = rows([1.5, 0.6, 0.2, 0.05, 0.01], [1.6, 0.9, 0.6, 0.62, 0.7], (1.0, 0.85))

SICK = {
    "images alike": evidence(alike=1.0, rows=STUCK, initial=layers(linear={"gradient_norm": 1e-6}), held_out=NOISE),
    "divergence": evidence(
        divergence=Divergence(2, 3, "the output of linear layer 2 of 2", "linear layer 1 of 2", 2, 7.5), rows=STUCK[:1]
    ),
    "zero initialization": evidence(initial=layers(linear={"alike": 1.0, "weight_norm": 0.0}), rows=STUCK),
    "exploding gradients": evidence(
        initial=layers(500.0, {"gradient_norm": 90.0}), rows=rows([140.0, 30.0], None, (0.5, 0.5))
    ),
    "vanishing gradients": evidence(initial=layers(linear={"gradient_norm": 1e-6}), rows=STUCK),
    "learning rate too high": evidence(rows=STUCK, final=layers(linear={"weight_norm": 9.0}, relu={"dead": 1.0})),
    "learning rate too low": evidence(rows=SLOW, final=CREEP),
    "dead ReLUs": evidence(final=layers(relu={"dead": 0.75})),
    "saturated units": evidence("activation=sigmoid", initial=layers(relu={"kind": "Sigmoid", "saturated": 0.8})),
    "batch too small": evidence("normalization=batch", "batch_size=4"),
    "class imbalance": evidence(class_counts={**{str(label): 120 for label in range(9)}, "9": 30}),
    "label noise": evidence(held_out=NOISE, rows=rows([1.9, 1.2, 1.1, 1.05], accuracies=(0.8, 0.8))),
    "early stopping too early": evidence("early_stop_patience=1", rows=STEEP, stopped_early=True),
    "underfitting": evidence(rows=rows([2.0, 1.2, 0.9, 0.85, 0.84, 0.83, 0.82], None, (0.7, 0.7))),
    "overfitting": evidence(rows=BY_HEART),
}


def test_nothing_is_found_in_a_healthy_run():
    assert diagnose(evidence()) == []


def test_a_training_loss_that_overflew_and_stands_as_null_is_too_high():
    (finding,) = diagnose(evidence(rows=rows([1.5, 0.5, 0.2, 0.1, None], [1.6, 0.9, 0.6, 0.7, 0.8], (1.0, 0.85))))
    assert finding.seen == "the training loss of epoch 5 is inf, more than guessing (2.3)"


@pytest.mark.parametrize("rule", RULES)
def test_each_fault_is_found_and_its_consequences_are_left_to_it(rule):
    assert [finding.name for finding in diagnose(SICK[rule])] == [rule]


# What comes close to the fault and is none.
NEAR = {
    "images alike": evidence(alike=0.5),  # two classes, each of one picture
    "zero initialization": evidence(initial=layers(linear={"alike": 0.8})),
    "exploding gradients": evidence(initial=layers(linear={"gradient_norm": 19.0})),
    "vanishing gradients": evidence(initial=layers(linear={"gradient_norm": 1e-6})),  # and yet it learnt
    "learning rate too high": evidence(rows=rows([4.0, 0.3, 0.1])),  # made good in the next epoch
    "learning rate too low": evidence(rows=rows([2.30, 1.5, 1.2, 1.18, 1.17], None, (0.95, 0.95)), final=CREEP),
    "dead ReLUs": evidence(final=layers(relu={"dead": 0.6})),
    "saturated units": evidence(final=layers(relu={"kind": "Sigmoid", "saturated": 0.8})),  # after it has learnt
    "batch too small": evidence("normalization=layer", "batch_size=4"),
    "class imbalance": evidence(class_counts={**{str(label): 120 for label in range(9)}, "9": 41}),
    "label noise": evidence(
        held_out=HeldOut(300, 0.64, 150, 16, (0.64,) * 10)
    ),  # wrong where it is unsure: hard images
    "early stopping too early": evidence(rows=rows([0.5, 0.1, 0.098, 0.097, 0.096]), stopped_early=True),
    "underfitting": evidence(rows=rows([2.0, 0.5, 0.4], None, (0.8, 0.91))),  # dropout: validation is better
    "overfitting": evidence(rows=rows([1.5, 0.4, 0.1], [0.6, 0.3, 0.35], (1.0, 0.93))),  # 300 images: within the noise
    "divergence": evidence(),
}


def test_labels_that_the_run_made_wrong_need_not_be_learnt():
    curve = rows([2.0, 1.4, 1.35, 1.34, 1.34, 1.33], None, (0.57, 0.7))
    assert RULES["underfitting"](evidence(rows=curve)) is not None
    assert RULES["underfitting"](evidence("dataset.label_noise=0.4", rows=curve)) is None
    assert fit(evidence("dataset.label_noise=0.4", rows=curve)) == pytest.approx(0.95)
    assert as_trained(config_of("dataset.label_noise=0.4", "dropout=0.1")) == ", with dropout and 40 % wrong labels"


@pytest.mark.parametrize("rule", RULES)
def test_what_comes_close_is_no_alarm(rule):
    assert RULES[rule](NEAR[rule]) is None


def test_the_sentences_name_figures_layers_and_what_to_try():
    told = {rule: diagnose(each)[0] for rule, each in SICK.items()}
    assert told["divergence"].seen == (
        "the first value that is not finite, in step 3 of epoch 2, is in the output of linear layer 2 of"
        " 2; it began in linear layer 1 of 2, whose weights step 2 changed by 7.5 times their own size"
    )
    assert told["vanishing gradients"].seen == (
        "before training the gradient of linear layer 1 of 2 is 5.0e-07 of its weights, of the last layer 5.0e-02"
    )
    assert told["class imbalance"].seen == (
        "120 training images of 0, 30 of 9; 97% of the latter are classified correctly"
    )
    assert told["label noise"].seen == (
        "in 21 of the 150 most confident answers to validation images (14%) the label is not even among the top"
        " classes; 20% of all answers are wrong"
    )
    assert told["overfitting"].seen == (
        "accuracy of the last three epochs 100.0% (training), 85.0% (validation); the validation loss is 0.7; the best"
        " was 0.6, in epoch 3"
    )
    dead = told["dead ReLUs"]
    assert (dead.seen, dead.override) == (
        "75% of the units of ReLU 1 of 1 are zero for every image",
        "activation=leaky_relu",
    )
    assert (told["learning rate too high"].override, told["learning rate too low"].override) == ("lr=0.0001", "lr=0.01")


COMPANY = {
    "mlp": (),
    "resnet18": ("model=resnet18", "augmentation=[flip,crop]", "activation=tanh", "regularization=[l1,ema]"),
    "ensemble": ("model=ensemble", "dropout=0.6", "normalization=batch", "augmentation=[mixup]"),
    "lecture_cnn": ("model=lecture_cnn", "weight_decay=0.1", "early_stop_min_delta=0.5", "scheduler=cosine"),
}
CHOOSY = ("underfitting", "vanishing gradients", "label noise", "early stopping too early")
ADVISED = [rule for rule in RULES if rule != "images alike"]  # against which no setting helps
PAIRS = [(name, rule) for name in COMPANY for rule in (ADVISED if name in ("mlp", "resnet18") else CHOOSY)]


@pytest.mark.long
@pytest.mark.parametrize(("name", "rule"), PAIRS)
def test_what_to_try_is_taken_by_the_command_line(name, rule):
    company = COMPANY[name]
    config = config_of(*company)
    batch = {"batch_size": 4, "normalization": SICK["batch too small"].config.normalization}
    config = config.model_copy(update=batch if rule == "batch too small" else {})
    finding = RULES[rule](replace(SICK[rule], config=config))
    assert finding
    tried = interpret(["dataset=digits", "model=mlp", *company, finding.override])
    assert isinstance(tried, RunConfig)
    assert tried.tree() != config.tree()


def test_a_technique_is_put_beside_the_others_or_taken_from_them():
    (config,) = compose(["augmentation=[flip,crop]", "regularization=[l1,ema]"])
    assert against(config, "wrong labels") == "augmentation=[flip,crop,mixup]"
    assert without(config, "regularization", "l1") == "regularization=[ema]"


def test_a_technique_that_the_run_would_be_refused_with_is_not_advised():
    """Fixup stands in for a normalization, which is first against small gradients."""
    (config,) = compose(["model=resnet9", "init=fixup", "activation=tanh"])
    assert against(config, "small gradients") == "activation=relu"
    assert against(config_of("activation=tanh"), "small gradients") == "normalization=batch"


def test_a_start_with_layers_of_zeros_that_is_meant_so_is_no_fault():
    zeros = layers(linear={"gradient_norm": 0.0}, last={"alike": 1.0, "weight_norm": 0.0})
    for init, found in (("fixup", []), ("default", ["zero initialization"])):
        config = config_of().model_copy(update={"init": Choice("init", init)})
        named = [each.name for each in diagnose(replace(evidence(rows=SLOW, initial=zeros), config=config))]
        assert [each for each in named if each in ("zero initialization", "vanishing gradients")] == found


def test_what_to_try_is_a_whole_command(in_empty_folder):
    """Of a run from its own starts, of a study's run from the study's; a stranger's record cannot command the shell."""
    folder = in_empty_folder / "run"
    folder.mkdir()
    for starts, command in (
        ([], "lr=0.03"),
        (["python -m trainer"], "python -m trainer lr=0.03"),
        (["python -m trainer finalize study"], "lr=0.03"),
        ([5], "lr=0.03"),
        ([None], "lr=0.03"),
        (["python -m trainer dataset=digits lr=0.3 output_dir=run"], "python -m trainer dataset=digits lr=0.03"),
        (
            ["python -m trainer epochs=2 'model.hidden=[9, 9]'", "python -m trainer resume=run epochs=9"],
            "python -m trainer epochs=9 'model.hidden=[9, 9]' lr=0.03",
        ),
        (["python -m trainer a=1;rm b=$(rm) ; rm x"], "python -m trainer 'a=1;rm' 'b=$(rm)' lr=0.03"),
    ):
        (folder / "environment.json").write_text(json.dumps([{"command": start} for start in starts]))
        assert command_with(folder, "lr=0.03") == command
    study = fake_study(in_empty_folder / "study", {"dropout": ["0.5", "0.1"]})
    manifest = read_json(study / "study.json")
    manifest["runs"][1]["texts"] = {"dropout": "++dropout=0.1", "seed": "++seed=0"}
    (study / "study.json").write_text(json.dumps(manifest))
    again = "python -m trainer dataset=digits dropout=0.1 seed=0"
    assert command_with(study / "run-1", "lr=0.03") == f"{again} lr=0.03"


def test_what_to_try_leaves_out_the_options_of_what_it_replaces(in_empty_folder):
    """They would be refused beside the new technique, or bring the old one back."""
    folder, told = in_empty_folder / "run", {}
    folder.mkdir()
    optioned = {fault.settings[-1]: fault.name for fault in FAULTS if "init.std" in str(fault.settings[-1])}
    optioned |= {FAULTS[-2].settings[-1]: "underfitting"}
    for settings, fault in optioned.items():
        finding = RULES[fault](replace(SICK[fault], config=config_of(*settings)))
        assert finding
        words = ("dataset=digits", *settings)
        (folder / "environment.json").write_text(json.dumps([{"command": f"python -m trainer {' '.join(words)}"}]))
        told[settings] = command_with(folder, finding.override)
        tried = interpret(shlex.split(told[settings])[3:])
        assert isinstance(tried, RunConfig) and tried.tree() != config_of(*settings).tree()
    assert told["init=normal", "init.std=0.5", "epochs=5"].endswith(" dataset=digits init=kaiming_normal epochs=5")
    l1 = next(command for settings, command in told.items() if "regularization=l1" in settings)
    assert l1.endswith(" regularization=none epochs=10")
    start = "python -m trainer regularization=[l1,ema] regularization.ema.decay=0.9 regularization.l1.strength=0.1"
    (folder / "environment.json").write_text(json.dumps([{"command": start}]))
    left = "python -m trainer 'regularization=[ema]' regularization.ema.decay=0.9"
    assert command_with(folder, "regularization=[ema]") == left


def test_the_figures_behind_the_rules():
    assert chance(evidence()) == pytest.approx(LN10)
    assert fall(evidence(rows=rows([8.0, 4.0, 2.0, 1.0]))) == pytest.approx(0.5)
    assert lower_bound(12, 75) == pytest.approx(0.1027, abs=1e-3)  # Wilson, one-sided 95 %
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.55, 0.45]])
    found = held_out(probabilities, torch.tensor([1, 1, 0, 0]), torch.arange(4))
    assert (found.accuracy, found.sure, found.contradicted, found.recalls) == (0.5, 2, 1, (0.5, 0.5))
    ten = torch.tensor([[0.5, 0.2, 0.1, 0.09, 0.03, 0.03, 0.02, 0.01, 0.01, 0.01]]).repeat(8, 1)
    ten[:4, 0] += 0.1  # the surer half, whose labels are the first, second, third and fourth answer
    found = held_out(ten, torch.tensor([0, 1, 2, 3, 9, 9, 9, 9]), torch.arange(100, 108))
    assert (found.contradicted, found.suspects) == (1, (103,))


def test_the_figures_are_told_as_the_table_of_epochs_has_them():
    """With dropout and augmentation a network does worse on the images it trains on: the two are not mixed up."""
    curve = rows([2.0, 1.6, 1.3], None, (0.5267, 0.84))
    settings = ("augmentation=[crop]", "dropout=0.5")
    (finding,) = diagnose(evidence(*settings, rows=curve))
    assert (finding.name, finding.seen) == (
        "underfitting",
        "best accuracy 52.7% (training, with augmentation and dropout), 84.0% (validation); the loss fell 19% an epoch",
    )
    (finding,) = diagnose(evidence("dropout=0.5", rows=rows([2.0, 1.6, 1.3], None, (0.84, 0.5267))))
    assert finding.seen.startswith("best accuracy 84.0% (training, with dropout); the loss fell")


@pytest.mark.long
@pytest.mark.parametrize("optimizer", techniques("optimizer"))
def test_advice_about_the_rate_knows_the_scale_of_the_optimizer(optimizer):
    usual = USUAL_LR[optimizer]
    for factor, smaller, larger in ((50, usual, 500 * usual), (1, usual / 10, 10 * usual), (0.01, usual / 1e3, usual)):
        config = config_of(f"optimizer={optimizer}", f"lr={factor * usual:g}")
        assert float(smaller_rate(config).removeprefix("lr=")) == pytest.approx(smaller)
        assert float(larger_rate(config).removeprefix("lr=")) == pytest.approx(larger)


def test_the_advice_for_a_rate_that_is_far_too_high_trains():
    """Neither too high nor too low: the advice once read lr=0.001, and that was found too low."""
    trial = Trial(None, 0, 0, (*TINY, "optimizer=sgd", "lr=5", "epochs=5", "batch_size=32"))
    config = config_of(*BASE, *trial.settings)
    findings = diagnose(examine(trained(config)))
    assert findings[0].name in ("learning rate too high", "divergence") and findings[0].override == "lr=0.1"
    settings = tuple("lr=0.1" if word == "lr=5" else word for word in trial.settings)
    assert findings_in(replace(trial, settings=settings))[1] == ()


def test_on_a_slow_machine_it_says_that_the_layers_were_not_checked(monkeypatch, capsys):
    monkeypatch.setattr(summary, "SECONDS", 0.0)
    quick(*TINY, "epochs=2", "lr=1e-5", "output_dir=run")
    told = capsys.readouterr().out
    line = (
        r"\n +the layers were not checked: at [\d,]+ images/s that would take too long here\n  Full diagnosis +python"
    )
    assert re.search(line, told) and "\n  Diagnosis            underfitting: best accuracy " in told
    monkeypatch.setattr(summary, "SHARE", 1.0)  # of a long run
    quick(*TINY, "epochs=2", "lr=1e-5", "output_dir=slow")
    assert "the layers were not checked" not in capsys.readouterr().out


def test_units_that_a_large_first_step_killed_are_the_rates_fault():
    killed = evidence(initial=layers(linear={"update_ratio": 0.9}), final=layers(relu={"dead": 0.8}))
    (finding,) = diagnose(killed)
    assert (finding.name, finding.seen) == (
        "learning rate too high",
        "the first step changed linear layer 1 of 2 by 90% of its weights, and 80% of the units of ReLU 1 of 1 died",
    )


def test_the_layer_where_it_began_is_named():
    """The gradient of one layer is made a million times as large: its weights are thrown out, not its neighbours'."""
    (config,) = compose(["dataset=digits", *TINY, "model.hidden=[16,16]", "optimizer=sgd", "lr=0.1"])
    images = tiny_images(200, (1, 16, 16))
    for name, title in (("1.1", "linear layer 1 of 3"), ("1.3", "linear layer 2 of 3")):
        trainer = build_trainer(config, images, images, torch.device("cpu"))
        trainer.model.get_submodule(name).weight.register_hook(lambda gradient: gradient * 1e30)
        found = find_first_nonfinite(trainer)
        assert found is not None
        assert (found.epoch, found.began, found.began_step) == (1, title, 1)
    assert find_first_nonfinite(build_trainer(config, images, images, torch.device("cpu"))) is None


def test_a_failed_epoch_is_trained_again_to_the_same_step(capsys):
    settings = ("dataset=digits", *TINY, "optimizer=sgd", "activation=leaky_relu", "output_dir=run")
    with pytest.raises(RunError) as caught:
        quick(*settings, "scheduler=cyclic", "scheduler.period=20", "lr=100", "epochs=4")
    epoch, step = map(int, re.findall(r"in epoch (\d+), step (\d+) of 19", str(caught.value))[0])
    assert epoch > 1  # the epochs before it are not trained again
    capsys.readouterr()
    before = {path.name: path.read_bytes() for path in Path("run").iterdir()}
    assert doctor.main(["run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["epochs"], told["findings"][0]["name"]) == (epoch - 1, "divergence")
    assert (told["divergence"]["epoch"], told["divergence"]["step"]) == (epoch, step)
    assert {path.name: path.read_bytes() for path in Path("run").iterdir()} == before


def damages_are_named():
    """A file of the run that is missing, or has lost lines, is told instead of what the rest of it would look like."""
    lines = Path("run/metrics.jsonl").read_text().splitlines(keepends=True)
    best = read_json(Path("run/best.json"))["epoch"]
    lacks = "run/metrics.jsonl is damaged or missing: it lacks "
    for name, text, sentence in (
        ("metrics.jsonl", None, f"{lacks}6 of 6 epochs that run/last.safetensors has, the first is epoch 1"),
        (
            "metrics.jsonl",
            "".join(lines[:4]),
            f"{lacks}2 of 6 epochs that run/last.safetensors has, the first is epoch 5",
        ),
        ("metrics.jsonl", "{}\n", "run/metrics.jsonl, line 1 is damaged"),
        (
            "last.safetensors",
            None,
            "run/last.safetensors is missing, though the run has trained 6 or more epochs. There is the one before it,"
            " run/last.previous.safetensors. To continue: python -m trainer resume=run",
        ),
        (
            "best.safetensors",
            None,
            f"run/best.safetensors is missing, the network of epoch {best}, with the lowest validation loss",
        ),
    ):
        whole = (path := Path("run", name)).read_bytes()
        path.unlink()
        if text is not None:
            path.write_text(text)
        with pytest.raises(RunError) as caught:
            doctor.main(["run"])
        assert str(caught.value) == sentence
        path.write_bytes(whole)


def _unchecked(name):
    """A record without its checksums, as an earlier version wrote it."""
    return re.sub(r'(?m), "checksum": "[^"]*"(?=}$)|^# checksum .*$', "", Path("run", name).read_text())


def misfits_are_named():
    """Files of the run that do not go together: one line each, where there was a traceback."""
    rows, config = _unchecked("metrics.jsonl"), _unchecked("config.yaml")
    for name, content, sentence in (
        (
            "last.safetensors",
            Path("run/best.safetensors").read_bytes(),
            "run/last.safetensors holds the network of an epoch, where the state of a run is expected",
        ),
        (
            "best.safetensors",
            Path("run/last.safetensors").read_bytes(),
            "run/best.safetensors holds the state of a run, where the network of an epoch is expected",
        ),
        (
            "config.yaml",
            config.replace("- 16", "- 17").encode(),
            "run/last.safetensors does not fit run/config.yaml: size mismatch for model.1.1.weight: torch.float32"
            " [16, 256] where torch.float32 [17, 256] is expected",
        ),
        (
            "metrics.jsonl",
            re.sub(r'"train_accuracy": [0-9.]+', '"train_accuracy": null', rows, count=1).encode(),
            "run/metrics.jsonl is damaged: epoch 1 has no train_accuracy",
        ),
    ):
        whole = (path := Path("run", name)).read_bytes()
        path.unlink()
        path.write_bytes(content)
        with pytest.raises(RunError) as caught:
            doctor.main(["run"])
        assert str(caught.value) == sentence
        path.write_bytes(whole)


def test_the_command_on_a_healthy_run_and_on_one_that_was_stopped(capsys):
    quick(*TINY, "epochs=6", "lr=0.005", "output_dir=run")
    assert (
        "\n  Diagnosis            nothing found by this quick check\n"
        "  Full diagnosis       python -m trainer doctor run\n"
    ) in capsys.readouterr().out
    assert doctor.main(["run"]) == 0
    assert capsys.readouterr().out == "Nothing found: 15 rules looked at 6 of 6 epochs and 3 layers of run\n"
    damages_are_named()
    misfits_are_named()
    config = Path("run/config.yaml")
    config.write_text(config.read_text().partition("# checksum")[0].replace("epochs: 6", "epochs: 9"))
    Path("run/result.json").unlink()  # it was killed
    for noted, why in (
        (None, "It was killed. To continue: python -m trainer resume=run"),
        ({"state": "failed", "reason": "the disk is full"}, "run/result.json says: failed: the disk is full"),
        ({"state": "running"}, "It was killed. To continue: python -m trainer resume=run"),
    ):
        if noted:
            Path("run/result.json").write_text(json.dumps(noted))
        assert doctor.main(["run"]) == 0
        said = capsys.readouterr().out.splitlines()[1]
        assert said == f"It has trained 6 of 9 epochs; the next one, trained again, stays finite. {why}"
    with locked(Path("run")):
        assert doctor.main(["run"]) == 0
    assert capsys.readouterr().out.endswith(" stays finite. It is still training\n")


def test_a_run_of_one_epoch_may_have_been_killed_in_its_first_save(capsys):
    quick(*TINY, "epochs=1", "output_dir=run")
    Path("run/last.safetensors").unlink()
    with pytest.raises(
        RunError, match=r"^run/last\.safetensors is missing, though the run has trained 1 or more epochs$"
    ):
        doctor.main(["run"])
    Path("run/result.json").unlink()
    assert doctor.main(["run"]) == 0


def test_a_checkpoint_with_a_huge_epoch_is_refused_at_once():
    with pytest.raises(RunError) as caught:
        doctor._refuse_gaps(Path("run"), {1, 2, 4}, last_of({"epoch": 10**15}), True)
    lacks = f"it lacks {10**15 - 3} of {10**15} epochs that run/last.safetensors has, the first is epoch 3"
    assert str(caught.value) == f"run/metrics.jsonl is damaged or missing: {lacks}"


def test_a_run_that_goes_on_meanwhile_is_not_taken_for_damaged(monkeypatch, capsys):
    folder, real = quick(*TINY, "output_dir=run").folder, doctor._loaded

    def later(kind, path):
        if path.name == "last.safetensors":
            train(compose(["resume=run", "epochs=3"])[0])
        return real(kind, path)

    monkeypatch.setattr(doctor, "_loaded", later)
    assert doctor.main([str(folder)]) == 0
    assert "3 of " in capsys.readouterr().out


def test_a_run_that_its_study_has_not_started_is_not_said_to_be_killed():
    Path("run").mkdir()
    Path("run/job.json").write_text("{}")
    assert doctor._why(Path("run"), Outcome(), False) == "Its study has not started it"


def test_the_end_of_a_run_says_what_to_try_but_not_in_a_study(capsys):
    quick(*TINY, "epochs=4", "lr=0.3", "output_dir=run")
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "Diagnosis" in line]
    assert said.startswith("  Diagnosis            learning rate too high: the training loss of epoch 1 is ")
    assert said.endswith("Try lr=0.001")  # usual for adam: 0.03 would still be too high
    (run,) = compose([*TINY, "dataset=digits", "wandb.mode=disabled", "epochs=1"])
    Path("job").mkdir()
    train(run, Path("job"))
    assert "Diagnosis" not in capsys.readouterr().out


def test_one_picture_for_all_is_no_fault_of_the_network(capsys):
    draw_pictures(Path("data/train"), a=40, b=40)
    for path in Path("data/train").glob("*/*.png"):
        Image.new("RGB", (8, 8), (100, 100, 100)).save(path)
    run = quick(*PICTURES, "output_dir=run").folder
    sentence = "images alike: all pictures are alike. These training images are equal to the last bit: look at the"
    assert sentence in capsys.readouterr().out
    assert doctor.main([str(run)]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line[0] != " "] == ["Images alike"]
    assert doctor.main([str(run), "--json"]) == 0
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["name"], finding["override"], finding["command"]) == ("images alike", "", None)


def test_other_data_than_those_of_the_run_are_named(capsys):
    draw_pictures(Path("data/train"), a=10, b=10)
    run = quick(*PICTURES, "output_dir=run").folder
    draw_pictures(Path("data/train"), b=20)
    capsys.readouterr()
    assert doctor.main([str(run)]) == 0
    sentence = "run was trained on other data, so the figures are not those of the run: 18 → 36 training images, 2 → 4"
    assert sentence in capsys.readouterr().err


def test_mistakes_are_one_line(in_empty_folder):
    Path("run").mkdir()
    for arguments, sentence in (
        ([], "RUN: is missing. See python -m trainer doctor --help"),
        (["run"], "run: is not the folder of a run, run/config.yaml does not exist"),
        (["run", "--selftest"], "--selftest trains runs of its own: leave RUN out"),
        (["--jsn"], "--jsn: there is no such option. Did you mean --json? See python -m trainer doctor --help"),
    ):
        with pytest.raises(ConfigError) as caught:
            doctor.main(arguments)
        assert str(caught.value) == sentence
    Path("run/config.yaml").write_text("epochs: [")
    with pytest.raises(ConfigError, match=r"^run/config.yaml, line 1, column 10: "):
        doctor.main(["run"])


def test_the_help_needs_no_torch():
    code = "import sys, trainer.cli.doctor, trainer.cli.find_lr; print({'torch', 'plotly', 'rich'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=clean_environment())
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_the_faults_are_what_they_say():
    images = tiny_images(4000, (1, 2, 2))
    assert (noisy_labels(0.2)(images, 1).labels != images.labels).float().mean() == pytest.approx(0.2, abs=0.02)
    counts = sorted(rare_classes(0.1, 1)(images, 1).labels.bincount().tolist())
    assert counts[0] == pytest.approx(100, abs=30)
    assert counts[1:] == [1000, 1000, 1000]
    assert {fault.name for fault in FAULTS} == set(RULES)
    assert all(len(fault.settings) == 5 for fault in FAULTS)
    assert len(HEALTHY) == 10
    assert {trial.seed for trial in trials(100)} == set(range(100, 110))


def test_precision_and_recall_are_counted_as_they_are_defined():
    noisy, dead, healthy = (Trial(name, 0, 0, ()) for name in ("label noise", "dead ReLUs", None))
    outcomes = [
        (noisy, ("label noise", "overfitting")),  # its companion: not counted as wrong
        (noisy, ()),
        (dead, ("dead ReLUs", "label noise")),
        (healthy, ("dead ReLUs",)),
    ]
    assert [(score.rule, score.precision, score.recall) for score in scores(outcomes)] == [
        ("dead ReLUs", 0.5, 1.0),
        ("label noise", 0.5, 0.5),
    ]


@pytest.mark.parametrize(
    "fault", ["images alike", "zero initialization", "batch too small", "divergence", "vanishing gradients"]
)
def test_the_selftest_in_short(fault):
    trial = next(trial for trial in trials(200) if trial.fault == fault and "model=mlp" in trial.settings)
    small = (*trial.settings, "dataset.image_size=8", "epochs=2")
    assert findings_in(replace(trial, settings=small))[1] == (fault,)
