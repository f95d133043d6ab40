"""Figures that describe and test nothing: a profile over several blocks, and the trials that tuned each arm.

Imports no torch.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.reports.content import Content
from trainer.reports.scale import is_log
from trainer.stats.profile import profiles

MAX_ARMS = 8  # the best ones: more cannot be told apart
PAD = 0.03  # of the range, beside the lowest and the highest score


def profile_figure(content: Content) -> dict[str, Any] | None:
    """Return the profiles of the arms over a study's blocks, as plain values; None for too few arms or blocks.

    A share holds from a score to the next one where lower is better, else from the one before.
    """
    if not (content.judged and content.judged.blocks):  # as long as arms are tuned, nothing is compared
        return None
    found = profiles({block.name: block.content.arms for block in content.blocks}, content.sign)
    if not found:
        return None
    scores = found[0].scores
    pad = PAD * (scores[-1] - scores[0]) or PAD
    blocks = f"{len(content.blocks)} {content.blocks[0].noun}s"
    first, last = (1.0, 0.0) if content.sign > 0 else (0.0, 1.0)  # the shares beyond all scores
    arms = [
        {
            "name": each.name,
            **{name: [first, *getattr(each, name), last] for name in ("share", "low", "high")},
        }
        for each in found[:MAX_ARMS]
    ]
    return {"scores": [scores[0] - pad, *scores, scores[-1] + pad], "arms": arms, "of": len(found), "blocks": blocks}


def tuning_figures(content: Content) -> list[dict[str, Any]]:
    """Return a figure for each numeric setting that was tuned: the score of every trial at each of its values.

    Each has a `title`, the `key`, whether its axis and that of the scores are logarithmic, whether it was tuned
    `alone`, and the `arms`, each with its `name`, `place` among the arms, `points` [setting, score] by rising setting,
    and the `chosen` one.
    """
    parts = [(f"{block.name}: ", block.content) for block in content.blocks] or [("", content)]
    places: dict[str, int] = {}
    for _, part in parts:  # an arm has the same colour in each block
        arms, tuned = [arm.name for arm in part.arms], [each["arm"] for each in _tuned(part)]
        # While arms are tuned, there are none that are compared.
        for name in arms if {*tuned} <= {*arms} else tuned:
            places.setdefault(name, len(places))
    return [
        {"title": f"{prefix}{figure['key']}", **figure}
        for prefix, part in parts
        for figure in _tuning_figures(part, places)
    ]


def _tuned(content: Content) -> list[Mapping[str, Any]]:
    """Return to what each arm was tuned, without the arms of which no trial has a value."""
    found = [each.figures for each in (content.judged.findings if content.judged else ()) if each.question == "tuning"]
    return [figures for figures in found if "points" in figures]


def _tuning_figures(content: Content, places: Mapping[str, int]) -> list[dict[str, Any]]:
    tuned = [each for each in _tuned(content) if places[each["arm"]] < MAX_ARMS]
    tuned = sorted(tuned, key=lambda each: places[each["arm"]])
    found = (_tuning_figure(key, tuned, places, content.share) for key in (tuned[0]["tuned"] if tuned else ()))
    return [figure for figure in found if figure]


def _tuning_figure(
    key: str, tuned: Sequence[Mapping[str, Any]], places: Mapping[str, int], share: bool
) -> dict[str, Any] | None:
    """Return the figure of a setting; None if its values are no numbers or all the same."""
    try:
        arms = [
            {
                "name": each["arm"],
                "place": places[each["arm"]],
                "points": sorted([float(at[key]), at["value"]] for at in each["points"] if at["value"] is not None),
                "chosen": [float(each["best"][key]), each["value"]],
            }
            for each in tuned
        ]
    except ValueError:
        return None
    settings, values = zip(*(point for arm in arms for point in arm["points"]), strict=True)
    if not all(map(math.isfinite, settings)) or len(set(settings)) < 2:
        return None
    stated = tuned[0]["scales"].get(key)
    return {
        "key": key,
        "log": is_log(settings, None if stated is None else stated == "log"),
        "log_scores": not share and is_log(values),
        "alone": len(tuned[0]["tuned"]) == 1,
        "arms": arms,
    }
