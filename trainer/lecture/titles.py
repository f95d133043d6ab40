"""The words in the pictures of a study: titles of axes. Imports no torch itself."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from trainer.lecture.claim import Over, Statement
from trainer.lecture.named import Named, functions, unit_of

# The measures and reductions that have options, or whose first sentence is no title.
TITLES = {
    "accuracy": "{figure}",
    "figure": "{name}",
    "epochs_to": "epochs to {figure} {target}",
    "steps_to": "steps to {figure} {target}",
    "diverged": "share of runs that diverged",
    "drop_effect": "change of the training loss at a drop",
    "curve_noise": "noise of {figure} from epoch to epoch",
    "images_per_second": "training images a second",
    "occluded": "validation accuracy behind a black square of {hole} × {hole}",
    "mixup_bend": "distance from the mixture of both answers",
    "units_removed": "accuracy lost without {share} of the units",
    "thinned_mean": "mean of {count} thinned networks minus the scaled one",
    "thinned_single": "single thinned networks minus the scaled one",
    "epoch_optimism": "optimism of the best epoch",
    "half_first": "accuracy on one half of the validation images",
    "half_second": "accuracy on the other half of the validation images",
    "gap": "training minus validation accuracy",
    "gap_last": "training minus validation accuracy, last weights",
    "ensemble_minus_mean": "ensemble minus the mean of its members",
    "ensemble_minus_best": "ensemble minus the best of its members",
    "near_zero": "share of weights below {below}",
    "dead_share": "share of dead units, mean over the layers",
    "unit_difference": "largest difference between two units",
    "effective_rate_ratio": "effective rate at the end by that at the start",
    "at": "at {setting}={value}",
    "difference": "{first} minus {second}",
    "last_minus_first": "last minus first {setting}",
    "spread": "largest minus smallest over {setting}",
    "mean": "mean over {setting}",
    "median": "median over {setting}",
    "best": "best {setting}",
    "worst": "worst {setting}",
    "largest_reaching": "log₁₀ of the largest {setting} that reaches {least}",
    "rank_correlation": "rank correlation with {setting}",
}
WIDTH = 36  # letters of a line of an axis' title: what a phone shows


def title_of(statement: Statement, reduced: bool = True) -> str:
    """Return the title of an axis with the values of a statement's measure, `reduced` over the further setting."""
    unit = unit_of("measure", statement.measure.take)
    measure = _words("measure", statement.measure, {})
    if not (reduced and statement.over):
        return measure + _unit((not statement.over and statement.unit) or unit, measure)
    reduction = reduction_of(statement.over)
    own = statement.unit or unit_of("reduction", statement.over.take)
    title = f"{measure}, {reduction}"
    return title + _unit(own or unit, title)


def reduction_of(over: Over) -> str:
    """Return how the values of a further setting become one, in words: "adam minus sgd"."""
    return _words("reduction", over, {"setting": over.setting})


def _words(kind: str, named: Named, more: Mapping[str, str]) -> str:
    """Return a function and its options as words: of its docstring what it returns, unless there is a title for it."""
    function = getattr(import_module(functions(kind)[named.take][0]), named.take)
    given = {**(function.__kwdefaults__ or {}), **named.options}
    options = {**more, **{key: f"{value}" for key, value in given.items()}}
    if named.take in TITLES:
        found = re.sub(r"\{(\w+)\}", lambda match: options.get(match[1], match[1]), TITLES[named.take])
    else:
        text = " ".join((function.__doc__ or named.take).split())
        found = re.split(r"[,;:(]|\. |\.$", re.sub(r"^Returns? (the |an? )?", "", text))[0].strip()
        found = re.sub(r"`(\w+)`", lambda match: options.get(match[1], match[1]), found)
    return re.sub(r"(?<=\w\w)_(?=\w\w)", " ", found.replace("train_", "training "))  # not the index of g_L


def _unit(unit: str, title: str) -> str:
    """Return the unit in brackets: accuracies and shares are shown in percent, their differences in points."""
    if not unit or unit in title:
        return ""
    percent = unit == "points" and re.search("accuracy|share", title) and "minus" not in title
    return " (%)" if percent else f" ({unit})"


def log_axis(values: Sequence[float]) -> dict[str, Any]:
    """Return a logarithmic axis with a label at each power of ten, as 10⁻⁵ where there are many zeros."""
    wide = min(values) < 1e-3 or max(values) >= 1e5
    return {"type": "log", "dtick": 1, **({"exponentformat": "power"} if wide else {})}


def brief(text: str) -> str:
    """Return the text with lists of equal numbers by their count, "model.hidden=[8 × 64]", and 1e-05 as 1e-5."""
    text = re.sub(r"(?<=\d)e([+-])0*(\d)", lambda found: f"e{found[1].strip('+')}{found[2]}", text)
    return re.sub(r"\[(\w+)((?:,\1){2,})\]", lambda found: f"[{found[2].count(',') + 1} × {found[1]}]", text)


def folded(text: str, width: int = WIDTH) -> str:
    """Return the text for a figure on as many lines as it needs, at most three, with markup escaped."""
    lines = textwrap.wrap(text, width) or [""]
    return "<br>".join(plain(line) for line in [*lines[:2], *([" ".join(lines[2:])[:width]] if lines[2:] else [])])


def plain(text: str) -> str:
    """Return the text as plotly shows it: without markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
