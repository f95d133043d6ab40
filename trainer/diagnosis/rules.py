"""The rules: each judges the evidence of a run and returns a finding or None. Pure functions; imports no torch.

thresholds.py holds the thresholds with their reasons, step_rules.py the rules about the size of the steps.
"""

import math
from collections.abc import Callable
from statistics import mean

from trainer.diagnosis.inputs import Evidence, Finding, LayerStats
from trainer.diagnosis.remedies import against, chosen_names, larger_rate, smoother_start, wider, without
from trainer.diagnosis.step_rules import divergence, learning_rate_too_high, learning_rate_too_low
from trainer.diagnosis.thresholds import (
    DEAD,
    FITTED,
    HALF,
    HUGE_GRADIENT,
    SATURATED,
    TINY_GRADIENT,
    as_trained,
    chance,
    fall,
    fit,
    fit_in_words,
    layer_values,
    losses,
    lower_bound,
    relative_gradients,
)
from trainer.runtime.text import counted
from trainer.techniques.remedies import BATCH_STATISTICS, STARTS_WITH_ZEROS, WEIGHT_LIMITS


def images_alike(evidence: Evidence) -> Finding | None:
    """Look for training images that are one and the same picture, which no network can tell apart."""
    if evidence.alike <= HALF:  # two images of two classes differ
        return None
    seen = "all pictures are alike" if evidence.alike == 1 else f"{evidence.alike:.0%} of the pictures are alike"
    meaning = "These training images are equal to the last bit: look at the files, their content and range of values."
    others = ("divergence", "zero initialization", "batch too small", "class imbalance")
    return Finding("images alike", seen, meaning, "", frozenset(rule for rule in RULES if rule not in others))


def zero_initialization(evidence: Evidence) -> Finding | None:
    """Look for layers of equal units, which get equal gradients for ever."""
    same = [name for name, share in layer_values(_start(evidence) or evidence.final, "alike") if share > FITTED]
    if not same:
        return None
    meaning = "Units that start equal stay equal: each layer is worth a single unit."
    explains = {rule for rule in RULES if rule not in ("class imbalance", "batch too small")}
    seen = f"all units of {', '.join(same[:2])} have the same weights"
    return Finding("zero initialization", seen, meaning, smoother_start(evidence.config), frozenset(explains))


def _start(evidence: Evidence) -> LayerStats | None:
    """Return the statistics before training, None if the run was meant to start with layers of zeros."""
    return None if evidence.config.init.name in STARTS_WITH_ZEROS else evidence.initial


def exploding_gradients(evidence: Evidence) -> Finding | None:
    """Look for gradients much larger than the weights before training."""
    huge = [(name, ratio) for name, ratio in relative_gradients(evidence.initial) if ratio > HUGE_GRADIENT]
    if not huge:
        return None
    name, ratio = max(huge, key=lambda each: each[1])
    layers = counted(len(huge), "layer")
    seen = f"before training the gradient of {name} is {ratio:.3g} times its weights, over 10 in {layers}"
    meaning = "Each layer amplifies its input: the initial weights are too large for this depth."
    explains = {"underfitting", "overfitting", "label noise", "learning rate too high", "learning rate too low"}
    explains |= {"dead ReLUs", "saturated units", "early stopping too early"}
    return Finding("exploding gradients", seen, meaning, smoother_start(evidence.config), frozenset(explains))


def vanishing_gradients(evidence: Evidence) -> Finding | None:
    """Look for tiny gradients, in networks that did not learn: Adam makes large steps of small gradients."""
    if evidence.rows and fit(evidence) >= FITTED:
        return None
    start = _start(evidence)
    ratios = relative_gradients(start or evidence.final)
    # Relative to the weights, as a step moves them by that share at a learning rate of 1, whatever their scale.
    tiny = [(name, ratio) for name, ratio in ratios if ratio < TINY_GRADIENT]
    if not tiny:
        return None
    name, ratio = min(tiny, key=lambda each: each[1])
    when = "before training" if start else "after the last epoch"
    seen = f"{when} the gradient of {name} is {ratio:.1e} of its weights, of the last layer {ratios[-1][1]:.1e}"
    meaning = "The gradient of the loss does not reach the first layers."
    override = against(evidence.config, "small gradients")
    explains = {"underfitting", "learning rate too low", "saturated units", "dead ReLUs", "early stopping too early"}
    return Finding("vanishing gradients", seen, meaning, override, frozenset(explains))


def dead_relus(evidence: Evidence) -> Finding | None:
    """Look for layers most of whose units are zero for every image."""
    dead = [(share, name) for name, share in layer_values(evidence.final, "dead") if share >= DEAD]
    if not dead:
        return None
    share, name = max(dead)
    seen = f"{share:.0%} of the units of {name} are zero for every image"
    meaning = "No gradient passes through them, so they never recover."
    return Finding("dead ReLUs", seen, meaning, against(evidence.config, "dead units"), frozenset({"underfitting"}))


def saturated_units(evidence: Evidence) -> Finding | None:
    """Look for saturation before training, or after it if the network did not learn: a good one may be confident."""
    moments = [(evidence.initial, "before training")]
    moments += [(evidence.final, "after the last epoch")] if evidence.rows and fit(evidence) < HALF else []
    for layer_stats, when in moments:
        flat = [(share, name) for name, share in layer_values(layer_stats, "saturated") if share >= SATURATED]
        if flat:
            share, name = max(flat)
            seen = f"{when} {share:.0%} of the outputs of {name} lie where its slope is nearly zero"
            meaning = "Hardly any gradient passes: its inputs are too large."
            started = when == "before training"
            override = smoother_start(evidence.config) if started else against(evidence.config, "saturation")
            explains = frozenset({"underfitting", "overfitting", "learning rate too low", "vanishing gradients"})
            return Finding("saturated units", seen, meaning, override, explains)
    return None


def batch_too_small(evidence: Evidence) -> Finding | None:
    """Look for batch statistics of few images. Wu & He 2018: ResNet-50 loses 1.1 points at 8, 3.6 at 4, 11 at 2."""
    # Below eight images, where Wu & He measured the first clear loss.
    size, normalization = evidence.config.batch_size, evidence.config.normalization.name
    if normalization not in BATCH_STATISTICS or size >= 8:
        return None
    seen = f"batch_size={size} with normalization={normalization}"
    meaning = "The statistics of so few images are noisy."
    explains = frozenset({"underfitting", "label noise", "early stopping too early"})
    return Finding("batch too small", seen, meaning, "batch_size=32", explains)


def class_imbalance(evidence: Evidence) -> Finding | None:
    """Look for classes three times as large as others; balanced sets are within 1.3, harm begins at 2 to 10.

    Buda et al. 2018.
    """
    rare = min(evidence.class_counts, key=lambda name: evidence.class_counts[name])
    most = max(evidence.class_counts, key=lambda name: evidence.class_counts[name])
    few, many = evidence.class_counts[rare], evidence.class_counts[most]
    if many < 3 * few:
        return None
    seen = f"{many} training images of {most}, {few} of {rare}"
    if evidence.held_out:
        recall = evidence.held_out.recalls[list(evidence.class_counts).index(rare)]
        seen += "" if math.isnan(recall) else f"; {recall:.0%} of the latter are classified correctly"
    meaning = "The accuracy hides the rare classes: add images of them, or augment those that there are."
    return Finding("class imbalance", seen, meaning, against(evidence.config, "few images"))


def label_noise(evidence: Evidence) -> Finding | None:
    """Look for confident answers to validation images that contradict the label.

    Confident learning (Northcutt et al. 2021, cleanlab): for a hard image the network is unsure and the label is its
    second or third answer; for a wrong label it is as confident as ever and the label may have any rank. Measured share
    of such answers among all wrong ones: 0.65 with 10–20 % of the labels replaced, 0.15 on CIFAR-10 at 58 % accuracy,
    below 0.1 with networks too small for digits. Labels swapped between similar classes are not found.
    """
    answers = evidence.held_out
    if answers is None or answers.accuracy < HALF or not answers.sure:
        return None
    share = answers.contradicted / answers.sure
    # Between both measured shares: a third of the wrong answers, and more than 2 % at 95 % confidence.
    if lower_bound(answers.contradicted, answers.sure) < 0.02 or share < (1 - answers.accuracy) / 3:
        return None
    seen = (
        f"in {answers.contradicted} of the {answers.sure} most confident answers to validation images ({share:.0%}) the"
        f" label is not even among the top classes; {1 - answers.accuracy:.0%} of all answers are wrong"
    )
    places = ", ".join(map(str, answers.suspects[:3]))
    meaning = "Labels are probably wrong" + (f": look at the images {places}, …" if places else ".")
    explains = frozenset({"underfitting"})
    override = against(evidence.config, "wrong labels")
    return Finding("label noise", seen, meaning, override, explains)


def early_stopping_too_early(evidence: Evidence) -> Finding | None:
    """Look for a steeply falling training loss at the end, with a validation loss that merely fluctuated."""
    if (
        not evidence.stopped_early
        or not evidence.validated
        or evidence.rows[-1]["train_accuracy"] > 0.97
        or fall(evidence) < 0.05
    ):
        return None
    # A loss 25 % above its minimum is no fluctuation.
    curve = [row["validation_loss"] for row in evidence.validated]
    if curve[-1] > 1.25 * min(curve):  # that is overfitting
        return None
    patience, least = evidence.config.early_stop_patience, evidence.config.early_stop_min_delta
    fell = f"the training {evidence.loss} fell by {fall(evidence):.0%} an epoch"
    seen = f"stopped after epoch {len(evidence.rows)} while {fell}"
    waited = counted(patience or 0, "validation")
    meaning = f"{waited} without progress of {least:g} may be no more than the fluctuation of the loss."
    override = "early_stop_min_delta=1e-5" if least > 1e-3 else f"early_stop_patience={max(10, 2 * (patience or 1))}"
    return Finding("early stopping too early", seen, meaning, override, frozenset({"underfitting"}))


def underfitting(evidence: Evidence) -> Finding | None:
    """Look for a network that does not fit its training images, and for the likeliest reason."""
    if len(evidence.rows) < 2 or fit(evidence) >= FITTED:
        return None
    seen = f"{fit_in_words(evidence)}; the {evidence.loss} fell {fall(evidence):.0%} an epoch"
    # From the most certain reason to the least: a setting that prevents fitting, too few epochs, the rate, the size.
    settings = evidence.config
    if settings.dropout > HALF or settings.weight_decay > 0.01:
        what = "dropout" if settings.dropout > HALF else "weight_decay"
        return Finding("underfitting", seen, f"{what} is too strong.", f"{what}=0.0")
    for name in WEIGHT_LIMITS:
        if name in chosen_names(settings, "regularization"):
            override = without(settings, "regularization", name)
            return Finding("underfitting", seen, f"{name} is too strong.", override)
    # After fewer than five epochs a loss below guessing counts as learning, whatever its slope.
    learns = len(evidence.rows) < 5 and losses(evidence)[-1] < 0.95 * chance(evidence)
    if learns or fall(evidence) > 0.03:
        return Finding("underfitting", seen, "It is still learning.", f"epochs={2 * settings.epochs}")
    if losses(evidence)[-1] > 0.9 * chance(evidence):
        return Finding("underfitting", seen, "It learns nothing.", larger_rate(settings))
    return Finding("underfitting", seen, "The network is too small for these images.", wider(settings))


def overfitting(evidence: Evidence) -> Finding | None:
    """Look for a gap of over 5 points beyond the noise, and a validation loss that rises or falls behind."""
    rows = evidence.validated
    if len(rows) < 3 or any(row["train_loss"] is None for row in rows):
        return None
    last = rows[-3:]  # the mean of three epochs fluctuates less than the last one
    trained, validated = mean(row["train_accuracy"] for row in last), mean(row["validation_accuracy"] for row in last)
    images = evidence.validation_images
    # The standard error of an accuracy on so many images; twice that is about a 95 % bound.
    noise = math.sqrt(max(validated * (1 - validated), 0) / max(images, 1))
    best = min(rows, key=lambda row: row["validation_loss"])
    behind = [row["validation_loss"] - row["train_loss"] for row in (rows[len(rows) // 2], rows[-1])]
    rises = rows[-1]["validation_loss"] > 1.1 * best["validation_loss"]
    if trained - validated < 0.05 + 2 * noise or not (rises or behind[1] > behind[0]):
        return None
    seen = (
        f"accuracy of the last three epochs {trained:.1%} (training{as_trained(evidence.config)}), {validated:.1%}"
        f" (validation); the validation {evidence.loss} is {rows[-1]['validation_loss']:.3g}; the best was"
        f" {best['validation_loss']:.3g}, in epoch {best['epoch']}"
    )
    meaning = "It memorizes its training images."
    return Finding("overfitting", seen, meaning, _against_overfitting(evidence))


def _against_overfitting(evidence: Evidence) -> str:
    if not evidence.config.augmentation:
        return against(evidence.config, "few images")
    return "dropout=0.5" if evidence.config.dropout < HALF else "weight_decay=0.01"


# In the order of causes and consequences: a finding is explained by those before it.
RULES: dict[str, Callable[[Evidence], Finding | None]] = {
    "images alike": images_alike,
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
    """Return the findings, causes before consequences; consequences of another finding are left out."""
    findings = [finding for rule in RULES.values() if (finding := rule(evidence))]
    explained: set[str] = set()
    for finding in findings:
        # A finding that is explained itself explains nothing: its cause may explain other things than it does.
        if finding.name not in explained:
            explained |= finding.explains - {finding.name}
    return [finding for finding in findings if finding.name not in explained]
