"""Completion: the candidates for a line, and real shells that complete it."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, clean_environment, program

from trainer.cli.completion import candidates
from trainer.cli.main import COMMANDS

OPTIMIZERS = [f"optimizer={name}" for name in ("adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw")]


@pytest.mark.parametrize(
    ("line", "words"),
    {
        "trainer rep": ["report", "reproduce"],
        "trainer train optimizer=ad": OPTIMIZERS,
        "trainer optimizer=ad": OPTIMIZERS,
        "trainer -m dataset=digits optimizer=sgd,ad": [f"optimizer=sgd,{name[10:]}" for name in OPTIMIZERS],
        "trainer augmentation=[flip,cr": ["augmentation=[flip,crop"],
        "trainer regularization=[l1,l": ["regularization=[l1,l2", "regularization=[l1,label_smoothing"],
        "trainer precision=f": ["precision=fp16", "precision=fp32"],
        "trainer -m precision=fp32,f": ["precision=fp32,fp16"],
        "trainer sweep.method=": ["sweep.method=gp", "sweep.method=grid", "sweep.method=random", "sweep.method=tpe"],
        "trainer device=c": ["device=cpu", "device=cuda"],
        "trainer optimizer.amsgrad=": ["optimizer.amsgrad=false", "optimizer.amsgrad=true"],
        "trainer early_stop_patience=": ["early_stop_patience=10", "early_stop_patience=null"],
        "trainer init=kaiming_normal init.mode=": ["init.mode=fan_in", "init.mode=fan_out"],
        "trainer wandb.t": ["wandb.tags="],
        "trainer optimizer.b": ["optimizer.betas="],
        "trainer data_dir=~/": ["data_dir=~/pictures/"],
        "trainer --config-dir=o": ["--config-dir=own/"],
        "trainer --cfg ": ["all", "hydra", "job"],
        "trainer --shell-completion u": ["uninstall=bash", "uninstall=fish", "uninstall=zsh"],
        "trainer --help optimizer=ada": OPTIMIZERS,
        "trainer help augm": ["augmentation"],
        "trainer evaluate own --device c": ["cpu", "cuda"],
        "trainer evaluate own device=c": ["device=cpu", "device=cuda"],
        "trainer evaluate own data-dir=o": ["data-dir=own/"],
        "trainer find-lr precision=b": ["precision=bf16"],
        "trainer optimizer.a": ["optimizer.amsgrad="],
        "trainer scheduler=step scheduler.st": ["scheduler.step_size="],
        "trainer 'wandb.notes=two words' lr=": ["lr=0.001"],
        "trainer 'optimizer=ad": [],
        "trainer --conf": ["--config-dir"],
        "trainer --config-dir o": [],
        "trainer --config-dir own optimizer=adam_": ["optimizer=adam_fast"],
        "trainer resume=o": ["resume=own/"],
        "trainer resume=own/": ["resume=own/optimizer/"],
        "trainer resume=nowhere/x": [],
        "trainer hydra.": ["hydra.launcher."],
        "trainer optimizer=adm lr": [],
        "trainer report ": [],
        "trainer report --": ["--ask", "--baseline", "--expect", "--explain", "--help", "--open", "--wandb", "--watch"],
        "trainer show ": [],
        "trainer show RUN --": ["--all", "--help"],
        "trainer compare --": ["--baseline", "--help", "--metric", "--open", "--other-images", "--output", "--score"],
        "trainer compare --metric ": ["validation_accuracy", "validation_cross_entropy", "validation_loss"],
        "trainer export STUDY --c": ["--csv"],
        "trainer export STUDY --csv ": [],
        "trainer export STUDY --figures=o": ["--figures=own/"],
        "trainer list --": ["--help", "--limit", "--sort"],
        "trainer list optimizer=ad": OPTIMIZERS,
        "trainer list --sort validation_": ["validation_accuracy", "validation_loss"],
        "trainer list sort=validation_": ["sort=validation_accuracy", "sort=validation_loss"],
        "trainer list so": ["sort="],
        "trainer report STUDY --b": ["--baseline"],
        "trainer evaluate --data-dir --d": [],
        "trainer predict own --ex": ["--export"],
        "trainer demonstrate opt": ["optimizer_paths"],
        "trainer demonstrate --": ["--help"],
        "trainer new opt": ["optimizer"],
        "trainer new optimizer ": [],
        "trainer new optimizer lynx --t": ["--techniques"],
        "trainer check-techniques ": [],
        "trainer check-techniques own/optimizer.py sw": ["sweep.", "swift"],
        "trainer check-techniques own/optimizer.py swift optimizer=ada": OPTIMIZERS,
        "trainer check-techniques own --": ["--device", "--help", "--test-part"],
        "trainer find-lr dataset=digits optimizer=mo": ["optimizer=momentum"],
        "trainer find-lr steps=300 optimizer=mo": ["optimizer=momentum"],
        "trainer find-lr st": ["steps="],
        "trainer find-lr --": ["--config-dir", "--from", "--help", "--steps", "--strict", "--techniques", "--to"],
        "trainer find-lr --config-dir own optimizer=adam_": ["optimizer=adam_fast"],
        "trainer help fi": ["finalize", "find-lr"],
        "trainer help finalize ": [],
        "": sorted(COMMANDS),
    }.items(),
)
def test_candidates(line, words, in_empty_folder, monkeypatch):
    monkeypatch.setenv("HOME", str(in_empty_folder / "home"))
    (in_empty_folder / "home" / "pictures").mkdir(parents=True)
    own = in_empty_folder / "own" / "optimizer"
    own.mkdir(parents=True)
    shutil.copy(ROOT / "conf" / "optimizer" / "adam.yaml", own / "adam_fast.yaml")
    (own.parent / "optimizer.py").write_text("def swift(params, lr, weight_decay): ...\n")
    found = candidates(line)
    assert found == words if line else set(words) < set(found)


def test_a_line_with_a_mistake_has_no_candidates(in_empty_folder):
    done = program("--shell-completion", "query=zsh", cwd=in_empty_folder, COMP_LINE="trainer optimizer=adam --foo l")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("arguments", ["", "install=tcsh", "install", "query=bash install=bash", "complete=bash"])
def test_a_wrong_request_is_one_line(arguments, in_empty_folder):
    done = program("--shell-completion", *arguments.split(), cwd=in_empty_folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "trainer: --shell-completion (command line): must be followed by install=SHELL, uninstall=SHELL or query=SHELL,"
        " where SHELL is one of bash, zsh, fish\n"
    )


def path_with_trainer(folder):
    """Return a PATH whose `trainer` and `python` are those of this checkout."""
    (folder / "bin").mkdir()
    for name, module in (("python", ""), ("trainer", "-m trainer")):
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {module} "$@"\n')
        script.chmod(0o755)
    return f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"


def typed(shell, text, folder, until):
    """Type `text` into an interactive shell on a terminal of its own until the file `until` exists."""
    environment = clean_environment(PATH=path_with_trainer(folder), HOME=str(folder), TERM="xterm", PS1="$ ")
    this, other = pty.openpty()
    with subprocess.Popen(
        shell, stdin=other, stdout=other, stderr=other, env=environment, cwd=folder, start_new_session=True
    ) as process:
        os.close(other)
        os.write(this, text.encode())
        end, shown = time.monotonic() + 60, b""
        while not Path(until).is_file() and time.monotonic() < end:
            if select.select([this], [], [], 0.2)[0]:  # a terminal that nobody reads stops the shell
                shown += os.read(this, 65536)
        process.kill()
    os.close(this)
    assert Path(until).is_file(), shown.decode(errors="replace")


@pytest.mark.long
@pytest.mark.parametrize(
    "shell", [("bash", "--norc", "--noprofile", "-i"), ("zsh", "-f", "-i")], ids=lambda words: words[0]
)
@pytest.mark.parametrize(
    ("keys", "line"),
    {
        "trainer repo\tfig\t": ["trainer", "report", "figures.txt"],
        "python -m trainer report --o\t": ["python", "-m", "trainer", "report", "--open"],
        "trainer data_dir=two\t": ["trainer", "data_dir=two words/"],
        "trainer dataset=digits optimizer=ne\tepo\t": ["trainer", "dataset=digits", "optimizer=nesterov", "epochs="],
    }.items(),
)
def test_an_interactive_shell_completes(shell, keys, line, in_empty_folder):
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    (in_empty_folder / "figures.txt").touch()
    (in_empty_folder / "two words").mkdir()
    # Ctrl-A goes to the start of the line, which becomes the arguments of a function that writes them down.
    record = 'record() { printf "%s\\n" "$@" > part; mv part line; }\n'
    install = f'{record}eval "$(trainer --shell-completion install={shell[0]})"\n'
    typed(shell, f"{install}{keys}\x01record \n", in_empty_folder, until=in_empty_folder / "line")
    assert (in_empty_folder / "line").read_text().splitlines() == line


def test_fish_completes(in_empty_folder):
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    (in_empty_folder / "figures.txt").touch()
    lines = ["trainer rep", "python -m trainer optimizer=ada", "trainer report fig"]
    script = "trainer --shell-completion install=fish | source\n" + "".join(f"complete -C '{line}'\n" for line in lines)
    environment = clean_environment(PATH=path_with_trainer(in_empty_folder), HOME=str(in_empty_folder))
    done = subprocess.run(
        ["fish", "--no-config", "-c", script], check=True, capture_output=True, text=True, env=environment
    )
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [
        "report",
        "reproduce",
        *OPTIMIZERS,
        "figures.txt",
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_is_installed_can_be_taken_away(shell, in_empty_folder):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    texts = [
        program("--shell-completion", f"{action}install={shell}", cwd=in_empty_folder).stdout for action in ("", "un")
    ]
    done = subprocess.run([shell, "-c", "".join(texts)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
