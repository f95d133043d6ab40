"""The training of a study whose seeds are added until it is decided: the runs between two looks, and the looks."""

from collections.abc import Callable, Iterator, Sequence

from trainer.errors import ConfigError, RunError
from trainer.runtime.console import duration, say
from trainer.runtime.text import counted
from trainer.stats.looked import outcome_sentence
from trainer.stats.sequential import FAILED, look_counts
from trainer.study.axes import arm_of, point_label
from trainer.study.folder import Study
from trainer.study.looks import baseline_of, replay, standing, take
from trainer.study.manifest import Manifest
from trainer.study.plan import Plan, PlannedRun, plain
from trainer.study.results import StudyResults, results_of
from trainer.study.taken_looks import ending

Tell = Callable[[str], None]


def planned_size(plan: Plan) -> str:
    """Return the size of the study in words: "6 arms, at most 24 seeds each (144 runs)"."""
    return f"{_arms(plan)} arms until decided, at most {plan.settings.max_seeds} seeds each ({len(plan.runs)} runs)"


def first_seeds(plan: Plan) -> list[PlannedRun]:
    """Return the runs of the first seed, one for each arm and fold."""
    first = plan.runs[0].point["seed"]
    return [run for run in plan.runs if run.point["seed"] == first]


def expectations(plan: Plan, seconds: float) -> Iterator[str]:
    """Yield how many runs to expect if one arm leads all others by so many standard deviations. `seconds`: of a run."""
    from trainer.stats.simulation import expected_runs  # NumPy and scipy

    counts, arms, runs = look_counts(plan.settings.max_seeds, plan.settings.looks), _arms(plan), len(first_seeds(plan))
    yield f"Looks at {', '.join(map(str, counts))} seeds. Runs to expect if one arm differs from all others:"
    for gap, each, decided in expected_runs(arms, counts, plan.settings.baseline is not None):
        count = round(each * runs / arms)
        deviations = f"{gap:g} standard deviation{'s' if gap != 1 else ''} between seeds"
        share = f"decided in {decided:.0%} of such studies"
        yield f"  by {deviations}: {count} runs, {duration(count * seconds)}; {share}"


def refuse_changed(study: Study) -> None:
    """Raise RunError if a look comes out otherwise than it was recorded, ConfigError if the maximum is lower now."""
    if not study.looks:
        return
    highest, asked = max(taken.maximum for taken in study.looks), study.settings.max_seeds
    if asked < highest:
        raise ConfigError(
            f"sweep.max_seeds={asked}: {study.folder} was looked at with a maximum of {highest}. Give {highest} or more"
        )
    if changed := replay(results_of(Manifest.read(study.folder))).changed:
        raise RunError(
            f"{study.folder}: the results of the look at {changed} seeds are not those that were looked at, so that its"
            " level does not hold. With retrain=true the study begins anew"
        )


def runs_between_looks(plan: Plan, study: Study, tell: Tell) -> Iterator[Sequence[PlannedRun]]:
    """Yield the runs that the next look needs, and look when they have ended, until the study has.

    `tell` is called with what is to be shown of the looks. A failed run is tried again before its look, not after it.
    """
    counts, arms = look_counts(plan.settings.max_seeds, plan.settings.looks), _arms(plan)
    seeds = study.looks[-1].n if study.looks else 0
    if study.looks:
        tell(standing(counts, study.looks, arms))
    while not ending(study.looks, plan.settings.max_seeds):
        number = next(place for place, count in enumerate(counts) if count > seeds)
        out = {arm for taken in study.looks for arm in taken.dropped}
        batch = [
            run
            for run in plan.runs
            if seeds <= int(plain(run.point)["seed"]) < counts[number]
            and point_label(plain(arm_of(run.point))) not in out
        ]
        if not study.looks:
            tell(f"look 1 of {len(counts)} comes at {counts[0]} seeds")
        yield batch
        results = results_of(Manifest.read(study.folder))
        if not _look(results, study, counts, number):
            return
        seeds = counts[number]
        tell(standing(counts, study.looks, arms))


def _look(results: StudyResults, study: Study, counts: tuple[int, ...], number: int) -> bool:
    """Take the look, record and show it; return False if there was nothing to look at."""
    found = replay(results)
    taken, record = take(results, found.left, counts, number)
    start = f"Look {number + 1} of {len(counts)} at {counts[number]} seeds"
    if taken.outcome == FAILED:
        lost = baseline_of(results) or "any arm"
        say(f"{start}: not taken, as no run of {lost} has finished. The same command tries failed runs again", "yellow")
        return False
    study.looks.append(record)
    study.save()  # at once: a look that was taken is not taken otherwise after a kill
    dropped = f"{', '.join(taken.dropped)} dropped" if taken.dropped else "no arm dropped"
    if taken.outcome:
        end = outcome_sentence(taken, taken.outcome, counts, results.design, baseline_of(results) or "")
    else:
        end = f"{len(taken.remaining)} of {counted(len(results.arms), 'arm')} left"
    say(f"{start} (level {record.level:.2g}): {dropped}. {end}", "bold")
    return True


def _arms(plan: Plan) -> int:
    return len({point_label(plain(arm_of(run.point))) for run in plan.runs})
