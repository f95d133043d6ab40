"""The plan of a study: every run of it composed and checked before the first one starts. Imports no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainer.config.check import check_sweep
from trainer.config.compose import Multirun, interpret
from trainer.config.directions import USUAL, direction_of
from trainer.config.hydra_errors import reworded
from trainer.config.run_config import RunConfig, SweepConfig
from trainer.config.schema import techniques
from trainer.config.suggestions import no_such_option
from trainer.errors import ConfigError
from trainer.runtime.text import counted
from trainer.stats.score_rule import count_of
from trainer.stats.times import TIMES
from trainer.study.ablation import told_arm
from trainer.study.arm_names import arm_names, named_arm
from trainer.study.ask import refuse_unanswerable_plan
from trainer.study.axes import (
    ARM,
    Axis,
    Point,
    arm_of,
    command_at,
    corners,
    grid,
    plain_override,
    point_label,
    space_size,
)
from trainer.study.blocks import check_blocks
from trainer.study.scales import refuse_other_scales
from trainer.study.sweeper import Sweep, read_sweep
from trainer.study.tunable import integer_hint, trials_of, with_tuning

PROGRESS_FROM = 20  # points: composing more takes over a second and shows a progress bar
MAX_RUNS = 100_000  # of a grid: composing them takes an hour


@dataclass(frozen=True)
class PlannedRun:
    """A run of the plan: its place on the axes, replicates included, and its checked configuration.

    `fresh`: it has another seed than the runs of the comparison or search, to tune an arm or to confirm a point.
    """

    point: Point
    config: RunConfig
    fresh: bool = False


@dataclass(frozen=True)
class Plan:
    """A study: `axes` are compared, `replicates` (seeds, folds) repeat each point, `runs` are those of a grid.

    random, tpe and gp have no `runs`: their points are chosen one after the other, and `runs_at` composes them. Nor has
    a study whose arms are tuned: its runs depend on the best values.
    """

    arguments: tuple[str, ...]
    sweep: Sweep
    settings: SweepConfig
    retrain: bool
    axes: tuple[Axis, ...]
    replicates: tuple[Axis, ...]
    launcher: str
    epochs: int = 0
    runs: tuple[PlannedRun, ...] = ()
    dataset: str = ""
    output_root: str | None = None
    output_dir: str | None = None
    seed: int = 0  # of its runs, where no axis varies it

    @classmethod
    def of(cls, sweep: Sweep, arguments: tuple[str, ...]) -> "Plan":
        """Compose and check every run of a grid, or the corners of a space to search. Raises ConfigError."""
        axes = tuple(axis for axis in sweep.axes if not axis.replicates)
        replicates = tuple(axis for axis in sweep.axes if axis.replicates)
        # One point is composed first: its settings decide how the others are made.
        corner = next(corners(sweep.axes), {})
        first = sweep.compose([*sweep.named_words(corner), *sweep.fixed, *_texts(corner)])
        settings = check_sweep(first.sweep, first.overrides, first.files)
        if not isinstance(first.retrain, bool):
            raise ConfigError(f"retrain={first.retrain!r} (command line): must be true or false")
        if first.tree.get("resume") is not None:
            raise ConfigError("resume= continues a single run: leave -m out. A study is continued by its own command")
        settings = with_tuning(_directed(settings), sweep.tuned, first.overrides)
        if sweep.ablation:
            settings = settings.model_copy(update={"baseline": sweep.ablation.baseline})
        _refuse_unsearchable(settings, axes, replicates)
        refuse_unanswerable_plan(settings, axes, replicates, sweep.ablation)
        launcher = str(sweep.config.hydra.runtime.choices.get("hydra/launcher", "basic"))
        with integer_hint(axes):
            checked = first.checked()
        if settings.concurrent != 1 and launcher != "basic":
            raise ConfigError(
                f"sweep.concurrent={settings.concurrent} trains in one process, hydra/launcher={launcher} in several:"
                " give one of them"
            )
        plan = cls(
            arguments,
            sweep,
            settings,
            first.retrain,
            axes,
            replicates,
            launcher,
            checked.epochs,
            dataset=checked.dataset.name,
            output_root=checked.output_root,
            output_dir=checked.output_dir,
            seed=checked.seed,
        )
        if sweep.tuned:
            return plan._tunable()
        if settings.method != "grid":
            # Settings accept intervals: if both ends are accepted, so is every value between them.
            with integer_hint(axes):
                tried = [run for point in corners(axes) for run in plan.runs_at(point, plan.stage(1)[1])]
            refuse_other_scales(settings, [run.config.loss for run in tried])
            _compared_points(settings, tried)
            return plan
        points = list(grid(axes))
        if len(points) > PROGRESS_FROM:
            from trainer.runtime.console import progress  # rich is imported late: a mistake above is reported sooner

            runs = [run for point in progress(points, f"Composing {len(points)} points") for run in plan.runs_at(point)]
        else:
            runs = [run for point in points for run in plan.runs_at(point)]
        refuse_other_scales(settings, [run.config.loss for run in runs])
        plan._refuse_no_baseline(_compared_points(settings, runs))
        return replace(plan, runs=tuple(runs))

    def _tunable(self) -> "Plan":
        """Compose and check every arm at the ends of what is tuned, and return the plan. Raises ConfigError."""
        arms, ends = list(grid(self.axes)), list(corners(self.sweep.tuned))
        with integer_hint(self.sweep.tuned, "tune."):
            tried = [run for arm in arms for end in ends for run in self.runs_at({**arm, **end})]
        refuse_other_scales(self.settings, [run.config.loss for run in tried])
        tuned = {axis.key for axis in self.sweep.tuned}
        compared = _compared_points(self.settings, tried)
        self._refuse_no_baseline([{k: text for k, text in point.items() if k not in tuned} for point in compared])
        trials_of(self.settings, self.sweep.tuned)
        return self

    def _refuse_no_baseline(self, points: Sequence[dict[str, str]]) -> None:
        """Raise ConfigError if no arm has the name of `sweep.baseline`."""
        if self.settings.baseline is not None:
            names = arm_names([arm_of(point) for point in points], self.sweep.labels)
            named_arm(self.settings.baseline, names, f"sweep.baseline={self.settings.baseline}")

    @property
    def space(self) -> tuple[Axis, ...]:
        """The axes that are compared or searched, and those over which each arm is tuned."""
        return (*self.axes, *self.sweep.tuned)

    @property
    def trials(self) -> int:
        """The number of points at which each arm is tuned."""
        return trials_of(self.settings, self.sweep.tuned)

    def stage(self, number: int) -> tuple[int, int]:
        """Return (points, epochs) of a stage: half the points of the one before and three times its epochs.

        A space of fewer points is tried once.
        """
        # As in successive halving (Jamieson and Talwalkar 2016): later stages spend more on fewer points.
        shrink = 3 ** (self.settings.stages - number)
        points = max(1, self.settings.trials // 2 ** (number - 1))
        return int(min(points, space_size(self.axes))), max(1, round(self.epochs / shrink))

    @property
    def points(self) -> int:
        """The number of points that a search tries in all its stages."""
        return sum(self.stage(number)[0] for number in range(1, self.settings.stages + 1))

    def runs_at(
        self, point: Point, epochs: int | None = None, replicates: Sequence[Axis] | None = None
    ) -> list[PlannedRun]:
        """Return the runs at a point, one for each combination of seeds and folds, or of other `replicates`."""
        length = [] if epochs in (None, self.epochs) else [f"++epochs={epochs}"]
        runs = []
        for replicate in grid(self.replicates if replicates is None else replicates):
            place = {**point, **replicate}
            # The last value of a setting wins, so what is typed follows the settings of an arm.
            arm = self.sweep.named_words(place) or [text for text in place.get(ARM, "").split(" ") if text]
            with told_arm(self.sweep.ablation, place.get(ARM, "")):
                config = self.sweep.compose([*arm, *self.sweep.fixed, *_texts(place), *length]).checked()
            _refuse_unmeasured(self.settings.metric, config, place)
            if not length:  # an early stage of a search is shorter, and is scored on what it has
                _refuse_few_validations(self.settings.score, config)
            runs.append(PlannedRun(place, config, fresh=replicates is not None))
        return runs

    def command(self, point: Point) -> str:
        """Return the command that trains this point alone, as a person types it."""
        named = self.sweep.ablation.words if self.sweep.ablation else {}
        varied = {axis.key for axis in (*self.sweep.axes, *self.sweep.tuned)}
        return command_at(self.arguments, varied, point, named)


def plan_of(request: Multirun) -> Plan:
    """Return the plan of a study, every run of it composed and checked. Raises ConfigError for the first mistake."""
    with reworded(("-m", *request.arguments)):
        return Plan.of(read_sweep(request.composer, request.overrides), request.arguments)


def plan_from(arguments: Sequence[str]) -> Plan:
    """Return the plan of the study that a command line with `-m` stands for. Raises ConfigError."""
    request = interpret(arguments)
    if not isinstance(request, Multirun):
        raise ConfigError(f"{' '.join(arguments)}: a study needs -m")
    return plan_of(request)


def _texts(point: Point) -> list[str]:
    return [text for key, text in point.items() if key != ARM]


def _directed(settings: SweepConfig) -> SweepConfig:
    """Return the settings with the direction of their metric, which a reader of the study may not know.

    Raises ConfigError if there is no such metric.
    """
    if settings.metric in USUAL:
        return settings
    direction, name = direction_of(settings.metric), settings.metric.removeprefix("validation_")
    if direction is None:
        raise ConfigError(no_such_option("metric", name, techniques("metric"), f"sweep.metric={settings.metric}"))
    return settings if settings.direction else settings.model_copy(update={"direction": direction})


def _refuse_unmeasured(metric: str, run: RunConfig, point: Point) -> None:
    """Raise ConfigError if a run does not record the metric that decides."""
    if metric in TIMES and run.early_stop_patience is not None:
        raise ConfigError(
            f"sweep.metric={metric.removeprefix('validation_')}: early_stop_patience={run.early_stop_patience} would"
            " end runs before they reach the target: give early_stop_patience=null"
        )
    if metric in USUAL or metric in run.further or metric in TIMES:
        return
    names = [choice.name for choice in run.metric] + [metric.removeprefix("validation_")]
    where = point_label(plain(point)) or "the run"
    raise ConfigError(
        f"sweep.metric={metric}: {where} does not measure it. Give every run 'metric=[{','.join(names)}]'"
    )


def _refuse_few_validations(score: str, run: RunConfig) -> None:
    """Raise ConfigError if a run is validated less often than its score needs, even if it does not stop early."""
    needed, validations = count_of(score), -(-run.epochs // run.validate_every)
    if needed > validations:
        raise ConfigError(
            f"sweep.score={score}: a run of {counted(run.epochs, 'epoch')} has {counted(validations, 'validation')}."
            f" Accepted here: cross, best, last, or mean:K up to mean:{validations}"
        )


def _compared_points(settings: SweepConfig, runs: Sequence[PlannedRun]) -> list[dict[str, str]]:
    """Return the points as they are compared: without what makes the blocks. Raises ConfigError for unfit blocks."""
    return check_blocks(settings, [plain(run.point) for run in runs], lambda index: runs[index].config.tree())


def _refuse_unsearchable(settings: SweepConfig, axes: Sequence[Axis], replicates: Sequence[Axis]) -> None:
    """Raise ConfigError for axes that the method cannot search, and for too many runs."""
    for axis in (*axes, *replicates):
        if not axis.texts and (settings.method == "grid" or axis.replicates):
            what = "sweep.method=random, tpe or gp" if not axis.replicates else f"a list, such as {axis.key}=0,1,2"
            raise ConfigError(f"{axis.described()} (command line): an interval needs {what}")
    # Counted before any run is composed.
    runs = math.prod(max(1, len(axis.texts)) for axis in (*axes, *replicates))
    if runs > MAX_RUNS:
        raise ConfigError(f"these axes make {runs} runs (command line): at most {MAX_RUNS}. Try sweep.method=random")
    if settings.until is not None and math.prod(len(axis.texts) for axis in axes) < 2:
        raise ConfigError(
            f"sweep.until={settings.until} compares arms: give a setting several values, such as optimizer=sgd,adam"
        )
    if settings.method != "grid" and not axes:
        raise ConfigError(
            f"sweep.method={settings.method} has nothing to search: give it an axis, such as"
            " 'lr=tag(log,interval(1e-4,1e-1))'"
        )
    if settings.method != "grid" and settings.baseline is not None:
        raise ConfigError(
            f"sweep.baseline={settings.baseline}: the arms of sweep.method={settings.method} are not known before"
        )
    if settings.stages > 1 and all(axis.texts for axis in axes):
        raise ConfigError(f"sweep.stages={settings.stages} narrows intervals; give one: 'lr=interval(0.001,0.1)'")


def plain(point: Point) -> dict[str, Any]:
    """Return the point as a person reads it: {"lr": "0.01"}; an arm keeps its settings in full."""
    return {
        key: plain_override(text) if key == ARM else plain_override(text).partition("=")[2]
        for key, text in point.items()
    }
