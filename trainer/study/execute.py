"""The life of one study: fix the runs, train those that are not yet trained, report the results."""

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from trainer.config.check import check
from trainer.errors import ConfigError, RunError, as_reported, tell_folder
from trainer.records.outcome import DONE
from trainer.records.wandb_replay import mirror_records
from trainer.runtime.console import say, warn
from trainer.runtime.files import WRITING, make_folder
from trainer.runtime.lock import locked
from trainer.runtime.text import counted
from trainer.stats.arms import ranked
from trainer.storage.untrusted import refuse_links
from trainer.study.axes import ARM, Axis, arm_of, narrowed, space_size
from trainer.study.borders import warn_of_borders_by_technique
from trainer.study.fairness import examine, refuse_ignored_settings
from trainer.study.final_table import show_results
from trainer.study.fingerprint import DataFingerprints
from trainer.study.folder import Study
from trainer.study.growth import added_values
from trainer.study.history import ended_points, history
from trainer.study.launch import Launch
from trainer.study.live_table import LiveTable
from trainer.study.locate import first_runs, located
from trainer.study.manifest import Change, Entry, Manifest
from trainer.study.plan import Plan, PlannedRun
from trainer.study.search import TriedPoint, ask
from trainer.study.search_warnings import search_warnings
from trainer.study.tuning import confirmation, described, fresh, tuned_batches
from trainer.study.until_decided import planned_size, refuse_changed, runs_between_looks
from trainer.techniques.doubts import doubtful_settings

MOST_WARNINGS = 5  # of settings


@dataclass(frozen=True)
class StudyResult:
    """`exit_code`: 0, or 1 if a run failed. `folder`: None after a dry run. `trained`: runs that finished just now."""

    exit_code: int
    folder: Path | None = None
    trained: int = 0


def run_study(plan: Plan, home: Path | None = None) -> StudyResult:
    """Run the study, or the rest of it. Raises ConfigError or RunError before anything is trained.

    `home`: the folder of the study that is to be continued, wherever it lies.
    """
    fingerprints = DataFingerprints()
    plan, study = located(plan, fingerprints, home)
    for sentence in plan.settings.asked:
        say(sentence)
    study.fairness = _compare_fairly(plan)
    _warn_of_settings(plan, first_runs(plan))
    if plan.settings.dry_run:
        from trainer.study.dry_run import dry_run

        return StudyResult(dry_run(plan, study))
    # Nothing is written before this: a mistake, or a dry run, leaves no folder.
    with locked(_make(study.folder)):
        refuse_links(study.folder)  # in an untrusted folder a link could lead writes out of it
        for torn in study.folder.glob(f".*.{WRITING}"):  # left by a kill
            shutil.rmtree(torn) if torn.is_dir() else torn.unlink(missing_ok=True)
        _begin(plan, study, fingerprints)
        # Counted before training, to report how many runs this call has trained.
        table, before = LiveTable(study, plan), _count_done(study)
        table.expect(study.entries)
        try:
            with table:
                completed = _train(plan, study, fingerprints, Launch(plan, study, table.run_ended), table)
        except KeyboardInterrupt as error:
            tell_folder(error, study.folder)
            same = "The same command without retrain=true" if plan.retrain else "The same command"
            say(f"Stopped: {table.ended} of {counted(table.total, 'run')} ended. {same} continues from here", "yellow")
            raise as_reported(error) from None
        finally:
            study.note_ended()
        _send_reused(study)
        exit_code = show_results(plan, study.folder, 0 if completed else table.total - table.ended)
        return StudyResult(exit_code, study.folder, _count_done(study) - before)


def _make(folder: Path) -> Path:
    """Create the study's folder. Raises RunError with what would help."""
    try:
        return make_folder(folder)
    except RunError as error:
        raise RunError(f"{error}. Name another place: output_root=FOLDER, or output_dir=FOLDER for one study") from None


def _compare_fairly(plan: Plan) -> dict[str, tuple[str, ...]] | None:
    """Warn of differences between arms besides what is compared, and return them; None if they are not examined.

    Raises ConfigError under `fairness_check=strict`.
    """
    refuse_ignored_settings(plan)
    if plan.settings.fairness_check == "off":
        return None
    fairness = examine(plan)
    if fairness.unfair and plan.settings.fairness_check == "strict":
        raise ConfigError(f"sweep.fairness_check=strict: {'; '.join(fairness.unfair)}")
    for sentence in fairness.unfair:
        warn(f"not a fair comparison: {sentence}")
    for sentence in fairness.consequences:
        say(f"Note: {sentence}")
    return {"unfair": fairness.unfair, "implied": fairness.consequences}


def _warn_of_settings(plan: Plan, runs: Sequence[PlannedRun]) -> None:
    """Warn of doubtful settings in the runs of a grid or at a corner of a search; each sentence once."""
    doubts = (sentence for run in runs for sentence in doubtful_settings(run.config))
    sentences = [*search_warnings(plan, runs), *doubts]
    unique = list(dict.fromkeys(sentences))
    for sentence in unique[:MOST_WARNINGS]:
        warn(sentence)
    if len(unique) > MOST_WARNINGS:
        warn(f"{len(unique) - MOST_WARNINGS} more warnings like these")


def _begin(plan: Plan, study: Study, fingerprints: DataFingerprints) -> None:
    """Create the manifest, or add new runs to an existing one, and print the first line."""
    existed = study.open()
    ended, known = _count_done(study), len(study.entries)
    moment = datetime.now(timezone.utc).isoformat(timespec="seconds")
    grown = existed and plan.runs and plan.settings.until is None
    more = added_values(Manifest.read(study.folder), plan) if grown else ""
    refuse_changed(study)
    for run in plan.runs if plan.settings.until is None else ():
        study.add(run, fingerprints.of(run.config))
    if added := len(study.entries) - known if existed and plan.runs else 0:
        study.changes.append(Change(moment, f"added ({more})" if more else "added", added, ended))
    if existed and ended and (before := Manifest.read(study.folder).settings.score) != plan.settings.score:
        changed = f"sweep.score was changed from {before} to {plan.settings.score}"
        study.changes.append(Change(moment, changed, 0, ended))
    if plan.retrain:
        study.set_aside()
    study.save()
    done = _count_done(study)
    before = f"; {counted(done, 'is', 'are')} finished already" if done else ""
    if plan.sweep.ablation:
        before += f". {plan.sweep.ablation.sentence}"
    if plan.settings.baseline is not None:
        before += f". All arms are compared with {plan.settings.baseline}"
    say(f"{'Continuing' if existed else 'Starting'} {study.folder}: {_size(plan)}{before}", "bold")


def _size(plan: Plan) -> str:
    """Return in words how much the study trains."""
    if plan.settings.until is not None:
        return planned_size(plan)
    if plan.sweep.tuned:
        return described(plan)
    if plan.runs:
        return counted(len(plan.runs), "run")
    settings, points = plan.settings, plan.stage(1)[0]
    what = f"{counted(points, 'point')} by {settings.method}"
    if points < settings.trials:
        what += f", all that there are (sweep.trials={settings.trials})"
    repeats = math.prod(len(axis.texts) for axis in plan.replicates)
    what += f", each {repeats} times" if repeats > 1 else ""
    again = f", then the best {settings.confirm} again with {fresh(plan, settings.confirm_seeds).described()}"
    return what + (again if settings.confirm else "")


def _send_reused(study: Study) -> None:
    """Write the W&B runs of the runs that were taken from other studies, so that the group holds all arms."""
    reused = [entry for entry in study.entries if entry.source and entry.config["wandb"]["mode"] != "disabled"]
    mirror_records([(study.path(entry), check(entry.config, needed=())) for entry in reused])


def _count_done(study: Study) -> int:
    return sum(study.outcome(entry).state in DONE for entry in study.entries)


def _train(plan: Plan, study: Study, data: DataFingerprints, launch: Launch, table: LiveTable) -> bool:
    """Train all runs and return True, or False if a failure ended the study before all were started."""
    for stage, trials, runs in _batches(plan, study, launch.parallel, table):
        added = [study.add(run, data.of(run.config), trial, stage) for run, trial in zip(runs, trials, strict=True)]
        entries = list(dict.fromkeys(added))  # a seed that is typed twice is trained once
        study.save()  # before the first of them starts, so that a continued study has the same points
        table.expect(entries)
        threads = launch.threads(len(entries) if plan.runs else launch.parallel)
        for entry in entries:
            if study.outcome(entry).state not in DONE:
                study.prepare(entry, _job(plan, study, entry, threads, _first_of_batch(entry.trial, launch.parallel)))
        completed = launch.run(entries)
        if completed and plan.settings.on_error == "retry":
            failed = [entry for entry in entries if study.outcome(entry).state == "failed"]
            completed = launch.run(failed)
        if not completed:
            return False
    return True


def _batches(
    plan: Plan, study: Study, parallel: int, table: LiveTable
) -> Iterator[tuple[int, list[int], Sequence[PlannedRun]]]:
    """Yield (stage, trial of each run, runs) of each batch: all of a grid, or as many points as train at a time.

    A study that goes on until it is decided trains the runs between two looks at a time. A search reads the results of
    a batch before it chooses the next one.
    """
    if plan.settings.until is not None:
        for runs in runs_between_looks(plan, study, table.tell_looks):
            yield 1, [0] * len(runs), runs
        return
    if plan.runs:
        yield 1, [0] * len(plan.runs), plan.runs
        return
    if plan.sweep.tuned:
        yield from tuned_batches(plan, study, parallel)
        return
    settings, axes = plan.settings, plan.axes
    for stage in range(1, settings.stages + 1):
        trials, epochs = plan.stage(stage)
        if stage > 1:
            axes = _next_stage(plan, study, axes, stage, trials, epochs)
            trials = int(min(trials, space_size(axes)))
        study.points = trials
        while (count := len(tried := history(plan, study, stage))) < trials:
            runs, numbers = list[PlannedRun](), list[int]()
            # Points that were chosen before a kill are kept: chosen again, they would be based on other results. For
            # the same reason a partly finished batch is completed with its points before the next one is chosen.
            chosen = {entry.trial: arm_of(entry.texts) for entry in study.entries if entry.stage == stage}
            first = _first_of_batch(count, parallel)
            del tried[first:]
            for number in range(first, min(first + parallel, trials)):
                seed = settings.seed + 1000 * stage  # each stage draws other points
                point = chosen.get(number) or ask(axes, tried, settings.method, seed, settings.sign)
                tried.append(TriedPoint(point, None, "running"))
                if number >= count:
                    planned = plan.runs_at(point, epochs)
                    runs += planned
                    numbers += [number] * len(planned)
            yield stage, numbers, runs
        if trials == space_size(axes):
            say(f"All {trials} points{' of this stage' if settings.stages > 1 else ''} are tried", "bold")
    if settings.confirm:
        yield confirmation(plan, study)


def _first_of_batch(trial: int, parallel: int) -> int:
    """Return the first trial of a trial's batch: points that train together are chosen from the results before it."""
    return trial - trial % parallel


def _next_stage(
    plan: Plan, study: Study, axes: tuple[Axis, ...], stage: int, trials: int, epochs: int
) -> tuple[Axis, ...]:
    """Return the axes around the best quarter of the stage before; print them, and store them with the reason."""
    complete = [arm for arm in ended_points(study, stage - 1) if len(arm.values) == len(arm.entries)]
    if not complete:
        warn(f"stage {stage - 1} has no finished point: stage {stage} keeps the whole range")
        return axes
    order = ranked(complete, plan.settings.sign)
    warn_of_borders_by_technique(plan, axes, order, f"of stage {stage - 1}")
    best = order[: max(1, len(complete) // 4)]
    narrow = tuple(narrowed(axis, [arm.texts for arm in best]) for axis in axes)
    changes = [
        f"{new.described()} instead of {old.described()}".replace(f"{ARM}=", "")
        for old, new in zip(axes, narrow, strict=True)
        if new != old
    ]
    why = f"the best {len(best)} of {counted(len(complete), 'point')} lie there"
    where = "; ".join(changes) or "the same range"
    size = f"{counted(trials, 'point')} of {counted(epochs, 'epoch')}"
    text = f"Stage {stage} of {plan.settings.stages}: {size} in {where}: {why}"
    # A continued study has stored the stage already.
    if all(stored["stage"] != stage for stored in study.stages):
        study.stages.append({"stage": stage, "axes": [axis.described() for axis in narrow], "why": why, "text": text})
        study.save()
    say(text, "bold")
    return narrow


def _job(plan: Plan, study: Study, entry: Entry, threads: int | None, before: int) -> dict[str, object]:
    """Return the job of a worker; its run is compared with the curves of the first `before` points."""
    settings = plan.settings
    if settings.pruner == "none" or entry.stage > settings.stages:  # what confirms a point comes to its end
        return {"threads": threads, "pruning": None}
    curves = [dict(point.curve) for point in history(plan, study, entry.stage)[:before] if point.curve]
    epochs = int(entry.config["epochs"])
    pruning = {"pruner": settings.pruner, "metric": settings.metric, "sign": settings.sign, "epochs": epochs}
    return {"threads": threads, "pruning": {**pruning, "curves": curves}}
