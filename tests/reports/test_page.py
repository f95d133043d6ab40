"""The page of a report: its figures, its colours, its print, and that it is the same each time."""

import itertools
import json
import random
import re
import shutil

import pytest
from browser import CONFUSION, opened, shown
from fake_studies import fake_run, fake_study

from trainer.cli.report import main
from trainer.reports import index, markdown, page
from trainer.reports.charts import coincident, constant_rate, curves
from trainer.reports.content import of_study
from trainer.reports.differences import differences, forest, ticks
from trainer.reports.run_content import of_run
from trainer.storage.untrusted import read_json

LRS = {"lr": ["0.001", "0.01", "0.1"]}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return fake_study(tmp_path_factory.mktemp("study") / "made", LRS, seeds=(0, 1, 2))


def command(folder, *words):
    """The same study, with another command in its record."""
    manifest = read_json(folder / "study.json")
    (folder / "study.json").write_text(json.dumps({**manifest, "command": list(words)}))
    return folder


def test_the_differences_are_those_of_the_verdict(study):
    content = of_study(study)
    found = differences(content)
    assert [each.name for each in found] == ["lr=0.01", "lr=0.001"]
    for each, tested in zip(found, content.judged.comparisons, strict=True):
        assert each.value == pytest.approx(-100 * tested.difference) and each.value < 0
        assert (each.half, each.p) == (pytest.approx(100 * tested.half_width), tested.p)
    against = of_study(study, "lr=0.001")
    assert [(each.name, each.value > 0) for each in differences(against)] == [("lr=0.1", True), ("lr=0.01", True)]
    drawn = forest(against, 20)
    low, high = drawn["rows"][0][2:]
    assert 4 <= drawn["zero"] < low < drawn["rows"][0][1] < high <= 96  # the first one is concluded, and better
    assert differences(against)[0].text.startswith("+") and "± sd" in page.titles(against)[1]
    assert page.titles(against)[2] == "Δ to lr=0.001" and page.rows(against)[2][2]["text"] == "—"
    assert page.rows(against)[0][2]["text"] == differences(against)[0].text


def test_labels_of_differences_are_fewer_in_a_narrow_figure():
    assert [label for _, label, _ in ticks(-80, 10)] == ["−80", "−60", "−40", "−20", "0"]
    assert [label for _, label, fits in ticks(-80, 10) if fits] == ["−80", "−40", "0"]
    assert [label for _, label, fits in ticks(-0.014, 0.015) if fits] == ["0.000", "+0.015"]
    assert all(fits for _, _, fits in ticks(0, 100))


def test_a_difference_of_single_runs_has_no_interval_and_says_so(tmp_path):
    folder = fake_study(tmp_path / "made", LRS)
    content = of_study(folder, "lr=0.01")
    best, worst = differences(content)
    assert best.value == pytest.approx(100 * (content.arms[0].mean - content.arms[1].mean))
    assert (best.half, best.p, best.text) == (None, None, f"{best.value:+.2f}") and worst.text.startswith("−")
    text = page.render(content)
    assert "There are too few runs for an interval" in text and '<line class="interval"' not in text
    assert f"| {best.text} |" in markdown.render(content)


def test_the_question_of_a_study_stands_in_its_record_and_is_told_by_page_and_markdown(tmp_path, study):
    folder = shutil.copytree(study, tmp_path / "made")
    assert of_study(folder).asked == []
    path = folder / "study.json"
    tree = json.loads(path.read_text())
    tree["sweep"] |= {"question": "Does <b>dropout</b> help?", "expect": "A smaller gap."}
    path.write_text(json.dumps(tree))
    content = of_study(folder)
    assert content.asked == ["Question: Does <b>dropout</b> help?", "Expected: A smaller gap."]
    assert "Question: Does &lt;b&gt;dropout&lt;/b&gt; help?</p>" in page.render(content)
    assert "\n\nExpected: A smaller gap.\n\n" in markdown.render(content)


def test_equal_curves_and_a_constant_rate_are_told_in_words(tmp_path):
    folder = fake_study(tmp_path / "made", LRS)
    shutil.copy(folder / "run-0" / "metrics.jsonl", folder / "run-1" / "metrics.jsonl")
    content = of_study(folder)
    assert coincident(content.arms) == [["lr=0.01", "lr=0.001"]]
    assert constant_rate(content.arms) == "The learning rate is 0.01 in every epoch."
    text = page.render(content)
    assert "The curves of lr=0.01 and lr=0.001 are equal: one covers the other." in text and 'id="rate"' not in text
    for number, rate in ((0, 0.001), (1, 0.5)):
        path = folder / f"run-{number}" / "metrics.jsonl"
        path.write_text(path.read_text().replace('"lr": 0.01', f'"lr": {rate}'))
    listed = "The learning rate is constant: 0.01 (lr=0.1); 0.5 (lr=0.01); 0.001 (lr=0.001)."
    assert constant_rate(of_study(folder).arms) == listed
    path.write_text(path.read_text().replace('"lr": 0.5', '"lr": 0.25', 1))
    assert constant_rate(of_study(folder).arms) == "" and 'id="rate"' in page.render(of_study(folder))


def test_the_best_epoch_and_an_early_stop_are_marked(tmp_path):
    folder = fake_study(tmp_path / "made", {"lr": ["0.1"]}, epochs=6)
    (arm,) = curves(of_study(folder).arms)
    assert (arm["runs"][0]["best"], arm["runs"][0]["stopped"]) == (6, None)
    manifest = read_json(folder / "study.json")
    manifest["runs"][0]["config"]["epochs"] = 9
    (folder / "study.json").write_text(json.dumps(manifest))
    (arm,) = curves(of_study(folder).arms)
    assert arm["runs"][0]["stopped"] == 6 and "× ended by early stopping" in page.render(of_study(folder))


def test_a_run_tells_its_settings_data_and_command(tmp_path):
    config = {"epochs": 4, "lr": 0.001, "dataset": {"name": "digits"}, "model": {"name": "mlp"},
              "optimizer": {"name": "sgd"}}  # fmt: skip
    fake_run(tmp_path / "run", config, 1.0, random.Random(0), 4, ("a", "b"))
    words = "python -m trainer dataset=digits model=mlp '<b>=1'"
    stamp = {"trainer": "1", "python": "3", "platform": "x", "packages": {}, "git": None, "device": "cpu", "threads": 1,
             "command": words, "started": "2026-11-21T08:00:00+00:00"}  # fmt: skip
    (tmp_path / "run" / "environment.json").write_text(json.dumps([stamp]))
    content = of_run(tmp_path / "run", full=True)
    facts = dict(content.facts)
    assert facts["Data"] == "digits, 18 validation images" and facts["Command"] == words
    differing = {each.key: (each.value, each.default) for each in content.settings if each.differs}
    assert differing["epochs"] == ("4", "30") and differing["dataset"] == ("digits", "cifar10")
    assert "lr" in [each.key for each in content.settings if not each.differs]
    text = page.render(content)
    assert "settings that have their default</summary>" in text and "<b>" not in text and "&lt;b&gt;=1" in text
    assert "| epochs | 4 | 30 |" in markdown.render(content)


def test_a_page_is_the_same_each_time_but_for_its_date(study):
    first, second = (re.sub(r"Written [-\d: ]+ UTC", "", page.render(of_study(study))) for _ in range(2))
    assert first == second


def test_reports_that_are_missing_or_outdated_are_written_with_the_index(tmp_path, study):
    shutil.copytree(study, tmp_path / "all" / "one")
    shutil.copytree(study, tmp_path / "all" / "damaged")
    for name in ("run-0", "run-1"):
        path = tmp_path / "all" / "damaged" / name / "best.json"
        path.write_text("{" if name == "run-0" else path.read_text().replace('"cat", ', ""))
    page.write(of_study(tmp_path / "all" / "one"))
    (tmp_path / "all" / "one" / "report.html").write_text("kept")
    assert main([str(tmp_path / "all")]) == 0
    text = (tmp_path / "all" / "index.html").read_text()
    assert 'href="one/report.html"' in text and 'href="damaged/report.html"' in text
    assert (tmp_path / "all" / "one" / "report.html").read_text() == "kept"
    (tmp_path / "all" / "one" / "run-0" / "result.json").touch()
    index.write(tmp_path / "all", reports=True)
    assert (tmp_path / "all" / "one" / "report.html").read_text() != "kept"
    with opened(tmp_path / "all" / "index.html", width=390, figures=False) as view:
        assert view.evaluate("document.documentElement.scrollWidth") == 390
        assert view.evaluate(
            "[...document.querySelectorAll('td')].every(cell => cell.getBoundingClientRect().right <= 390)"
        )


def boxes(view, selector):
    """The left, upper, right and lower end of each element."""
    ends = "each => (({left, top, right, bottom}) => [left, top, right, bottom])(each.getBoundingClientRect())"
    return view.evaluate(f"[...document.querySelectorAll('{selector}')].map({ends})")


def contrast(first, second):
    """The contrast of two colours [R, G, B], 0 to 255: WCAG 2.2, section 1.4.3."""

    def luminance(colour):
        parts = [part / 255 for part in colour]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    bright, faint = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (faint + 0.05)


@pytest.mark.long
def test_numbers_are_readable_on_every_shade_and_print_is_light_and_fits_the_paper(study):
    path = page.write(of_study(study))
    for scheme, ground in (("light", "#ffffff"), ("dark", "#14171b")):
        with opened(path, scheme=scheme) as view:
            shown(view, "classes", CONFUSION)
            shades = view.evaluate("Array.from({length: 101}, (_, at) => [shade(at / 100), readable(shade(at / 100))])")
            assert len({tuple(shade) for shade, _ in shades}) > 50
            for shade, ink in shades:
                assert contrast(shade, [0, 0, 0] if ink == "#000000" else [255, 255, 255]) >= 4.5
            # Every class of every arm was recognized alike, 80 %: the shade is the one that the number is chosen for.
            numbers = view.evaluate("byclass.data[1].textfont.color"), view.evaluate("readable(shade(0.8))")
            assert set(numbers[0]) == {numbers[1]}
            assert view.evaluate("[byclass.data[0].zmin, byclass.data[0].zmax]") == [0, 1]
            assert view.evaluate("folded('optimizer=adam lr=<1>', 16)") == "optimizer=adam<br>lr=&lt;1>"
            first = view.evaluate("[channels(colour(0)), channels(style('--ground'))]")
            assert contrast(*first) >= 4.5
            assert view.evaluate("accuracy.data.map(({line}) => line?.color)").count(view.evaluate("colour(0)")) == 2
            titles = [view.text_content(f"#confusion .g-{axis}title") for axis in "xy"]
            assert titles == ["predicted class", "true class"]
            assert view.evaluate("document.querySelectorAll('#confusion .gridlayer path').length") == 0
            view.evaluate("dispatchEvent(new Event('beforeprint'))")
            assert view.evaluate("style('--ground')") == "#ffffff"
            assert view.evaluate("[...drawn]") == ["runs", "curves", "classes"]
            assert max(right - left for left, _, right, _ in boxes(view, ".figure .main-svg")) <= 680
            pairs = list(itertools.permutations(boxes(view, ".figure"), 2))
            assert len(pairs) == 20
            assert all(
                one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
                for one, other in pairs
            )
            view.evaluate("dispatchEvent(new Event('afterprint'))")
            assert view.evaluate("style('--ground')") == ground
            assert view.evaluate("document.querySelector('#accuracy .main-svg').getBoundingClientRect().width") > 400
            assert view.pdf().startswith(b"%PDF")
