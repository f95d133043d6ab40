"""What was probably meant by a value or a name; every advice is followed."""

import re
import shlex

import pytest
from conftest import REST, as_told, compose
from test_compose import CONTRADICTIONS, MISTAKES

from trainer.config.aliases import ELSEWHERE
from trainer.config.suggestions import edits, unknown
from trainer.errors import ConfigError


def told(arguments):
    with pytest.raises(ConfigError) as caught:
        compose(arguments)
    return str(caught.value)


VALUES = {
    "lr=1e−3": "lr=1e-3",
    "lr=10^-3": "lr=1e-3",
    "lr=3·10^−4": "lr=3e-4",
    "lr=0,1": "lr=0.1",
    "lr=“0.1”": "lr=0.1",
    "dropout=50%": "dropout=0.5",
    "dropout=1/8": "dropout=0.125",
    "epochs=1e3": "epochs=1000",
    "epochs=10.0": "epochs=10",
    "batch_size=1,024": "batch_size=1024",
    "device=gpu": "device=cuda",
    "device=0": "device=cuda:0",
    "precision=FP16": "precision=fp16",
    "precision=16": "precision=fp16",
    "compile=yes": "compile=true",
    "early_stop_patience=None": "early_stop_patience=null",
    "wandb=off": "wandb.mode=disabled",
    "wandb.mode=Online": "wandb.mode=online",
    "on_nonfinite=halve-lr": "on_nonfinite=halve_lr",
    "optimizer=sgd,": "optimizer=sgd",
    "optimizer=Adam": "adam",
    "optimizer.betas=(0.9,0.99)": "optimizer.betas=[0.9,0.99]",
    "optimizer.betas=0.9,0.99": "optimizer.betas=[0.9,0.99]",
    "model=mlp model.hidden=64,32": "model.hidden=[64,32]",
    "wandb.tags=first,second": "wandb.tags=[first,second]",
    "augmentation=(Flip,Crop)": "augmentation=[flip,crop]",
    "augmentation=[{flip:{probability:0.1}},crop]": "augmentation=[flip,crop] augmentation.flip.probability=0.1",
    "regularization={l1:{strength:0.1}}": "regularization=[l1] regularization.l1.strength=0.1",
    "optimizer={name:sgd}": "optimizer=sgd",
    "normalization=off": "normalization=none",
}


@pytest.mark.parametrize(("typed", "meant"), VALUES.items())
def test_a_value_is_told_as_the_one_that_was_meant(typed, meant):
    found = re.search(r"Did you mean (.*)\?", told(typed.split(" ")))
    assert found and " ".join(shlex.split(found[1])) == meant
    key, *_ = typed.split(" ")[-1].partition("=")
    compose([*typed.split(" ")[:-1], *(meant.split(" ") if "=" in meant else [f"{key}={meant}"])])


@pytest.mark.parametrize(
    ("arguments", "whole"),
    {
        ("augmentation=[flip,", "crop]"): "augmentation=[flip, crop]",
        ("wandb.notes=two", "more", "words", "lr=0.1"): "wandb.notes=two more words",
        ("lr=", "0.1"): "lr=0.1",
        ("lr", "=0.1"): "lr=0.1",
        ("lr", "=", "0.1"): "lr=0.1",
        ("epochs", "5", "lr=0.1"): "epochs=5",
        ("-m", "optimizer=sgd,", "adam"): "optimizer=sgd, adam",
    }.items(),
)
def test_a_setting_that_the_shell_has_split_is_put_together(arguments, whole):
    line = told(arguments)
    found = re.search(r"In one piece: (.*)$|Did you mean (.*)\?", line)
    assert found and shlex.split(found[1] or found[2]) == [whole], line
    compose([*(["-m"] if "-m" in arguments else []), whole])


ADVICE = r"(?:Did you mean|as in:|For both:|as one value:) ([^?]*=[^?]*?)(?:\?| Accepted|$)"
FOLLOWED = [
    (arguments, found)
    for arguments, sentence in {**MISTAKES, **CONTRADICTIONS}.items()
    for found in re.findall(ADVICE, sentence)
    if "VALUE" not in found and "sweep." not in found  # which stand for another value, and for a part of a study
]


@pytest.mark.parametrize(("arguments", "advice"), FOLLOWED)
def test_every_advised_setting_is_accepted(arguments, advice):
    words = shlex.split(advice.removeprefix("python -m trainer "))
    compose(words)
    assert words != arguments.split(" ")


def test_the_name_of_another_technique_gets_no_suggestion():
    for group, names in ELSEWHERE.items():
        for name in [*names.split(), *(["cifar20", "cifar1000"] if group == "dataset" else [])]:
            assert "Did you mean" not in told([f"{group}={name}"]), (group, name)


STRANGER = {
    "optimizer=SGD": "Did you mean sgd?",
    "scheduler=CosineAnnealingLR": "Did you mean scheduler=cosine?",
    "scheduler=warmup": "Did you mean scheduler.warmup_epochs?",
    "augmentation=RandomHorizontalFlip": "Did you mean augmentation=flip?",
    "augmentation=Normalize": "Did you mean preprocessing=fixed?",
    "dataset.trainsize=100": "Did you mean train_size?",
    "augmentation=ToTensor": "Pixels are scaled within the network (preprocessing).",
    "loss=CrossEntropyLoss": "Did you mean loss=cross_entropy?",
    "criterion=ce": "Did you mean loss?",
    "regularization=BatchNorm": "Did you mean normalization=batch?",
    "regularization=early_stopping": "Did you mean early_stop_patience?",
    "betas=[0.9,0.99]": "Did you mean optimizer.betas?",
    "beta1=0.9": "Did you mean optimizer.betas?",
    "T_max=100": "Did you mean scheduler.t_max?",
    "scheduler=OneCycleLR": "Did you mean scheduler=one_cycle?",
    "scheduler=MultiStepLR": "Did you mean scheduler=factors?",
    "normalization=RMSNorm": "Did you mean normalization=rms?",
    "regularization=DropPath": "Did you mean regularization=stochastic_depth?",
    "model=densenet121": "timm has more networks: model=timm model.architecture=densenet121.",
    "optimizer.beta1=0.9": "Did you mean optimizer.betas?",
    "print_epochs=1": "A line is printed for every epoch.",
    "validation_intervals=1": "Did you mean validate_every?",
    "num_workers=4": "The images lie in memory, on the device: no process loads them.",
    "save_every=5": "A run is saved after each epoch and within one (checkpoint_minutes).",
    "-o adam": "Did you mean optimizer=adam?",
    "-w 0.002": "Did you mean weight_decay=0.002?",
    "-n 1": "Did you mean normalization=VALUE, without blanks?",
    "--num-workers 4": "The images lie in memory, on the device: no process loads them.",
    "--no-cuda": "Did you mean device=cpu?",
    "--wandb": "Did you mean wandb.mode=online?",
}


@pytest.mark.parametrize(("typed", "hint"), STRANGER.items())
def test_the_spelling_of_another_program_gets_the_hint(typed, hint):
    assert f". {hint} Accepted: " in told(typed.split(" "))


@pytest.mark.parametrize("key", ["loss", "workers", "num_workers", "verbose", "test", "foo", "pin_memory", "x"])
def test_a_key_that_means_nothing_here_gets_no_suggestion(key):
    assert "Did you mean" not in told([f"{key}=1"])


def test_of_many_names_the_ten_nearest_are_listed():
    near, far = [f"name_{letter}" for letter in "abcdefghij"], ["x", "zz", "y"]
    line = unknown("name_kk", "name_kk", [*far, *near], "command line", "there is no such key")
    assert line.endswith(f" Accepted: {', '.join(near)} and 3 more: python -m trainer --help")


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [("adm", "adam", 1), ("dorpout", "dropout", 1), ("lr", "lr", 0), ("", "ab", 2), ("abc", "cab", 2)],
)
def test_the_edits_between_two_words(one, other, count):
    assert edits(one, other) == edits(other, one) == count


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    {
        "dataset=digits optimizer=sgd,adam": "optimizer=sgd,adam (command line): several values need -m, as in:"
        " python -m trainer -m dataset=digits optimizer=sgd,adam",
        "augmentation=flip,crop": "augmentation=flip,crop (command line): several values need -m, as in: python -m"
        " trainer -m augmentation=flip,crop; as one value: 'augmentation=[flip,crop]'",
        "weight_decay=0,1": "weight_decay=0,1 (command line): several values need -m, as in: python -m trainer -m"
        " weight_decay=0,1; as one value: weight_decay=0.1",
        "checkpoint_minutes=1,x": "checkpoint_minutes=1,x (command line): checkpoint_minutes must be a number above 0"
        " or null",
        "optimizer=sgd,adm": "optimizer=adm (command line): there is no such optimizer. Did you mean adam?"
        f" Accepted: {REST}",
    }.items(),
)
def test_m_is_advised_only_where_it_helps(arguments, sentence):
    assert as_told(told(arguments.split(" ")), sentence) == sentence


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("output_dir=695e0514", "695e0514"),
        ("output_dir=2024", "2024"),
        ("data_dir=/data/a,b", "/data/a,b"),
        ("output_dir=runs(1)", "runs(1)"),
        ("output_dir=it's", "it's"),
        ('output_dir=a"b\\', 'a"b\\'),
        ("output_dir=true", "true"),
        ("output_dir=[a]", "[a]"),
        ('output_dir="a b"', "a b"),
    ],
)
def test_a_text_is_taken_as_it_is_typed(typed, value):
    key = typed.partition("=")[0]
    assert getattr(compose([typed])[0], key) == value


def test_a_text_with_a_comma_is_one_value_of_a_study_too():
    (run,) = compose(["-m", "wandb.notes=first, second", "seed=3"])
    assert run.wandb.notes == "first, second"
    assert [run.data_dir for run in compose(["-m", "data_dir=a,b"])] == ["a", "b"]
