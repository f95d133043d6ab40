"""The story of one study: fix what will run, train what is not yet trained, say what came of it."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.errors import ConfigError, as_reported
from trainer.records.metrics import curve
from trainer.records.outcome import DONE
from trainer.runtime.console import say, waiting, warn
from trainer.runtime.files import WRITING, make_folder
from trainer.runtime.lock import locked
from trainer.storage.untrusted import refuse_links
from trainer.study.axes import Axis, arm_of, corners, narrowed, plain_override
from trainer.study.fairness import examine
from trainer.study.fingerprint import DataFingerprints, code_fingerprint, run_id
from trainer.study.folder import Study
from trainer.study.launch import Launch
from trainer.study.live_table import LiveTable, closing
from trainer.study.manifest import Entry
from trainer.study.plan import Plan, PlannedRun
from trainer.study.search import TriedPoint, ask


@dataclass(frozen=True)
class StudyResult:
    """`exit_code`: 0, or 1 if a run failed. `folder`: None after a dry run. `trained`: runs that finished just now."""

    exit_code: int
    folder: Path | None = None
    trained: int = 0


def run_study(plan: Plan) -> StudyResult:
    """Run the study, or the rest of it. Raises ConfigError or RunError before anything is trained."""
    fingerprints = DataFingerprints()
    first = plan.runs or plan.runs_at(next(corners(plan.axes)))
    code = code_fingerprint()
    with waiting("Reading the data"):
        identities = [run_id(run.config, code, fingerprints.of(run.config)) for run in first]
    if plan.runs:
        plan = replace(plan, runs=_without_twins(plan.runs, identities))
    study = Study(plan, code, fingerprints.known, list(dict.fromkeys(identities)))
    _compare_fairly(plan)
    if plan.settings.dry_run:
        from trainer.study.dry_run import dry_run

        return StudyResult(dry_run(plan, study))
    with locked(make_folder(study.folder)):
        refuse_links(study.folder)  # it may be a stranger's, and a link leads the writing anywhere
        for torn in study.folder.glob(f".*.{WRITING}"):  # left by a kill
            torn.unlink(missing_ok=True)
        _begin(plan, study, fingerprints)
        table, before = LiveTable(study, plan), _done(study)
        table.expect(study.entries)
        try:
            with table:
                whole = _train(plan, study, fingerprints, Launch(plan, study, table.seen), table)
        except KeyboardInterrupt as error:
            same = "The same command without retrain=true" if plan.retrain else "The same command"
            say(f"Stopped: {table.ended} of {table.total} runs ended. {same} goes on from here", "yellow")
            raise as_reported(error) from None
        exit_code = closing(plan, study, 0 if whole else table.total - table.ended)
        return StudyResult(exit_code, study.folder, _done(study) - before)


def _without_twins(runs: Sequence[PlannedRun], identities: Sequence[str]) -> tuple[PlannedRun, ...]:
    """What is typed may ask for a run twice, as lr=0.001,1e-3 does: it is trained once, and that is said once."""
    known: dict[str, PlannedRun] = {}
    pairs = [(known.setdefault(name, run), run) for run, name in zip(runs, identities, strict=True)]
    twins = [pair for pair in pairs if pair[0] is not pair[1]]
    if twins:
        first, second = (" ".join(map(plain_override, run.point.values())) for run in twins[0])
        what = f"{first} is asked for twice" if first == second else f"{first} and {second} are the same run"
        more = f" (one of {len(twins)} such pairs): each is" if len(twins) > 1 else ": it is"
        warn(f"{what}{more} trained once")
    return tuple(known.values())


def _compare_fairly(plan: Plan) -> None:
    """Warn of differences between arms besides what is compared. Raises ConfigError under `fairness_check=strict`."""
    if plan.settings.fairness_check == "off":
        return
    found = examine(plan)
    if found.unfair and plan.settings.fairness_check == "strict":
        raise ConfigError(f"sweep.fairness_check=strict: {'; '.join(found.unfair)}")
    for sentence in found.unfair:
        warn(f"not a fair comparison: {sentence}")
    for sentence in found.consequences:
        say(f"Note: {sentence}")


def _begin(plan: Plan, study: Study, fingerprints: DataFingerprints) -> None:
    known = study.open()
    for run in plan.runs:
        study.add(run, fingerprints.of(run.config))
    if plan.retrain:
        study.set_aside()
    study.save()
    done = _done(study)
    what = f"{len(plan.runs)} runs" if plan.runs else f"{plan.settings.trials} points by {plan.settings.method}"
    each = math.prod(len(axis.texts) for axis in plan.replicates)
    times = f", each {each} times" if each > 1 and not plan.runs else ""
    before = f"; {done} are finished already" if done else ""
    say(f"{'Going on with' if known else 'Starting'} {study.folder}: {what}{times}{before}", "bold")


def _done(study: Study) -> int:
    return sum(study.outcome(entry).state in DONE for entry in study.entries)


def _train(plan: Plan, study: Study, data: DataFingerprints, launch: Launch, table: LiveTable) -> bool:
    """False if a failure ended it before all runs were started."""
    for stage, trial, runs in _batches(plan, study, launch.parallel):
        added = [study.add(run, data.of(run.config), number, stage) for run, number in zip(runs, trial, strict=True)]
        entries = list(dict.fromkeys(added))  # a seed that is typed twice is trained once
        study.save()
        table.expect(entries)
        threads = launch.threads(len(entries) if plan.runs else launch.parallel)
        for entry in entries:
            if study.outcome(entry).state not in DONE:
                study.prepare(entry, _job(plan, study, entry, threads, _first_of_batch(entry.trial, launch.parallel)))
        go_on = launch.run(entries)
        if go_on and plan.settings.on_error == "retry":
            failed = [entry for entry in entries if study.outcome(entry).state == "failed"]
            go_on = launch.run(failed)
        if not go_on:
            return False
    return True


def _batches(plan: Plan, study: Study, parallel: int) -> Iterator[tuple[int, list[int], Sequence[PlannedRun]]]:
    """(stage, trial of each run, runs) to train at a time. A search reads the results before it asks again."""
    if plan.runs:
        yield 1, [0] * len(plan.runs), plan.runs
        return
    settings, axes = plan.settings, plan.axes
    for stage in range(1, settings.stages + 1):
        trials, epochs = plan.stage(stage)
        if stage > 1:
            axes = _next_stage(plan, study, axes, stage, trials, epochs)
        while (count := len(tried := history(plan, study, stage))) < trials:
            runs, numbers = list[PlannedRun](), list[int]()
            # What was asked for before a kill stays as it was: asked again, others would be known meanwhile. For the
            # same reason a batch of which some points are done is the batch that it was.
            known = {entry.trial: arm_of(entry.texts) for entry in study.entries if entry.stage == stage}
            first = _first_of_batch(count, parallel)
            del tried[first:]
            for number in range(first, min(first + parallel, trials)):
                seed = settings.seed + 1000 * stage
                point = known.get(number) or ask(axes, tried, settings.method, seed, settings.sign)
                tried.append(TriedPoint(point, None, "running"))
                if number >= count:
                    made = plan.runs_at(point, epochs)
                    runs += made
                    numbers += [number] * len(made)
            yield stage, numbers, runs


def _first_of_batch(trial: int, parallel: int) -> int:
    """Points that are tried at a time are asked for together, so none of them knows the others' results."""
    return trial - trial % parallel


def history(plan: Plan, study: Study, stage: int) -> list[TriedPoint]:
    """What has been tried in a stage; points that were begun and are not done count as untried at the end."""
    tried = []
    for entries in points(study, stage):
        outcomes = [study.outcome(entry) for entry in entries]
        if any(outcome.state not in (*DONE, "failed") for outcome in outcomes):
            break
        values = [outcome.value(plan.settings.metric) for outcome in outcomes]
        state = next((s for s in ("failed", "pruned") if any(o.state == s for o in outcomes)), "finished")
        complete = [value for value in values if value is not None]
        mean = statistics.mean(complete) if state == "finished" else None
        tried.append(TriedPoint(arm_of(entries[0].texts), mean, state, _mean_curve(plan, study, entries)))
    return tried


def points(study: Study, stage: int) -> list[list[Entry]]:
    """The entries of a stage by trial, in their order."""
    trials: dict[int, list[Entry]] = {}
    for entry in study.entries:
        if entry.stage == stage:
            trials.setdefault(entry.trial, []).append(entry)
    return [trials[number] for number in sorted(trials)]


def _mean_curve(plan: Plan, study: Study, entries: Sequence[Entry]) -> dict[int, float]:
    curves = [curve(study.path(entry), plan.settings.metric) for entry in entries]
    shared = set.intersection(*(set(each) for each in curves))
    return {epoch: statistics.mean(each[epoch] for each in curves) for epoch in sorted(shared)}


def _next_stage(
    plan: Plan, study: Study, axes: tuple[Axis, ...], stage: int, trials: int, epochs: int
) -> tuple[Axis, ...]:
    """The axes around the best quarter of the stage before; printed, and stored with the reason."""
    tried = [each for each in history(plan, study, stage - 1) if each.value is not None]
    if not tried:
        warn(f"stage {stage - 1} has no finished point: stage {stage} keeps the whole range")
        return axes
    tried.sort(key=lambda each: -plan.settings.sign * (each.value or 0.0))
    best = tried[: max(1, len(tried) // 4)]
    narrow = tuple(narrowed(axis, [each.point for each in best]) for axis in axes)
    changes = [
        f"{new.described()} instead of {old.described()}" for old, new in zip(axes, narrow, strict=True) if new != old
    ]
    why = f"the best {len(best)} of {len(tried)} points lie there"
    where = "; ".join(changes) or "the same range"
    text = f"Stage {stage} of {plan.settings.stages}: {trials} points of {epochs} epochs in {where}: {why}"
    if all(each["stage"] != stage for each in study.stages):
        study.stages.append({"stage": stage, "axes": [axis.described() for axis in narrow], "why": why, "text": text})
        study.save()
    say(text, "bold")
    return narrow


def _job(plan: Plan, study: Study, entry: Entry, threads: int | None, before: int) -> dict[str, object]:
    """What the worker needs beside the configuration; a run is held against the curves of so many points."""
    settings = plan.settings
    if settings.pruner == "none":
        return {"threads": threads, "pruning": None}
    curves = [dict(each.curve) for each in history(plan, study, entry.stage)[:before] if each.curve]
    epochs = int(entry.config["epochs"])
    pruning = {"pruner": settings.pruner, "metric": settings.metric, "sign": settings.sign, "epochs": epochs}
    return {"threads": threads, "pruning": {**pruning, "curves": curves}}
