"""The Python API: its examples, its errors, what is printed and shown."""

import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from conftest import ROOT, clean_environment, timeless
from safetensors.torch import load_file

import trainer
from trainer import api
from trainer.errors import ConfigError, RunError

FAST = ("dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "wandb.mode=disabled", "device=cpu")


def bits(run):
    return timeless(run.folder), {
        name: value.tolist() for name, value in load_file(run.folder / "best.safetensors").items()
    }


@pytest.mark.long
def test_the_examples_of_the_docstrings_are_true(in_empty_folder):
    """In the order in which they build on each other."""
    shared = {"trainer": trainer, "torch": torch}
    order = [api.compose, api.train, api.load, api.study, *vars(api.Study).values(), *vars(api.Run).values()]
    runner, finder = doctest.DocTestRunner(), doctest.DocTestFinder()
    tried = 0
    for each in order:
        function = each.fget if isinstance(each, property) else each
        if inspect.isfunction(function) and not function.__name__.startswith("_"):
            (example,) = finder.find(function, function.__name__, globs=shared) or [None]
            example.globs = shared
            assert example.examples or function.__name__ in ("config", "classes"), f"{function.__name__} has no example"
            runner.run(example, clear_globs=False)
            tried += len(example.examples)
    assert runner.failures == 0 and tried >= 20


def test_the_code_of_the_page_runs(in_empty_folder, monkeypatch, capsys):
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    code = "".join(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    for shown, shorter in (('"epochs=2"', '"epochs=1", "wandb.mode=disabled"'), ("seed=0,1,2", "seed=0")):
        assert shown in code
        code = code.replace(shown, shorter)
    Path("code_of_the_page.py").write_text(code)
    monkeypatch.syspath_prepend(str(in_empty_folder))
    page = importlib.import_module("code_of_the_page")
    assert "Single runs: nothing can be concluded" in capsys.readouterr().out and page.run.result.state == "finished"
    assert {row["arm"] for row in page.halves.rows} == {"constant", "halved"}


def test_the_package_imports_neither_torch_nor_hydra_before_they_are_needed():
    code = (
        "import sys, trainer; print({'torch', 'hydra', 'pydantic'} & set(sys.modules));"
        "trainer.compose, trainer.study, trainer.Run;"
        "print('torch' in sys.modules, {*trainer.__all__} <= {*dir(trainer)});"
        "trainer.compose('dataset=digits'); print('torch' in sys.modules); trainer.nothing"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=clean_environment()
    )
    assert done.stdout == "set()\nFalse True\nFalse\n"
    assert done.stderr.endswith("AttributeError: module 'trainer' has no attribute 'nothing'\n")


def test_progress_is_printed_unless_it_is_switched_off(in_empty_folder, capsys):
    settings = (*FAST, "epochs=1", "lr=0.1,0.01")
    trainer.study(*settings, progress=False)
    assert capsys.readouterr().out == ""
    trainer.study(*settings, "optimizer=sgd")
    assert "[2/2] lr=0.01: " in capsys.readouterr().out
    trainer.train(trainer.compose(*settings[:-1]))
    assert "validation accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: trainer.compose("optimizer=adm"),
            "optimizer=adm (command line): there is no such optimizer. Did you mean adam?",
        ),
        (
            lambda: trainer.compose("-m", "lr=0.1,0.2"),
            "compose('-m'): takes settings and --config-dir=DIR, no other flag: call trainer.study",
        ),
        (lambda: trainer.compose("--cfg"), "compose('--cfg'): takes settings and --config-dir=DIR, no other flag"),
        (lambda: trainer.compose(3), "compose(3): takes settings as texts"),
        (lambda: trainer.train("dataset=digits"), "train('dataset=digits'): takes what compose returns"),
        (lambda: trainer.load("nowhere"), "nowhere: there is no such folder"),
        (lambda: trainer.load("."), ".: is not the folder of a run"),
        (lambda: trainer.study("sweep.dry_run=true"), "sweep.dry_run=true trains nothing: give it to python -m"),
        (lambda: trainer.compose(techniques=3), 'techniques=3: must be a path such as "mine", {"optimizer": tiger},'),
        (lambda: trainer.compose(techniques="nowhere"), "--techniques nowhere (command line): there is no such"),
    ],
)
def test_a_mistake_is_one_line(in_empty_folder, call, sentence):
    with pytest.raises(ConfigError) as caught:
        call()
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)
    assert not [*in_empty_folder.iterdir()]


def test_a_failed_run_is_an_exception_and_what_is_shown_of_it_never_fails(in_empty_folder):
    failing = (*FAST, "epochs=2", "lr=1e30", "optimizer=sgd")
    with pytest.raises(RunError, match=r"not finite.*Saved: 0 of 2 epochs"):
        trainer.train(trainer.compose(*failing, "output_dir=failed"), progress=False)
    run = trainer.load("failed")
    assert run.result.state == "failed" and "It failed after 0 of 2 epochs" in run._repr_html_()
    with pytest.raises(ConfigError, match=r"has not been validated yet, .*best.safetensors does not exist"):
        run.model()
    study = trainer.study(*failing, "seed=0,1", progress=False)
    assert repr(study) == f"<Study {study.folder}: 1 arms, runs: 2 failed>"
    damages = ((run, "config.yaml", "does not hold the settings of a run"), (study, "study.json", "is damaged"))
    for shown, file, words in damages:
        (shown.folder / file).write_text("<")
        assert f"{shown.folder}: " in repr(shown) and words in repr(shown)
        assert words in shown._repr_html_() and "<svg" not in shown._repr_html_()


def test_a_frame_without_pandas_names_the_command(in_empty_folder, monkeypatch):
    run = trainer.train(trainer.compose(*FAST, "epochs=1"), progress=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^a frame needs pandas: pip install pandas"):
        _ = run.metrics
    assert [row["epoch"] for row in run.rows] == [1]


def test_a_notebook_shows_table_sentences_and_curves_with_every_text_escaped(in_empty_folder):
    study = trainer.study(*FAST, "epochs=2", "lr=0.1,0.01", "output_dir=a<b>", progress=False)
    first, second = study.runs
    assert first._repr_html_().count("<svg") == study._repr_html_().count("<svg") == 3
    for html in (study._repr_html_(), first._repr_html_(), study.verdict._repr_html_()):
        assert "a&lt;b&gt;" in html or "<code>" not in html
        assert all(word not in html for word in ("<b>0", "<script", "<img", "nan,", "NaN", "a<b>", "color: black"))
        ElementTree.fromstring(html)  # every element is closed
    assert "<td>lr=0.1</td>" in study._repr_html_() and "Single runs: nothing can be concluded" in study._repr_html_()
    assert repr(study) == f"<Study {study.folder}: 2 arms, runs: 2 finished>"
    assert repr(second) == (
        f"<Run {second.folder}: finished, 2 epochs, validation_accuracy={second.result.validation_accuracy:.4f}>"
    )
    assert str(study.verdict).startswith("Single runs")
