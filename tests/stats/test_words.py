"""The words of a verdict are explained where they occur, and only there."""

import re

import pytest

from trainer.stats.words import TABLE, WORDS, explained

TERMS = [term for term, _ in TABLE]


def test_each_word_of_the_sentences_is_explained_and_no_other():
    told = [term for term, _ in explained(["batch is better than none by 1.8 ± 0.4 points (6 seeds, p = 0.03)"])]
    assert told == ["arm", "seed", "points", "± (interval)", "p", *TERMS]
    told = [term for term, _ in explained(["b against a: no conclusion at 8 paired seeds (1 ± 3 in loss, p = 0.2)"])]
    assert told == ["arm", "seed", "± (interval)", "p", "no conclusion", "paired seeds", *TERMS]
    assert explained(["It stopped early, after 2 of 9 epochs."]) == []


@pytest.mark.parametrize(("term", "meaning"), [(term, meaning) for term, _, meaning in WORDS])
def test_an_explanation_is_short_and_needs_no_statistics(term, meaning):
    assert len(meaning) < 260 and meaning.endswith(".")
    assert not re.search(r"hypothes|signific|variance|quantile|distribut|famil", meaning)


def test_page_markdown_and_terminal_explain_the_same_words(tmp_path, capsys):
    from fake_studies import fake_study

    from trainer.cli.report import main

    study = fake_study(tmp_path / "made", {"lr": ["0.1", "0.01"]}, range(3))
    assert main([str(study), "--explain"]) == 0
    terminal = " ".join(capsys.readouterr().out.split())
    page, text = (study / "report.html").read_text(), (study / "report.md").read_text()
    assert "<dt>seed</dt><dd>The number from which a run draws" in page and "<dt>fold</dt>" not in page
    assert "| seed | The number from which a run draws" in text
    assert "seed: The number from which a run draws" in terminal
