"""Each YAML file of conf/ matches its function, composes, trains, saves and resumes. New files are included.

Experiments and models also run as a person runs them, with W&B offline.
"""

import itertools
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml
from conftest import NEEDED, ROOT, compose, last_of, narrow, smallest, tiny_images

from trainer.cli.main import main
from trainer.config.check import check
from trainer.config.help import asked, first_comment
from trainer.config.schema import GROUPS, REQUIRED, shared_parameters, techniques
from trainer.storage import checkpoint
from trainer.training.build import build_trainer

FILES = sorted(path for path in (ROOT / "conf").glob("*/*.yaml") if path.parent.name != "claim")  # no options
OPTIONS = [file for file in FILES if file.parent.name in GROUPS]


def held(file):
    """Return the content of the file for its group: {technique: options}."""
    tree = yaml.safe_load(file.read_text()) or {}
    group = file.parent.name
    tree = tree.get(group, tree)
    tree = {key: value for key, value in tree.items() if key != "defaults"}
    if GROUPS[group].listed:
        return tree
    return {tree["name"]: {key: value for key, value in tree.items() if key != "name"}}


def many(file):
    """Return the run of a file; an experiment with axes is composed with -m, and its last arm is returned."""
    return ["-m"] if {"params", "arms"} & (yaml.safe_load(file.read_text()).get("sweep") or {}).keys() else []


def number(value):
    """Return a value as YAML 1.2 reads it: 1e-5 is a number."""
    return float(value) if isinstance(value, str) and value[:1].isdigit() and "e" in value else value


def listed(value):
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("group", GROUPS)
def test_every_function_has_its_yaml_and_every_yaml_its_function(group):
    files = {file.stem: [*held(file)] for file in (ROOT / "conf" / group).glob("*.yaml") if held(file)}
    assert {name for name, held_names in files.items() if name in held_names} == set(techniques(group))
    # Other files hold a technique with values of their own, as plateau_note_000 does.
    assert all(name in techniques(group) for names in files.values() for name in names)


@pytest.mark.parametrize("file", OPTIONS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_yaml_shows_every_option_of_its_function(file):
    for name, options in held(file).items():
        parameters = {**techniques(file.parent.name)[name], **shared_parameters(file.parent.name)}
        assert set(options) == set(parameters)
        own = {key for key, (_, default) in techniques(file.parent.name)[name].items()
               if default is not REQUIRED and number(options[key]) != listed(default)}  # fmt: skip
        assert bool(own) == (name != file.stem), own


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.parent.name == "experiment"], ids=lambda file: file.stem
)
def test_an_experiment_chooses_techniques_but_sets_no_option_of_one(file):
    """The option would stay when the command line chooses another technique, and bring the first one back."""
    settings = yaml.safe_load(file.read_text())
    assert not GROUPS.keys() & settings.keys()
    project = settings["wandb"].get("project", "")  # an experiment is run on other data sets, too
    assert not [data.stem for data in FILES if data.parent.name == "dataset" and data.stem in project]


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.parent.name == "experiment"], ids=lambda file: file.stem
)
def test_an_experiment_asks_a_question_and_says_what_to_expect(file):
    told = asked(file)
    assert told["Question"].endswith("?") and told["Expected"].endswith(".")
    assert not [line for line in file.read_text().splitlines() if line.startswith("# Expect")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_the_first_comment_says_what_it_does(file):
    assert len(first_comment(file)) > 15
    assert first_comment(file).endswith((".", "."))


def figures(report):
    return {k: v for k, v in asdict(report).items() if k not in ("epoch_seconds", "images_per_second")}


# Experiments are trained as a person trains them, below.
WALKED = [pytest.param(file, marks=pytest.mark.long) if file.parent.name == "experiment" else file for file in FILES]


# Experiments that ask for two axes, of which `dropout` below is none, or for more classes than the images here have.
FITTING = {
    "batch_norm_dropout": ["sweep.ask=[]"],
    "sparse_features": ["metric.class_accuracy.classes=[0,1]"],
}


@pytest.mark.parametrize("file", WALKED, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_it_is_read_as_written_trains_and_a_resumed_run_has_the_same_bits(file, tmp_path):
    """Compare four epochs with three steps, a checkpoint within the epoch, a new trainer and the other steps."""
    small = ["batch_size=20", "epochs=4", "dropout=0.2", "weight_decay=0.01"]
    chosen = [*many(file), f"{file.parent.name}={file.stem}", *small, *FITTING.get(file.stem, [])]
    chosen += NEEDED.get(file.stem, [])
    run = compose(chosen)[-1]
    if small := [f"model.{option}={value}" for option, value in narrow(run.model.name).items()]:
        run = compose([*chosen, *small])[-1]
    assert check(yaml.safe_load(yaml.safe_dump(run.tree(), sort_keys=False))) == run
    if file.parent.name == "dataset":
        return  # the others' images are made up as well

    def trainer():
        shape = (3, *[smallest(run.model.name)] * 2)
        return build_trainer(run, tiny_images(40, shape), tiny_images(12, shape, seed=1), torch.device("cpu"))

    whole, first, second = trainer(), trainer(), trainer()
    before = {name: value.clone() for name, value in whole.model.state_dict().items()}
    reports = list(whole.train_loop())
    steps = iter(range(3))
    assert list(itertools.islice(first.train_loop(pause=lambda: next(steps) == 2), 2))[1] is None
    torch.manual_seed(99)  # another process has drawn other numbers
    checkpoint.save(tmp_path / "last.safetensors", last_of(first.state_dict()))
    second.load_state_dict(checkpoint.load(tmp_path / "last.safetensors").trainer)
    resumed = list(second.train_loop())

    assert [figures(report) for report in resumed] == [figures(report) for report in reports[1:]]
    assert any(not torch.equal(before[name], value) for name, value in whole.model.state_dict().items())
    for name, value in whole.state_dict()["model"].items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    for name, value in whole.evaluated.state_dict().items():
        assert torch.equal(value, second.evaluated.state_dict()[name]), name
    assert whole.early_stopping.state_dict() == second.early_stopping.state_dict()


# Tiny runs; four epochs where a schedule with a warm-up of three needs them.
SMALL = ("dataset=digits", "dataset.image_size=16", "device=cpu")
LENGTH = {
    "learning_rate_decay": ["epochs=4"],
    "warm_up": ["epochs=4"],
    "batch_size": ["epochs=1", "dataset.train_size=100"],
}
NARROW = ("model.width=2", "dataset.image_size=8")
MLP = ("model.hidden=[8]",)
WIDTH = {"cifar10_94": NARROW, "depth_activation": (), "init_activation": MLP, "sparse_features": MLP}


def ends(values):
    """Return the first and the last of the listed values, or an interval as it is: the others train alike."""
    several = [values] if "(" in values or values.startswith("[") else values.split(",")
    return ",".join(dict.fromkeys([several[0], several[-1]]))


# Those on the digits train the lecture's own settings in other combinations.
RUN = [
    pytest.param(file.stem, marks=pytest.mark.long) if "/dataset: digits" in file.read_text() else file.stem
    for file in FILES
    if file.parent.name == "experiment"
]


@pytest.mark.parametrize("name", RUN)
def test_every_experiment_runs_as_a_person_runs_it(name, capfd):
    sweep = yaml.safe_load((ROOT / "conf" / "experiment" / f"{name}.yaml").read_text()).get("sweep") or {}
    params = sweep.get("params", {})
    # Of a grid over several settings the first alone varies; models differ most, so that all of them are trained.
    axes = [f"{key}={text if key == 'model' else ends(text)}" for key, text in params.items()]
    if "method" not in sweep:
        axes[1:] = [axis if "(" in axis or "=[" in axis else axis.partition(",")[0] for axis in axes[1:]]
    trials = ["sweep.trials=2"] if "method" in sweep else []
    trials += ["sweep.ask=[]"] if "ask" in sweep else []  # of two axes, of which one alone varies here
    trials += ["tune.trials=1"] if any(key.startswith("tune.") for key in params) else []
    batch = [] if "batch_size" in params else ["batch_size=1024"]
    width = WIDTH.get(name, ("model.hidden=8",))
    small = (*SMALL, *LENGTH.get(name, ["epochs=1"]), *width, *batch, *trials, *axes)
    study = ["-m"] if {"params", "arms"} & sweep.keys() else []
    assert main([*study, f"experiment={name}", *small]) == 0
    printed = capfd.readouterr()
    assert "W&B" not in printed.err and "failed" not in printed.out
    assert list(Path("outputs").rglob("wandb/offline-run-*/*.wandb"))
    if study:
        assert printed.out.startswith(f"Question: {sweep['question']}\nExpected: {sweep['expect']}\n")
        assert f"\nQuestion: {sweep['question']}\nExpected: {sweep['expect']}\nAnswer: " in printed.out


EVERY_DAY = ("lecture_cnn", "mlp", "vit")  # the others, each of which takes a second or two, with the long tests


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(file.stem, marks=[] if file.stem in EVERY_DAY else [pytest.mark.long])
        for file in FILES
        if file.parent.name == "model"
    ],
)
def test_every_model_runs_as_a_person_runs_it(name, capfd):
    small = [f"dataset.image_size={smallest(name)}", *(f"model.{key}={value}" for key, value in narrow(name).items())]
    assert main([*SMALL, f"model={name}", *small, "epochs=1", "batch_size=1024", "layer_stats_every=1"]) == 0
    printed = capfd.readouterr()
    assert "W&B" not in printed.err and "Validation accuracy" in printed.out
    assert list(Path("outputs").rglob("wandb/offline-run-*/*.wandb"))
