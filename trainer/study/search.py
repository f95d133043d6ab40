"""Which points to try: all of a grid, or what Optuna asks for; and when a run has fallen behind.

A sampler is made anew for every point, seeded by the point's number and told all points before: so a study that was
killed and goes on asks for what it would have asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer.runtime.seeding import derive
from trainer.study.axes import Axis, Point

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class TriedPoint:
    """A point that was tried: its value (None if it failed or was pruned) and its curve by epoch."""

    point: Point
    value: float | None
    state: str  # finished, pruned, failed or running
    curve: Mapping[int, float] = field(default_factory=dict)


def ask(axes: Sequence[Axis], tried: Sequence[TriedPoint], method: str, seed: int, sign: int) -> dict[str, str]:
    """The next point: `random` draws it, `tpe` from where points have been good."""
    import optuna

    number = len(tried)
    draw = derive(seed, "sweep", number) % 2**32
    make = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}[method]
    sampler: Any = make(seed=draw)
    study = _study(sign, sampler=sampler)
    distributions = {axis.key: _distribution(axis) for axis in axes}
    for each in tried:
        study.add_trial(_trial(axes, distributions, each))
    trial = study.ask(distributions)
    return {axis.key: trial.params[axis.key] if axis.texts else axis.text(trial.params[axis.key]) for axis in axes}


@dataclass(frozen=True)
class Pruning:
    """Decides by the curves of the points before whether a run has fallen behind."""

    pruner: str
    metric: str
    sign: int
    epochs: int
    curves: list[dict[str, float]]

    def falls_behind(self, curve: Mapping[int, float]) -> bool:
        import optuna

        pruners = optuna.pruners
        pruner: Any = pruners.MedianPruner() if self.pruner == "median" else pruners.HyperbandPruner(1, self.epochs)
        study = _study(self.sign, pruner=pruner)
        for past in self.curves:
            # Played again, as Hyperband remembers for each run how far it was let go.
            self._play(study.ask(), {int(epoch): value for epoch, value in past.items()})
            study.tell(len(study.trials) - 1, next(reversed(past.values())))
        return self._play(study.ask(), curve)

    @staticmethod
    def _play(trial: "optuna.Trial", curve: Mapping[int, float]) -> bool:
        """Whether it is to be pruned after the last epoch."""
        pruned = False
        for epoch, value in curve.items():
            trial.report(value, epoch)
            pruned = trial.should_prune()
        return pruned


def _study(sign: int, **options: Any) -> "optuna.Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(study_name="study", direction="maximize" if sign > 0 else "minimize", **options)


def _distribution(axis: Axis) -> Any:
    from optuna import distributions as d

    if axis.texts:
        return d.CategoricalDistribution(axis.texts)
    if axis.whole:
        return d.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return d.FloatDistribution(axis.low, axis.high, log=axis.log)


def _trial(axes: Sequence[Axis], distributions: Mapping[str, Any], tried: TriedPoint) -> Any:
    import optuna

    params = {axis.key: tried.point[axis.key] if axis.texts else axis.value(tried.point[axis.key]) for axis in axes}
    params = {axis.key: int(params[axis.key]) if axis.whole and not axis.texts else params[axis.key] for axis in axes}
    State = optuna.trial.TrialState
    states = {"finished": State.COMPLETE, "pruned": State.PRUNED, "failed": State.FAIL, "running": State.RUNNING}
    state = states[tried.state] if tried.state != "finished" or tried.value is not None else State.FAIL
    return optuna.create_trial(
        state=state,
        value=tried.value if state == State.COMPLETE else None,
        params=params,
        distributions=dict(distributions),
        intermediate_values=dict(tried.curve),
    )
