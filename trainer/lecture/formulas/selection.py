"""Averages, estimates of the error, and the choice of the best."""

import numpy as np
import torch

from trainer.lecture.formulas.compare import difference, on
from trainer.lecture.formulas.rule import Form, Rule


def moving_average(values, alpha=0.2):
    g, averages = 0.0, []
    for value in values:
        g = alpha * g + (1 - alpha) * value
        averages.append(g)
    return averages


def moving_average_torch(values, alpha=0.2):
    t = torch.arange(len(values), dtype=values.dtype)
    age = t[:, None] - t  # of each value in each average
    weights = torch.tril((1 - alpha) * alpha**age)
    return weights @ values


def ensemble_average(logits):
    odds = np.exp(logits - logits.max(axis=2)[:, :, None])
    softmax = odds / odds.sum(axis=2)[:, :, None]
    return softmax.mean(axis=0)  # over the networks


def ensemble_average_torch(logits):
    # logits = torch.stack([model(x) for model in models])
    return torch.softmax(logits, dim=2).mean(dim=0)


def k_fold(order, k=5):
    folds, pairs = np.array_split(order, k), []
    for i in range(k):
        rest = folds[:i] + folds[i + 1 :]
        pairs.append((np.concatenate(rest), folds[i]))
    return pairs  # of training and validation


def k_fold_torch(order, k=5):
    # order = torch.randperm(number of examples)
    folds, pairs = order.tensor_split(k), []
    for i in range(k):
        rest = folds[:i] + folds[i + 1 :]
        pairs.append((torch.cat(rest), folds[i]))
    return pairs


def early_stopping(losses, patience=10, min_delta=0.0):
    best, counter = np.inf, 0
    for epoch, loss in enumerate(losses):
        if loss > best - min_delta:
            counter += 1
        else:
            best, counter = loss, 0
        if counter >= patience:
            return epoch  # the last one that is trained
    return len(losses) - 1


class EarlyStopping:
    def __init__(self, patience=10, min_delta=0.0):
        self.patience, self.min_delta = patience, min_delta
        self.best_loss, self.counter = torch.inf, 0

    def __call__(self, val_loss):
        if val_loss > self.best_loss - self.min_delta:
            self.counter += 1
        else:
            self.best_loss, self.counter = val_loss, 0
        return self.counter >= self.patience  # True: stop


def selection(validation, fresh):
    best = np.argmax(validation)  # of many settings
    optimism = validation[best] - fresh[best]
    return best, optimism


def selection_torch(validation, fresh):
    highest, best = validation.max(dim=0)
    return best, highest - fresh[best]


def bias_variance(predictions, truth):
    average = predictions.mean(axis=0)
    bias_squared = ((average - truth) ** 2).mean()
    variance = predictions.var(axis=0).mean()
    return bias_squared + variance


def bias_variance_torch(predictions, truth):
    truth = truth.expand_as(predictions)
    return torch.nn.functional.mse_loss(predictions, truth)


def _until_the_stop(numpy: Form, pytorch: Form, rng: np.random.Generator) -> float:
    """Compare the last epoch under random losses, which fall at first and then stay."""
    largest = 0.0
    for _ in range(50):
        losses = np.exp(-np.arange(60) / 10) + rng.uniform(0.5, 0.7, 60)
        settings = {"patience": int(rng.integers(1, 12)), "min_delta": rng.choice([0.0, 0.02])}
        rule = pytorch(**settings)
        last = next((epoch for epoch, loss in enumerate(losses) if rule(loss)), len(losses) - 1)
        largest = max(largest, difference(numpy(losses, **settings), last))
    return largest


RULES = {
    "moving_average": Rule(
        "The exponential moving average",
        "g ← α·g + (1 − α)·l  with g₀ = 0\ngₜ = (1 − α)·Σᵢ αⁱ·lₜ₋ᵢ",
        "Old values fade out. Table 003:387 has the averages of 12 values for α = 0.2, 0.5 and 0.8.",
        moving_average,
        moving_average_torch,
        on(lambda rng: [rng.standard_normal(12), rng.uniform(0.1, 0.9)]),
        "10 random series, torch as the weighted sum",
    ),
    "ensemble_average": Rule(
        "The average of an ensemble",
        "ŷ = (1/K)·Σₖ softmax(fₖ(x))  over the K networks",
        "The predicted class is the one with the largest ŷ.",
        ensemble_average,
        ensemble_average_torch,
        on(lambda rng: [rng.standard_normal((5, 16, 10))]),
        "10 random ensembles of 5 networks",
    ),
    "k_fold": Rule(
        "Cross-validation with k folds",
        "error = (1/k)·Σᵢ error on fold i, trained without fold i",
        "Every example is validated once. The functions give the k pairs of training and validation examples, by "
        "their numbers.",
        k_fold,
        k_fold_torch,
        on(lambda rng: [rng.permutation(int(rng.integers(20, 60)))]),
        "10 random orders of 20 to 60 examples",
    ),
    "early_stopping": Rule(
        "Early stopping",
        "progress:  loss ≤ best − min_delta,  best ← loss\nstop after `patience` epochs without progress",
        "By this rule (000:158) an equal loss counts as progress. This project asks for loss < best − min_delta, so "
        "that an equal loss is none, and keeps the weights of the best epoch as well.",
        early_stopping,
        EarlyStopping,
        _until_the_stop,
        "50 random courses of the validation loss",
    ),
    "selection": Rule(
        "The optimism of a choice",
        "best = argmaxᵢ sᵢ  over the validation scores sᵢ\noptimism = s_best − its score on fresh data",
        "E[maxᵢ sᵢ] ≥ maxᵢ E[sᵢ]: the score by which was chosen is too good on average.",
        selection,
        selection_torch,
        on(lambda rng: [rng.random(20), rng.random(20)]),
        "10 random sets of 20 scores",
    ),
    "bias_variance": Rule(
        "Bias and variance",
        "E[(ŷ − f)²] = (E[ŷ] − f)² + Var[ŷ] = bias² + variance",
        "E over training sets, f the true curve; noise in y adds its own variance.",
        bias_variance,
        bias_variance_torch,
        on(lambda rng: [rng.standard_normal((30, 8)), rng.standard_normal(8)]),
        "10 random sets of predictions: NumPy adds both parts, torch takes the error",
    ),
}
