"""The verdict on the results of a study, and the answers to what else was asked. Imports no torch."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from trainer.config.recorded import typed_settings
from trainer.errors import ConfigError
from trainer.runtime.text import counted
from trainer.stats.blocks import judged_in_steps, test_over_blocks, together
from trainer.stats.comparison import Comparison
from trainer.stats.design import Design
from trainer.stats.score_rule import CROSS, not_finite
from trainer.stats.verdict import Verdict, judge
from trainer.study.arm_names import arm_names, named_arm
from trainer.study.fingerprint import significant
from trainer.study.looks import looked_verdict, refuse_other_baseline
from trainer.study.other_images import on_other_images
from trainer.study.questions import findings
from trainer.study.results import BlockResults, StudyArm, StudyResults, is_finite


def verdict(results: StudyResults, baseline: str | None = None) -> Verdict:
    """Judge a study, against its own baseline if none is named here; of several blocks each, and then all together.

    Raises ConfigError if no arm with finished runs has the name of `baseline`.
    """
    if results.searched and results.searched.tuned and not results.searched.later:
        waiting = "The arms are still being tuned: nothing is compared yet"
        return Verdict(results.design, (), (waiting,), findings=tuple(findings(results, Verdict(results.design, ()))))
    return _of_blocks(results, baseline) if results.blocks else _answered(_judged(results, baseline), results)


def _of_blocks(results: StudyResults, baseline: str | None) -> Verdict:
    """Judge each block of a study, and then its arms over all blocks."""
    blocks, noun = results.blocks, results.blocks[0].noun
    if all(len(block.results.arms) < 2 for block in blocks):
        names = [block.name for block in blocks]
        reason = (
            f"Nothing to compare: scores on {', '.join(names[:-1])} and {names[-1]} do not measure the same, and each"
            " has one arm only. Give another setting several values, as in optimizer=sgd,adam"
        )
        return Verdict(results.design, (), (reason,))
    if baseline is not None:
        baseline = _named_in_blocks(blocks, baseline)
    verdicts = judged_in_steps([partial(_judged_block, block, baseline) for block in blocks])
    verdicts = [_answered(judged, block.results) for judged, block in zip(verdicts, blocks, strict=True)]
    arms = {block.name: (block.results.arms, block.results.design) for block in blocks}
    named = baseline or next((each.baseline for each in verdicts if each.baseline), None)
    planned = {arm.name for block in blocks if (arm := _planned_baseline(block.results)[0])}
    found = together(arms, named, named is not None and named not in planned, noun)
    return Verdict(
        results.design,
        (),
        test=test_over_blocks(verdicts, found, noun),
        images=next((f"{name}: {each.images}" for name, each in zip(arms, verdicts, strict=True) if each.images), ""),
        baseline=named or "",
        findings=tuple(each.finding(results.design) for each in found),
        blocks=tuple((block.name, judged) for block, judged in zip(blocks, verdicts, strict=True)),
    )


def _named_in_blocks(blocks: Sequence[BlockResults], baseline: str) -> str:
    """Return the name of the arm that is meant. Raises ConfigError if no block has it with a finished run."""
    names = dict.fromkeys(arm.name for block in blocks for arm in block.results.arms)
    name = named_arm(baseline, [*names], f"--baseline={baseline}")
    if not any(arm.values for block in blocks for arm in block.results.arms if arm.name == name):
        raise ConfigError(f"--baseline={baseline}: none of its runs has finished")
    return name


def _judged_block(block: BlockResults, baseline: str | None, blocks: int) -> Verdict:
    """Judge a block at its share of the 5 % of false alarms: one of `blocks`."""
    if baseline is None or any(arm.name == baseline and arm.values for arm in block.results.arms):
        return _judged(block.results, baseline, blocks)
    return Verdict(block.results.design, (), (f"no run of {baseline} has finished: nothing to compare with",))


def _judged(results: StudyResults, baseline: str | None, families: int = 1) -> Verdict:
    """Judge arms that are all compared with each other; `families`: the number of verdicts that share the 5 %."""
    equal = equal_arms(results.arms)
    if results.until is not None:
        refuse_other_baseline(results, baseline)
        return looked_verdict(results, equal)
    planned, reason = _planned_baseline(results)
    arm = planned
    if baseline is not None:
        arm = arm_named(results, baseline, f"--baseline={baseline}")
        if not arm.values:
            raise ConfigError(f"--baseline={baseline}: none of its runs has finished")
    name = arm.name if arm else None
    judged = replace(
        judge(results.arms, results.design, name, picked=arm is not planned, families=families),
        equal=equal,
        baseline=name or "",
    )
    judged = replace(judged, comparisons=_by_effect(judged, results.design))
    if unmeasured := nowhere_finite(results):
        return replace(judged, reasons=(f"{unmeasured}: there is nothing to compare{_whole(results)}",))
    return replace(judged, reasons=(*reason, *judged.reasons)) if arm is None else judged


def _answered(judged: Verdict, results: StudyResults) -> Verdict:
    """Return the verdict with the answers to further questions, and with how its differences are on other images."""
    if results.until is not None or nowhere_finite(results):  # a look is taken at what decides alone
        return judged
    return on_other_images(replace(judged, findings=tuple(findings(results, judged))), results)


def _by_effect(judged: Verdict, design: Design) -> tuple[Comparison, ...]:
    """Return the comparisons; those of an ablation by what a technique gains, the most first."""
    effects = design.effects
    if effects is None or judged.reference != effects.baseline:
        return judged.comparisons
    sign = design.sign if effects.added else -design.sign
    return tuple(sorted(judged.comparisons, key=lambda each: -sign * each.difference))


def _planned_baseline(results: StudyResults) -> tuple[StudyArm | None, tuple[str, ...]]:
    """Return the arm of `sweep.baseline`, and a sentence if it cannot be compared with."""
    if results.baseline is None:
        return None, ()
    # An arm that was renamed is still known by its name in the plan.
    planned = arm_names([arm.named for arm in results.arms], {})
    names = [*(arm.name for arm in results.arms), *planned]
    try:
        arm = results.arms[names.index(named_arm(results.baseline, names, "")) % len(results.arms)]
    except ConfigError:
        return None, (f"sweep.baseline={results.baseline} is no arm any more: the best one takes its place",)
    if not arm.values:
        return None, (f"No run of the baseline {arm.name} has finished: the best arm takes its place",)
    return arm, ()


def nowhere_finite(results: StudyResults) -> str:
    """Return a sentence if runs have finished and none has a finite value of the study's metric, else ""."""
    finished = sum(arm.states.get("finished", 0) for arm in results.arms)
    if not finished or any(arm.values for arm in results.arms):
        return ""
    design = results.design
    where = f"{design.metric} was not finite {not_finite(design.score)}"
    return f"{where} of {finished} of {counted(finished, 'run')}"


def _whole(results: StudyResults) -> str:
    """Return the score that measures all images at once, if it is finite where that of a half of them is not."""
    metric, outcomes = results.design.metric, [outcome for arm in results.arms for outcome in arm.outcomes]
    finite = any(is_finite(outcome.value(metric)) for outcome in outcomes)
    return ". sweep.score=best measures all of them at once" if finite and results.design.score == CROSS else ""


def arm_named(results: StudyResults, name: str, typed: str) -> StudyArm:
    """Return the arm of this name. Raises ConfigError, which begins with what was typed, if there is none."""
    chosen = named_arm(name, [arm.name for arm in results.arms], typed)
    return next(arm for arm in results.arms if arm.name == chosen)


def equal_arms(arms: Sequence[StudyArm]) -> tuple[str, ...]:
    """Return a sentence for each group of arms whose runs all gave the same results, to the last digit of the loss."""
    groups: dict[Any, list[StudyArm]] = {}
    for arm in arms:
        if all(outcome.state == "finished" and outcome.validation_loss is not None for outcome in arm.outcomes):
            groups.setdefault(_results_by_replicate(arm), []).append(arm)
    return tuple(_equal_sentence(same) for same in groups.values() if len(same) > 1)


def _equal_sentence(same: Sequence[StudyArm]) -> str:
    """Return that arms gave the same results, and what differs between them without having acted."""
    names = [arm.name for arm in same]
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    typed = [typed_settings(significant(arm.entries[0].config)) for arm in same]
    keys = {key for each in typed for key in each}
    unlike = {key.partition(".")[0] for key in keys if len({str(each.get(key)) for each in typed}) > 1}
    if unlike == {"scheduler"}:
        return (
            f"{listed} are the same run: their schedules gave the same learning rates, and their results are equal to"
            " the last digit"
        )
    return (
        f"{listed} are the same run: their results are equal to the last digit, so that what differs between them never"
        " acted"
    )


def _results_by_replicate(arm: StudyArm) -> tuple[Any, ...]:
    """Return the seed and fold of each run of an arm, with its length and its figures by every score, in order.

    Equal figures of the best epoch are not enough: what differs between two arms may act after it.
    """
    point = arm.point
    runs = [
        (
            tuple(value for key, value in entry.point.items() if key not in point),
            (outcome.epochs, outcome.validation_loss, outcome.validation_accuracy, str(sorted(outcome.scores.items()))),
        )
        for entry, outcome in zip(arm.entries, arm.outcomes, strict=True)
    ]
    return tuple(sorted(runs))
