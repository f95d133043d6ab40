"""Losses and the terms that are added to them. Each form of a penalty returns the penalty and its gradient."""

import numpy as np
import torch

from trainer.lecture.formulas.compare import difference, on
from trainer.lecture.formulas.rule import Form, Rule


def cross_entropy(logits, labels):
    odds = np.exp(logits - logits.max(axis=1)[:, None])
    softmax = odds / odds.sum(axis=1)[:, None]
    true = softmax[np.arange(len(labels)), labels]
    return -np.log(true).mean()


def cross_entropy_torch(logits, labels):
    loss = torch.nn.CrossEntropyLoss()
    return loss(logits, labels)


def mse(outputs, y):
    return ((outputs - y) ** 2).mean()


def mse_torch(outputs, y):
    return torch.nn.functional.mse_loss(outputs, y)


def label_smoothing(logits, labels, eps=0.1):
    K = logits.shape[1]
    target = (1 - eps) * np.eye(K)[labels] + eps / K
    total = np.exp(logits).sum(axis=1, keepdims=True)
    log_probability = logits - np.log(total)
    return -(target * log_probability).sum(axis=1).mean()


def label_smoothing_torch(logits, labels, eps=0.1):
    loss = torch.nn.CrossEntropyLoss(label_smoothing=eps)
    return loss(logits, labels)


def l1(W, strength=0.001):
    penalty = strength * np.abs(W).sum()
    gradient = strength * np.sign(W)
    return penalty, gradient


def l1_torch(W, strength=0.001):
    W.requires_grad_()
    penalty = strength * W.abs().sum()
    penalty.backward()
    return penalty, W.grad


def l2(W, strength=0.001):
    penalty = strength / 2 * (W**2).sum()
    gradient = strength * W
    return penalty, gradient


def l2_torch(W, strength=0.001):
    W.requires_grad_()
    penalty = strength / 2 * W.square().sum()
    penalty.backward()
    return penalty, W.grad


def hard_sharing(x, encoder, heads, targets):
    hidden = np.maximum(0, x @ encoder.T)
    loss = 0.0
    for head, target in zip(heads, targets, strict=True):
        loss += ((hidden @ head.T - target) ** 2).mean()
    return loss


def hard_sharing_torch(x, encoder, heads, targets):
    hidden = torch.relu(encoder(x))
    loss, mse = 0.0, torch.nn.MSELoss()
    for head, target in zip(heads, targets, strict=True):
        loss = loss + mse(head(hidden), target)
    return loss


def soft_sharing(theta_1, theta_2, scale=1e-3):
    return scale * ((theta_1 - theta_2) ** 2).sum()


def soft_sharing_torch(network_1, network_2, scale=1e-3):
    vector = torch.nn.utils.parameters_to_vector
    theta_1 = vector(network_1.parameters())
    theta_2 = vector(network_2.parameters())
    return scale * (theta_1 - theta_2).square().sum()


def loss_surface(loss, W, d1, d2, places):
    def norm(w):  # of each unit
        return np.linalg.norm(w, axis=1)[:, None]

    d1 = d1 * norm(W) / norm(d1)
    d2 = d2 * norm(W) / norm(d2)
    rows = []
    for b in places:
        moved = W + b * d2
        rows.append([loss(moved + a * d1) for a in places])
    return rows


def loss_surface_torch(loss, W, d1, d2, places):
    unit = torch.nn.functional.normalize  # length 1
    size = W.norm(dim=1, keepdim=True)
    d1, d2, rows = size * unit(d1), size * unit(d2), []
    for b in places:
        moved = W + b * d2
        rows.append([loss(moved + a * d1) for a in places])
    return rows


def _logits_and_labels(rng: np.random.Generator) -> list[object]:
    return [3 * rng.standard_normal((16, 10)), rng.integers(0, 10, 16)]


def _of_two_tasks(numpy: Form, pytorch: Form, rng: np.random.Generator) -> float:
    """Compare with linear layers as encoder and heads."""
    x, targets = rng.standard_normal((16, 6)), [rng.standard_normal((16, outputs)) for outputs in (3, 2)]
    layers = [torch.nn.Linear(*sizes, bias=False, dtype=torch.float64) for sizes in ((6, 8), (8, 3), (8, 2))]
    encoder, *heads = [layer.weight.detach().numpy() for layer in layers]
    expected = pytorch(torch.tensor(x), layers[0], layers[1:], [torch.tensor(target) for target in targets])
    return difference(numpy(x, encoder, heads, targets), expected)


def _of_two_networks(numpy: Form, pytorch: Form, rng: np.random.Generator) -> float:
    """Compare with all weights and biases of two networks as one vector each."""
    networks = [torch.nn.Linear(6, 4, dtype=torch.float64) for _ in range(2)]
    vectors = [np.concatenate([each.detach().numpy().ravel() for each in net.parameters()]) for net in networks]
    return difference(numpy(*vectors), pytorch(*networks))


def _around_a_layer(numpy: Form, pytorch: Form, rng: np.random.Generator) -> float:
    """Compare the squared error of a linear layer along two random directions."""
    X, y, places = rng.standard_normal((20, 5)), rng.standard_normal((20, 3)), [-1.0, -0.5, 0.0, 0.5, 1.0]
    W, d1, d2 = (rng.standard_normal((3, 5)) for _ in range(3))
    found = numpy(lambda weights: ((X @ weights.T - y) ** 2).mean(), W, d1, d2, places)
    inputs, targets = torch.tensor(X), torch.tensor(y)
    expected = pytorch(
        lambda weights: torch.nn.functional.mse_loss(inputs @ weights.T, targets),
        *(torch.tensor(each) for each in (W, d1, d2)),
        places,
    )
    return difference(found, expected)


WEIGHTS = on(lambda rng: [rng.standard_normal((6, 4))])
RULES = {
    "cross_entropy": Rule(
        "Cross-entropy",
        "L = −(1/N)·Σₙ Σₖ yₙₖ·log ŷₙₖ  with ŷ = softmax(logits)",
        "y is 1 for the true class and 0 for the others. Note 003:733 sums over the examples, torch takes the mean.",
        cross_entropy,
        cross_entropy_torch,
        on(_logits_and_labels),
        "10 random batches",
    ),
    "mse": Rule(
        "Squared error",
        "L = (1/N)·Σₙ (ŷₙ − yₙ)²",
        "Note 003:737 takes the mean, note 004:188 the sum.",
        mse,
        mse_torch,
        on(lambda rng: [rng.standard_normal(16), rng.standard_normal(16)]),
        "10 random batches",
    ),
    "label_smoothing": Rule(
        "Label smoothing",
        "q = (1 − ε)·y + ε / K  for K classes, ε = 0.1\nL = −(1/N)·Σₙ Σₖ qₙₖ·log ŷₙₖ",
        "Note 002:217 speaks of slightly noisy labels and gives no formula.",
        label_smoothing,
        label_smoothing_torch,
        on(_logits_and_labels),
        "10 random batches",
    ),
    "l1": Rule(
        "L1 regularization",
        "L′ = L + λ·‖W‖₁,  ‖W‖₁ = Σ |w|\n∂L′/∂w = ∂L/∂w + λ·sgn(w)",
        "Every weight is pulled to 0 by the same amount, however small it is (004:718). Note 003:743 writes λ/2 in "
        "front. The functions give what is added to the loss and to the gradient.",
        l1,
        l1_torch,
        WEIGHTS,
        "10 random weight matrices, penalty and gradient",
    ),
    "l2": Rule(
        "L2 regularization",
        "L′ = L + (λ/2)·‖W‖²,  ‖W‖² = Σ w²\n∂L′/∂w = ∂L/∂w + λ·w",
        "The pull is in proportion to the weight (001:140, 003:747). Note 000:136 writes λ·‖W‖² with the gradient "
        "2·λ·W; note 004:688 writes ‖θ‖₂ for the sum of squares. The functions give what is added to the loss and "
        "to the gradient.",
        l2,
        l2_torch,
        WEIGHTS,
        "10 random weight matrices, penalty and gradient",
    ),
    "hard_sharing": Rule(
        "Hard parameter sharing",
        "h = encoder(x)\nL = Σₜ Lₜ(headₜ(h), yₜ)  over the tasks t",
        "The encoder gets the gradients of all tasks (002:222). Here the losses are squared errors.",
        hard_sharing,
        hard_sharing_torch,
        _of_two_tasks,
        "a random batch with two tasks",
    ),
    "soft_sharing": Rule(
        "Soft parameter sharing",
        "L = L₁(θ₁) + L₂(θ₂) + λ·‖θ₁ − θ₂‖²",
        "Each task has a network; the last term, which the functions give, keeps their parameters near to each "
        "other. Note 002:224 leaves the distance open.",
        soft_sharing,
        soft_sharing_torch,
        _of_two_networks,
        "two random networks",
    ),
    "loss_surface": Rule(
        "The loss around a network",
        "f(a, b) = L(W + a·d₁ + b·d₂)",
        "d₁ and d₂: random directions, in which the weights of each unit have the length that they have in W (Li et "
        "al. 2018). At a = b = 0 stands the trained network. Note 004:489 gives no formula.",
        loss_surface,
        loss_surface_torch,
        _around_a_layer,
        "25 places around a random layer",
    ),
}
