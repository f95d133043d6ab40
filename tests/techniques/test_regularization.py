"""Penalties, limits, noise and averages that act on a step or an epoch, each against its formula."""

import numpy as np
import pytest
import torch
from conftest import tiny_images
from networks import NORMALIZATIONS, composed, network, trainer, unweighted, weighted
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, update_bn

from trainer.errors import ConfigError
from trainer.techniques import optimizer
from trainer.techniques.regularization import (
    ema,
    gradient_clipping,
    gradient_noise,
    l1,
    l2,
    label_smoothing,
    max_norm,
    r_drop,
    swa,
)


def cnn(name="none"):
    """The lecture's CNN for 16×16; in front a positive, a negative and a zero weight; all that is no weight is 2."""
    model = network(f"normalization={name}", shape=(3, 16, 16), classes=4).double()
    with torch.no_grad():
        weighted(model)[0].weight.view(-1)[:3] = torch.tensor([0.5, -0.25, 0.0])
        for parameter in unweighted(model).values():
            parameter.fill_(2.0)
    return model


def one_step(*arguments):
    """What one step of a real run does: the trainer, its report, and how far each parameter moved."""
    run = trainer("batch_size=40", "epochs=1", "lr=1", "optimizer=sgd", *arguments)
    before = {name: parameter.detach().clone() for name, parameter in run.model.named_parameters()}
    (report,) = run.train_loop()
    moved = {name: before[name] - parameter.detach() for name, parameter in run.model.named_parameters()}
    return run, report, before, moved


@pytest.mark.parametrize(
    ("penalize", "value", "gradient"),
    [
        (l1, lambda w: 0.3 * np.abs(w).sum(), lambda w: 0.3 * np.sign(w)),
        (l2, lambda w: 0.15 * (w**2).sum(), lambda w: 0.3 * w),
    ],
    ids=["l1", "l2"],
)
def test_a_penalty_and_its_gradient(penalize, value, gradient):
    model = cnn()
    penalty = penalize(model, strength=0.3).penalty(torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64))
    assert float(penalty.detach()) == pytest.approx(
        sum(value(layer.weight.detach().numpy()) for layer in weighted(model)), rel=1e-12
    )
    penalty.backward()
    for layer in weighted(model):
        np.testing.assert_allclose(layer.weight.grad, gradient(layer.weight.detach().numpy()), rtol=1e-12)
        assert layer.bias.grad is None
    by_hand = {l1: [0.3, -0.3, 0.0], l2: [0.15, -0.075, 0.0]}[penalize]
    assert weighted(model)[0].weight.grad.view(-1)[:3].tolist() == pytest.approx(by_hand)


@pytest.mark.parametrize("name", NORMALIZATIONS)
@pytest.mark.parametrize("penalize", [l1, l2])
def test_biases_and_normalization_scales_are_not_penalized(penalize, name):
    model = cnn(name)
    penalize(model, strength=0.3).penalty(torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64)).backward()
    gradients = {parameter: values.grad for parameter, values in unweighted(model).items() if values.grad is not None}
    assert {parameter: gradient.abs().max().item() for parameter, gradient in gradients.items()} == {}


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_a_penalty_adds_its_gradient_to_a_real_step(name):
    """The step with the penalty less the one without is lr·λ·sgn(W) or lr·λ·W; the loss reported is the data's."""
    _, plain, _, without = one_step()
    _, penalized, before, moved = one_step(f"regularization={name}", f"regularization.{name}.strength=0.02")
    for parameter, start in before.items():
        expected = {"l1": start.sign(), "l2": start}[name] if start.ndim > 1 else torch.zeros_like(start)
        torch.testing.assert_close(moved[parameter] - without[parameter], 0.02 * expected, rtol=0, atol=1e-6)
    assert penalized.train_loss == plain.train_loss


def test_l2_is_weight_decay_under_sgd():
    """Gradient λW in the loss, or λ in the optimizer: W ← (1 − ηλ)W − ηg both times."""
    _, _, _, by_loss = one_step("lr=0.5", "regularization=l2", "regularization.l2.strength=0.02")
    _, _, _, by_optimizer = one_step("lr=0.5", "weight_decay=0.02")
    for parameter, moved in by_loss.items():
        torch.testing.assert_close(moved, by_optimizer[parameter], rtol=0, atol=1e-6)


def clipped(limit):
    """Two parameters with gradients (3, 4) and 12: joint norm 13."""
    model = nn.Linear(2, 1).double()
    model.weight.grad, model.bias.grad = torch.tensor([[3.0, 4.0]]).double(), torch.tensor([12.0]).double()
    gradient_clipping(model, max_norm=limit).limit_gradients()
    return [*model.weight.grad[0].tolist(), *model.bias.grad.tolist()]


def test_clipping_scales_all_gradients_together():
    assert clipped(6.5) == pytest.approx([1.5, 2.0, 6.0], rel=1e-6)  # torch divides by the norm + 1e-6
    assert np.linalg.norm(clipped(1.0)) == pytest.approx(1.0, rel=1e-6)
    assert np.array(clipped(0.001)) / 0.001 == pytest.approx([3 / 13, 4 / 13, 12 / 13], rel=1e-6)


def test_clipping_leaves_small_gradients_alone():
    assert clipped(13.1) == clipped(1e6) == [3.0, 4.0, 12.0]


def test_clipping_limits_a_real_step():
    """With lr 1 the step is the gradient: its length becomes max_norm, its direction stays."""
    _, _, _, free = one_step()
    _, _, _, held = one_step("regularization=gradient_clipping", "regularization.gradient_clipping.max_norm=0.01")
    free, held = (torch.cat([part.flatten() for part in moved.values()]) for moved in (free, held))
    assert float(free.norm()) > 0.1
    assert float(held.norm()) == pytest.approx(0.01, rel=1e-3)
    assert float(F.cosine_similarity(free, held, dim=0)) == pytest.approx(1.0, abs=1e-4)


def test_max_norm_by_hand():
    """Limit 1: a row of norm 5 is scaled back, one of norm ½ is not; a filter is one unit; biases are free."""
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(2, 3))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[[[2.0, 2.0], [2.0, 2.0]]], [[[0.5, 0.5], [0.5, -0.5]]]]))
        model[2].weight.copy_(torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, -7.0]]))
        model[2].bias.fill_(9.0)
    max_norm(model, limit=1.0).after_step()
    assert model[0].weight.flatten().tolist() == pytest.approx([0.5] * 4 + [0.5, 0.5, 0.5, -0.5])
    assert model[2].weight.flatten().tolist() == pytest.approx([0.6, 0.8, 0.3, 0.4, 0.0, -1.0])
    assert model[2].bias.tolist() == [9.0, 9.0, 9.0]


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_max_norm_leaves_biases_and_normalization_scales_alone(name):
    model = cnn(name)
    before = {parameter: values.detach().clone() for parameter, values in unweighted(model).items()}
    max_norm(model, limit=0.1).after_step()
    for parameter, values in unweighted(model).items():
        torch.testing.assert_close(values.detach(), before[parameter], rtol=0, atol=0, msg=parameter)
    assert all(layer.weight.detach().flatten(1).norm(dim=1).max() <= 0.1 + 1e-12 for layer in weighted(model))


def test_max_norm_holds_after_real_steps():
    run, *_ = one_step("regularization=max_norm", "regularization.max_norm.limit=0.2")
    norms = torch.cat([layer.weight.detach().flatten(1).norm(dim=1) for layer in weighted(run.model)])
    assert float(norms.max()) == pytest.approx(0.2, rel=1e-5)
    assert float(norms.min()) < 0.2


def test_ema_is_the_recursion():
    """average ← 0.8·average + 0.2·W, from the weights after the first step on; running statistics likewise."""
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
    seam, draw, average = ema(model, decay=0.8), torch.Generator().manual_seed(1), None
    for step in range(12):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=draw))
        model(torch.randn(5, 3, generator=draw).double())
        statistics = [model[1].running_mean, model[1].running_var]
        weights = [tensor.detach().numpy().copy() for tensor in (*model.parameters(), *statistics)]
        seam.after_step()
        average = weights if step == 0 else [0.8 * a + 0.2 * w for a, w in zip(average, weights, strict=True)]
        norm = seam.evaluated[1]
        kept = (*seam.evaluated.parameters(), norm.running_mean, norm.running_var)
        for tensor, expected in zip(kept, average, strict=True):
            np.testing.assert_allclose(tensor.detach(), expected, rtol=1e-12)
        for trained, expected in zip((*model.parameters(), *statistics), weights, strict=True):
            np.testing.assert_array_equal(trained.detach(), expected)
    assert int(seam.evaluated[1].num_batches_tracked) == 12


def test_the_statistics_of_an_average_belong_to_its_weights():
    """Running means are linear in the weights before them: those of the averaged weights are the averaged means."""
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, momentum=0.999999)).double()
    seam, draw = ema(model, decay=0.8), torch.Generator().manual_seed(1)
    images = torch.randn(50, 3, generator=draw).double()
    for _ in range(9):
        with torch.no_grad():
            model[0].weight.copy_(torch.randn(2, 3, generator=draw))
        model.train()(images)
        seam.after_step()
    of_average = seam.evaluated[0](images).mean(0)
    torch.testing.assert_close(seam.evaluated[1].running_mean, of_average, rtol=0, atol=1e-5)
    assert (model[1].running_mean - of_average).abs().max() > 0.01


def test_ema_goes_on_from_its_state():
    """Without the count of updates a loaded average would start again as a copy."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    first, second = ema(model, decay=0.75), ema(model, decay=0.75)
    first.after_step()
    second.state["ema"].load_state_dict(first.state["ema"].state_dict())
    nn.init.ones_(model.weight)
    second.after_step()
    assert second.evaluated.weight.item() == pytest.approx(0.25)


def test_ema_is_what_a_run_evaluates():
    """Two steps: the loss reported is the average's, computed here by hand, not the trained network's."""
    run, report, *_ = one_step("regularization=ema", "batch_size=20", "lr=0.1")
    images, kept, trained = tiny_images(8), run.hooks.evaluated.eval(), run.model.eval()
    with torch.no_grad():
        of_average, of_trained = (F.cross_entropy(m(images.pixels), images.labels).item() for m in (kept, trained))
    assert report.validation_loss == pytest.approx(of_average, rel=1e-6)
    assert abs(of_average - of_trained) > 1e-3


# Note 003's table of exponential smoothing: t from 0 to 11, loss l_t, then g_{t+1} for α = 0.2, 0.5, 0.8.
NOTE_003 = [
    (150, 120.0, 75.0, 30.0),
    (210, 192.0, 142.5, 66.0),
    (320, 294.4, 231.3, 116.8),
    (175, 198.9, 203.1, 128.4),
    (140, 151.8, 171.6, 130.8),
    (250, 230.4, 210.8, 154.6),
    (230, 230.1, 220.4, 169.7),
    (130, 150.0, 175.2, 161.7),
    (300, 270.0, 237.6, 189.4),
    (280, 278.0, 258.8, 207.5),
    (350, 335.6, 304.4, 236.0),
    (230, 251.1, 267.2, 234.8),
]


@pytest.mark.parametrize(("column", "alpha"), [(1, 0.2), (2, 0.5), (3, 0.8)])
def test_the_table_of_note_003_is_rmsprops_memory(column, alpha):
    """g_{t+1} = α·g_t + (1 − α)·l_t, g_0 = 0: what RMSprop does to the squared gradient, so gradients are √l_t here."""
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    rmsprop = optimizer.rmsprop([{"params": [weight], "weight_decay": 0.0}], 0.1, 0.0, alpha=alpha)
    for row in NOTE_003:
        weight.grad = torch.tensor([row[0]], dtype=torch.float64).sqrt()
        rmsprop.step()
        assert rmsprop.state[weight]["square_avg"].item() == pytest.approx(row[column], abs=0.05 + 1e-9)  # as printed


HARD = torch.tensor([0, 3, 1, 3, 2])
MIXED = torch.tensor(
    [[0.7, 0.0, 0.3, 0.0], [0.0, 1.0, 0.0, 0.0], [0.25] * 4, [0.1, 0.2, 0.3, 0.4], [0.0, 0.5, 0.5, 0.0]],
    dtype=torch.float64,
)


@pytest.mark.parametrize("labels", [HARD, MIXED], ids=["hard", "mixed"])
@pytest.mark.parametrize("smoothing", [0.1, 0.6])
def test_label_smoothing_is_cross_entropy_to_smoothed_labels(smoothing, labels):
    """The data's loss plus the penalty, beside torch's label_smoothing and beside NumPy; and its gradient."""
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    penalty = label_smoothing(nn.Identity(), smoothing=smoothing).penalty
    loss = F.cross_entropy(logits, labels) + penalty(logits, labels)
    assert loss.item() == pytest.approx(F.cross_entropy(logits, labels, label_smoothing=smoothing).item(), rel=1e-12)

    values, wanted = logits.detach().numpy(), (np.eye(4)[HARD] if labels.ndim == 1 else labels.numpy())
    wanted = (1 - smoothing) * wanted + smoothing / 4
    softmax = np.exp(values) / np.exp(values).sum(1, keepdims=True)
    assert loss.item() == pytest.approx(-(wanted * np.log(softmax)).sum() / 5, rel=1e-12)
    loss.backward()
    np.testing.assert_allclose(logits.grad, (softmax - wanted) / 5, atol=1e-12)


def test_label_smoothing_does_not_change_the_loss_that_is_reported():
    _, plain, _, without = one_step()
    _, smoothed, _, moved = one_step("regularization=label_smoothing")
    assert smoothed.train_loss == plain.train_loss
    assert any(not torch.equal(moved[name], without[name]) for name in moved)


@pytest.mark.parametrize(("start", "every", "counted"), [(0.5, 1, [4, 5, 6]), (0.0, 2, [1, 3, 5]), (0.75, 5, [5])])
def test_swa_is_the_mean_of_the_last_epochs(start, every, counted):
    """Beside torch's AveragedModel; before the first one that counts it is the network itself."""
    model, draw = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double(), torch.Generator().manual_seed(1)
    seam, reference = swa(model, start=start, every=every), AveragedModel(model)
    for epoch in range(1, 7):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=draw))
        unseen = seam.after_epoch(epoch, 6)
        if epoch in counted:
            reference.update_parameters(model)
        assert unseen == (epoch >= counted[0])
        expected = reference.module if unseen else model
        for ours, theirs in zip(seam.evaluated.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert seam.state["swa"].count == len(counted)


def test_swa_is_evaluated_with_statistics_of_its_own():
    """Three epochs of a run, the last two averaged: mean and variance are torch's update_bn's on the same batches."""
    run = trainer("normalization=batch", "regularization=swa", "regularization.swa.start=0.34", "batch_size=20",
                  "epochs=3", "lr=0.05", "optimizer=sgd")  # fmt: skip
    ends, kept, report = [], run.evaluated, None
    for latest in run.train_loop():
        ends.append({name: value.clone() for name, value in run.model.named_parameters()})
        report = latest
    for name, value in kept.named_parameters():
        torch.testing.assert_close(value, (ends[1][name] + ends[2][name]) / 2)
    expected = AveragedModel(kept).module
    update_bn([run.train.at(positions)[0] for positions in run.train.positions(run.seed, 3)], expected)
    measured, wanted = ({name: value for name, value in each.named_buffers() if "running" in name}
                        for each in (kept, expected))  # fmt: skip
    assert len(wanted) == 6
    for name, value in wanted.items():
        torch.testing.assert_close(measured[name], value)
        assert not torch.equal(value, dict(run.model.named_buffers())[name])
    images = tiny_images(8)
    with torch.no_grad():
        loss = F.cross_entropy(kept.eval()(images.pixels), images.labels).item()
    assert report.validation_loss == pytest.approx(loss, rel=1e-6)


def test_gradient_noise_is_annealed_and_goes_on_from_its_state():
    """Its variance in step t is eta / (1 + t)^gamma, over 20 000 gradients within four standard errors."""
    model, plain = nn.Linear(200, 100), nn.Linear(2, 1)
    seam = gradient_noise(model, eta=0.3, gamma=0.55)
    torch.manual_seed(0)
    for step in range(40):
        model.weight.grad = torch.ones_like(model.weight)
        seam.limit_gradients()
        assert model.bias.grad is None
        if step in (0, 1, 39):
            noise, expected = model.weight.grad - 1, 0.3 / (1 + step) ** 0.55
            assert abs(noise.mean().item()) < 4 * (expected / 20_000) ** 0.5
            assert noise.var().item() == pytest.approx(expected, rel=4 * (2 / 20_000) ** 0.5)
        seam.after_step()
    again = gradient_noise(plain)
    again.state["gradient_noise"].load_state_dict(seam.state["gradient_noise"].state_dict())
    assert int(again.state["gradient_noise"].steps) == 40


@pytest.mark.parametrize("labels", [HARD, MIXED], ids=["hard", "mixed"])
def test_r_drop_is_the_loss_of_the_paper(labels):
    """Data loss and penalty: −ln p − ln q of the labels + α·(KL(p‖q) + KL(q‖p)) / 2, means over the images; NumPy."""
    model = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5)).double()
    images = torch.randn(5, 6, generator=torch.Generator().manual_seed(3)).double()
    seam = r_drop(model, strength=0.7)
    torch.manual_seed(0)
    first = model(images)
    assert seam.augment(images, labels, torch.Generator()) == (images, labels)
    state = torch.get_rng_state()
    loss = F.cross_entropy(first, labels) + seam.penalty(first, labels)
    torch.set_rng_state(state)
    p, q = (np.exp(each) / np.exp(each).sum(1, keepdims=True)
            for each in (first.detach().numpy(), model(images).detach().numpy()))  # fmt: skip
    wanted = np.eye(4)[HARD] if labels.ndim == 1 else labels.numpy()
    divergence = (p * np.log(p / q) + q * np.log(q / p)).sum(1) / 2
    assert loss.item() == pytest.approx((-(wanted * np.log(p * q)).sum(1) + 0.7 * divergence).mean(), rel=1e-6)
    assert np.abs(p - q).max() > 0.01


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_second_pass_of_r_drop_has_the_precision_of_the_first(precision):
    """Without noise it is the first pass again, so that the sum of both losses is twice one of them."""
    run = trainer("regularization=r_drop", "dropout=1e-12", f"precision={precision}")
    images, labels = run.train.at(torch.arange(8))
    run.hooks.augment(images, labels, run.generator)
    _, data_loss, loss = run.differentiate(images, labels)
    assert loss.item() == 2 * data_loss.item()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["regularization=r_drop"], "compares two passes, which are equal with dropout=0: set dropout=0.3"),
        (["regularization=[ema,swa]"], r"regularization=\[ema,swa\]: one average is evaluated, choose one of the two"),
        (["regularization=r_drop", "dropout=0.5", "model=ensemble"], "apart: leave out regularization=r_drop"),
        (["regularization=weight_standardization"], "needs features that are normalized after the convolution"),
    ],
)
def test_what_a_regularization_does_not_go_with_is_refused(arguments, sentence):
    with pytest.raises(ConfigError, match=sentence):
        composed(*arguments)
