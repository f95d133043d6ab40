"""The commands: how each is reached, what a mistake says, and the exit codes."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REST, ROOT, TINY, as_told, clean_environment, program
from PIL import Image

from trainer.cli.main import COMMANDS, main
from trainer.config.aliases import ALIASES
from trainer.config.suggestions import root_keys

LISTED = (
    "train, find-lr, doctor, show, list, compare, lecture, report, export, study, clean, finalize, evaluate, predict"
)
LISTED += ", reproduce, demonstrate, new, check-techniques, help"


def one_line(arguments, capsys):
    """Return the error of a command line, of which it is all that is printed."""
    assert main(arguments.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("trainer: ") and captured.err.count("\n") == 1
    return captured.err.removeprefix("trainer: ").removesuffix("\n")


@pytest.mark.parametrize(
    ("arguments", "near"),
    {
        "reprot x": "report",
        "find_lr dataset=digits": "find-lr",
        "Report": "report",
        "REPORT x": "report",
        "dcotor": "doctor",
        "finalise STUDY": "finalize",
        "help evalute": "evaluate",
    }.items(),
)
def test_a_misspelt_command_gets_the_nearest_one(arguments, near, capsys):
    word = arguments.removeprefix("help ").split()[0]
    assert one_line(arguments, capsys) == (
        f"{word}: there is no such command. Did you mean {near}? Commands: {LISTED};"
        " without one, settings such as optimizer=adam train a run"
    )


@pytest.mark.parametrize(
    ("word", "sentence"),
    {
        "xyz": "xyz: there is no such group, option, setting or command. See python -m trainer --help",
        "optimzer": "optimzer: there is no such group, option, setting or command. Did you mean optimizer?"
        " See python -m trainer --help",
        "optimizer=adm": "optimizer=adm (command line): there is no such optimizer. Did you mean adam?"
        f" Accepted: {REST}",
        "--config-dir=nowhere": "--config-dir nowhere (command line): there is no such folder",
    }.items(),
)
def test_help_for_a_word_that_names_nothing_is_one_line(word, sentence, capsys):
    for flag in ("help", "--help"):
        assert as_told(one_line(f"{flag} {word}", capsys), sentence) == sentence


def test_a_setting_or_an_option_is_not_taken_for_a_command(capsys):
    words = (
        {path.stem for path in (ROOT / "conf").glob("*/*.yaml")}
        | root_keys()
        | {key for key in ALIASES if "=" not in key}
    )
    for word in sorted(words - {*COMMANDS}):  # augmentation=lecture is an option and a command
        assert " (command line): must be key=value." in one_line(word, capsys)
    assert one_line("adam", capsys) == "adam (command line): must be key=value. Did you mean optimizer=adam?"
    meant = "A claim is tested by python -m trainer lecture --claim NAME."
    assert one_line("claim", capsys) == f"claim (command line): must be key=value. {meant}"
    assert f"there is no such group. {meant} Accepted: activation, " in one_line("claim=l1_sparse", capsys)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    {
        "report": "FOLDER: is missing. See python -m trainer report --help",
        "report nowhere": "nowhere: there is no such folder",
        "report --opne": "--opne: there is no such option. Did you mean --open? See python -m trainer report --help",
        "report --baseline": "argument --baseline: expected one argument. See python -m trainer report --help",
        "doctor": "RUN: is missing. See python -m trainer doctor --help",
        "evaluate": "RUN: is missing. See python -m trainer evaluate --help",
        "evaluate nowhere": "nowhere: there is no such run or checkpoint",
        "finalize": "STUDY: is missing. See python -m trainer finalize --help",
        "predict": "RUN: is missing. See python -m trainer predict --help",
        "reproduce": "RUN: is missing. See python -m trainer reproduce --help",
        "compare": "RUN: is missing. See python -m trainer compare --help",
        "show": "RUN: is missing. See python -m trainer show --help",
        "find-lr steps=0": "argument --steps: 0: must be a whole number of at least 1."
        " See python -m trainer find-lr --help",
    }.items(),
)
def test_a_wrong_argument_is_one_line(arguments, sentence, capsys):
    assert one_line(arguments, capsys) == sentence


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("train", "help")])
def test_every_command_has_a_help_of_its_own(name, capsys):
    texts = []
    for arguments in ([name, "--help"], ["help", name], ["help", name, "--help"], ["--help", name]):
        with pytest.raises(SystemExit) as leaving:
            main(arguments)
        assert leaving.value.code == 0
        texts.append(capsys.readouterr().out)
    assert len(set(texts)) == 1
    assert texts[0].startswith(f"usage: python -m trainer {name} ")
    assert "\nexamples:\n  python -m trainer " in texts[0] and "\nexit code 0: " in texts[0]


def test_the_help_lists_the_commands(capsys):
    for arguments in (["help"], ["--help"], ["-h"], ["train", "--help"], ["help", "train"], ["help", "help"]):
        assert main(arguments) == 0
        text = capsys.readouterr().out
        for name, purpose in COMMANDS.items():
            assert f" {name} {purpose} " in " ".join(text.split())


def test_train_is_the_same_as_no_command(capsys):
    shown = []
    for start in ([], ["train"]):
        assert main([*start, "--cfg", "job", "dataset=digits", "lr=0.5"]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] and "\nlr: 0.5\n" in shown[0]
    assert one_line("train optimizer=adm", capsys) == one_line("optimizer=adm", capsys)


def test_exit_code_1_for_a_damaged_file(in_empty_folder):
    (in_empty_folder / "study.json").write_text("{")
    done = program("report", ".", cwd=in_empty_folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("trainer: study.json is damaged") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["report", "finalize", "evaluate", "predict", "reproduce", "doctor", "find_lr"])
def test_a_command_is_no_module_at_the_top(name):
    command = [sys.executable, "-m", f"trainer.{name}", "--help"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=clean_environment())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(f": No module named trainer.{name}\n")


def test_the_help_does_not_wait_for_a_library_that_it_does_not_need():
    code = "import sys; from trainer.cli.main import main; main(['--help']); print({'hydra', 'pydantic.main', 'torch',"
    code += " 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_every_command_runs_on_what_a_person_has_trained(in_empty_folder, capfd):
    """Two members of an ensemble, with W&B offline: the network keeps outputs of its last step."""
    small = ["dataset=digits", "dataset.image_size=16", "model=ensemble", "model.members=2", "model.hidden=8"]
    small += ["device=cpu", "epochs=1", "batch_size=512"]
    Image.new("L", (16, 16), 255).save("white.png")
    arguments = {
        "train": ["-m", *small, "lr=0.01,0.001", "sweep.name=s"],
        "find-lr": [*small, "steps=60", "from=1e-4", "to=1"],
        "show": ["RUN"],
        "list": ["outputs"],
        "compare": ["STUDY"],
        "lecture": ["--list"],
        "report": ["outputs"],
        "export": ["STUDY", "--csv", "-", "--epochs", "epochs.csv", "--json", "v.json", "--latex", "t.tex"],
        "study": ["STUDY"],
        "clean": ["outputs", "previous", "--yes"],
        "doctor": ["RUN"],
        "evaluate": ["RUN"],
        "predict": ["RUN", "white.png"],
        "reproduce": ["RUN"],
        "finalize": ["STUDY", "seeds=1"],
        "demonstrate": ["grid_cost"],
        "new": ["scheduler", "flat", "--techniques", "mine"],
        "check-techniques": ["mine"],
        "help": [],
    }
    assert arguments.keys() == COMMANDS.keys()
    for name, words in arguments.items():
        study, run = (next(in_empty_folder.glob(f"outputs/sweeps/s-*{each}"), "") for each in ("", "/lr-0.01-*"))
        words = [{"STUDY": str(study), "RUN": str(run)}.get(word, word) for word in words]
        assert main([name, *words]) == 0, name
        assert "Traceback" not in capfd.readouterr().err
    assert len(list(run.glob("wandb/offline-run-*/*.wandb"))) == 1


def without_libraries(folder, *arguments, **environment):
    """Run a copy of the program in `folder` in a Python that has no libraries."""
    shutil.copytree(ROOT / "trainer", folder / "trainer")
    command = [sys.executable, "-S", "-m", "trainer", *arguments]
    environment = clean_environment(PYTHONPATH=str(folder), **environment)
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=folder)


def test_without_its_libraries_it_names_the_command_that_helps(in_empty_folder):
    done = without_libraries(in_empty_folder, "dataset=digits")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"trainer: {sys.executable} has no module ")
    assert done.stderr.endswith(f". Try: {sys.executable} -m pip install ablation-trainer\n")


def test_without_its_libraries_it_names_the_environment_beside_it(in_empty_folder):
    python = in_empty_folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    done = without_libraries(in_empty_folder, "report", "a b")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.endswith(". Try: .venv/bin/python -m trainer report 'a b'\n")


def test_one_is_singular_and_no_sentence_has_a_name_of_the_code(in_empty_folder, capfd):
    """One epoch of one step, one seed, one run, one study."""
    tiny = ["dataset=digits", *TINY, "wandb.mode=disabled", "device=cpu", "epochs=1", "batch_size=2048"]
    for words in (
        [*tiny, "output_dir=outputs/run"],
        ["resume=outputs/run", "epochs=1"],
        ["doctor", "outputs/run"],
        ["-m", *tiny, "seed=0", "sweep.name=one", "sweep.dry_run=true"],
        ["-m", *tiny, "seed=0", "sweep.name=one"],
        ["-m", *tiny, "sweep.name=two", "sweep.arms=['lr=0.1 init=zeros','lr=0.2']"],
        ["report", "STUDY"],
        ["finalize", "STUDY", "seeds=1"],
        ["evaluate", "outputs/run"],
        ["evaluate", "--ledger"],
        ["report", "outputs"],
        ["report", "TWO"],
    ):
        places = {"STUDY": "one-*", "TWO": "two-*"}
        words = [str(next(Path("outputs/sweeps").glob(places[word]))) if word in places else word for word in words]
        assert main(words) == 0, words
    told = "".join(capfd.readouterr()) + "".join(path.read_text() for path in Path("outputs").rglob("*.md"))
    assert re.findall(r"(?<![\d.,/])1 [a-z]*(?<!s)s\b", told) == []
    assert "arm=" not in told and "\n* Compared: lr=0.1 init=zeros \\| lr=0.2\n" in told
    assert "\n2 studies, 1 single run\n" in told
    header = next(line for line in told.splitlines() if line.startswith("  epoch"))
    assert "train accuracy" in header and "validation accuracy" in header
