"""The rules: each looks at a case and says what it found, or None. Pure functions, no torch.

The thresholds stand in signals.py, each with its reason; the rules about the size of the steps in steps.py.
"""

import math
from collections.abc import Callable
from statistics import mean

from trainer.diagnosis.inputs import Evidence, Finding
from trainer.diagnosis.remedies import against, chosen_names, smoother_start, wider, without
from trainer.diagnosis.step_rules import divergence, learning_rate_too_high, learning_rate_too_low
from trainer.diagnosis.thresholds import (
    DEAD,
    FITTED,
    HALF,
    HUGE_GRADIENT,
    SATURATED,
    TINY_GRADIENT,
    chance,
    fall,
    fit,
    layer_values,
    losses,
    lower_bound,
    relative_gradients,
)
from trainer.techniques.remedies import BATCH_STATISTICS, WEIGHT_LIMITS


def zero_initialization(evidence: Evidence) -> Finding | None:
    """Equal incoming weights get equal gradients for ever; one unit alone is no symmetry."""
    same = [name for name, share in layer_values(evidence.initial or evidence.final, "alike") if share > FITTED]
    if not same:
        return None
    meaning = "Units that start equal stay equal: each layer is worth one unit."
    explains = {rule for rule in RULES if rule not in ("class imbalance", "batch too small")}
    seen = f"all units of {', '.join(same[:2])} have the same weights"
    return Finding("zero initialization", seen, meaning, smoother_start(evidence.config), frozenset(explains))


def exploding_gradients(evidence: Evidence) -> Finding | None:
    huge = [(name, ratio) for name, ratio in relative_gradients(evidence.initial) if ratio > HUGE_GRADIENT]
    if not huge:
        return None
    name, ratio = max(huge, key=lambda each: each[1])
    seen = f"before training the gradient of {name} is {ratio:.3g} times its weights, in {len(huge)} layers over 10"
    meaning = "Each layer enlarges what passes through it: the initial weights are too large for this depth."
    explains = {"underfitting", "overfitting", "label noise", "learning rate too high", "learning rate too low"}
    explains |= {"dead ReLUs", "saturated units", "early stopping too early"}
    return Finding("exploding gradients", seen, meaning, smoother_start(evidence.config), frozenset(explains))


def vanishing_gradients(evidence: Evidence) -> Finding | None:
    """Only where the network did not learn: Adam makes large steps of small gradients."""
    if evidence.rows and fit(evidence) >= FITTED:
        return None
    ratios = relative_gradients(evidence.initial or evidence.final)
    tiny = [(name, ratio) for name, ratio in ratios if ratio < TINY_GRADIENT]
    if not tiny:
        return None
    name, ratio = min(tiny, key=lambda each: each[1])
    when = "before training" if evidence.initial else "after the last epoch"
    seen = f"{when} the gradient of {name} is {ratio:.1e} of its weights, of the last layer {ratios[-1][1]:.1e}"
    meaning = "What the loss says does not reach the first layers."
    override = against(evidence.config, "small gradients")
    explains = {"underfitting", "learning rate too low", "saturated units", "dead ReLUs", "early stopping too early"}
    return Finding("vanishing gradients", seen, meaning, override, frozenset(explains))


def dead_relus(evidence: Evidence) -> Finding | None:
    dead = [(share, name) for name, share in layer_values(evidence.final, "dead") if share >= DEAD]
    if not dead:
        return None
    share, name = max(dead)
    seen = f"{share:.0%} of the units of {name} are zero for every image"
    meaning = "No gradient passes them, so they never come back."
    return Finding("dead ReLUs", seen, meaning, against(evidence.config, "dead units"), frozenset({"underfitting"}))


def saturated_units(evidence: Evidence) -> Finding | None:
    """Before training, or after it where the network did not learn: one that has learnt may be sure of itself."""
    looks = [(evidence.initial, "before training")]
    looks += [(evidence.final, "after the last epoch")] if evidence.rows and fit(evidence) < HALF else []
    for layer_stats, when in looks:
        flat = [(share, name) for name, share in layer_values(layer_stats, "saturated") if share >= SATURATED]
        if flat:
            share, name = max(flat)
            seen = f"{when} {share:.0%} of the outputs of {name} lie where its slope is nearly zero"
            meaning = "Hardly any gradient comes through: its inputs are too large."
            started = when == "before training"
            override = smoother_start(evidence.config) if started else against(evidence.config, "saturation")
            explains = frozenset({"underfitting", "overfitting", "learning rate too low", "vanishing gradients"})
            return Finding("saturated units", seen, meaning, override, explains)
    return None


def batch_too_small(evidence: Evidence) -> Finding | None:
    """ResNet-50 on ImageNet loses 1.1 points at 8 images a batch, 3.6 at 4 and 11 at 2 (Wu & He 2018)."""
    size, normalization = evidence.config.batch_size, evidence.config.normalization.name
    if normalization not in BATCH_STATISTICS or size >= 8:
        return None
    seen = f"batch_size={size} with normalization={normalization}"
    meaning = "The mean of so few images is noise."
    explains = frozenset({"underfitting", "label noise", "early stopping too early"})
    return Finding("batch too small", seen, meaning, "batch_size=32", explains)


def class_imbalance(evidence: Evidence) -> Finding | None:
    """From 3 to 1; the balanced sets of the lecture lie within 1.3. Buda et al. 2018 see losses from 2 to 10 on."""
    rare = min(evidence.class_counts, key=lambda name: evidence.class_counts[name])
    most = max(evidence.class_counts, key=lambda name: evidence.class_counts[name])
    few, many = evidence.class_counts[rare], evidence.class_counts[most]
    if many < 3 * few:
        return None
    seen = f"{many} training images of {most}, {few} of {rare}"
    if evidence.held_out:
        recall = evidence.held_out.recalls[list(evidence.class_counts).index(rare)]
        seen += "" if math.isnan(recall) else f"; of the latter {recall:.0%} are recognized"
    meaning = "The accuracy hides the rare classes; add pictures of them, or make more of those that are there."
    return Finding("class imbalance", seen, meaning, against(evidence.config, "few images"))


def label_noise(evidence: Evidence) -> Finding | None:
    """Where an image is hard the network is unsure, and the given label is its second or third answer; where the label
    is wrong it is as sure as ever, and the label comes anywhere.

    The idea of confident learning (Northcutt et al. 2021, cleanlab), on images that were not trained on. Of all wrong
    answers so many are sure and far off, measured: 0.65 with 10–20 % of the labels replaced, 0.15 on CIFAR-10 at 58 %
    accuracy, below 0.1 with networks that are too small for digits. Labels confused with a similar class stay unseen.
    """
    answers = evidence.held_out
    if answers is None or answers.accuracy < HALF or not answers.sure:
        return None
    share = answers.contradicted / answers.sure
    if lower_bound(answers.contradicted, answers.sure) < 0.02 or share < (1 - answers.accuracy) / 3:
        return None
    seen = (
        f"of the {answers.sure} validation images that it is surest of, {answers.contradicted} have a label that is not"
        f" even among its first answers ({share:.0%}; wrong of all are {1 - answers.accuracy:.0%})"
    )
    places = ", ".join(map(str, answers.suspects[:3]))
    meaning = "Labels are probably wrong" + (f": look at the images {places}, …" if places else ".")
    explains = frozenset({"underfitting"})
    override = against(evidence.config, "wrong labels")
    return Finding("label noise", seen, meaning, override, explains)


def early_stopping_too_early(evidence: Evidence) -> Finding | None:
    """It stopped while the training loss fell steeply and the validation loss only wobbled."""
    if (
        not evidence.stopped_early
        or not evidence.validated
        or evidence.rows[-1]["train_accuracy"] > 0.97
        or fall(evidence) < 0.05
    ):
        return None
    curve = [row["validation_loss"] for row in evidence.validated]
    if curve[-1] > 1.25 * min(curve):  # that is overfitting
        return None
    patience, least = evidence.config.early_stop_patience, evidence.config.early_stop_min_delta
    seen = f"stopped after epoch {len(evidence.rows)} while the training loss fell by {fall(evidence):.0%} an epoch"
    meaning = f"{patience} validations without progress of {least:g} are less than the loss wobbles."
    override = "early_stop_min_delta=1e-5" if least > 1e-3 else f"early_stop_patience={max(10, 2 * (patience or 1))}"
    return Finding("early stopping too early", seen, meaning, override, frozenset({"underfitting"}))


def underfitting(evidence: Evidence) -> Finding | None:
    if len(evidence.rows) < 2 or fit(evidence) >= FITTED:
        return None
    seen = f"{fit(evidence):.1%} of the training images are right, the loss fell by {fall(evidence):.0%} an epoch"
    settings = evidence.config
    if settings.dropout > HALF or settings.weight_decay > 0.01:
        what = "dropout" if settings.dropout > HALF else "weight_decay"
        return Finding("underfitting", seen, f"{what} holds it back.", f"{what}=0.0")
    for name in WEIGHT_LIMITS:
        if name in chosen_names(settings, "regularization"):
            override = without(settings, "regularization", name)
            return Finding("underfitting", seen, f"{name} holds it back.", override)
    learns = len(evidence.rows) < 5 and losses(evidence)[-1] < 0.95 * chance(evidence)
    if learns or fall(evidence) > 0.03:
        return Finding("underfitting", seen, "It is still learning.", f"epochs={max(10, 2 * settings.epochs)}")
    if losses(evidence)[-1] > 0.9 * chance(evidence):
        return Finding("underfitting", seen, "It learns nothing.", f"lr={settings.lr * 10:.3g}")
    return Finding("underfitting", seen, "The network is too small for these images.", wider(settings))


def overfitting(evidence: Evidence) -> Finding | None:
    """Gap and trend: the gap's lower bound is over 5 points, and the validation loss rises or falls behind."""
    rows = evidence.validated
    if len(rows) < 3 or any(row["train_loss"] is None for row in rows):
        return None
    last = rows[-3:]
    trained, validated = mean(row["train_accuracy"] for row in last), mean(row["validation_accuracy"] for row in last)
    images = evidence.validation_images
    noise = math.sqrt(max(validated * (1 - validated), 0) / max(images, 1))
    best = min(rows, key=lambda row: row["validation_loss"])
    behind = [row["validation_loss"] - row["train_loss"] for row in (rows[len(rows) // 2], rows[-1])]
    rises = rows[-1]["validation_loss"] > 1.1 * best["validation_loss"]
    if trained - validated < 0.05 + 2 * noise or not (rises or behind[1] > behind[0]):
        return None
    seen = (
        f"{trained:.1%} of the training images are right, {validated:.1%} of the validation images; the validation loss"
        f" is {rows[-1]['validation_loss']:.3g}, its best was {best['validation_loss']:.3g} in epoch {best['epoch']}"
    )
    meaning = "It learns its images by heart."
    return Finding("overfitting", seen, meaning, _against_overfitting(evidence))


def _against_overfitting(evidence: Evidence) -> str:
    if not evidence.config.augmentation:
        return against(evidence.config, "few images")
    return "dropout=0.5" if evidence.config.dropout < HALF else "weight_decay=0.01"


RULES: dict[str, Callable[[Evidence], Finding | None]] = {
    "divergence": divergence,
    "zero initialization": zero_initialization,
    "exploding gradients": exploding_gradients,
    "vanishing gradients": vanishing_gradients,
    "learning rate too high": learning_rate_too_high,
    "learning rate too low": learning_rate_too_low,
    "dead ReLUs": dead_relus,
    "saturated units": saturated_units,
    "batch too small": batch_too_small,
    "class imbalance": class_imbalance,
    "label noise": label_noise,
    "early stopping too early": early_stopping_too_early,
    "underfitting": underfitting,
    "overfitting": overfitting,
}


def diagnose(evidence: Evidence) -> list[Finding]:
    """What is wrong, causes before consequences; what follows from another finding is left to that one."""
    found = [finding for rule in RULES.values() if (finding := rule(evidence))]
    explained: set[str] = set()
    for finding in found:
        if finding.name not in explained:
            explained |= finding.explains - {finding.name}
    return [finding for finding in found if finding.name not in explained]
