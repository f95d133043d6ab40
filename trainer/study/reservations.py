"""The reservations about a study's verdict: changes in the light of results, runs without a value."""

from trainer.records.metrics import intact_metrics
from trainer.records.outcome import DAMAGED, MISSING
from trainer.runtime.text import counted
from trainer.stats.score_rule import CROSS, not_finite
from trainer.study.results import StudyResults, is_finite


def reservations(results: StudyResults) -> list[str]:
    """Return the sentences on what a reader of the verdict must know: changes in the light of results, missing runs."""
    return [*told_changes(results), *constant_rates(results), *missing_runs(results)]


def told_changes(results: StudyResults) -> list[str]:
    """Return a sentence for each change of the study that was made when results were known, and what follows."""
    changes = [change.sentence for change in results.changes if change.sentence]
    if changes:
        changes.append("A comparison that is changed in the light of its results errs in more than 5 % of cases")
        if any(change.adds_seeds for change in results.changes):
            changes.append(
                "Adding seeds until a verdict comes reports a difference in 14 to 17 % of studies of identical arms:"
                " sweep.until=decided adds them so that it is at most 5 %"
            )
    return changes


def constant_rates(results: StudyResults) -> list[str]:
    """Return a sentence for each arm whose schedule waits for a loss that stays, where it waited in vain.

    Schedules that wait for an epoch are told before the run, by `techniques/idle.py`.
    """
    sentences = []
    for arm in results.arms:
        scheduler, lr = (arm.entries[0].config.get(key) for key in ("scheduler", "lr"))
        if not isinstance(scheduler, dict) or scheduler.get("name") != "plateau":
            continue
        runs = [intact_metrics(folder)[0] for folder in arm.folders.values()]
        never = sum(bool(rows) and rows[-1]["lr"] == lr for rows in runs)
        if never:
            where = "its run" if len(runs) == 1 else f"{never} of {len(runs)} runs"
            sentences.append(f"{arm.name}: the rate was never lowered in {where}, as if it were constant")
    return sentences


def missing_runs(results: StudyResults) -> list[str]:
    """Return a sentence for each kind of run without a value; failed runs make the mean of their arm look better."""
    sentences = []
    if results.missing:
        total = sum(len(arm.outcomes) for arm in results.arms)
        kept = results.missing - sum(arm.states.get(MISSING, 0) for arm in results.arms)
        known = "; where study.json holds their results, these are used" if kept else ""
        are = "is missing: its folder is gone" if results.missing == 1 else "are missing: their folders are gone"
        sentences.append(f"{results.missing} of {counted(total, 'run')} {are}{known}")
    for arm in results.arms:
        states = arm.states
        total, failed, pruned = len(arm.outcomes), states.get("failed", 0), states.get("pruned", 0)
        damaged, gone = states.get(DAMAGED, 0), states.get(MISSING, 0)
        mean_note = "; the mean covers only the runs that finished" if arm.values else ""
        kinds = {
            f"failed{mean_note}": failed,
            "were stopped by sweep.pruner and are not compared": pruned,
            f"cannot be read{mean_note}": damaged,
            f"are missing{mean_note}": gone,
            "have not finished": total - failed - pruned - damaged - gone - states.get("finished", 0),
        }
        runs = counted(total, "run")
        sentences += [f"{arm.name}: {count} of {runs} {what}" for what, count in kinds.items() if count]
    return [*sentences, *unmeasured_runs(results)]


def unmeasured_runs(results: StudyResults) -> list[str]:
    """Return a sentence for each arm with runs whose metric was not finite, unless the verdict says it of all."""
    metric, sentences = results.design.metric, list[str]()
    for arm in results.arms if any(arm.values for arm in results.arms) else ():
        count = sum(each.state == "finished" and not is_finite(each.value(metric, arm.score)) for each in arm.outcomes)
        if count:
            runs = counted(len(arm.outcomes), "run")
            where = f" {not_finite(arm.score)}" if arm.score == CROSS else ""
            what = f"{metric} was not finite{where} in {count} of {runs}"
            sentences.append(f"{arm.name}: {what}, which cannot be compared")
    return sentences
