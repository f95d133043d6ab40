"""The verdict of a study as JSON, for scripts; docs/export.md lists the keys. Imports no torch."""

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from trainer.config.recorded import typed_settings
from trainer.records.outcome import Outcome
from trainer.reports.content import ArmReport, BlockContent, Content
from trainer.reports.tables import Exported, Member
from trainer.stats.comparison import Comparison
from trainer.stats.corrections import LEVEL
from trainer.stats.verdict import Verdict
from trainer.study.rerun import command_of

SCHEMA_VERSION = 2  # grows when a key is removed or changes its meaning; keys may be added


def verdict_json(source: Exported) -> str:
    """Return the verdict as JSON; a value that is not finite is null."""
    return json.dumps(verdict_tree(source), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def verdict_tree(source: Exported) -> dict[str, Any]:
    """Return the verdict as plain values; one that is not finite is None."""
    content, judged = source.content, source.content.judged
    last = max((member.stage for member in source.members), default=1)
    members = [member for member in source.members if member.stage == last]
    comparisons = [_comparison(each, judged) for each in judged.comparisons] if judged else []
    missing = [_missing(each) for each in members if _value(each.run.outcome, content) is None]
    tree = {
        "schema_version": SCHEMA_VERSION,
        "kind": "run" if content.kind == "run" else "study",
        "name": source.name,
        "started": content.started,
        "command": dict(content.facts).get("Command") or command_of(content.folder),
        "metric": content.metric,
        "score": content.score or "best",
        "higher_is_better": content.sign > 0,
        "unit": judged.design.unit if judged else "seed",
        "paired": bool(judged and judged.design.paired),
        "level": 1 - LEVEL,
        "complete": not missing and not (judged and judged.open),
        "runs": len(members),
        "states": dict(Counter(each.run.outcome.state for each in members)),
        "missing": missing,
        "reference": (judged.reference or None) if judged else None,
        "best": None if content.blocks else next((arm.name for arm in content.arms if arm.values), None),
        "winner": None if content.blocks else winner(content.arms, judged),
        "arms": [_arm(arm, source.settings) for arm in content.arms],
        "comparisons": comparisons,
        "blocks": [_block(block) for block in content.blocks],
        "findings": [finding.tree() for finding in judged.findings] if judged else [],
        "fairness": _fairness(content),
        "sentences": content.sentences,
        "method": content.method or None,
    }
    finite: dict[str, Any] = _finite(tree)
    return finite


def _fairness(content: Content) -> dict[str, list[str]]:
    """Return the differences between arms that may explain a difference between their scores, a sentence each."""
    judged = content.judged
    verdicts = [judged, *(each for _, each in judged.blocks)] if judged else []
    equal = [sentence for each in verdicts for sentence in each.equal]
    return {kind: list(content.fairness.get(kind, ())) for kind in ("unfair", "implied")} | {"equal": equal}


def _block(block: BlockContent) -> dict[str, Any]:
    """Return the verdict of a block, whose arms are named as within it."""
    judged = block.content.judged
    assert judged
    return {
        "name": block.name,
        "arms": [
            {"name": arm.name, "arm": whole.name} for arm, whole in zip(block.content.arms, block.arms, strict=True)
        ],
        "reference": judged.reference or None,
        "best": next((arm.name for arm in block.content.arms if arm.values), None),
        "winner": winner(block.content.arms, judged),
        "comparisons": [_comparison(each, judged) for each in judged.comparisons],
        "findings": [finding.tree() for finding in judged.findings],
        "sentences": [line for line in judged.lines() if line not in judged.footnotes],
    }


def winner(arms: Sequence[ArmReport], judged: Verdict | None) -> str | None:
    """Return the best arm if it is concluded to be better than every other arm with values, else None."""
    if judged and judged.winner:
        return judged.winner
    with_values = [arm.name for arm in arms if arm.values]
    if not judged or len(with_values) < 2:
        return None
    best = with_values[0]
    pairs = {frozenset((each.first.name, each.second.name)) for each in judged.comparisons if each.concluded}
    return best if all(frozenset((best, other)) in pairs for other in with_values[1:]) else None


def _arm(arm: ArmReport, settings: Sequence[str]) -> dict[str, Any]:
    typed = typed_settings(arm.runs[0].config) if arm.runs else {}
    return {
        "name": arm.name,
        "settings": {key: typed.get(key) for key in settings},
        "mean": arm.mean,
        "sd": arm.deviation,
        "n": len(arm.values),
        "values": dict(arm.values),
        "runs": len(arm.runs),
        "states": dict(Counter(run.outcome.state for run in arm.runs)),
        "train_eval_accuracy": _mean(run.outcome.value("train_eval_accuracy") for run in arm.runs),
        "gap": arm.gap,
        "best_epoch": arm.best_epoch,
        "seconds": arm.seconds,
        "parameters": arm.parameters,
    }


def _comparison(each: Comparison, judged: Verdict) -> dict[str, Any]:
    half = each.half_width
    return {
        "first": each.first.name,
        "second": each.second.name,
        "n_first": len(each.first.values),
        "n_second": len(each.second.values),
        "difference": each.difference,
        "interval": None if half is None else [each.difference - half, each.difference + half],
        "level": 1 - each.level,
        "p": each.single_p,
        "p_corrected": each.p,
        "t": each.t,
        "df": each.df,
        "paired": each.paired,
        "concluded": each.concluded,
        "n_needed": each.needed,
        "other_images": _other_images(each),
        "sentence": each.sentence(judged.design),
    }


def _other_images(each: Comparison) -> dict[str, Any] | None:
    """Return the interval for other seeds and other images, which is corrected as the first one is."""
    half = each.image_half_width
    if half is None or each.images is None:
        return None
    interval = [each.difference - half, each.difference + half]
    return {"images": each.images.images, "interval": interval, "concluded": abs(each.difference) > half}


def _missing(member: Member) -> dict[str, Any]:
    outcome = member.run.outcome
    seed = typed_settings(member.run.config).get("seed")
    return {
        "arm": member.arm,
        "folder": member.folder,
        "seed": seed,
        "state": outcome.state,
        "reason": outcome.reason,
    }


def _mean(values: Iterable[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return statistics.mean(numbers) if numbers else None


def _value(outcome: Outcome, content: Content) -> float | None:
    value = outcome.value(content.metric, content.score or "best")
    return value if value is not None and math.isfinite(value) else None


def _finite(value: Any) -> Any:
    """Return the tree with None in place of numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
