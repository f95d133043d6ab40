"""The rules that choose at which epochs a run is scored, in words. Imports no torch.

A rule is `cross`, `best`, `last` or `mean:K`; "" is that of values which come from no run.
"""

from trainer.stats.times import TIMES

CROSS, BEST, LAST, MEAN = "cross", "best", "last", "mean:"


def count_of(rule: str) -> int:
    """Return K of `mean:K`, 0 for another rule."""
    return int(rule.removeprefix(MEAN)) if rule.startswith(MEAN) else 0


def label(rule: str) -> str:
    """Return a rule in a word or two: "cross-fitted", "best epoch", "mean of the last 5 validations"."""
    short = {CROSS: "cross-fitted", BEST: "best epoch", LAST: "last epoch", "": ""}
    return short[rule] if rule in short else f"mean of the last {count_of(rule)} validations"


def described(metric: str, rule: str) -> str:
    """Return the name of a figure with its rule, as a column's title: "validation accuracy, cross-fitted"."""
    if metric in TIMES:  # depends on no chosen epoch
        return f"{TIMES[metric]} to target"
    return ", ".join(part for part in (metric.replace("_", " "), label(rule)) if part)


def score_sentence(rule: str) -> str:
    """Return what a rule does in one sentence; "" for values that come from no run."""
    if rule == CROSS:
        return (
            "Score: each half of the validation images is scored at the epoch of lowest loss on the other half, so that"
            " no image chooses the epoch it is scored at"
        )
    if rule == BEST:
        return (
            "Score: each run at its epoch of lowest validation loss. The images that choose the epoch also judge it, so"
            " these values are a little too high, most for arms that vary most from epoch to epoch"
        )
    if rule == LAST:
        return "Score: each run at its last validated epoch"
    return f"Score: the {label(rule)} of each run" if rule else ""


def how(rule: str) -> str:
    """Return how a run is scored, for the end of "each run is scored by its accuracy"."""
    words = {
        CROSS: ", cross-fitted: each half of the validation images at the epoch of lowest loss on the other half",
        BEST: " at the epoch of lowest validation loss",
        LAST: " at its last validated epoch",
        "": "",
    }
    return words[rule] if rule in words else f", the {label(rule)}"


def not_finite(rule: str) -> str:
    """Return where a metric was not finite, so that a run has no value."""
    where = {CROSS: "on a half of the validation images", BEST: "in the best epoch", LAST: "in the last epoch"}
    return where.get(rule, f"in one of the last {count_of(rule)} validations")
