"""The rules about the size of the steps: divergence, rate too high, rate too low. Pure functions; imports no torch."""

from trainer.diagnosis.inputs import Evidence, Finding
from trainer.diagnosis.remedies import larger_rate, smaller_rate
from trainer.diagnosis.thresholds import DEAD, FITTED, GROWN, HALF, TINY_UPDATE, chance, layer_values, losses
from trainer.runtime.text import counted


def divergence(evidence: Evidence) -> Finding | None:
    """Report the first value of a replayed epoch that is not finite."""
    event = evidence.divergence
    if event is None:
        return None
    seen = f"the first value that is not finite, in step {event.step} of epoch {event.epoch}, is in {event.what}"
    if event.began:
        size = f"{event.ratio:.3g} times their own size"
        seen += f"; it began in {event.began}, whose weights step {event.began_step} changed by {size}"
    explains = {"learning rate too high", "underfitting", "dead ReLUs", "saturated units", "learning rate too low"}
    return Finding("divergence", seen, "The steps are too large.", smaller_rate(evidence.config), frozenset(explains))


def learning_rate_too_high(evidence: Evidence) -> Finding | None:
    """Compare the losses with guessing, the weights with their first values, and count the units that died."""
    curve, guess = losses(evidence), chance(evidence)
    start = guess if evidence.first_loss is None else evidence.first_loss
    limit = 1.1 * max(guess, start)  # good steps stay below the first loss
    seen = None
    epoch = curve.index(max(curve)) + 1 if curve else 0
    # One bad epoch does not count if the next one is far below guessing: Adagrad's first steps are its largest.
    if curve and max(curve) > limit and curve[min(epoch, len(curve) - 1)] > HALF * guess:
        seen = f"the training {evidence.loss} of epoch {epoch} is {max(curve):.3g}, more than guessing ({guess:.3g})"
    for row in evidence.validated:
        # A network that has memorized its training images may have such a loss on others, hence the second condition.
        if row["validation_loss"] > 1.5 * max(guess, start) and row["train_accuracy"] < FITTED:
            seen = seen or f"the validation {evidence.loss} of epoch {row['epoch']} is {row['validation_loss']:.3g}"
    before = dict(layer_values(evidence.initial, "weight_norm"))
    growth = [
        (norm / before[name], name) for name, norm in layer_values(evidence.final, "weight_norm") if before.get(name)
    ]
    if curve and curve[-1] > 0.9 * guess and growth and max(growth)[0] > GROWN:
        seen = seen or (
            f"the training {evidence.loss} stays at {curve[-1]:.3g}, that of guessing, while the weights of"
            f" {max(growth)[1]} grew {max(growth)[0]:.3g}-fold"
        )
    seen = seen or _killed(evidence)
    if seen is None:
        return None
    explains = {"underfitting", "dead ReLUs", "saturated units", "label noise", "vanishing gradients", "overfitting"}
    meaning = "The steps are so long that they overshoot the minimum."
    override = smaller_rate(evidence.config)
    return Finding("learning rate too high", seen, meaning, override, frozenset(explains))


def _killed(evidence: Evidence) -> str | None:
    """Describe units that died under steps of the size of the weights; healthy first steps are below 0.35 of it."""
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
    """Compare both halves of the loss curve: it falls steeply and then slowly at a good rate, evenly at a low one."""
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
        f"in {counted(len(curve), 'epoch')} the training {evidence.loss} went from {curve[0]:.3g} to {curve[-1]:.3g}"
        f" along a straight line, a step changes no layer by more than {largest:.1e} of its weights"
    )
    explains = frozenset({"underfitting", "early stopping too early", "vanishing gradients"})
    override = larger_rate(evidence.config)
    return Finding("learning rate too low", seen, "It learns, but too slowly.", override, explains)
