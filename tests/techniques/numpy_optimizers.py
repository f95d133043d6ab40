"""The update rules of the optimizers in NumPy: w ← rule(w, gradient, memory, step, lr, weight decay).

Those of the notes are the book's formulas, here with the further options of `conf/`; the others are written out. The
steps are counted from 1, the memory begins with zeros. The defaults are those of `conf/`.
"""

import numpy as np

from trainer.lecture.formulas import adaptive, optimizers


def sgd(w, g, memory, step, lr, decay):
    return optimizers.sgd(w, g + decay * w, lr)


def momentum(w, g, memory, step, lr, decay, momentum=0.9, dampening=0.0, form="torch"):
    """torch does not dampen the very first gradient. Forms: notes 003 and 004."""
    notes = {"torch": optimizers.momentum, "lecture": optimizers.momentum_note_003, "ema": optimizers.momentum_note_004}
    dampened = (g + decay * w) * (1 if step == 1 else 1 - dampening)
    w, memory["v"] = notes[form](w, dampened, memory["v"], lr, momentum)
    return w


def nesterov(w, g, memory, step, lr, decay, momentum=0.9):
    """The book's form with w as the look-ahead point, where torch has it and takes the gradient."""
    behind = w + lr * momentum * memory["v"]
    behind, memory["v"] = optimizers.nesterov(behind, lambda ahead: g + decay * w, memory["v"], lr, momentum)
    return behind - lr * momentum * memory["v"]


def adagrad(w, g, memory, step, lr, decay, eps=1e-10, lr_decay=0.0, initial_accumulator=0.0):
    G = initial_accumulator if step == 1 else memory["G"]
    w, memory["G"] = adaptive.adagrad(w, g + decay * w, G, lr / (1 + lr_decay * (step - 1)), eps)
    return w


def rmsprop(w, g, memory, step, lr, decay, alpha=0.99, eps=1e-8, momentum=0.0, centered=False, start="zero"):
    g = g + decay * w
    if start == "gradient" and step == 1:  # note 004: σ⁰ = g⁰
        memory["G"] = g**2
    plain, memory["G"] = adaptive.rmsprop(w, g, memory["G"], lr, alpha, eps)
    if not (momentum or centered):
        return plain
    memory["mean"] = alpha * memory["mean"] + (1 - alpha) * g
    spread = memory["G"] - memory["mean"] ** 2 if centered else memory["G"]
    memory["v"] = momentum * memory["v"] + g / (np.sqrt(spread) + eps)
    return w - lr * memory["v"]


def adam(w, g, memory, step, lr, decay, betas=(0.9, 0.999), eps=1e-8, amsgrad=False):
    """Weight decay joins the gradient."""
    plain, memory["m"], memory["v"] = adaptive.adam(w, g + decay * w, memory["m"], memory["v"], step, lr, betas, eps)
    if not amsgrad:
        return plain
    memory["largest"] = np.maximum(memory["largest"], memory["v"])
    m_hat, v_hat = memory["m"] / (1 - betas[0] ** step), memory["largest"] / (1 - betas[1] ** step)
    return w - lr * m_hat / (np.sqrt(v_hat) + eps)


def adamw(w, g, memory, step, lr, decay, **options):
    return adam(w, g, memory, step, lr, 0.0, **options) - lr * decay * w


def adadelta(w, g, memory, step, lr, decay, rho=0.9, eps=1e-6):
    """Algorithm 1 of Zeiler 2012."""
    g = g + decay * w
    memory["G"] = rho * memory["G"] + (1 - rho) * g**2
    change = np.sqrt(memory["D"] + eps) / np.sqrt(memory["G"] + eps) * g
    memory["D"] = rho * memory["D"] + (1 - rho) * change**2
    return w - lr * change


def nadam(w, g, memory, step, lr, decay, betas=(0.9, 0.999), eps=1e-8, momentum_decay=0.004, decoupled=False):
    """Algorithm 2 of Dozat 2016 with the warming schedule of its section 3.2."""
    w, g = (w * (1 - lr * decay), g) if decoupled else (w, g + decay * w)
    now, following = (betas[0] * (1 - 0.5 * 0.96 ** (each * momentum_decay)) for each in (step, step + 1))
    memory["product"] = (1 if step == 1 else memory["product"]) * now
    memory["m"] = betas[0] * memory["m"] + (1 - betas[0]) * g
    memory["v"] = betas[1] * memory["v"] + (1 - betas[1]) * g**2
    looked_ahead = following * memory["m"] / (1 - memory["product"] * following) + (1 - now) * g / (
        1 - memory["product"]
    )
    return w - lr * looked_ahead / (np.sqrt(memory["v"] / (1 - betas[1] ** step)) + eps)


def radam(w, g, memory, step, lr, decay, betas=(0.9, 0.999), eps=1e-8, decoupled=False):
    """Algorithm 2 of Liu et al. 2020; torch adds eps to √v before its correction, and rectifies above 5, not 4."""
    w, g = (w * (1 - lr * decay), g) if decoupled else (w, g + decay * w)
    memory["m"] = betas[0] * memory["m"] + (1 - betas[0]) * g
    memory["v"] = betas[1] * memory["v"] + (1 - betas[1]) * g**2
    m_hat, longest = memory["m"] / (1 - betas[0] ** step), 2 / (1 - betas[1]) - 1
    length = longest - 2 * step * betas[1] ** step / (1 - betas[1] ** step)
    if length <= 5:
        return w - lr * m_hat
    variance = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    return w - lr * np.sqrt(variance) * m_hat * np.sqrt(1 - betas[1] ** step) / (np.sqrt(memory["v"]) + eps)


def adamax(w, g, memory, step, lr, decay, betas=(0.9, 0.999), eps=1e-8):
    """Algorithm 2 of Kingma & Ba 2015."""
    g = g + decay * w
    memory["m"] = betas[0] * memory["m"] + (1 - betas[0]) * g
    memory["u"] = np.maximum(betas[1] * memory["u"], np.abs(g) + eps)
    return w - lr / (1 - betas[0] ** step) * memory["m"] / memory["u"]


def adafactor(w, g, memory, step, lr, decay, /, eps=0.001, **options):
    """Algorithms 4 and 5 of Shazeer & Stern 2018, for torch's last two axes; with the first eps of double precision."""
    beta = 1 - step ** -options.get("decay", 0.8)
    alpha = max(eps, np.sqrt(np.mean(w**2))) * min(lr, step**-0.5)
    w = w * (1 - lr * decay)
    if g.ndim > 1:
        memory["row"] = beta * memory["row"] + (1 - beta) * (g**2).mean(-1, keepdims=True)
        memory["column"] = beta * memory["column"] + (1 - beta) * (g**2).mean(-2, keepdims=True)
        square = memory["row"] * memory["column"] / memory["row"].mean(-2, keepdims=True)
    else:
        square = memory["square"] = beta * memory["square"] + (1 - beta) * g**2
    update = g / np.sqrt(np.maximum(square, np.finfo(float).eps ** 2))
    return w - alpha * update / max(1, np.sqrt(np.mean(update**2)))


def lion(w, g, memory, step, lr, decay, betas=(0.9, 0.99)):
    """Algorithm 2 of Chen et al. 2023."""
    update = np.sign(betas[0] * memory["m"] + (1 - betas[0]) * g)
    memory["m"] = betas[1] * memory["m"] + (1 - betas[1]) * g
    return w - lr * (update + decay * w)
