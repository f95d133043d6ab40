"""The looks of a study that trains seeds until it is decided, taken anew from its results. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trainer.errors import ConfigError
from trainer.records.outcome import DONE
from trainer.stats import looked
from trainer.stats.arms import Arm
from trainer.stats.finding import Finding
from trainer.stats.sequential import DECIDED, Look, by_seed, look, look_counts
from trainer.stats.verdict import Verdict
from trainer.study.arm_names import arm_names, named_arm
from trainer.study.axes import point_label
from trainer.study.manifest import Manifest
from trainer.study.other_images import on_other_images
from trainer.study.results import StudyArm, StudyResults, arms_of
from trainer.study.taken_looks import BETTER, LOST, WORSE, TakenLook, digest_of, ending


@dataclass(frozen=True)
class Replay:
    """The looks that a study has taken, computed from its results. `left`: the arms that get more seeds.

    `changed`: the seeds of the first look that comes out otherwise than it was recorded, 0 if there is none.
    """

    looks: tuple[Look, ...]
    left: tuple[StudyArm, ...]
    changed: int


def replay(results: StudyResults) -> Replay:
    """Take the looks of a study anew, in order, each with the values of its seeds alone."""
    assert results.until is not None
    left, looks, changed = list(results.arms), list[Look](), 0
    for recorded in results.until.taken:
        counts = look_counts(recorded.maximum, results.until.looks)
        if recorded.n not in counts:
            return Replay(tuple(looks), tuple(left), changed or recorded.n)
        taken, record = take(results, left, counts, counts.index(recorded.n))
        same = (record.digest, record.dropped, record.outcome) == (recorded.digest, recorded.dropped, recorded.outcome)
        changed = changed or (0 if same else recorded.n)
        looks.append(taken)
        left = [arm for arm in left if key_of(arm) not in record.dropped]
    return Replay(tuple(looks), tuple(left), changed)


def take(
    results: StudyResults, left: Sequence[StudyArm], counts: tuple[int, ...], number: int
) -> tuple[Look, TakenLook]:
    """Look at these arms at counts[number] seeds: return the look, and what the study records of it."""
    assert results.until is not None
    seeds, keys = counts[number], {arm.name: key_of(arm) for arm in left}
    arms = [Arm(arm.name, by_seed(arm.values, results.until.repeats, seeds)) for arm in left]
    taken = look(arms, results.design, counts, number, baseline_of(results))
    reasons = dict[str, str]()
    for each in taken.told:
        for arm, other_sign in ((each.first, 1), (each.second, -1)):
            if arm.name in taken.dropped:
                better = other_sign * each.difference * results.design.sign > 0
                reasons[keys[arm.name]] = BETTER if better else WORSE
    reasons |= {keys[arm.name]: LOST for arm in taken.failed}
    digest = digest_of({keys[arm.name]: arm for arm in arms})
    return taken, TakenLook(seeds, counts[-1], taken.level, digest, reasons, taken.outcome)


def key_of(arm: StudyArm) -> str:
    """Return the settings of an arm, by which looks are recorded: its name may be changed."""
    return point_label(arm.point)


def baseline_of(results: StudyResults) -> str | None:
    """Return the present name of the arm of `sweep.baseline`."""
    if results.baseline is None:
        return None
    names = arm_names([arm.point for arm in results.arms], {})
    every = [*(arm.name for arm in results.arms), *names]  # an arm that was renamed is known by its first name, too
    return results.arms[every.index(named_arm(results.baseline, every, "sweep.baseline")) % len(names)].name


def contenders(study: Manifest, arms: Sequence[StudyArm]) -> list[StudyArm]:
    """Return the arms that may be the best of a study: those that no look has dropped as worse."""
    out = {arm for taken in study.looks for arm, why in taken.dropped.items() if why != BETTER}
    return [arm for arm in arms if key_of(arm) not in out]


def end_of(study: Manifest, arm: StudyArm) -> str:
    """Return what the looks have made of an arm: "worse, 4 seeds", or "left"."""
    found = ((taken.n, taken.dropped[key_of(arm)]) for taken in study.looks if key_of(arm) in taken.dropped)
    return next((f"{why}, {seeds} seeds" for seeds, why in found), "left")


def open_looks(study: Manifest) -> str:
    """Return how far the looks of a study are, "look 3 of 7 at 6 seeds: 4 of 6 arms left"; "" if none is to come."""
    settings = study.settings
    if settings.until is None or ending(study.looks, settings.max_seeds):
        return ""
    counts = look_counts(settings.max_seeds, settings.looks)
    if not study.looks:
        return f"look 1 of {len(counts)} comes at {counts[0]} seeds"
    return standing(counts, study.looks, len(arms_of(study, study.entries)))


def standing(counts: Sequence[int], looks: Sequence[TakenLook], arms: int) -> str:
    """Return the last look and the arms that are left: "look 3 of 7 at 6 seeds: 4 of 6 arms left"."""
    last, out = looks[-1].n, sum(len(taken.dropped) for taken in looks)
    number = sum(seeds <= last for seeds in counts)
    return f"look {number} of {len(counts)} at {last} seeds: {arms - out} of {arms} arms left"


def looked_verdict(results: StudyResults, equal: tuple[str, ...]) -> Verdict:
    """Return the verdict of the looks that were taken."""
    until, design = results.until, results.design
    assert until is not None
    found, baseline = replay(results), baseline_of(results) or ""
    method = looked.method_sentence(until.counts, design, baseline, until.repeats)
    if not found.looks:
        reason = f"No look has been taken yet: the first of {len(until.counts)} is at {until.counts[0]} seeds"
        return Verdict(design, (), (reason,), method, equal=equal, baseline=baseline, looked=True, open=True)
    last, reasons = found.looks[-1], list[str]()
    if found.changed:
        reasons.append(
            f"The results of the look at {found.changed} seeds are not those that were looked at: its level does not"
            " hold any more"
        )
    for each in found.looks:
        reasons += [f"{arm.name} was dropped at {each.seeds} seeds: none of its runs finished" for arm in each.failed]
    reasons += _incomplete(last)
    comparisons = looked.compared(found.looks)
    pairs = last.comparisons  # of one arm that has values there are none
    reference = (pairs[0].second if baseline else pairs[0].first).name if pairs else last.remaining[0].name
    winner = reference if until.outcome == DECIDED and not baseline else ""
    judged = Verdict(
        design,
        comparisons,
        tuple(reasons),
        method,
        equal=equal,
        reference=reference,
        baseline=baseline,
        planned=bool(baseline),
        looked=True,
        open=not until.outcome,
        winner=winner,
    )
    judged = on_other_images(judged, results) if until.repeats == 1 else judged
    finding = _finding(results, found, baseline)
    return replace(judged, findings=(finding,), outcome=finding.sentence)


def _incomplete(last: Look) -> list[str]:
    """Return a sentence for each arm that has lost seeds which another one has."""
    most = max(len(arm.values) for arm in last.remaining)
    return [
        f"{arm.name} lost {most - len(arm.values)} of its {last.seeds} seeds: it is not compared seed by seed, and it"
        " cannot win"
        for arm in last.remaining
        if len(arm.values) < most
    ]


def _finding(results: StudyResults, found: Replay, baseline: str) -> Finding:
    """Return how the study has ended, with its false alarms and its runs."""
    until = results.until
    assert until is not None
    # A maximum that is raised once the study has ended allows no further look.
    maxima = list(
        dict.fromkeys([*(taken.maximum for taken in until.taken), *([] if until.outcome else [until.maximum])])
    )
    counts = look_counts(maxima[-1], until.looks)
    outcomes = [outcome for arm in results.arms for outcome in arm.outcomes]
    trained = sum(outcome.state in (*DONE, "failed") for outcome in outcomes)
    most = len(results.arms) * maxima[-1] * until.repeats
    ended = looked.outcome_sentence(found.looks[-1], until.outcome, counts, results.design, baseline)
    errors = looked.errors_sentence(maxima, len(counts), trained, most)
    figures = {
        **looked.figures(found.looks, until.outcome, counts),
        "false_alarms": 0.05 * len(maxima),
        "runs_trained": trained,
        "runs_at_most": most,
    }
    return Finding("looks", f"{ended}. {errors}", figures)


def refuse_other_baseline(results: StudyResults, baseline: str | None) -> None:
    """Raise ConfigError for a baseline that was named after the looks."""
    if baseline is not None and results.until is not None:
        raise ConfigError(
            f"--baseline={baseline}: the looks of sweep.until=decided have compared other pairs. sweep.baseline names"
            " an arm before the first run"
        )
