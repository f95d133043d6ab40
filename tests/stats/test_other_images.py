"""Differences on other images: the formula written out, its coverage, and the sentences."""

import numpy as np
import pytest

from trainer.stats.arms import Arm
from trainer.stats.comparison import Comparison
from trainer.stats.corrections import Bound
from trainer.stats.design import Design
from trainer.stats.images import OtherImages, other_images


def hits(*rows):
    return {str(seed): np.array([mark == "1" for mark in row]) for seed, row in enumerate(rows)}


FIRST, SECOND = hits("111101", "110110", "101110"), hits("011001", "110010", "010100")


def test_the_variance_is_that_of_the_seeds_and_of_the_images_without_what_the_seeds_explain():
    a, b = (np.stack(list(each.values())).astype(float) for each in (FIRST, SECOND))
    seeds = [each.mean(1).var(ddof=1) / 3 for each in (a, b)]
    within = np.mean(a.var(0, ddof=1) + b.var(0, ddof=1)) / 3
    images = ((a.mean(0) - b.mean(0)).var(ddof=1) - within) / 6
    found = other_images(FIRST, SECOND, paired=False)
    assert images < 0 and found.error == pytest.approx(np.sqrt(sum(seeds)))  # no less than between seeds
    apart = hits("111000", "111000", "110000"), hits("000111", "000011", "000111")
    a, b = (np.stack(list(each.values())).astype(float) for each in apart)
    seeds = [each.mean(1).var(ddof=1) / 3 for each in (a, b)]
    within = np.mean(a.var(0, ddof=1) + b.var(0, ddof=1)) / 3
    images = ((a.mean(0) - b.mean(0)).var(ddof=1) - within) / 6
    found = other_images(*apart, paired=False)
    assert images > 10 * sum(seeds) and found.error == pytest.approx(np.sqrt(sum(seeds) + images))
    df = (sum(seeds) + images) ** 2 / (sum(part**2 / 2 for part in seeds) + images**2 / 5)
    assert found.df == pytest.approx(np.floor(10 * df) / 10)


def test_pairs_take_the_spread_of_their_differences():
    a, b = (np.stack(list(each.values())).astype(float) for each in (FIRST, SECOND))
    difference = a - b
    seeds = difference.mean(1).var(ddof=1) / 3
    within = difference.var(0, ddof=1).mean() / 3
    images = max(0.0, (difference.mean(0).var(ddof=1) - within) / 6)
    assert other_images(FIRST, SECOND, paired=True).error == pytest.approx(np.sqrt(seeds + images))


def test_nothing_is_said_of_runs_that_were_scored_on_other_numbers_of_images_or_never_differ():
    assert other_images(FIRST, hits("0110", "1100", "0101"), paired=False) is None
    same = hits("1111", "1111", "1111")
    assert other_images(same, same, paired=False) is None


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("seeds", [3, 10])
def test_the_interval_covers_the_difference_on_new_seeds_and_images(seeds, paired):
    """Two arms with one accuracy on all images, and images that suit one of them: 95 % of the intervals hold 0."""
    draw, covered, covered_by_seeds, studies = np.random.default_rng(seeds), 0, 0, 400
    for _ in range(studies):
        base, shift = draw.normal(3, 2, 300), draw.normal(0, 0.15, seeds)
        arms = []
        for _ in range(2):
            own = base + draw.normal(0, 1, 300) + (shift + draw.normal(0, 0.1, seeds))[:, None]
            arms.append(own + draw.normal(0, 0.5, (seeds, 300)) > 0)
        found = other_images(*({str(seed): row for seed, row in enumerate(arm)} for arm in arms), paired)
        difference = abs(arms[0].mean() - arms[1].mean())
        covered += difference <= Bound(1, True)(found.df) * found.error
        spread = sum(arm.mean(1).var(ddof=1) / seeds for arm in arms) ** 0.5
        covered_by_seeds += difference <= Bound(1, True)(2 * seeds - 2.0) * spread
    assert 0.92 < covered / studies < 0.98 and covered_by_seeds / studies < 0.92


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (0.001, "; on other images like these, too"),  # not surer than on these images
        (0.002, "; on other images like these, too (0.7 ± 0.6 points)"),
        (0.003, "; on other images like these by 0.7 ± 0.8 points: not certain"),
    ],
)
def test_a_concluded_difference_says_how_it_is_on_other_images(error, told):
    values = {str(seed): 0.9 for seed in range(3)}
    better, none = Arm("batch", {key: value + 0.007 for key, value in values.items()}), Arm("none", values)
    found = Comparison(better, none, 0.007, 0.005, 0.01, bound=Bound(1, True), images=OtherImages(error, 4.0, 300))
    sentence = found.sentence(Design())
    assert sentence.startswith("batch is better than none by 0.7 ± 0.5 points (3 seeds, ") and sentence.endswith(told)


def test_a_study_reads_which_images_its_runs_classified_correctly(tmp_path, monkeypatch):
    """A real study, from its runs' files; without one of them nothing is said of other images."""
    from trainer.cli.main import main
    from trainer.reports.content import of_study

    monkeypatch.chdir(tmp_path)
    settings = ("dataset=digits", "dataset.train_size=200", "epochs=2", "device=cpu", "wandb.mode=disabled")
    assert main(["-m", *settings, "optimizer=adam,sgd", "seed=0,1,2"]) == 0
    (study,) = (tmp_path / "outputs" / "sweeps").iterdir()
    content = of_study(study)
    (found,) = content.judged.comparisons
    assert found.concluded and found.images.images == 300 and "; on other images like these, too" in content.verdict[0]
    assert content.footnotes[-1].startswith("Other images: the 300 validation images are a sample of all images of")
    next(study.glob("*/hits.json")).unlink()
    content = of_study(study)
    assert "other images" not in " ".join(content.sentences) and content.judged.comparisons[0].concluded
