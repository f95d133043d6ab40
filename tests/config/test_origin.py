"""One's own YAML files: each mistake is told with its file, its line and what to write there."""

import shutil
from pathlib import Path

import pytest
from conftest import REST, ROOT, as_told, compose, fresh

from trainer.config.schema import techniques
from trainer.config.settings import options_of
from trainer.errors import ConfigError

GLOBAL = "# @package _global_"
ROOT_TEXTS = {  # text below the package line of an experiment → the error
    "precision: 16": "precision=16 (own/experiment/mine.yaml, line 2): must be one of fp32, bf16, fp16. Did you mean"
    " precision: fp16?",
    "\nlr: 0,1": "lr='0,1' (own/experiment/mine.yaml, line 3): must be a number above 0. Did you mean lr: 0.1?",
    "sweep:\n  fairness_check: off": "sweep.fairness_check=off (own/experiment/mine.yaml, line 3): must be one of off,"
    ' warn, strict. YAML does not read this as a text. In quotes it is one: fairness_check: "off"',
    "wandb: {name: 1e3}": "wandb.name=1e3 (own/experiment/mine.yaml, line 2): must be a text or null. YAML does not"
    ' read this as a text. In quotes it is one: name: "1e3"',
    "wandb: {tags: baseline}": "wandb.tags='baseline' (own/experiment/mine.yaml, line 2): must be a list, each a text."
    " Did you mean tags: [baseline]?",
    "batch_size: 010": 'own/experiment/mine.yaml, line 2: YAML reads 010 as 8. Write 10 or 8, or "010" for a text',
    "seed: 1:30": 'own/experiment/mine.yaml, line 2: YAML reads 1:30 as 90. Write 90, or "1:30" for a text',
    "sweep: {params: {lr: [0.1, 0.2]}}": "sweep.params.lr=[0.1, 0.2] (own/experiment/mine.yaml, line 2): must be a"
    ' text. YAML does not read this as a text. In quotes it is one: lr: "0.1,0.2"',
    "sweep:\n  params:\n    lr: 0.1,x": "lr='x' (own/experiment/mine.yaml, line 4): must be a number above 0",
    "sweep:\n  arms:\n    - lr=0.1\n    - lr=x": "lr='x' (own/experiment/mine.yaml, line 4): must be a number above 0",
    "optimizer: sgd": "optimizer='sgd' (own/experiment/mine.yaml, line 2): must be one of"
    f" {', '.join(options_of('optimizer'))}. Write below defaults: - override /optimizer: sgd",
    "augmentation: [flip, crop]": "own/experiment/mine.yaml, line 2: an option is chosen under defaults, by the line:"
    " - override /augmentation: [flip, crop]",
    "defaults:\n  - optimizer: sgd": "own/experiment/mine.yaml: defaults must hold the line: - override"
    " /optimizer: sgd",
    "defaults:\n  - override optimizer: sgd": "own/experiment/mine.yaml: defaults must hold the line: - override"
    " /optimizer: OPTION",
    "defaults:\n  optimizer: sgd": "own/experiment/mine.yaml: defaults must be a list with lines such as: - override"
    " /optimizer: sgd",
    "defaults:\n  - override /optimizer: sdg": "optimizer=sdg (own/experiment/mine.yaml): there is no such optimizer."
    f" Did you mean sgd? Accepted: {REST}",
    "regularization: {l1: 0.1}": "regularization.l1=0.1 (own/experiment/mine.yaml, line 2): must hold the options of"
    " l1, such as regularization.l1.strength=0.1",
    "- lr: 0.1": "own/experiment/mine.yaml: must be lines of key: value",
}


def write(name, text, folder="own"):
    """Write a YAML file of one's own and return the arguments that use its folder."""
    group = name.partition("/")[0]
    path = Path(folder) / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return ["--config-dir", folder, f"{group}={path.stem}"]


def told(arguments):
    with pytest.raises(ConfigError) as caught:
        compose(arguments)
    return str(caught.value)


@pytest.mark.parametrize(("text", "sentence"), ROOT_TEXTS.items())
def test_a_mistake_in_an_experiment_names_its_file_and_line(text, sentence):
    arguments = write("experiment/mine", f"{GLOBAL}\n{text}\n")
    for flags in ([], ["-m"]):
        if not flags and "lr='x'" in sentence:  # the axes are composed with -m alone
            continue
        assert as_told(told([*flags, "dataset=digits", *arguments]), sentence) == sentence


@pytest.mark.parametrize(
    "text",
    [
        "lr: 0.5\n",
        f"lr: 0.5\n{GLOBAL}\n",
        "# @package global\nlr: 0.5\n",
        "# @package _group_\nlr: 0.5\n",
        f"# What it is for.\n{GLOBAL}\nlr: 0.5\n",
    ],
)
def test_a_missing_package_line_is_told_with_the_line_to_write(text):
    line = f"own/experiment/mine.yaml: its settings stand below experiment. Write as its first line: {GLOBAL}"
    assert told(write("experiment/mine", text)) == line


def test_a_data_set_file_needs_the_package_line_and_an_optimizer_must_not_have_it():
    digits = "batch_size: 32\ndataset: {name: digits, image_size: 16, validation_size: 9, folds: null, fold: null}\n"
    assert told(write("dataset/mine", digits)) == (
        f"own/dataset/mine.yaml: its settings stand below dataset. Write as its first line: {GLOBAL}"
    )
    assert told(write("optimizer/mine", f"{GLOBAL}\nname: adam\n")).endswith(
        f" An option of optimizer stands in a file without the line {GLOBAL}"
    )


def test_a_file_of_a_built_in_name_is_told_as_not_read():
    adam = (ROOT / "conf/optimizer/adam.yaml").read_text()
    assert told(write("optimizer/adam", adam.replace("0.999", "0.9"))) == (
        "own/optimizer/adam.yaml: is not read, conf/optimizer/adam.yaml has its name; rename it"
    )
    compose(write("optimizer/adam", adam))  # a copy hides nothing


@pytest.mark.parametrize(
    ("place", "folder", "reason"),
    [
        ("own/mine.yaml", "own", "own/mine.yaml must be own/experiment/mine.yaml"),
        ("own/experiment/mine.yml", "own", "own/experiment/mine.yml must be own/experiment/mine.yaml"),
        (
            "own/experiment/mine.yaml",
            "own/experiment",
            "own/experiment/mine.yaml is found with --config-dir own, the folder above experiment",
        ),
    ],
)
def test_a_file_in_another_place_is_told_with_the_right_one(place, folder, reason, in_empty_folder):
    (in_empty_folder / "own" / "experiment").mkdir(parents=True)
    (in_empty_folder / place).write_text(f"{GLOBAL}\nlr: 0.5\n")
    assert told(["--config-dir", folder, "experiment=mine"]) == f"experiment=mine (command line): {reason}"


def test_an_option_of_ones_own_is_suggested_too():
    write("optimizer/fast", (ROOT / "conf/optimizer/adam.yaml").read_text())
    assert "there is no such optimizer. Did you mean fast?" in told(["--config-dir", "own", "optimizer=fsat"])


def test_a_text_that_is_not_utf_8_is_named(in_empty_folder):
    arguments = write("experiment/mine", "")
    (in_empty_folder / "own/experiment/mine.yaml").write_bytes(b"\xff")
    assert "own/experiment/mine.yaml: must be a text in UTF-8 (invalid start byte at byte 0)" in told(arguments)


def test_yaml_without_function_is_told():
    assert told(write("optimizer/lynx", "name: lynx\n")) == (
        "optimizer=lynx (own/optimizer/lynx.yaml, line 1): trainer/techniques/optimizer.py has no function lynx."
        f" Accepted: {', '.join(sorted(techniques('optimizer')))}, or a function that you add"
    )


@pytest.fixture
def copy(in_empty_folder):
    """Copy the program. Return a function that replaces a text in one of its files and returns an error of it."""
    for part in ("trainer", "conf"):
        shutil.copytree(ROOT / part, in_empty_folder / "copy" / part)

    def changed(file, old, new, *arguments):
        path = in_empty_folder / "copy" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        return fresh(*arguments, cwd=in_empty_folder, PYTHONPATH=str(in_empty_folder / "copy"))

    return changed


def line_of(file, text):
    return next(number for number, line in enumerate((ROOT / file).read_text().splitlines(), 1) if text in line)


SCHEDULER = "trainer/techniques/scheduler.py"


@pytest.mark.parametrize(
    ("new", "reason"),
    {
        "gamma: list[float] = 0.95": "gamma of exponential: list[float] is not a type of an option. Accepted: Count,",
        "gamma=0.95": "gamma of exponential: an option needs a type. Accepted: Count,",
        "gamma: tuple[float] = 0.95": "gamma of exponential: tuple[float] is not a type of an option. Accepted: Count,",
        "gamma: Positive = 1 - 0.05": "gamma of exponential: its default must be a plain value, not 1 - 0.05",
        "gamma: Positive = ": "",
    }.items(),
)
def test_a_signature_that_cannot_be_read_names_file_and_line(new, reason, copy):
    old = "gamma: OpenFraction = 0.95"
    done = copy(SCHEDULER, old, new, "dataset=digits", "--cfg", "job")
    start = f"trainer: {SCHEDULER}, line {line_of(SCHEDULER, old)}: {reason}"
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(start)


def test_function_without_yaml_is_told(copy, in_empty_folder):
    (in_empty_folder / "copy/conf/scheduler/exponential.yaml").unlink()
    done = copy(SCHEDULER, "", "", "scheduler=exponential")
    assert done.stderr == (
        "trainer: scheduler=exponential (command line): trainer/techniques/scheduler.py has the function exponential,"
        " conf/scheduler/exponential.yaml is missing\n"
    )


def test_a_typing_error_in_a_model_is_no_lack_of_memory(copy):
    done = copy(
        "trainer/techniques/networks/lecture_networks.py",
        "nn.Conv2d(inputs, wide, kernel_size)",
        "nn.Conv2d(inputs, wide, kernel_size, bais=False)",
        "dataset=digits",
        "wandb.mode=disabled",
    )
    assert done.returncode == 1 and "memory" not in done.stderr
    assert 'trainer/techniques/networks/lecture_networks.py", line ' in done.stderr
    assert done.stderr.splitlines()[-1].endswith(
        "TypeError: Conv2d.__init__() got an unexpected keyword argument 'bais'"
    )
