"""The reading of which images each run classified correctly, for differences on other images. Imports no torch."""

from dataclasses import replace

from trainer.errors import RunError
from trainer.runtime.text import complain_once
from trainer.stats.arms import Arm
from trainer.stats.comparison import Comparison
from trainer.stats.images import Hits, other_images
from trainer.stats.sentences import images_sentence
from trainer.stats.verdict import Verdict
from trainer.study.results import StudyArm, StudyResults


def on_other_images(judged: Verdict, results: StudyResults) -> Verdict:
    """Return the verdict with the interval for other images in each difference of accuracies that is concluded.

    Left out where splits are scored on images of their own, and where a run has not recorded its images.
    """
    design = judged.design
    if design.metric != "validation_accuracy" or design.split_ratio:
        return judged
    arms = {arm.name: arm for arm in results.arms}
    found = tuple(_with_images(each, arms, design.score) for each in judged.comparisons)
    images = next((each.images.images for each in found if each.images), 0)
    return replace(judged, comparisons=found, images=images_sentence(images) if images else "")


def _with_images(each: Comparison, arms: dict[str, StudyArm], rule: str) -> Comparison:
    if not each.concluded:
        return each
    first, second = (_hits(arms[arm.name], arm, rule) for arm in (each.first, each.second))
    return replace(each, images=other_images(first, second, each.paired)) if first and second else each


def _hits(arm: StudyArm, compared: Arm, rule: str) -> Hits:
    """Return the images that each compared run of an arm classified correctly; empty if one is not known."""
    from trainer.records.hits import read_hits  # imports NumPy, which most commands do without

    try:
        found = {key: read_hits(arm.folders[key], rule) for key in compared.values}
    except RunError as error:
        complain_once(f"{error}. Nothing is said of other images")
        return {}
    known = {key: hits for key, hits in found.items() if hits is not None}
    sizes = {len(hits) for hits in known.values()}
    return known if len(known) == len(found) and len(sizes) == 1 else {}
