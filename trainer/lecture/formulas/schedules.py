"""The learning-rate schedules of the notes: the rate of an epoch, counted from 0. `lr`: the rate at the start, η₀."""

import numpy as np
import torch

from trainer.lecture.formulas.compare import difference, over_epochs
from trainer.lecture.formulas.rule import Form, Rule


def step(lr, epoch, step_size=30, gamma=0.1):
    return lr * gamma ** (epoch // step_size)


def step_torch(optimizer, step_size=30, gamma=0.1):
    return torch.optim.lr_scheduler.StepLR(
        optimizer,
        step_size=step_size,
        gamma=gamma,
    )


def exponential(lr, epoch, gamma=0.95):
    return lr * gamma**epoch


def exponential_torch(optimizer, gamma=0.95):
    return torch.optim.lr_scheduler.ExponentialLR(
        optimizer,
        gamma=gamma,
    )


def cosine(lr, epoch, T_max=100, min_lr=0.0):
    wave = (1 + np.cos(np.pi * epoch / T_max)) / 2
    return min_lr + (lr - min_lr) * wave


def cosine_torch(optimizer, T_max=100, min_lr=0.0):
    return torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer,
        T_max=T_max,
        eta_min=min_lr,
    )


def linear(lr, epoch, epochs=100):
    return lr * (1 - epoch / epochs)


def linear_torch(optimizer, epochs=100):
    return torch.optim.lr_scheduler.LinearLR(
        optimizer,
        start_factor=1.0,
        end_factor=0.0,
        total_iters=epochs,
    )


def inverse_sqrt(lr, epoch):
    return lr / np.sqrt(epoch + 1)


def inverse_sqrt_torch(optimizer):
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda epoch: 1 / (epoch + 1) ** 0.5,
    )


def cyclic(max_lr, step, min_lr=0.0, period=20):
    phase = step % period / period  # from 0 to 1
    height = 1 - abs(2 * phase - 1)  # from 0 to 1 and back
    return min_lr + (max_lr - min_lr) * height


def cyclic_torch(optimizer, max_lr, min_lr=0.0, period=20):
    return torch.optim.lr_scheduler.CyclicLR(
        optimizer,
        base_lr=min_lr,
        max_lr=max_lr,
        step_size_up=period // 2,
        cycle_momentum=False,
    )


def plateau(losses, lr, patience=10, factor=0.5):
    best, waited, rates = np.inf, 0, []
    for loss in losses:  # validation, after each epoch
        if loss < best * (1 - 1e-4):
            best, waited = loss, 0
        else:
            waited += 1
        if waited > patience:
            lr, waited = lr * factor, 0
        rates.append(lr)
    return rates


def plateau_torch(optimizer, patience=10, factor=0.5):
    return torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode="min",
        patience=patience,
        factor=factor,
    )


def warmup(lr, step, warmup_steps=10):
    return lr * min(1, (step + 1) / warmup_steps)


def warmup_torch(optimizer, warmup_steps=10):
    return torch.optim.lr_scheduler.LinearLR(
        optimizer,
        start_factor=1 / warmup_steps,
        total_iters=warmup_steps - 1,
    )


def _with_both_ends(numpy: Form, pytorch: Form, rng: np.random.Generator) -> float:
    """Compare a schedule whose PyTorch form is told the highest rate, not the optimizer."""
    highest = rng.uniform(0.01, 1.0)
    at = lambda _, step: numpy(highest, step)  # noqa: E731
    return over_epochs()(at, lambda optimizer: pytorch(optimizer, highest), rng)


def _with_losses(numpy: Form, pytorch: Form, rng: np.random.Generator) -> float:
    """Compare the rate after each of 200 random validation losses, which fall at first and then stay."""
    lr = rng.uniform(0.01, 1.0)
    losses = [float(loss) for loss in np.exp(-np.arange(200) / 20) + rng.uniform(0.5, 0.7, 200)]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler, rates = pytorch(optimizer), []
    for loss in losses:
        scheduler.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    return difference(numpy(losses, lr), rates)


EPOCHS = "100 epochs from a random rate"
RULES = {
    "step": Rule(
        "Step decay",
        "η = η₀·γ^⌊epoch / N⌋",
        "Note 000:62 has N = 30, γ = 0.1; note 002:93 half every 5 epochs, or a tenth every 20.",
        step,
        step_torch,
        over_epochs(),
        EPOCHS,
    ),
    "exponential": Rule(
        "Exponential decay",
        "η = η₀·γ^epoch",
        "",
        exponential,
        exponential_torch,
        over_epochs(),
        EPOCHS,
    ),
    "cosine": Rule(
        "Cosine annealing",
        "η = η_min + (η₀ − η_min)·(1 + cos(π·epoch / T_max)) / 2",
        "Half a cosine wave: slow at both ends, fastest in the middle. T_max is 100 in note 000:64; in a run of "
        "another length it should be the length of the run.",
        cosine,
        cosine_torch,
        over_epochs(),
        EPOCHS,
    ),
    "linear": Rule(
        "Linear decay",
        "η = η₀·(1 − epoch / epochs)",
        "",
        linear,
        linear_torch,
        over_epochs(),
        EPOCHS,
    ),
    "inverse_sqrt": Rule(
        "Decay with the inverse root of the time",
        "η = η₀ / √(epoch + 1)",
        "Note 002:99 calls it inverse sqrt decay; note 004:459 calls the same formula 1/t decay, though η₀ / (t + "
        "1) is what usually has that name.",
        inverse_sqrt,
        inverse_sqrt_torch,
        over_epochs(),
        EPOCHS,
    ),
    "cyclic": Rule(
        "Cyclical learning rate",
        "η = η_min + (η_max − η_min)·(1 − |2·p − 1|)\np = (step mod period) / period",
        "A triangle between two bounds, with a new rate in every step; p is the share of the cycle that is over. "
        "Note 002:109 asks for reasonable bounds and gives no formula.",
        cyclic,
        cyclic_torch,
        _with_both_ends,
        "100 steps up to a random rate",
    ),
    "plateau": Rule(
        "Reduce on plateau",
        "η ← factor·η  after more than `patience` epochs without progress\nprogress:  loss < (1 − 10⁻⁴)·best",
        "The loss is that of the validation. Note 000:66 has patience 10 and factor 0.5; note 000:214 patience 5 "
        "and with it torch's factor, 0.1.",
        plateau,
        plateau_torch,
        _with_losses,
        "200 random validation losses",
    ),
    "warmup": Rule(
        "Linear warm-up",
        "η = η₀·(t + 1) / T  in the first T steps, t = 0 … T − 1",
        "After them the rate is η₀ or follows a schedule. Note 002:119 begins at 0; the first step here has the "
        "rate η₀ / T, as a step of rate 0 changes nothing.",
        warmup,
        warmup_torch,
        over_epochs(),
        "100 steps from a random rate",
    ),
}
