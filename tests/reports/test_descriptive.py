"""The figures that test nothing: a profile over blocks, and the trials that tuned each arm."""

from dataclasses import replace

import pytest
from browser import opened, shown
from fake_studies import fake_study

from trainer.reports import figure_files, page
from trainer.reports.content import of_study
from trainer.reports.descriptive import profile_figure, tuning_figures
from trainer.stats.finding import Finding


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The report of two optimizers, adam being the better one."""
    return of_study(fake_study(tmp_path_factory.mktemp("study") / "made", {"optimizer": ["sgd", "adam"]}, (0, 1, 2)))


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    axes = {"dataset.classes": ["2", "4"], "optimizer": ["sgd", "adam"]}
    return of_study(fake_study(tmp_path_factory.mktemp("study") / "made", axes, (0, 1, 2)))


def tuned(content, scales, **trials):
    """The report with these trials of each arm, [settings, value], as the tuning before it."""
    findings = []
    for arm, tried in trials.items():
        points = [{**settings, "value": value} for settings, value in tried]
        best, value = max(((at, value) for at, value in tried if value is not None), key=lambda each: each[1])
        figures = {"arm": arm, "tuned": [*best], "best": best, "value": value, "trials": len(points), "points": points}
        findings.append(Finding("tuning", f"{arm} was tuned", {**figures, "scales": scales}))
    return replace(content, judged=replace(content.judged, findings=tuple(findings)))


def rates(*pairs):
    return [({"lr": lr}, value) for lr, value in pairs]


def test_a_profile_begins_and_ends_beyond_all_runs(blocks):
    figure = profile_figure(blocks)
    assert (figure["blocks"], figure["of"], [arm["name"] for arm in figure["arms"]]) == ("2 blocks", 2, ["adam", "sgd"])
    runs = [value for arm in blocks.arms for value in arm.values.values()]
    assert figure["scores"][0] < min(runs) == figure["scores"][1] and figure["scores"][-1] > max(runs)
    for arm in figure["arms"]:
        assert {len(arm[name]) for name in ("share", "low", "high")} == {len(figure["scores"])}
        assert (arm["share"][0], arm["share"][-1]) == (1, 0)
    below = profile_figure(replace(blocks, sign=-1))
    assert {(arm["share"][0], arm["share"][-1]) for arm in below["arms"]} == {(0, 1)}


def test_a_study_without_blocks_or_tuning_has_neither_figure(compared):
    assert profile_figure(compared) is None and tuning_figures(compared) == []
    text = page.render(compared)
    assert 'id="profile"' not in text and 'id="tuning"' not in text


def test_every_trial_stands_at_its_value_and_the_chosen_one_is_marked(compared):
    content = tuned(
        compared, {"lr": "log"}, sgd=rates(("0.1", 0.8), ("0.01", 0.6)), adam=rates(("0.1", None), ("0.01", 0.9))
    )
    (figure,) = tuning_figures(content)
    assert (figure["title"], figure["log"], figure["log_scores"], figure["alone"]) == ("lr", True, False, True)
    adam, sgd = figure["arms"]
    assert (adam["name"], adam["place"], adam["points"]) == ("adam", 0, [[0.01, 0.9]])
    assert (sgd["points"], sgd["chosen"]) == ([[0.01, 0.6], [0.1, 0.8]], [0.1, 0.8])


@pytest.mark.parametrize(
    ("scales", "values", "log"),
    [({"lr": "linear"}, ("0.001", "1"), False), ({}, ("0.001", "1"), True), ({}, ("0.1", "1"), False),
     ({"lr": "log"}, ("0.1", "1"), True)],
)  # fmt: skip
def test_the_scale_is_that_of_the_range_and_of_a_list_its_span(compared, scales, values, log):
    content = tuned(compared, scales, adam=rates(*((value, 0.5) for value in values)))
    assert [figure["log"] for figure in tuning_figures(content)] == [log]


def test_words_and_equal_values_have_no_figure(compared):
    tried = [({"lr": lr, "scheduler": name, "dropout": "0.1"}, 0.5) for lr, name in (("0.1", "cosine"), ("1", "none"))]
    (figure,) = tuning_figures(tuned(compared, {}, adam=tried))
    assert (figure["key"], figure["alone"]) == ("lr", False)


def test_while_arms_are_tuned_they_are_in_the_order_of_the_study(compared):
    arms = [replace(arm, name=f"{arm.name} lr=0.1") for arm in compared.arms]
    tried = {name: rates(("0.1", 0.5), ("0.2", 0.6)) for name in ("sgd", "adam")}
    (figure,) = tuning_figures(tuned(replace(compared, arms=arms), {}, **tried))
    assert [(arm["name"], arm["place"]) for arm in figure["arms"]] == [("sgd", 0), ("adam", 1)]


@pytest.mark.long
def test_both_are_drawn_on_the_page_and_for_print(compared, blocks, tmp_path):
    pytest.importorskip("matplotlib")
    trials = rates(("0.001", 0.5), ("0.01", 0.7), ("0.1", 0.6))
    content = tuned(compared, {"lr": "log"}, adam=trials, sgd=trials)
    for scheme, width in (("light", 1200), ("dark", 390)):
        path = page.write(replace(content, folder=tmp_path))
        with opened(path, width=width, scheme=scheme) as view:
            shown(view, "tuning", "document.querySelectorAll('#tuning-0 .scatterlayer .trace').length === 4")
            assert view.evaluate("document.documentElement.scrollWidth") <= width
        with opened(page.write(replace(blocks, folder=tmp_path)), width=width, scheme=scheme) as view:
            shown(view, "profile", "document.querySelectorAll('#profile-plot .scatterlayer .trace').length === 6")
            assert view.evaluate("document.documentElement.scrollWidth") <= width
    drawn = figure_files.drawn(content)
    assert {"sensitivity_lr.svg", "sensitivity_lr.pdf"} <= drawn.keys() and "profile.svg" not in drawn
    assert {"profile.svg", "profile.pdf"} <= figure_files.drawn(blocks).keys()
