"""The rules about the size of the steps: diverged, too high, too low. Pure functions, no torch."""

from trainer.diagnosis.inputs import Evidence, Finding
from trainer.diagnosis.thresholds import DEAD, FITTED, GROWN, HALF, TINY_UPDATE, chance, layer_values, losses


def smaller(lr: float) -> str:
    """A tenth; from beyond 1, where no optimizer here learns, it would be a long way down."""
    return f"lr={lr / 10 if lr <= 1 else 0.001:.3g}"


def divergence(evidence: Evidence) -> Finding | None:
    found = evidence.divergence
    if found is None:
        return None
    seen = f"the first value that is not finite, in step {found.step} of epoch {found.epoch}, is in {found.what}"
    if found.began:
        size = f"{found.ratio:.3g} times their own size"
        seen += f"; it began in {found.began}, whose weights step {found.began_step} changed by {size}"
    lr = evidence.config.lr
    explains = {"learning rate too high", "underfitting", "dead ReLUs", "saturated units", "learning rate too low"}
    return Finding("divergence", seen, "The steps are too large.", smaller(lr), frozenset(explains))


def learning_rate_too_high(evidence: Evidence) -> Finding | None:
    curve, guess = losses(evidence), chance(evidence)
    start = evidence.initial["loss"] if evidence.initial and evidence.initial["loss"] is not None else guess
    limit = 1.1 * max(guess, start)  # steps that help stay below what it began with
    seen = None
    epoch = curve.index(max(curve)) + 1 if curve else 0
    # One bad epoch is made good where the next one is far below guessing: Adagrad's first steps are its largest.
    if curve and max(curve) > limit and curve[min(epoch, len(curve) - 1)] > HALF * guess:
        seen = f"the training loss of epoch {epoch} is {max(curve):.3g}, more than guessing ({guess:.3g})"
    for row in evidence.validated:
        # A network that knows its training images by heart may be so wrong on others; this one does not know them.
        if row["validation_loss"] > 1.5 * max(guess, start) and row["train_accuracy"] < FITTED:
            seen = seen or f"the validation loss of epoch {row['epoch']} is {row['validation_loss']:.3g}"
    before = dict(layer_values(evidence.initial, "weight_norm"))
    growth = [
        (norm / before[name], name) for name, norm in layer_values(evidence.final, "weight_norm") if before.get(name)
    ]
    if curve and curve[-1] > 0.9 * guess and growth and max(growth)[0] > GROWN:
        seen = seen or (
            f"the training loss stays at {curve[-1]:.3g}, that of guessing, while the weights of {max(growth)[1]} grew"
            f" {max(growth)[0]:.3g}-fold"
        )
    seen = seen or _killed(evidence)
    if seen is None:
        return None
    explains = {"underfitting", "dead ReLUs", "saturated units", "label noise", "vanishing gradients", "overfitting"}
    meaning = "The steps leap over what they are meant to reach."
    override = smaller(evidence.config.lr)
    return Finding("learning rate too high", seen, meaning, override, frozenset(explains))


def _killed(evidence: Evidence) -> str | None:
    """Units that were alive before steps of the weights' own size; healthy first steps are below 0.35 of it."""
    before = dict(layer_values(evidence.initial, "dead"))
    dead = [
        (share, name) for name, share in layer_values(evidence.final, "dead") if share >= DEAD > 3 * before.get(name, 1)
    ]
    updates = layer_values(evidence.initial, "update_ratio")
    if not dead or not updates or max(value for _, value in updates) < HALF:
        return None
    name, ratio = max(updates, key=lambda each: each[1])
    share, where = max(dead)
    return f"the first step changed {name} by {ratio:.0%} of its weights, and {share:.0%} of the units of {where} died"


def learning_rate_too_low(evidence: Evidence) -> Finding | None:
    """A good rate brings the loss down steeply and then slowly; a low one along a straight line."""
    curve, guess = losses(evidence), chance(evidence)
    updates = layer_values(evidence.final, "update_ratio")
    if len(curve) < 4 or not updates or curve[0] > 1.2 * guess or curve[-1] < HALF * guess:
        return None
    middle = curve[(len(curve) - 1) // 2]
    first, second = curve[0] - middle, middle - curve[-1]
    straight = second > 0.4 * first or curve[0] - curve[-1] < 0.01 * guess
    largest = max(value for _, value in updates)
    if not straight or largest > TINY_UPDATE:
        return None
    seen = (
        f"in {len(curve)} epochs the training loss went from {curve[0]:.3g} to {curve[-1]:.3g} along a straight line,"
        f" a step changes no layer by more than {largest:.1e} of its weights"
    )
    explains = frozenset({"underfitting", "early stopping too early", "vanishing gradients"})
    override = f"lr={evidence.config.lr * 10:.3g}"
    return Finding("learning rate too low", seen, "It learns, but too slowly to arrive.", override, explains)
