"""Messages are wrapped on a terminal and one line each in a file; paths and commands are never broken."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import QUICK, TINY, clean_environment, program
from PIL import Image
from rich.color import ColorSystem

from trainer.errors import RunError
from trainer.runtime import console
from trainer.runtime.text import counted, wrap

LONG = "it began in 1.1 (Linear), whose weights step 2 changed by 7.5 times their own size. Try lr=0.03"


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def screen(monkeypatch):
    """A terminal of 40 columns in place of both consoles' streams."""
    shown = Screen()
    for each in (console.out, console.err):
        monkeypatch.setattr(each, "_file", shown)
        monkeypatch.setattr(each, "_width", 40)
    return shown


def test_a_line_is_wrapped_between_words_and_a_command_can_be_pasted():
    assert wrap("lr=0.1 is too high", 18) == "lr=0.1 is too high"
    assert wrap("lr=0.1 is too high", 17) == "lr=0.1 is too\nhigh"
    assert wrap("Folder: outputs/a-folder-with-a-name", 20) == "Folder:\noutputs/a-folder-with-a-name"
    command = "python -m trainer resume=outputs/run 'model.hidden=[9, 9]' epochs=4"
    wrapped = wrap(f"Stopped. Saved: 1 of 2 epochs. To continue: {command}", 43)
    assert wrapped == (
        "Stopped. Saved: 1 of 2 epochs. To continue:\npython -m trainer resume=outputs/run \\\n"
        "  'model.hidden=[9, 9]' epochs=4"
    )
    pasted = subprocess.run(
        ["bash"], input=f"echo {wrapped.partition(chr(10))[2]}", check=True, capture_output=True, text=True
    )
    assert pasted.stdout == "python -m trainer resume=outputs/run model.hidden=[9, 9] epochs=4\n"
    # A command that the shell could not read is text; of two commands the first one is text.
    assert wrap("See python -m trainer doctor outputs/student's run", 40) == (
        "See python -m trainer doctor\noutputs/student's run"
    )
    assert wrap("It needs pip install 'a[b]'. From a checkout: pip install -e '.[b]'", 30) == (
        "It needs pip install 'a[b]'.\nFrom a checkout:\npip install -e '.[b]'"
    )
    assert wrap(r"as in: python -m trainer output_dir=a\ run\'s", 36) == (
        "as in:\npython -m trainer \\\n  output_dir=a\\ run\\'s"
    )
    assert wrap("one\n" + "two " * 8, 20) == "one\ntwo two two two two\ntwo two two"


def test_a_terminal_shows_wrapped_messages(screen):
    console.say(LONG)
    console.fail(RunError(LONG))
    console.warn(LONG)
    console.closing_table([("Diagnosis", "too high: of epoch 1 of 4"), ("To try", "python -m trainer lr=0.03")])
    assert screen.getvalue().splitlines() == [
        "it began in 1.1 (Linear), whose weights",
        "step 2 changed by 7.5 times their own",
        "size. Try lr=0.03",
        "trainer: it began in 1.1 (Linear), whose",
        "weights step 2 changed by 7.5 times",
        "their own size. Try lr=0.03",
        "trainer: warning: it began in 1.1",
        "(Linear), whose weights step 2 changed",
        "by 7.5 times their own size. Try lr=0.03",
        "  Diagnosis            too high: of",
        "                       epoch 1 of 4",
        "  To try               python -m \\",
        "                         trainer \\",
        "                         lr=0.03",
    ]


def test_a_file_gets_one_line(capsys):
    console.say(LONG)
    console.fail(RunError(LONG * 3))
    console.closing_table([("Diagnosis", LONG * 3)])
    printed = capsys.readouterr()
    assert printed.out == f"{LONG}\n  Diagnosis            {LONG * 3}\n"
    assert printed.err == f"trainer: {LONG * 3}\n"


def test_a_log_has_no_colours_whatever_the_terminal_shows(monkeypatch, capsys):
    for each in (console.out, console.err):
        monkeypatch.setattr(each, "_color_system", ColorSystem.STANDARD)
    with console.logged_to(Path("log.txt")):
        console.say("said", "bold red")
        console.warn("warned")
    assert Path("log.txt").read_text() == "said\ntrainer: warning: warned\n"
    console.say("said", "bold")
    assert capsys.readouterr().out == "\x1b[1msaid\x1b[0m\n"


@pytest.mark.long
@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}])
def test_a_file_shows_colours_if_they_are_asked_for_but_nothing_that_moves(variables, in_empty_folder):
    single = program(*QUICK, *TINY, "output_dir=run", cwd=in_empty_folder, **variables)
    study = program("-m", *QUICK, *TINY, "seed=0,1", cwd=in_empty_folder, **variables)
    for done in (single, study):
        assert done.returncode == 0
        assert re.findall(r"\x1b\[[0-9;?]*[^0-9;?m]", done.stdout + done.stderr) == []
    assert single.stdout.count("2/2 ") == 1 and study.stdout.count("[2/2] seed=1: ") == 1
    predicted = program("predict", "run", str(one_picture()), cwd=in_empty_folder, **variables)
    assert predicted.stdout.startswith("picture.png\t")  # the form of a file


def one_picture() -> Path:
    Image.new("L", (8, 8), 90).save("picture.png")
    return Path("picture.png")


@pytest.mark.parametrize("columns", ["0", "00", "80"])
def test_a_width_of_zero_is_80_columns(columns):
    code = "from trainer.runtime import console; print(console.out.width, console.out.height)"
    environment = clean_environment(COLUMNS=columns, LINES="0", TERM="xterm")
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout == "80 25\n"


def test_a_number_has_its_noun_in_the_singular_or_plural():
    assert [counted(number, "study", "studies") for number in (0, 1, 2)] == ["0 studies", "1 study", "2 studies"]


def test_a_line_that_is_said_while_a_table_is_redrawn_stands_above_it(monkeypatch):
    from rich.live import Live

    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    drawn = console.new_console()
    with console.redrawing(drawn), Live("the table", console=drawn, auto_refresh=False) as live:
        live.refresh()
        console.say("a look at the study")
        live.refresh()
    first, after = screen.getvalue().split("a look at the study")
    # The table is erased before the line is written, and drawn again below it.
    assert first.rindex("\x1b[2K") > first.rindex("the table") and after.index("the table") < after.index("\x1b[2K")
    console.say("the end")
    assert screen.getvalue().endswith("the end\n")
