"""Everything that Optuna decides: the next point of a search, pruning, and the importance of settings.

A sampler is made anew for every point, seeded by the point's number and given all points before it: so a study that was
killed and is continued asks for the points that it would have asked for. Imports no torch, and Optuna only when needed.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from trainer.runtime.seeding import derive
from trainer.study.axes import Axis, Point, canonical, grid, space_size

if TYPE_CHECKING:
    import optuna


STARTUP = 10  # points that Optuna's tpe and gp draw at random before they choose
DRAWS = 20  # of a sampler until it gives a point that was not tried
MAX_LISTED = 100_000  # points of a space that are listed to find the untried ones


@dataclass(frozen=True)
class TriedPoint:
    """A point that was tried: its value (None if it failed or was pruned) and its curve by epoch."""

    point: Point
    value: float | None
    state: str  # finished, pruned, failed or running
    curve: Mapping[int, float] = field(default_factory=dict)


def ask(axes: Sequence[Axis], tried: Sequence[TriedPoint], method: str, seed: int, sign: int) -> dict[str, str]:
    """Return the next point: `random` draws it, `tpe` and `gp` prefer regions where points have been good.

    It is a point that was not tried, unless all points of a finite space were.
    """
    import optuna

    number = len(tried)
    draw = derive(seed, "sweep", number) % 2**32  # samplers accept a seed of 32 bits
    samplers = optuna.samplers
    make = {"random": samplers.RandomSampler, "tpe": samplers.TPESampler, "gp": samplers.GPSampler}[method]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # earlier versions of Optuna call the Gaussian process experimental
        sampler: Any = make(seed=draw)
    study = _study(sign, sampler=sampler)
    distributions = {axis.key: _distribution(axis) for axis in axes}
    for before in tried:
        study.add_trial(_trial(axes, distributions, before))
    known = {_place(axes, before.point) for before in tried}
    for _ in range(DRAWS):
        params = study.ask(distributions).params
        point = {axis.key: params[axis.key] if axis.texts else axis.text(params[axis.key]) for axis in axes}
        if _place(axes, point) not in known:
            return point
    # The sampler prefers what it knows: one of the few points that are left, drawn evenly.
    left = [] if space_size(axes) > MAX_LISTED else [each for each in _points(axes) if _place(axes, each) not in known]
    return left[draw % len(left)] if left else point


def _points(axes: Sequence[Axis]) -> Iterator[dict[str, str]]:
    """Yield every point of a finite space."""
    return grid([replace(axis, texts=axis.values()) for axis in axes])


def _place(axes: Sequence[Axis], point: Point) -> tuple[Any, ...]:
    """Return what identifies a point, however its values are spelled."""
    return tuple(canonical(point[axis.key]) for axis in axes)


@dataclass(frozen=True)
class Pruning:
    """The rule that decides from the curves of earlier points whether a run has fallen behind.

    `curves`: the metric by epoch of each earlier point; the keys are texts, as JSON has no other ones.
    """

    pruner: str
    metric: str
    sign: int
    epochs: int
    curves: list[dict[str, float]]

    def falls_behind(self, curve: Mapping[int, float]) -> bool:
        """Return whether a run with this curve is to be stopped after the curve's last epoch."""
        import optuna

        pruners = optuna.pruners
        pruner: Any = pruners.MedianPruner() if self.pruner == "median" else pruners.HyperbandPruner(1, self.epochs)
        study = _study(self.sign, pruner=pruner)
        for past in self.curves:
            # Hyperband remembers how far it let each run continue, so the earlier runs are reported to it again.
            self._report(study.ask(), {int(epoch): value for epoch, value in past.items()})
            study.tell(len(study.trials) - 1, next(reversed(past.values())))
        return self._report(study.ask(), curve)

    @staticmethod
    def _report(trial: "optuna.Trial", curve: Mapping[int, float]) -> bool:
        """Report a curve and return whether the trial is to be pruned after its last epoch."""
        pruned = False
        for epoch, value in curve.items():
            trial.report(value, epoch)
            pruned = trial.should_prune()  # asked after every epoch: it changes the state of Hyperband
        return pruned


def importance(axes: Sequence[Axis], points: Sequence[Mapping[str, Any]], values: Sequence[float]) -> dict[str, float]:
    """Return the share of the values' variance that each axis explains (fANOVA, Hutter et al. 2014)."""
    import optuna

    distributions = {axis.key: _distribution(axis) for axis in axes}
    study = _study(1)
    for point, value in zip(points, values, strict=True):
        study.add_trial(optuna.trial.create_trial(params=dict(point), distributions=distributions, value=value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls it experimental
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: share for key, share in shares.items() if math.isfinite(share)}


def _study(sign: int, **options: Any) -> "optuna.Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(study_name="study", direction="maximize" if sign > 0 else "minimize", **options)


def _distribution(axis: Axis) -> Any:
    from optuna import distributions as d

    if axis.texts:
        return d.CategoricalDistribution(axis.texts)
    if axis.integer:
        return d.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return d.FloatDistribution(axis.low, axis.high, log=axis.log)


def _trial(axes: Sequence[Axis], distributions: dict[str, Any], tried: TriedPoint) -> Any:
    import optuna

    params: dict[str, Any] = {}
    for axis in axes:
        text = tried.point[axis.key]
        params[axis.key] = text if axis.texts else int(axis.value(text)) if axis.integer else axis.value(text)
    State = optuna.trial.TrialState
    states = {"finished": State.COMPLETE, "pruned": State.PRUNED, "failed": State.FAIL, "running": State.RUNNING}
    # A finished point without a value, as of a metric that is not finite, would be refused as complete.
    state = State.FAIL if tried.state == "finished" and tried.value is None else states[tried.state]
    return optuna.create_trial(
        state=state,
        value=tried.value if state == State.COMPLETE else None,
        params=params,
        distributions=distributions,
        intermediate_values=dict(tried.curve),
    )
