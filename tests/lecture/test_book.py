"""The book: its numbers and sentences, its links, that no text becomes code, and what a browser makes of it."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from browser import opened
from made_books import DECADES, LINES, book, claim, every_verdict, hostile, sixty

from trainer.lecture.book import markdown, outline, pages
from trainer.lecture.content import FAILED, FAILS, HOLDS, NOT_RUN, SHOWN, UNDECIDED, VERDICTS

SCRIPT = "<script>alert(1)</script>"
EVERY = "[...document.querySelectorAll"
OVER = "(each) => each.scrollHeight > each.clientHeight + 1"


class Read(HTMLParser):
    """The ids, the links, the tags and the text of a page, without what its scripts and styles hold."""

    def __init__(self, page):
        super().__init__()
        self.ids, self.links, self.tags, self.words, self.inside = [], [], [], [], ""
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        self.inside = tag
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.words.append(data)

    def handle_endtag(self, tag):
        self.inside = ""


@pytest.fixture(scope="module")
def page():
    return pages.render_book(every_verdict(), slides=True)


@pytest.fixture(scope="module")
def read(page):
    return Read(page)


def test_the_front_counts_each_verdict_and_says_the_false_alarms(read):
    assert outline.counts(every_verdict()) == {HOLDS: 2, FAILS: 1, UNDECIDED: 1, SHOWN: 1, FAILED: 1, NOT_RUN: 1}
    told = "31 claims were put to a statistical test. If none of them were true, about 0.8 of them would still be"
    assert told in read.text
    assert "7 claims of the notes" in read.text
    assert "networks and data lecture_cnn on digits (6 claims)" in read.text
    assert "digits: 1 078 training and 359 validation images" in read.text
    assert "about" not in outline.alarms(book(claim("a"), tested=0))
    assert "1 claim was put" in outline.alarms(book(claim("a"), tested=1, false_alarms=0.025))
    assert "fewer than 0.1" in outline.alarms(book(claim("a"), tested=1, false_alarms=0.025))


def test_each_claim_has_its_sentences_and_an_anchor_that_the_table_links_to(read):
    made = every_verdict()
    for each in made.claims:
        assert read.ids.count(each.name) == 1
        assert read.links.count(f"#{each.name}") == 2  # of the contents and of the table
        assert all(said.sentence in read.text for said in each.statements)
    assert len(read.ids) == len(set(read.ids))
    assert {link[1:] for link in read.links if link.startswith("#")} <= set(read.ids)
    assert "Here one setting decides." in read.text
    assert "step 3: the loss is not finite" in read.text
    assert "Here: lecture_cnn on digits, 5 epochs ." in read.text.replace("epochs.", "epochs .")
    assert "note 004, line 648; note 002, line 107" in read.text


@pytest.mark.parametrize("made", [every_verdict(), sixty()], ids=["every", "sixty"])
def test_the_pages_and_the_markdown_tell_the_same_verdicts(made):
    whole, text = Read(pages.render_book(made)), markdown.render(made)
    rows = [found["data-verdict"] for tag, found in whole.tags if tag == "tr" and "data-verdict" in found]
    assert rows == [each.verdict for each in made.claims]
    table = [
        line.split("|")[1].strip() for line in text.splitlines() if re.match(r"\| [^v-]* ", line) and "](#" in line
    ]
    assert table == [f"{outline.SIGNS[each.verdict]} {each.verdict}" for each in made.claims]
    for each in made.claims:
        assert f'<a id="{each.name}"></a>\n\n### {outline.SIGNS[each.verdict]} ' in text
        assert f"](book.html#{each.name})" in text
    slides = Read(pages.render_slides(made))
    shown = [each.name for each in made.claims if each.verdict not in (NOT_RUN, FAILED)]
    assert [found["id"] for tag, found in slides.tags if tag == "section"] == ["book:top", *shown]


def test_no_text_of_a_claim_becomes_code():
    made = hostile(SCRIPT)
    for shown in (pages.render_book(made, slides=True), pages.render_slides(made)):
        found = Read(shown)
        assert SCRIPT not in re.sub(r"(?s)<script>.*?</script>", lambda match: match[0][:8], shown)
        assert [tag for tag, _ in found.tags].count("script") == 3  # the numbers, plotly, and the page's own
        assert found.text.count(SCRIPT) >= 8
        data = re.search(r'(?s)id="book:data">(.*?)</script>', shown)[1]
        assert json.loads(data)[0]["data"][0]["name"] == SCRIPT
    text = markdown.render(made)
    assert not re.search(r"(?<!\\)<(?!a id=|/a>)", re.sub(r"(?s)```.*?```", "", text))


def test_names_that_no_link_can_hold_get_anchors_of_their_own():
    names = ["a b", "a-b", "a-20-b", "a.b", "Ünï", "a:b", "a#b", "<b>", 'a"b', "a_b"]
    made = [outline.anchor(name) for name in names]
    assert len(set(made)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", each) for each in made)
    assert outline.anchor("batch_norm_larger_rates") == "batch_norm_larger_rates"
    read = Read(pages.render_book(book(*(claim(name) for name in names))))
    assert set(made) <= set(read.ids) and len(read.ids) == len(set(read.ids))


def test_an_unfinished_book_lists_the_commands_that_would_run_the_rest():
    made = book(
        claim("first"), claim("second", NOT_RUN, figures=(), runs=0, command="python -m trainer lecture --claim second")
    )
    read, text = Read(pages.render_book(made)), markdown.render(made)
    assert "To run it python -m trainer lecture --claim second" in read.text
    assert "To run it:\n\n```bash\npython -m trainer lecture --claim second\n```" in text
    assert "1 holds here, 1 not run" in text
    assert "1 of the claims have no slide" in Read(pages.render_slides(made)).text


def test_a_command_at_the_end_of_a_sentence_is_code_without_a_full_stop():
    text = "Draw it: python -m trainer demonstrate dropout --layer 1"
    made = book(claim("one", next=text, notes=("Two runs failed", text)))
    assert "Draw it: <code>python -m trainer demonstrate dropout --layer 1</code></p>" in pages.render_book(made)
    assert "Two runs failed.</p>" in pages.render_book(made)
    assert "* Two runs failed.\n* Draw it: `python -m trainer demonstrate dropout --layer 1`\n" in markdown.render(made)


def test_the_picture_of_an_interval_lies_where_the_numbers_are():
    drawn = pages.strip(DECADES)  # from 0 to 2 over 88 percent of the width, 6 free at each end
    assert drawn["zero"] == 6 and drawn["estimate"] == pytest.approx(76.4)
    assert drawn["interval"] == (pytest.approx(58.8), 94) and drawn["asked"] == (50, 100)
    assert drawn["bounds"] == [(50, "+1")]
    less = pages.strip(replace(DECADES, expect="less", estimate=-0.5, interval=(-3.0, 1.0)))
    assert less["asked"] == (0, 50) and less["bounds"] == [(50, "−1")]
    same = pages.strip(replace(DECADES, expect="same", estimate=0.0, interval=(-0.5, 0.5)))
    assert same["asked"] == (6, 94) and [text for _, text in same["bounds"]] == ["−1", "+1"]
    assert pages.strip(replace(DECADES, interval=None)) is None
    assert pages.strip(replace(DECADES, interval=(float("-inf"), 2.0))) is None


def test_numbers_are_told_with_three_digits_and_their_sign():
    assert outline.number(1.6) == "+1.6" and outline.number(-0.0251234) == "−0.0251"
    assert outline.number(12345.0) == "+12 300" and outline.number(float("inf")) == "+∞"
    told = "estimate +1.6 decades, 95 % interval +1.2 to +2, asked: at least 1 decades, 5 seeds an arm"
    assert outline.numbers(DECADES) == told


def test_numbers_that_are_not_finite_and_shapes_from_outside_do_no_harm():
    odd = replace(LINES, figure={"data": [{"y": [1.0, float("nan"), float("inf")]}], "layout": {}}, shape='1"><b>')
    shown = pages.render_book(book(claim("odd", figures=(odd,))))
    assert '"y":[1.0,null,null]' in shown
    assert "<b>&quot;" not in shown and "aspect-ratio: 3 / 2" in shown


def test_the_files_of_a_book(tmp_path):
    path = pages.write_book(every_verdict(), tmp_path / "made" / "quick")
    assert path == tmp_path / "made" / "quick" / "book.html"
    assert sorted(each.name for each in path.parent.iterdir()) == ["book.html", "book.md"]
    assert "slides.html" not in Read(path.read_text(encoding="utf-8")).links
    pages.write_book(every_verdict(), path.parent, slides=True)
    assert (path.parent / "slides.html").is_file()
    assert "slides.html" in Read(path.read_text(encoding="utf-8")).links
    assert set(outline.SIGNS) == set(outline.MEANINGS) == set(VERDICTS)


@pytest.mark.long
def test_a_browser_draws_what_is_near_and_on_paper_everything(tmp_path):
    made = replace(sixty(), claims=sixty().claims[:12])
    with opened(pages.write_book(made, tmp_path), figures=False) as view:
        count = "document.querySelectorAll('.plot .main-svg').length > 0"
        total = sum(len(each.figures) for each in made.claims)
        drawn = "document.querySelectorAll('.plot:has(.main-svg)').length"
        view.keyboard.press("n")
        view.keyboard.press("n")
        view.wait_for_function(count)
        assert view.evaluate("location.hash") == "#claim_1"
        assert 0 < view.evaluate(drawn) < total
        view.click("button[value='not decided']")
        shown = view.evaluate(f"{EVERY}('.index tr[data-verdict]')].filter((row) => row.offsetParent).length")
        assert shown == sum(each.verdict == UNDECIDED for each in made.claims)
        view.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert view.evaluate(drawn) == total
        assert view.evaluate(f"{EVERY}('details')].every((each) => each.open)")


@pytest.mark.long
@pytest.mark.parametrize("width", [390, 1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_no_wider_than_its_window(tmp_path, width, scheme):
    with opened(pages.write_book(hostile("longword" * 60), tmp_path), width, scheme, figures=False) as view:
        assert view.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.long
def test_each_slide_fits_its_window(tmp_path):
    pages.write_book(sixty(), tmp_path, slides=True)
    for width in (1280, 1600):
        with opened(tmp_path / "slides.html", width, figures=False) as view:
            assert view.evaluate(f"{EVERY}('.slide, .words')].some({OVER})") is False
            view.keyboard.press("ArrowRight")
            assert view.evaluate("location.hash") == "#claim_0"
            view.keyboard.press("End")
            assert view.evaluate("document.querySelectorAll('.slide.current').length") == 1
