"""Each schedule as a list of learning rates: of a real run of 30 epochs, step by step, and beside torch's own."""

import math
from functools import partial

import networks
import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from trainer.config.schema import techniques
from trainer.errors import ConfigError
from trainer.techniques import optimizer as techniques_of
from trainer.techniques import scheduler
from trainer.training.lr_schedule import Schedule, warm_up

LR, EPOCHS = 0.6, 30


def cumulated(factor):
    rates = [LR]
    while len(rates) < EPOCHS:
        rates.append(rates[-1] * factor)
    return rates


# name → options, the rates of 30 epochs, torch's scheduler of the same rule stepped once an epoch
LISTED = {
    "constant": ({}, [0.6] * 30, partial(lr_scheduler.ConstantLR, factor=1.0)),
    "step": (
        {"step_size": 10, "gamma": 0.1},
        [0.6] * 10 + [0.06] * 10 + [0.006] * 10,
        partial(lr_scheduler.StepLR, step_size=10, gamma=0.1),
    ),
    "exponential": ({"gamma": 0.9}, cumulated(0.9), partial(lr_scheduler.ExponentialLR, gamma=0.9)),
    "cosine": (
        {"min_lr": 0.1},
        [0.1 + 0.5 * math.cos(math.pi * epoch / 60) ** 2 for epoch in range(30)],  # (1 + cos 2x)/2 = cos² x
        partial(lr_scheduler.CosineAnnealingLR, T_max=30, eta_min=0.1),
    ),
    "linear": (
        {"min_lr": 0.0},
        [0.02 * left for left in range(30, 0, -1)],  # 0.60, 0.58, … 0.02
        partial(lr_scheduler.LinearLR, start_factor=1.0, end_factor=0.0, total_iters=30),
    ),
    "inverse_sqrt": (
        {},
        [math.sqrt(0.36 / epoch) for epoch in range(1, 31)],
        partial(lr_scheduler.LambdaLR, lr_lambda=lambda epoch: (epoch + 1) ** -0.5),
    ),
    "factors": (
        {"factors": [1.0, 2.0, 0.5]},
        [0.6, 1.2] + [0.3] * 28,
        partial(lr_scheduler.LambdaLR, lr_lambda=lambda epoch: (1.0, 2.0, 0.5)[min(epoch, 2)]),
    ),
    "cyclic": (
        {"min_lr": 0.1, "period": 10.0},
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.5, 0.4, 0.3, 0.2] * 3,
        partial(lr_scheduler.CyclicLR, base_lr=0.1, max_lr=0.6, step_size_up=5, cycle_momentum=False),
    ),
    "triangular": (
        {"min_lr": 0.1, "peak": 0.2},
        [0.1 + 0.5 * epoch / 6 for epoch in range(6)] + [0.1 + 0.5 * left / 24 for left in range(24, 0, -1)],
        # torch counts to the last step, 30, and takes the share of the rise of all 31.
        partial(
            lr_scheduler.OneCycleLR,
            max_lr=0.6,
            total_steps=31,
            pct_start=7 / 31,
            anneal_strategy="linear",
            cycle_momentum=False,
            div_factor=6,
            final_div_factor=1,
        ),
    ),
    "polynomial": (
        {"power": 0.5},
        [0.6 * math.sqrt(left / 30) for left in range(30, 0, -1)],
        partial(lr_scheduler.PolynomialLR, total_iters=30, power=0.5),
    ),
    "cosine_restarts": (
        {"min_lr": 0.1, "period": 10.0, "growth": 2},
        [0.1 + 0.5 * math.cos(math.pi * done / 2) ** 2 for done in [*np.arange(10) / 10, *np.arange(20) / 20]],
        partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=10, T_mult=2, eta_min=0.1),
    ),
    "wsd": (
        {"decay": 0.2, "min_lr": 0.0},
        [0.6] * 24 + [0.1 * left for left in range(6, 0, -1)],
        lambda optimizer: lr_scheduler.SequentialLR(
            optimizer,
            [
                lr_scheduler.ConstantLR(optimizer, factor=1.0),
                lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=6),
            ],
            milestones=[24],
        ),
    ),
    "one_cycle": (
        {"peak": 0.2, "div_factor": 6.0, "final_div_factor": 10.0, "cycle_momentum": False},
        [0.1 + 0.5 * math.sin(math.pi * up / 12) ** 2 for up in range(6)]
        + [0.01 + 0.59 * math.cos(math.pi * down / 48) ** 2 for down in range(24)],
        # As for triangular: torch's last step is ours at the end of the run.
        partial(
            lr_scheduler.OneCycleLR,
            max_lr=0.6,
            total_steps=31,
            pct_start=7 / 31,
            cycle_momentum=False,
            div_factor=6,
            final_div_factor=10,
        ),
    ),
}
MOVING = {"cosine_restarts", "cyclic", "one_cycle", "triangular", "wsd"}  # in every step
# A validation loss for each epoch and the rate that holds after it: factor 0.5, patience 2, min_delta 10 % of the best.
PLATEAU = [
    *[(1.0, 0.6), (0.95, 0.6), (0.91, 0.6), (0.92, 0.3), (0.91, 0.3)],  # anything below 0.9 would be an improvement
    *[(0.80, 0.3), (0.8, 0.3), (math.nan, 0.3), (0.73, 0.15)],  # below 0.72 would be one; a NaN is none
    *[(0.71, 0.15), (1.0, 0.15), (0.65, 0.15), (0.7, 0.08)],  # never below the minimum of 0.08
    *[(0.7, 0.08), (0.7, 0.08), (0.7, 0.08), (0.5, 0.08)],
]
PLATEAU_OPTIONS = {"factor": 0.5, "patience": 2, "min_delta": 0.1, "min_lr": 0.08}


def sgd():
    return torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}], lr=99.0)


def schedule(name, options, steps_per_epoch=4, epochs=EPOCHS, optimizer=None, **warm):
    build = partial(getattr(scheduler, name), **options)
    rule, warmup_steps = warm_up(build, LR, epochs, steps_per_epoch, **warm)
    return Schedule(optimizer or sgd(), rule, steps_per_epoch, warmup_steps)


def rates(name, options, steps, **settings):
    """The rate that the optimizer's every parameter group has in each step."""
    moving = schedule(name, options, **settings)
    listed = []
    for _ in range(steps):
        (rate,) = {group["lr"] for group in moving.optimizer.param_groups}
        listed.append(rate)
        moving.step()
    return listed


def trainer(*arguments):
    """Two steps an epoch on tiny images."""
    small = ("model=mlp", "model.hidden=[2]", "batch_size=20", "early_stop_patience=null")
    return networks.trainer(*small, f"lr={LR}", *arguments, shape=(1, 4, 4))


def test_there_is_a_list_for_every_schedule():
    assert {*LISTED, "plateau"} == set(techniques("scheduler"))


@pytest.mark.parametrize("name", LISTED)
def test_the_rates_of_a_run_of_30_epochs(name):
    options, expected, _ = LISTED[name]
    arguments = [f"scheduler.{key}={value}" for key, value in options.items()]
    run = trainer(f"scheduler={name}", "epochs=30", *arguments)
    assert [report.lr for report in run.train_loop()] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", LISTED)
def test_torch_has_the_same_rule(name):
    _, expected, build = LISTED[name]
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR)
    theirs, listed = build(optimizer), []
    for _ in range(EPOCHS):
        listed.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert listed == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", sorted(set(LISTED) - MOVING))
def test_within_an_epoch_the_rate_stands_still(name):
    options, expected, _ = LISTED[name]
    listed = rates(name, options, steps=120)
    assert listed == pytest.approx([rate for rate in expected for _ in range(4)], rel=1e-12)


def test_a_cycle_moves_with_every_step():
    """Period 2 epochs of 4 steps: up in four, down in four; beside torch's CyclicLR stepped every batch."""
    listed = rates("cyclic", {"min_lr": 0.2, "period": 2.0}, steps=24)
    assert listed == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6, 0.5, 0.4, 0.3] * 3, rel=1e-12)
    optimizer = sgd()
    theirs = lr_scheduler.CyclicLR(optimizer, 0.2, 0.6, step_size_up=4, cycle_momentum=False)
    for rate in listed:
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        theirs.step()


def test_a_triangle_moves_with_every_step_and_fills_the_run():
    """Two epochs of 5 steps, up in the first two: beside the interpolation that its source calls PiecewiseLinear."""
    listed = rates("triangular", {}, steps=10, steps_per_epoch=5, epochs=2)
    assert listed == pytest.approx([0.0, 0.3, *(0.6 * left / 8 for left in range(8, 0, -1))])
    late = rates("triangular", {"peak": 0.7, "min_lr": 0.2}, steps=120)
    assert late == pytest.approx(np.interp(np.arange(120) / 4, [0, 21, 30], [0.2, 0.6, 0.2]).tolist())


def test_a_triangle_of_a_run_with_more_epochs_than_planned_ends_at_its_minimum():
    rule = scheduler.triangular(0.6, 30.0, min_lr=0.1)
    assert [rule(30.0), rule(31.5), rule(99.0)] == pytest.approx([0.1] * 3)


def test_a_cosine_of_100_epochs_is_torchs_in_a_run_of_any_length():
    """Note 000's CosineAnnealingLR(T_max=100); torch's rate rises again after a shorter T_max, and ours."""
    for length in (100, 12):
        optimizer, listed = torch.optim.SGD([torch.zeros(1)], lr=LR), []
        theirs = lr_scheduler.CosineAnnealingLR(optimizer, T_max=length, eta_min=0.1)
        for _ in range(EPOCHS):
            listed.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            theirs.step()
        ours = rates("cosine", {"t_max": length, "min_lr": 0.1}, steps=EPOCHS, steps_per_epoch=1)
        assert ours == pytest.approx(listed, rel=1e-9)


@pytest.mark.parametrize("growth", [1, 3])
def test_restarts_within_an_epoch_are_torchs(growth):
    listed = rates("cosine_restarts", {"period": 1.5, "growth": growth}, steps=40)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR)
    theirs = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=6, T_mult=growth)  # in steps, of four an epoch
    for rate in listed:
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize(("optimizer", "setting"), [("momentum", "momentum"), ("adamw", "betas")])
def test_one_cycle_has_torchs_rates_and_momenta(optimizer, setting):
    """With torch's defaults on both sides: 120 steps, up in 36 of them; torch counts to the step after the last."""

    def made():
        return getattr(techniques_of, optimizer)([{"params": [torch.nn.Parameter(torch.zeros(1))]}], LR, 0.0)

    moving, other = schedule("one_cycle", {}, optimizer=made()), made()
    theirs = lr_scheduler.OneCycleLR(other, max_lr=LR, total_steps=121, pct_start=37 / 121)
    momenta = []
    for _ in range(120):
        ours, torchs = moving.optimizer.param_groups[0], other.param_groups[0]
        assert ours["lr"] == pytest.approx(torchs["lr"], rel=1e-9)
        assert ours[setting] == pytest.approx(torchs[setting], rel=1e-9)
        momenta.append(ours[setting][0] if setting == "betas" else ours[setting])
        other.step()
        theirs.step()
        moving.step()
    assert (momenta[0], momenta[36]) == pytest.approx((0.95, 0.85)) and momenta[-1] > 0.9499
    assert moving.lr == pytest.approx(LR / 25 / 1e4) and moving.momentum == pytest.approx(0.95)


def test_the_fall_at_the_end_is_a_line_or_a_root():
    """Ten epochs, the last four of which fall, to a tenth of the rate."""
    falling = {
        shape: rates("wsd", {"decay": 0.4, "shape": shape, "min_lr": 0.06}, steps=20, steps_per_epoch=2, epochs=10)
        for shape in ("linear", "sqrt")
    }
    done = np.arange(8) / 8
    assert falling["linear"] == pytest.approx([0.6] * 12 + [0.06 + 0.54 * (1 - each) for each in done])
    assert falling["sqrt"] == pytest.approx([0.6] * 12 + [0.06 + 0.54 * (1 - each**0.5) for each in done])


@pytest.mark.parametrize(
    ("name", "end"), [("polynomial", 0.1), ("wsd", 0.1), ("one_cycle", 0.6 / 25e4)], ids=("polynomial", "wsd", "cycle")
)
def test_a_run_with_more_epochs_than_planned_stays_at_the_end(name, end):
    rule = getattr(scheduler, name)(0.6, 30.0, **({} if name == "one_cycle" else {"min_lr": 0.1}))
    assert [rule(30.0), rule(31.5), rule(99.0)] == pytest.approx([end] * 3)


def test_the_lectures_other_steps():
    """Note 002: halve every 5 epochs; note 000: γ 0.1 every 30, so a run of 30 epochs never sees it."""
    halved = rates("step", {"step_size": 5, "gamma": 0.5}, steps=16, steps_per_epoch=1)
    assert halved == pytest.approx([0.6] * 5 + [0.3] * 5 + [0.15] * 5 + [0.075])
    assert rates("step", {}, steps=31, steps_per_epoch=1) == pytest.approx([0.6] * 30 + [0.06])


@pytest.mark.parametrize("warm", [{"warmup_steps": 6}, {"warmup_epochs": 1.5}], ids=str)
@pytest.mark.parametrize("name", sorted(set(LISTED) - MOVING - {"cosine", "linear", "polynomial"}))
def test_warm_up_rises_in_a_line_and_the_rule_starts_from_its_own_beginning(name, warm):
    """Six steps of four an epoch: 0.1 … 0.6, then the rule's first rate for a whole epoch, then its second."""
    options, expected, _ = LISTED[name]
    rule = [rate for rate in expected[:3] for _ in range(4)]
    listed = rates(name, options, steps=18, **warm)
    assert listed == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, *rule], rel=1e-12)


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("cosine", lambda epoch: 0.6 * math.cos(math.pi * epoch / 57) ** 2),
        ("linear", lambda epoch: 0.6 - 0.6 * epoch / 28.5),
        ("polynomial", lambda epoch: 0.6 * (1 - epoch / 28.5) ** 0.9),
    ],
)
def test_after_a_warm_up_the_rule_fills_the_epochs_that_remain(name, after):
    """30 epochs less 1.5; the last of the 120 steps is in the rule's 29th epoch, number 28."""
    listed = rates(name, {}, steps=120, warmup_steps=6)
    assert listed[:6] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert listed[6:] == pytest.approx([after(step // 4) for step in range(114)], rel=1e-12)
    assert 0 < listed[-1] < 0.04


def test_warm_up_is_torchs_linear_rise():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR)
    theirs = lr_scheduler.LinearLR(optimizer, start_factor=1 / 6, end_factor=1.0, total_iters=5)
    for rate in rates("constant", {}, steps=9, warmup_steps=6):
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        theirs.step()


def test_warm_up_before_a_cycle_climbs_to_where_the_cycle_starts():
    """A cycle starts at its minimum; at the default minimum of 0 no step of the warm-up would train."""
    listed = rates("cyclic", {"period": 2.0, "min_lr": 0.2}, steps=10, warmup_steps=4)
    assert listed == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.2, 0.3, 0.4, 0.5, 0.6, 0.5])
    with pytest.raises(ConfigError, match=r"this schedule starts at 0, so a warm-up has no rate to rise to"):
        rates("cyclic", {"period": 2.0}, steps=14, warmup_steps=6)


def test_a_triangle_after_a_warm_up_fills_the_epochs_that_remain():
    """Ten epochs of 4 steps less 6 steps: 34, up in 6.8 of them."""
    listed = rates("triangular", {"min_lr": 0.2}, steps=40, epochs=10, warmup_steps=6)
    assert listed[:6] == pytest.approx([0.2 * step / 6 for step in range(1, 7)])
    assert listed[6:] == pytest.approx(np.interp(np.arange(34), [0, 6.8, 34], [0.2, 0.6, 0.2]).tolist())


def test_a_warm_up_in_a_real_run():
    """Three epochs of two steps; an epoch is reported with the rate of its first step."""
    run = trainer(
        "epochs=6", "scheduler=step", "scheduler.step_size=2", "scheduler.gamma=0.5", "scheduler.warmup_epochs=3"
    )
    assert [report.lr for report in run.train_loop()] == pytest.approx([0.1, 0.3, 0.5, 0.6, 0.6, 0.3])


def test_a_warm_up_is_given_once_and_leaves_something():
    with pytest.raises(ConfigError, match=r"warmup_epochs and scheduler\.warmup_steps: give one of them"):
        schedule("constant", {}, warmup_epochs=1.0, warmup_steps=1)
    with pytest.raises(ConfigError, match=r"a warm-up of 120 steps leaves nothing of the run's 120"):
        schedule("constant", {}, warmup_steps=120)
    assert schedule("constant", {}, warmup_steps=119).lr == pytest.approx(LR / 119)


def with_layer_stats(moving, losses):
    listed = []
    for loss in losses:
        for _ in range(moving.steps_per_epoch):
            moving.step()
        moving.observe(loss)
        listed.append(moving.optimizer.param_groups[1]["lr"])
    return listed


def test_plateau_by_hand_and_beside_torch():
    losses, expected = zip(*PLATEAU, strict=True)
    assert with_layer_stats(schedule("plateau", PLATEAU_OPTIONS), losses) == pytest.approx(list(expected))
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR)
    theirs = lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="min", factor=0.5, patience=2, threshold=0.1, threshold_mode="rel", min_lr=0.08
    )
    for loss, rate in PLATEAU:
        theirs.step(loss)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(rate)


def test_plateau_in_a_real_run_follows_the_validation_loss(monkeypatch):
    """The rate that an epoch is trained with is the one after the validation before it."""
    losses, expected = zip(*PLATEAU, strict=True)
    arguments = [f"scheduler.{key}={value}" for key, value in PLATEAU_OPTIONS.items()]
    run, validations = trainer("scheduler=plateau", f"epochs={len(losses)}", *arguments), iter(losses)
    monkeypatch.setattr(run, "do_validation", lambda: (next(validations), 0.5))
    assert [report.lr for report in run.train_loop()] == pytest.approx([0.6, *expected[:-1]])


def test_plateau_does_not_look_during_the_warm_up():
    """Patience 0: the losses of the first two epochs would have halved the rate; the third loss sets the best."""
    moving = schedule("plateau", {"patience": 0}, warmup_steps=12)
    assert with_layer_stats(moving, [1.0, 2.0]) == pytest.approx([0.6 * 5 / 12, 0.6 * 9 / 12])
    assert with_layer_stats(moving, [3.0, 3.1, 2.9, 2.95]) == pytest.approx([0.6, 0.3, 0.3, 0.15])


def test_plateau_never_raises_the_rate():
    """torch leaves a rate that is already under the minimum alone."""
    assert with_layer_stats(schedule("plateau", {"patience": 0, "min_lr": 0.9}), [1.0, 1.0]) == pytest.approx(
        [0.6, 0.6]
    )


@pytest.mark.parametrize("cut", range(1, len(PLATEAU)))
def test_a_plateau_that_is_saved_and_loaded_goes_on(cut):
    losses, expected = zip(*PLATEAU, strict=True)
    first, second = schedule("plateau", PLATEAU_OPTIONS), schedule("plateau", PLATEAU_OPTIONS)
    with_layer_stats(first, losses[:cut])
    second.load_state_dict(first.state_dict())
    assert second.optimizer.param_groups[0]["lr"] == pytest.approx(expected[cut - 1])
    assert with_layer_stats(second, losses[cut:]) == pytest.approx(list(expected[cut:]))


@pytest.mark.parametrize("name", LISTED)
def test_a_schedule_that_is_saved_and_loaded_goes_on(name):
    """Cut in the warm-up and after it."""
    whole = rates(name, LISTED[name][0], steps=30, warmup_steps=6)
    for cut in (3, 17):
        first, second = (schedule(name, LISTED[name][0], warmup_steps=6) for _ in range(2))
        for _ in range(cut):
            first.step()
        second.load_state_dict(first.state_dict())
        for rate in whole[cut:]:
            assert second.optimizer.param_groups[0]["lr"] == rate
            second.step()
