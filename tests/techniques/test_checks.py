"""The checks and the remedies that techniques bring: each belongs to an option that there is."""

import inspect

import pytest
from conftest import compose, narrow, smallest
from torch import nn

from trainer.config.check import check
from trainer.config.schema import GROUPS, Choice, techniques
from trainer.diagnosis.remedies import wider
from trainer.errors import ConfigError
from trainer.techniques import checks, network_checks, remedies
from trainer.techniques.networks.branches import branches
from trainer.training.network import build_network


@pytest.mark.parametrize("checks", [checks, network_checks], ids=lambda module: module.__name__)
def test_every_check_bears_the_name_of_a_group_or_of_one_of_its_options(checks):
    names = {*GROUPS, *(f"{group}_{option}" for group in GROUPS for option in techniques(group))}
    own = [each for each in inspect.getmembers(checks, inspect.isfunction) if each[1].__module__ == checks.__name__]
    public = {name for name, _ in own if not name.startswith("_")}
    assert public <= names


def test_a_new_check_is_called_for_the_runs_that_chose_its_technique(monkeypatch):
    def refuse(run):
        raise ConfigError(f"regularization=ema: not with lr={run.lr}")

    monkeypatch.setattr(checks, "regularization_ema", refuse, raising=False)
    check(compose(["dataset=digits", "regularization=[l2]"])[0].tree())
    with pytest.raises(ConfigError, match=r"regularization=ema: not with lr=0\.25"):
        compose(["dataset=digits", "regularization=[l2,ema]", "lr=0.25"])


def test_every_remedy_is_an_option_of_its_group():
    candidates = {remedy for candidates in remedies.REMEDIES.values() for remedy in candidates}
    assert all(remedy.option in techniques(remedy.group) for remedy in candidates)
    assert all(remedy.instead_of in (None, *techniques(remedy.group)) for remedy in candidates)
    assert set(remedies.USUAL_LR) == set(techniques("optimizer"))
    assert set(remedies.SYMMETRIC_ACTIVATIONS) <= set(techniques("activation"))
    assert set(remedies.BATCH_STATISTICS) <= set(techniques("normalization"))
    assert set(remedies.WEIGHT_LIMITS) <= set(techniques("regularization"))


def test_no_rule_goes_by_the_names_of_options_that_a_model_of_ones_own_may_have():
    options = {"channels": 3, "hidden": "a text", "width": None, "members": 99, "min_lr": 9.0, "pieces": "two"}
    small = ["dataset=digits", "dataset.image_size=8", "model=mlp", "normalization=group"]
    run = compose(small)[0]
    own = {group: Choice(group, "mine", options, getattr(run, group).shared) for group in ("model", "activation")}
    own["scheduler"] = Choice("scheduler", "mine", options, run.scheduler.shared)
    run = run.model_copy(update=own)
    network_checks.model(run)
    network_checks.normalization_group(run)
    checks.scheduler(run)
    assert wider(run) == "model=resnet18"
    data = Choice("dataset", "mine", {"image_size": "large", "validation": 3}, run.dataset.shared)
    network_checks.model_lecture_cnn(run.model_copy(update={"dataset": data}))
    assert {name for name, options in techniques("dataset").items() if "image_size" in options} == {*remedies.RESIZED}


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        ("model=lecture_cnn model.hidden=[]", "model.channels=[12,32]"),
        ("model=lecture_cnn model.hidden=[8,4]", "model.hidden=[16,8]"),
        ("model=mlp model.hidden=[]", "model=resnet18"),
        ("model=wide_resnet", "model.width=32"),
    ],
)
def test_a_wider_network_has_twice_the_units_of_its_last_listed_layers(arguments, advice):
    assert wider(compose(["dataset=digits", *arguments.split()])[0]) == advice


def test_the_widths_of_every_model_are_known():
    assert set(remedies.WIDTHS) == set(techniques("model"))
    assert all(set(names) <= set(techniques("model")[model]) for model, names in remedies.WIDTHS.items())
    falling = {name for name, parameters in techniques("scheduler").items() if "min_lr" in parameters}
    assert set(checks.FALLING) == falling


@pytest.mark.long
@pytest.mark.parametrize("model", [model for model in techniques("model") if model != "timm"])
def test_what_a_network_lacks_is_known_before_it_is_built(model):
    """As the network itself tells it: branches, and convolutions that take what another one has put out."""
    small = [f"dataset.image_size={smallest(model)}", *(f"model.{key}={value}" for key, value in narrow(model).items())]
    small = ["dataset=digits", f"model={model}", *small]
    side = compose(small)[0].dataset.options["image_size"]
    network = build_network(compose(small)[0], (1, side, side), tuple("0123456789"))
    convolutions = sum(isinstance(layer, nn.Conv2d) for layer in network.modules())
    for lacking, *settings in (
        (not branches(network), "regularization=stochastic_depth"),
        (not branches(network), "init=fixup"),
        (convolutions < 2, "regularization=drop_block"),
        (not convolutions, "regularization=weight_standardization", "normalization=layer"),
    ):
        if lacking:
            with pytest.raises(ConfigError, match=rf"{settings[0]} .* model={model} has "):
                compose([*small, *settings])
        else:
            compose([*small, *settings])


@pytest.mark.parametrize("model", ["lecture_cnn", "ensemble", "hard_sharing", "soft_sharing"])
def test_one_convolution_in_each_of_several_networks_is_not_one_after_another(model):
    with pytest.raises(ConfigError, match=f"drop_block acts between convolutions: model={model} has 1 convolution, "):
        compose(["dataset=digits", f"model={model}", "model.channels=[4]", "regularization=drop_block"])


def test_the_average_of_schedule_free_is_not_divided_out_of_rounding_errors():
    compose(["dataset=digits", "optimizer=schedule_free", "optimizer.beta=0.01"])
    with pytest.raises(ConfigError, match=r"^optimizer\.beta=1e-300 is too small: .* at least 0\.01$"):
        compose(["dataset=digits", "optimizer=schedule_free", "optimizer.beta=1e-300"])
