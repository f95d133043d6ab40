"""Every command that is printed can be pasted: the shell and Hydra read from it what was meant."""

import json
import shlex
from pathlib import Path

import pytest
from conftest import QUICK, ROOT, compose, interpret, program
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trainer.cli.main import command_parser
from trainer.config.arguments import as_forced_override
from trainer.config.shell import command, resume_command, setting, sync_command
from trainer.errors import ConfigError
from trainer.study.rerun import command_with

STRANGE = "ab1e.+-_~/\\\"'$%{}[](),:=# \t\n?*&;!@|<>0xnul٣é"
# What Hydra reads as another type, and what the shell would expand.
NAMES = ["null", "True", "1e5", "0x10", "inf", "-inf", "nan", "1_0", "it's", 'a "b"', "~", "~/a", "${x}", "\\${x}"]
NAMES += [
    "$(rm)",
    "a\\",
    "-",
    "..",
    "2026-01-02",
    "1:30",
    "",
    " a ",
    "a,b",
    "[a]",
    "{a:b}",
    "#",
    "-m",
    "--open",
    "open=1",
]
texts = st.text(STRANGE, max_size=10) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
plan = interpret(["-m", "dataset=digits", "seed=0,1"])


def composed(words):
    """Return the tree of a run; a plan composes it in a thousandth of the time of a command line."""
    return plan.sweep.compose([as_forced_override(word) for word in words]).tree


@settings(max_examples=300, deadline=None)
@given(texts | st.sampled_from(NAMES), st.lists(texts, max_size=3))
@example("trailing \\\\", ["${a}", 'x"'])
def test_a_printed_setting_is_read_as_the_same_value(text, several):
    if "???" in (text, *several):  # OmegaConf's mark for a missing value, which nothing can escape
        return
    printed = command(setting("wandb.notes", text), setting("wandb.tags", several), setting("dropout", 0.25))
    tree = composed(shlex.split(printed)[3:])
    assert (tree["wandb"]["notes"], tree["wandb"]["tags"], tree["dropout"]) == (text, several, 0.25)


@pytest.mark.parametrize("value", [None, True, False, 3, 1e-5, 5.0, [1, "1"], [], {"a": "null", "b": [None]}])
def test_a_printed_setting_keeps_its_type(value):
    read = composed([setting("model.hidden", value)])["model"]["hidden"]
    assert read == value and type(read) is type(value)


@settings(max_examples=100, deadline=None)
@given(texts | st.sampled_from(NAMES))
def test_a_printed_folder_is_the_argument_and_no_option(name):
    folder = Path(name)
    (word,) = shlex.split(resume_command(folder))[3:]
    assert name == "???" or Path(composed([word])["resume"]) == folder
    for each in ("report", "doctor", "reproduce", "finalize", "evaluate"):
        word = shlex.split(command(each, folder))[-1]
        read = [vars(command_parser(each).read([word])).get(key) for key in ("folder", "run", "study", "runs")]
        assert [Path(value[0] if isinstance(value, list) else value) for value in read if value] == [folder]
    assert shlex.split(sync_command(folder))[2:] == [word]


@pytest.mark.long
@pytest.mark.parametrize("file", sorted((ROOT / "conf" / "experiment").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_command_of_a_point_composes_to_its_run(file):
    """With what was typed beside the experiment."""
    typed = ["dataset=digits", '++wandb.notes="a +b  c"', "data_dir='null'", f"experiment={file.stem}"]
    try:
        found = interpret(["-m", *typed])
    except ConfigError as error:
        pytest.skip(str(error))
    runs = found.runs or found.runs_at({axis.key: axis.corners()[0] for axis in found.space})
    words = shlex.split(found.command(runs[-1].point))
    assert words[:3] == ["python", "-m", "trainer"]
    assert compose(words[3:]) == [runs[-1].config]


def test_the_command_of_a_point_keeps_a_text_on_an_axis():
    found = interpret(["-m", "dataset=digits", "data_dir='my data +x','1e5',\"it's\"", "seed=0"])
    assert [run.config.data_dir for run in found.runs] == ["my data +x", "1e5", "it's"]
    for run in found.runs:
        assert compose(shlex.split(found.command(run.point))[3:]) == [run.config]


def test_what_was_typed_stays_in_the_command_that_is_advised(tmp_path):
    (tmp_path / "my own").mkdir()
    own = f"--config-dir={tmp_path}/my own"
    for arguments, start in (
        (["dataset=digits", "experiment=dropout", own], "experiment=dropout compares several runs: "),
        (["lr=0.1,0.2", "dataset=digits", own], "lr=0.1,0.2 (command line): several values need -m, as in: "),
    ):
        with pytest.raises(ConfigError) as caught:
            compose(arguments)
        assert str(caught.value).startswith(start)
        words = shlex.split(str(caught.value).removeprefix(start))
        assert words[:4] == ["python", "-m", "trainer", "-m"] and set(words[4:]) == set(arguments)
        assert len(compose(words[3:])) > 1


def test_what_to_try_keeps_ones_own_yaml_and_what_was_taken_away(in_empty_folder):
    folder = in_empty_folder / "run"
    folder.mkdir()
    for start, again in (
        ("train dataset=digits", "dataset=digits lr=0.03"),
        ("--config-dir 'my own' experiment=mine", "'--config-dir=my own' experiment=mine lr=0.03"),
        ("augmentation=lecture ~augmentation.crop", "augmentation=lecture '~augmentation.crop' lr=0.03"),
    ):
        (folder / "environment.json").write_text(json.dumps([{"command": f"python -m trainer {start}"}]))
        assert command_with(folder, "lr=0.03") == f"python -m trainer {again}"
    (folder / "environment.json").write_text('[{"command": "python -m trainer -m lr=0.1,0.2"}]')
    assert command_with(folder, "lr=0.03") == "lr=0.03"


@pytest.mark.long
@pytest.mark.parametrize("name", ["null", 'it\'s "1e5"', "-m"])
def test_a_run_in_a_folder_of_any_name_goes_on_by_the_printed_command(name, in_empty_folder):
    done = program(*QUICK, "epochs=1", setting("output_dir", name), cwd=in_empty_folder)
    assert done.returncode == 0, done.stderr
    (hint,) = [line for line in done.stdout.splitlines() if "To train further" in line]
    words = shlex.split(hint.partition("To train further")[2])
    assert words[:3] == ["python", "-m", "trainer"]
    done = program(*words[3:], cwd=in_empty_folder)
    assert (done.returncode, done.stderr) == (0, "") and f"Folder: {name}, continuing after epoch 1" in done.stdout
