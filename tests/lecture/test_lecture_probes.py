"""Measures of trained networks: on networks whose answers are known, and on a small run of the real program."""

import math

import pytest
import torch
from conftest import compose
from torch import nn

from trainer.data.images import Images
from trainer.lecture.measuring import probes
from trainer.lecture.measuring.measured import measured
from trainer.lecture.measuring.runs import RunRecord
from trainer.lecture.measuring.trained import Trained
from trainer.lecture.named import PROBES, Named, functions
from trainer.techniques.networks.joint_networks import Ensemble

OPTIONS = {
    "units_removed": {"share": 0.5, "draws": 2},
    "occluded": {"hole": 8, "draws": 1},
    "thinned_mean": {"count": 3},
    "thinned_single": {"count": 3},
}


def brightness(count=8, side=6):
    """Images of two classes: black ones with a grey point in the middle, and white ones."""
    pixels = torch.zeros(count, 1, side, side, dtype=torch.uint8)
    pixels[::2, :, side // 2, side // 2] = 40
    pixels[1::2] = 255
    return Images(pixels, torch.arange(count) % 2, ("dark", "light"))


class Bright(nn.Module):
    """A network whose logit of "light" is `slope`·(mean − `limit`), of floats from 0 to 1."""

    def __init__(self, slope=1.0, limit=0.5):
        super().__init__()
        self.slope, self.limit = slope, limit

    def forward(self, images):
        images = images if images.is_floating_point() else images / 255
        light = self.slope * (images.mean((1, 2, 3)) - self.limit)
        return torch.stack([torch.zeros_like(light), light], 1)


def trained_with(network, images=None):
    (config,) = compose(["dataset=digits", "activation=relu"])
    images = images or brightness()
    return Trained(None, config, network.eval(), images, images)


def test_a_hole_takes_what_the_network_looks_at():
    trained = trained_with(Bright(limit=0.99))
    # A white image of 36 pixels is "light" only without a hole; a black one stays "dark".
    assert probes.occluded(trained, hole=0) == 100
    assert probes.occluded(trained, hole=1) == 50
    wide = trained_with(Bright(limit=1 - 9.5 / 36))
    assert (probes.occluded(wide, hole=3), probes.occluded(wide, hole=4)) == (100, 50)
    assert probes.occluded(trained_with(Bright(limit=-1)), hole=99) == 50


def test_a_hole_lies_at_every_place_within_the_image_and_nowhere_else():
    images = brightness(4000, side=3)
    rows = probes._inside(3, 2, len(images), torch.Generator().manual_seed(0))
    assert rows.sum(1).unique().tolist() == [2]
    assert rows.float().mean(0) == pytest.approx([0.5, 1, 0.5], abs=0.03)


def test_black_of_floats_is_their_lowest_value():
    pixels = torch.tensor([-3.0, 5.0, 5.0]).view(3, 1, 1, 1)
    floats = Images(pixels, torch.tensor([0, 1, 1]), ("low", "high"))
    # Covered, all three images are −3: below the limit, so that "low" is answered, which is right for one of them.
    assert probes.occluded(trained_with(Bright(limit=-2.5), floats), hole=1) == pytest.approx(100 / 3)


def test_the_bend_is_the_distance_from_the_chord():
    trained = trained_with(Bright(slope=1e4))
    # All answers are 0 or 1. Of a pair of both classes a mixture of ¼ misses the chord by ¼, one of ½ by ½, one of ¾ by
    # ¼; of a pair of one class all lie on it.
    other = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    mixed = sum((place - int(each)) % 2 for place, each in enumerate(other)) / 8
    assert 0 < mixed < 1
    assert probes.mixup_bend(trained) == pytest.approx(100 * mixed * (0.25 + 0.5 + 0.25) / 3, abs=0.1)
    assert probes.mixup_bend(trained_with(Bright(slope=0.0))) == 0
    assert probes.mixup_bend(trained_with(Bright(slope=1e-3))) < 1e-4  # as good as straight


def test_an_ensemble_is_compared_with_its_members():
    light, dark = Bright(limit=-1.0, slope=9.0), Bright(limit=2.0, slope=1.0)  # always "light", always "dark"
    right = Bright(slope=2.0)
    trained = trained_with(nn.Sequential(nn.Identity(), Ensemble([light, dark, right])))
    # Both wrong members outvote the right one where they agree with each other, which they never do.
    together = trained.accuracy(trained.logits(trained.network))
    assert probes.ensemble_minus_mean(trained) == pytest.approx(together - (50 + 50 + 100) / 3)
    assert probes.ensemble_minus_best(trained) == pytest.approx(together - 100)
    assert math.isnan(probes.ensemble_minus_mean(trained_with(Bright())))


class Two(nn.Module):
    """Both units of a hidden layer say "light" for a white image: one of them suffices."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(36, 2), nn.ReLU(), nn.Dropout(dropout))
        nn.init.constant_(self.layers[1].weight, 1 / 36)
        nn.init.zeros_(self.layers[1].bias)

    def forward(self, images):
        light = self.layers(images / 255).sum(1) - 0.5
        return torch.stack([torch.zeros_like(light), light], 1)


def test_units_are_removed_in_the_hidden_layers():
    trained = trained_with(Two())
    assert probes.units_removed(trained, share=0.0) == 0
    assert probes.units_removed(trained, share=0.5) == 0
    assert probes.units_removed(trained, share=1.0) == 50
    assert probes.units_removed(trained, share=0.0) == 0  # the network is as before
    assert math.isnan(probes.units_removed(trained_with(Bright()), share=0.5))


def test_units_are_drawn_anew_for_each_choice_and_are_the_same_for_all_images():
    relu, seen = nn.ReLU(), []
    for draw in range(20):
        with probes._without_units([relu], 0.25, draw):
            first, second = relu(torch.ones(3, 4, 2, 2)), relu(torch.ones(5, 4, 2, 2))
        kept = first[0, :, 0, 0]
        assert kept.sum() == 3
        assert torch.equal(first, kept.view(1, 4, 1, 1).expand(3, 4, 2, 2))
        assert torch.equal(second[0], first[0])
        seen.append(kept)
    assert torch.stack(seen).mean(0).min() < 1 and len({tuple(each.tolist()) for each in seen}) == 4
    assert torch.equal(relu(torch.ones(1, 4)), torch.ones(1, 4))


def test_thinned_networks_are_drawn_by_dropout_alone():
    trained = trained_with(Two(dropout=0.5), brightness(64))
    before = torch.random.get_rng_state()
    # A white image has two units of 1: enlarged by 2, one of them left gives 2 − ½ > 0, none gives −½: wrong in 1 of 4.
    single = probes.thinned_single(trained, count=100)
    assert single == pytest.approx(-12.5, abs=1)
    # The probability of "light", by the units that are left: of both 0.97, of one 0.82, of none 0.38.
    assert probes.thinned_mean(trained, count=100) == 0
    assert torch.equal(before, torch.random.get_rng_state())
    assert not any(module.training for module in trained.network.modules())
    torch.rand(1)  # whatever was drawn before
    assert single == probes.thinned_single(trained, count=100)
    assert math.isnan(probes.thinned_mean(trained_with(Two())))
    assert math.isnan(probes.thinned_single(trained_with(Bright())))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """An ensemble with dropout, and a network that overfits 100 images and is best before its last epoch."""
    from trainer.cli.main import main

    folder = tmp_path_factory.mktemp("runs")
    common = ["dataset=digits", "dataset.image_size=16", "wandb.mode=disabled", f"output_root={folder}", "-m"]
    common += ["dataset.train_size=200", "seed=0", "epochs=6"]
    assert main([*common, "sweep.name=alone", "model=mlp", "model.hidden=[32]", "lr=0.2"]) == 0
    assert main([*common, "sweep.name=together", "model=ensemble", "model.members=2", "dropout=0.5", "lr=0.01"]) == 0
    found = {name: next(folder.glob(f"sweeps/*{name}*/*/best.safetensors")).parent for name in ("alone", "together")}
    return {name: RunRecord.read(folder) for name, folder in found.items()}


def test_the_network_of_a_run_answers_as_it_did_in_its_validation(runs):
    assert runs["alone"].best_epoch < 6
    for run in runs.values():
        trained = Trained.load(run)
        accuracy = trained.accuracy(trained.logits(trained.network))
        assert accuracy == pytest.approx(100 * run.outcome.validation_accuracy, abs=0.34)
        last = trained.accuracy(trained.logits(trained.last))
        assert last == pytest.approx(measured(Named(take="accuracy_last"), run), abs=0.34)


def test_the_gap_of_the_best_epoch_is_that_of_the_same_images_at_the_last_one(runs):
    run = runs["together"]
    assert run.best_epoch == 6  # the last one
    assert measured(Named(take="gap_last"), run) == pytest.approx(measured(Named(take="gap"), run), abs=0.34)


def test_each_probe_of_a_run_is_a_number_and_the_same_every_time(runs):
    for name in [name for name, (module, _) in functions("measure").items() if module == PROBES]:
        named = Named(take=name, **OPTIONS.get(name, {}))
        values = [measured(named, runs["together"]) for _ in range(2)]
        assert math.isfinite(values[0]), name
        assert values[0] == values[1], name
        assert abs(values[0]) <= 100


def test_a_run_that_has_not_finished_has_no_trained_network(runs, tmp_path):
    (tmp_path / "config.yaml").write_text((runs["alone"].folder / "config.yaml").read_text())
    assert math.isnan(measured(Named(take="mixup_bend"), RunRecord.read(tmp_path)))
