"""What a search over several settings says: where each point lies, and which setting mattered. Imports optuna late."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

ENOUGH = 8  # points: of fewer an importance says nothing
FACTOR = 100  # numbers that span it are shown on a logarithmic scale


def described(tried: Sequence[tuple[Mapping[str, str], float]], keys: Sequence[str], sign: int) -> dict[str, Any]:
    """`axes`: key, values of the points, whether logarithmic, labels of categories; `values`; `importance` by key."""
    axes = [_axis(key, [point.get(key, "—") for point, _ in tried]) for key in keys]
    values = [value for _, value in tried]
    return {"axes": axes, "values": values, "importance": _importance(axes, values, sign)}


def _axis(key: str, texts: Sequence[str]) -> dict[str, Any]:
    """Numbers as they are, categories as 0, 1, 2 in the order of their first appearance."""
    try:
        numbers = [float(text) for text in texts]
        if not all(map(math.isfinite, numbers)):
            raise ValueError("no figure could show it")
    except ValueError:
        labels = list(dict.fromkeys(texts))
        return {"key": key, "values": [labels.index(text) for text in texts], "log": False, "labels": labels}
    log = min(numbers, default=0) > 0 and max(numbers) / min(numbers) >= FACTOR
    return {"key": key, "values": numbers, "log": log, "labels": None}


def _importance(axes: Sequence[Mapping[str, Any]], values: Sequence[float], sign: int) -> dict[str, float]:
    """Share of the metric's variance that each setting explains (fANOVA, Hutter et al. 2014); {} of too few points."""
    varied = [axis for axis in axes if len(set(axis["values"])) > 1]
    if len(values) < ENOUGH or len(set(values)) < 2 or len(varied) < 2:
        return {}
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions: dict[str, Any] = {axis["key"]: _distribution(axis) for axis in varied}
    study = optuna.create_study(direction="maximize" if sign > 0 else "minimize")
    for number, value in enumerate(values):
        params = {axis["key"]: axis["values"][number] for axis in varied}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is experimental to optuna
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: share for key, share in found.items() if math.isfinite(share)}


def _distribution(axis: Mapping[str, Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if axis["labels"]:
        return CategoricalDistribution(range(len(axis["labels"])))
    return FloatDistribution(min(axis["values"]), max(axis["values"]), log=axis["log"])
