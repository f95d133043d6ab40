"""Untrusted runs and studies are refused in one line or read as data; they run no code and write no file."""

import copy
import io
import json
import math
import os
import re
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT, compose, interpret, metrics, program, tiny_images
from fuzzing_files import framed, put_together, saved, sealed, taken_apart, untrained
from PIL import Image

from trainer.cli import doctor, evaluate, finalize, predict, report, reproduce
from trainer.config.run_config import RunConfig
from trainer.config.schema import PACKAGE
from trainer.errors import ConfigError, RunError
from trainer.evaluation.ledger import own_ledger
from trainer.records.outcome import read_outcome
from trainer.reports import index
from trainer.run import train
from trainer.runtime.console import duration
from trainer.storage import checkpoint
from trainer.study.execute import run_study
from trainer.study.worker import work
from trainer.training.build import build_trainer
from trainer.training.epoch import EpochProgress, Meters
from trainer.training.resume_check import refuse_misfit

TINY = ("dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "device=cpu", "wandb.mode=disabled")
SHORT = (*TINY, "epochs=1")
MARK = "mArkEr-0451"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Train a run of one epoch once; each test gets a copy."""
    place = tmp_path_factory.mktemp("run") / "run"
    (config,) = compose([*SHORT, "optimizer=momentum", f"output_dir={place}"])
    return train(config).folder


@pytest.fixture
def stranger(run):
    return Path(shutil.copytree(run, "run"))


def go_on() -> int:
    """Return the study's command, with the data_dir: another one would be another study."""
    return run_study(interpret(["-m", *SHORT, "data_dir=/nowhere", "lr=0.01,0.03"])).exit_code


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    place, before = tmp_path_factory.mktemp("study"), Path.cwd()
    os.chdir(place)
    try:
        go_on()
    finally:
        os.chdir(before)
    (folder,) = (place / "outputs" / "sweeps").glob("*")
    return folder


@pytest.fixture
def strange_study(study):
    return Path(shutil.copytree(study, Path("outputs") / "sweeps" / study.name))


def told(error: type[Exception], act, *arguments) -> str:
    """Return the one line with which the command fails."""
    with pytest.raises(error) as caught:
        act(*arguments)
    text = str(caught.value)
    assert text.isprintable() and MARK not in text
    assert not Path("harmed").exists()
    return text


# Checkpoints


def deep() -> list:
    value: list = []
    for _ in range(60):
        value = [value]
    return value


def changed(**values):
    return lambda state: replace(state, **values)


def config(**values):
    return lambda state: replace(state, config={**state.config, **values})


def part(name: str, value):
    return lambda state: replace(state, trainer={**state.trainer, name: value})


def early(**values):
    return lambda state: part("early_stopping", {**state.trainer["early_stopping"], **values})(state)


def weights(value):
    return lambda state: part("model", dict.fromkeys(state.trainer["model"], value))(state)


def setting(**values):
    def change(state):
        groups = [{**group, **values} for group in state.trainer["optimizer"]["param_groups"]]
        return part("optimizer", {**state.trainer["optimizer"], "param_groups": groups})(state)

    return change


def within(**values):
    """Return the state that is saved after the first of 19 steps."""
    progress = EpochProgress(0, 1, 0.001, Meters(19, torch.device("cpu")), torch.Generator())
    progress.started = 0.0
    progress.suspend()
    return part("progress", {**progress.state_dict(), "step": 1, "images": 64, **values})


def memory(value, name="momentum_buffer"):
    def change(state):
        optimizer = state.trainer["optimizer"]
        return part("optimizer", {**optimizer, "state": {0: {name: value}}})(state)

    return change


WEIGHT = "model.1.1.weight"


def entry(name: str = WEIGHT, **values):
    """Return the file with other values for a tensor in its header."""

    def change(content: bytes) -> bytes:
        header, description, data = taken_apart(content)
        header[name] = {**header.get(name, {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}), **values}
        return put_together(header, description, data)

    return change


def renamed(name: str):
    """Return the file with another name for a tensor."""

    def change(content: bytes) -> bytes:
        header, description, data = taken_apart(content)
        header[name] = header.pop(WEIGHT)
        return put_together(header, description, data)

    return change


def replaced(old: bytes, new: bytes):
    """Return the file with another text in its header."""

    def change(content: bytes) -> bytes:
        end = 8 + int.from_bytes(content[:8], "little")
        assert old in content[:end]
        return framed(content[8:end].replace(old, new, 1), content[end:])

    return change


def header_length(length: int):
    return lambda content: sealed(length.to_bytes(8, "little") + content[8:])


def described(change):
    """Return the file with its description changed by `change`, in place or as its result."""

    def apply(content: bytes) -> bytes:
        header, description, data = taken_apart(content)
        return put_together(header, change(description) or description, data)

    return apply


def about(**values):
    """Return the file with other values in its description."""
    return described(lambda description: description.update(values))


def epoch(value):
    return described(lambda description: description["trainer"].update(epoch=value))


def parameter(number: str):
    """Return the file with the optimizer state of one more parameter."""
    return described(lambda description: description["trainer"]["optimizer"]["state"].update({number: {}}))


def torch_file(_: bytes) -> bytes:
    written = io.BytesIO()
    torch.save({"format_version": 2}, written)
    return written.getvalue()


ENTRY = b'{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
FIELDS = "it must hold config, classes, shape, trainer"
BY_LIBRARY = "cannot be read as a checkpoint: Error while deserializing"
FILES = {  # what is done to the bytes of the file; what is said
    # Its form
    "pickle": (
        lambda _: b"\x80\x02cposix\nsystem\nX\x0c\x00\x00\x00touch harmed\x85R.",
        "cannot be read as a checkpoint: its header has",
    ),
    "file of torch.save": (torch_file, "was written by an earlier version (format 2), which this one does not read"),
    "empty file": (lambda _: b"", "its header has 0 bytes"),
    "header of 16 exabytes": (header_length(2**64 - 1), "its header has 18446744073709551615 bytes"),
    "header longer than the file": (header_length(2**24), "its header has 16777216 bytes, where at most"),
    "header of 33 MB": (lambda _: framed(b" " * 33_000_000), "where at most 32000000 are expected"),
    "header of 0 bytes": (lambda _: framed(b""), "its header has 0 bytes"),
    "header that is not JSON": (lambda _: framed(b"{'__metadata__'"), "Expecting property name"),
    "header that is not UTF-8": (lambda _: framed(b'{"\xff": 1}'), "can't decode byte 0xff"),
    "header that is a list": (lambda _: framed(b"[1]"), "its header is not a group of names"),
    "deep header": (lambda _: framed(b"[" * 1_000_000), "nested too deep"),
    "tensor twice": (
        replaced(b'"model.0.', b'"a":%b,"a":%b,"model.0.' % (ENTRY, ENTRY)),
        "it has the name 'a' twice",
    ),
    "metadata twice": (
        replaced(b'},"model', b'},"__metadata__":{},"model'),
        "it has the name '__metadata__' twice",
    ),
    "no format version": (replaced(b'"format_version"', b'"version"'), "is not a checkpoint of this trainer"),
    "number in the metadata": (replaced(b'"format_version"', b'"n":1,"format_version"'), BY_LIBRARY),
    "bytes after the tensors": (lambda content: sealed(content + b"more"), BY_LIBRARY),
    # Its description
    "no description": (replaced(b'"description"', b'"pescription"'), "it holds no description of a run"),
    "description that is a list": (described(lambda _: [1]), "it holds no description of a run"),
    "description that is not JSON": (described(lambda _: "{"), "Expecting property name"),
    "deep description": (about(extra=deep()), "nested far too deep"),
    "a million values": (about(extra=[0] * 1_000_001), "holds far too many values"),
    "number of a million digits": (
        described(lambda description: json.dumps(description).replace("[1, 8, 8]", "9" * 1_000_000)),
        "Exceeds the limit",
    ),
    "long key": (about(**{"x" * 501: 1}), "has a name of 501 letters"),
    "unknown field": (about(x=1), FIELDS),
    "missing field": (described(lambda description: description.pop("shape") and None), FIELDS),
    "setting twice": (replaced(b'\\"lr\\":', b'\\"lr\\":5,\\"lr\\":'), "it has the name 'lr' twice"),
    "config that is a list": (about(config=[1]), "config is of type list, where a group of values is expected"),
    "class that is a number": (about(classes=["a", 1]), "classes: must be a list of names"),
    "half a pixel": (about(shape=[1, 8.5, 8]), "must be a list of whole numbers"),
    "epoch that is a text": (epoch("9" * 99), "trainer.epoch is of type str, where a whole number is expected"),
    "half an epoch": (epoch(1.5), "trainer.epoch is of type float, where a whole number is expected"),
    "setting that is NaN": (
        described(lambda description: description["config"].update(lr=math.nan)),
        "config.lr is nan, where a finite number is expected",
    ),
    "setting that is infinite": (
        described(lambda description: description["config"]["optimizer"].update(momentum=-math.inf)),
        "config.optimizer.momentum is -inf, where a finite number is expected",
    ),
    "parameter that is no number": (parameter("x"), "optimizer.state has the key 'x', where the number of a parameter"),
    "parameter with a leading zero": (parameter("01"), "optimizer.state has the key '01', where the number of a"),
    # Its tensors
    "control characters in a name": (renamed("model.\x1b[2J"), "cannot be the name of a tensor"),
    "long name": (renamed("x" * 501), "cannot be the name of a tensor"),
    "empty name": (renamed(""), "cannot be the name of a tensor"),
    "tensor in the place of a setting": (renamed("config.lr"), "the tensor config.lr belongs to no part of a trainer"),
    "tensor in the place of a part": (renamed("schedule"), "the tensor schedule belongs to no part of a trainer"),
    "tensor in the place of a number": (
        renamed("schedule.scale"),
        "the tensor schedule.scale belongs to no part of a trainer",
    ),
    "quantized numbers": (entry(dtype="F8_E4M3"), f"{WEIGHT} is not of a type that is read: F64, F32,"),
    "type that is a list": (entry(dtype=["F32"]), f"{WEIGHT} is not of a type that is read"),
    "entry that is a number": (replaced(b'"model.0.', b'"a":7,"model.0.'), "a is not of a type that is read"),
    "no shape": (entry(shape=None), BY_LIBRARY),
    "negative size": (entry(shape=[-8, 64]), BY_LIBRARY),
    "half a size": (entry(shape=[0.5, 64]), BY_LIBRARY),
    "a trillion elements": (entry(shape=[10**6, 10**6]), BY_LIBRARY),
    "product of sizes that overflows": (entry(shape=[2**32, 2**32, 2]), BY_LIBRARY),
    "empty tensor with a huge size": (
        entry("model.a", shape=[0, 2**62, 2**62]),
        "cannot be read as a checkpoint: ",
    ),
    "offsets that are a text": (entry(data_offsets="x"), BY_LIBRARY),
    "offset before the data": (entry(data_offsets=[-4, 2044]), BY_LIBRARY),
    "offset behind the file": (entry(data_offsets=[10**12, 10**12 + 2048]), BY_LIBRARY),
    "offsets in reverse": (entry(data_offsets=[2048, 0]), BY_LIBRARY),
    "offsets that overlap": (entry("model.a", shape=[1], data_offsets=[0, 4]), BY_LIBRARY),
}
STATES = {  # what is done to the state that is saved
    "shape": (weights(torch.ones(7)), "size mismatch for"),
    "type": (weights(torch.ones(7, dtype=torch.int32)), "size mismatch for"),
}
# These pass as a file and are found when something is made of them: by resume=, and by what builds a network.
RESUMED = {
    "no parts": (changed(trainer={"epoch": 1}), "it must hold epoch, progress, model,"),
    "negative epoch": (part("epoch", -5), "epoch=-5 is out of range"),
    "methods replaced": (early(observe="x"), "early_stopping must hold best_loss"),
    "memory of another shape": (memory(torch.ones(3)), "size mismatch for optimizer.state.0.momentum_buffer"),
    "memory of whole numbers": (memory(torch.ones(8, 64, dtype=torch.int64)), "torch.float32 [8, 64] is expected"),
    "memory of another kind": (memory(torch.ones(8, 64), "exp_avg"), "optimizer.state.0 must hold momentum_buffer"),
    "uphill": (setting(maximize=True), "optimizer.param_groups[0].maximize=True, where False is set"),
    "weight decay": (setting(weight_decay=0.5), "optimizer.param_groups[0].weight_decay=0.5, where 0.0 is set"),
    "a setting of nobody": (setting(x=1), "optimizer.param_groups[0].x=1, where None or its like is expected"),
    "uphill by the rate": (part("schedule", {"steps": 19, "scale": -1.0, "rule": {}}), "schedule.scale=-1.0 is out of"),
    "progress": (part("progress", 5), "progress must hold device, lr, step"),
    "a text for seconds": (within(seconds="x"), "progress.seconds='x', where a number is expected"),
    "seconds without end": (within(seconds=float("inf")), "progress.seconds=inf is out of range"),
    "a step too far": (within(step=20), "progress.step=20.0 is out of range: must be from 0 to 19"),
    "losses of another epoch": (within(losses=torch.ones(20)), "size mismatch for progress.losses"),
    "no generators": (within(generators={}), "progress.generators must hold augmentation, cpu"),
    "generators that are none": (
        within(generators=dict.fromkeys(("augmentation", "cpu"), torch.zeros_like(torch.get_rng_state()))),
        "progress.generators.augmentation: ",
    ),
    "hits of other images": (part("hits", {"by_rule": {}}), "hits must hold by_rule, validations"),
    "learning rate": (part("schedule", {"steps": float("nan"), "scale": 1.0, "rule": {}}), "schedule.steps=nan"),
}
BUILT = {
    "interpolation": (config(data_dir="${oc.env:MARKER}"), "data_dir holds an interpolation"),
    "control characters": (config(weight_decay_scope="\x1b]0;x\x07"), "weight_decay_scope holds control characters"),
    "class of code": (config(model={"name": "os.system"}), "there is no such model"),
    "a rate of zero": (config(lr=0.0), "lr=0.0 (configuration): must be a number above 0"),
    "one class": (changed(classes=["a"]), "classes: must be at least two names"),
    "a million layers": (config(model={"name": "mlp", "hidden": [1] * 19_000}), "layers, the file holds 6 weights"),
    "image of a terapixel": (changed(shape=[1, 10**6, 10**6]), "at most 4096×4096 pixels are read"),
    "two sizes": (changed(shape=[1, 9, 9]), "dataset.image_size=8 contradict each other"),
}


def altered(path: Path, how) -> None:
    path.write_bytes(b"".join(checkpoint.serialize(how(checkpoint.load(path)))))


@cache
def going_on() -> RunConfig:
    """Compose the run once: the tests of checkpoints do not change config.yaml."""
    return interpret(["resume=run", "epochs=2"])


def resume() -> None:
    train(going_on())


def resume_anew() -> None:
    train(interpret(["resume=run", "epochs=2"]))


@pytest.mark.parametrize("how", [*FILES, *STATES])
def test_a_hostile_checkpoint_is_refused_by_whatever_reads_it(how, stranger):
    path = stranger / "last.safetensors"
    if how in STATES:
        change, sentence = STATES[how]
        altered(path, change)
    else:
        change, sentence = FILES[how]
        path.write_bytes(change(path.read_bytes()))
    picture = stranger / "picture.png"
    Image.new("L", (8, 8)).save(picture)
    before = {path: path.read_bytes() for path in stranger.rglob("*") if path.is_file()}
    told_by = [
        told(RunError, resume),
        told(RunError, evaluate.main, ["run/last.safetensors"]),
        told(RunError, predict.main, ["run/last.safetensors", str(picture)]),
        told(RunError, reproduce.main, ["run"]) if how in FILES else sentence,
    ]
    assert all(sentence in text for text in told_by), told_by
    assert {path: path.read_bytes() for path in stranger.rglob("*") if path.is_file()} == before
    assert not own_ledger().exists()


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(stranger):
    torn = (stranger / "last.safetensors").read_bytes()[:-9]
    (stranger / "last.safetensors").write_bytes(torn)
    os.mkfifo(stranger / "last.previous.safetensors")
    assert "run/last.safetensors is incomplete or altered" in told(RunError, resume)
    (stranger / "last.safetensors").unlink()
    os.mkfifo(stranger / "last.safetensors")
    assert "cannot be read as a checkpoint: it is no plain file" in told(
        RunError, checkpoint.load, stranger / "last.safetensors"
    )


@pytest.mark.parametrize("how", RESUMED)
def test_a_state_that_does_not_fit_is_not_taken_up(how, stranger):
    change, sentence = RESUMED[how]
    altered(stranger / "last.safetensors", change)
    assert sentence in told(RunError, resume)


def test_a_state_saved_within_an_epoch_is_taken_up(stranger):
    altered(stranger / "last.safetensors", within())
    resume()
    assert checkpoint.load(stranger / "last.safetensors").trainer["epoch"] == 2


def test_a_switch_that_is_off_in_other_words_is_taken_up(stranger):
    """A fused step of the optimizer fails at None."""
    altered(stranger / "last.safetensors", setting(nesterov=None, maximize=None))
    resume()
    (group, *_) = checkpoint.load(stranger / "last.safetensors").trainer["optimizer"]["param_groups"]
    assert (group["nesterov"], group["maximize"]) == (False, False)


ADAM = {
    "a part of its memory": (lambda memory: memory.pop("exp_avg"), "must hold step, exp_avg, exp_avg_sq"),
    "a part too many": (lambda memory: memory.update(max_exp_avg_sq=torch.ones(8, 64)), "must hold step, exp_avg, "),
    "one number for all": (lambda memory: memory.update(exp_avg=torch.tensor(1.0)), "exp_avg: torch.float32 [] where"),
    "a step below 0": (lambda memory: memory.update(step=torch.tensor(-1.0)), "step=-1.0 is out of range"),
    "a step that is none": (lambda memory: memory.update(step=torch.tensor(float("nan"))), "step=nan is out of range"),
}


@pytest.mark.parametrize("how", ADAM)
def test_a_memory_that_would_fail_in_the_first_step_is_not_taken_up(how):
    change, sentence = ADAM[how]
    state = copy.deepcopy(saved().trainer)
    refuse_misfit(untrained(), state)
    change(state["optimizer"]["state"][0])
    with pytest.raises(ValueError, match=r"optimizer\.state\.0") as caught:
        refuse_misfit(untrained(), state)
    assert sentence in str(caught.value)


def test_a_plateau_does_not_raise_the_rate():
    state = copy.deepcopy(saved().trainer)
    state["schedule"]["rule"]["lr"] *= 1.01
    with pytest.raises(ValueError, match=r"^schedule\.rule\.lr=.* is out of range"):
        refuse_misfit(untrained(), state)


@pytest.mark.parametrize("optimizer", sorted(path.stem for path in (ROOT / "conf" / "optimizer").glob("*.yaml")))
def test_every_optimizers_own_memory_is_taken_up_and_none_of_another_form(optimizer):
    (config,) = compose([*SHORT, f"optimizer={optimizer}", "batch_size=8", "weight_decay=0.1", "model.hidden=[8,8]"])
    new, old = (build_trainer(config, tiny_images(16, (1, 8, 8)), None, torch.device("cpu")) for _ in range(2))
    refuse_misfit(new, new.state_dict())
    old.do_train(pause=lambda: True)
    state = copy.deepcopy(old.state_dict())
    refuse_misfit(new, state)
    memory = state["optimizer"]["state"]
    if optimizer == "adagrad":  # it begins with one, and does not ask whether it is there
        del memory[0]
        with pytest.raises(ValueError, match="must hold a group for each parameter"):
            refuse_misfit(new, state)
        return
    for name in list(memory.get(0, {})):
        kept = memory[0].pop(name)
        with pytest.raises(ValueError, match=r"optimizer\.state\.0 must hold "):
            refuse_misfit(new, state)
        memory[0][name] = kept
    memory.clear()
    refuse_misfit(new, state)  # no gradient has reached it yet


def test_a_file_with_holes_is_not_read(stranger):
    """A sparse file of four terabytes would take hours to hash."""
    os.truncate(stranger / "last.safetensors", 1 << 42)
    sentence = "run/last.safetensors cannot be read as a checkpoint: it has 4.4e+03 GB, the memory is "
    assert sentence in told(RunError, resume)
    assert sentence in told(RunError, evaluate.main, ["run/last.safetensors"])


@pytest.mark.parametrize("how", BUILT)
def test_a_network_that_cannot_be_is_not_built(how, stranger, monkeypatch):
    monkeypatch.setenv("MARKER", MARK)
    change, sentence = BUILT[how]
    altered(stranger / "last.safetensors", change)
    assert sentence in told(RunError, evaluate.main, ["run/last.safetensors"])
    if how in ("interpolation", "a rate of zero", "class of code"):
        told(RunError, reproduce.main, ["run"])


def test_nothing_that_runs_code_is_called():
    """Only the reader of CIFAR-10 uses pickle, and restricts it."""
    source = {path.name: path.read_text() for path in PACKAGE.rglob("*.py")}
    assert [name for name, text in source.items() if "import pickle\n" in text] == ["cifar10.py"]
    words = (" eval(", "exec(", "yaml.load(", "utils.instantiate(", "shell=True", "allow_pickle=True")
    for name, text in source.items():
        assert not re.search(r"(?<!safetensors\.)torch\.(load|save)\(", text), name
        for word in words:  # an optimizer may have a method eval
            assert word not in text.replace("def eval(self)", ""), (name, word)


# Configurations of a stranger

YAML = {
    "lr: !!python/object/apply:os.system ['touch harmed']": "could not determine a constructor for the tag",
    "lr: !!python/name:os.system ''": "could not determine a constructor for the tag",
    "data_dir: ${oc.env:MARKER}": "data_dir holds an interpolation, ${…}: a file's values are taken as they stand",
    'weight_decay_scope: "\\e]0;owned\\a"': "weight_decay_scope holds control characters",
    "lr: .nan": "lr=.nan (run/config.yaml, line 1): must be a number above 0",
    "lr: 2001-01-01": "lr is of type date, which no setting is",
    "[" * 50_000: "more than 500 brackets",
    "- " * 2000 + "x": "nested too deep",
    "lr: " + "[" * 40 + "]" * 40: "values nested more than 20 deep",
    "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60)): "more than 20000 values",
    "notes: " + "x" * 300_000: "where at most 200000 are expected",
    "model: {name: mlp, hidden: [1000000000000]}": "for its weights, the memory is",
    "model: {name: ensemble, members: 1000000000}": "must be a whole number of at least 1 and at most 1000",
    "dataset: {name: digits, image_size: 10000000}": "the digits need",
    "dataset: true": "dataset=true (run/config.yaml, line 1): must be one of arrays, bag_of_words, cifar10,",
    "dataset: {name: cifar10}\ndata_dir: ../../x": "cifar10 does not lie in the data_dir that is recorded there,",
    "output_dir: ../../x\noptimizer: {name: ../../x}": "there is no such optimizer",
}


@pytest.mark.parametrize("lines", YAML, ids=[line[:30] for line in YAML])
def test_a_strangers_configuration_is_refused_in_one_line(lines, stranger, monkeypatch):
    monkeypatch.setenv("MARKER", MARK)
    (stranger / "last.safetensors").unlink()
    tree = yaml.safe_load((stranger / "config.yaml").read_text())
    kept = {key: value for key, value in tree.items() if f"{key}:" not in lines}
    (stranger / "config.yaml").write_text(f"{lines}\n{yaml.safe_dump(kept)}")
    assert YAML[lines] in told(ConfigError, resume_anew)


def test_a_recorded_output_dir_is_not_followed(stranger):
    text = (stranger / "config.yaml").read_text()
    text = text.partition("# checksum")[0].replace("output_dir:", "output_dir: ../elsewhere\n#")
    (stranger / "config.yaml").write_text(text)
    resume()
    assert not Path("../elsewhere").exists() and sorted(path.name for path in Path().iterdir()) == ["run"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("environment.json", '[{"run_id": "../../x", "threads": 1, "packages": {}}]'),
        ("environment.json", '[{"run_id": 7, "threads": 1000000000, "packages": {}}]'),
        ("environment.json", "[" * 100_000),
        ("environment.json", '{"run_id": "a"}'),
        ("metrics.jsonl", "[" * 100_000 + "\n"),
        ("metrics.jsonl", '{"epoch": "x"}\n'),
        ("metrics.jsonl", "\udcff\n"),
    ],
)
def test_a_damaged_record_is_named(file, text, stranger):
    (stranger / file).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert f"run/{file}" in told(RunError, resume)


def test_the_links_of_a_killed_wandb_run_do_not_keep_a_run_from_going_on(stranger, tmp_path):
    logs = stranger / "wandb" / "offline-run-20261121_171207-ee6567f7" / "logs"
    logs.mkdir(parents=True)
    (logs / "debug-core.log").symlink_to(tmp_path / "core-debug.log")
    (stranger / "loop").symlink_to("loop")  # leads nowhere else
    resume()
    assert checkpoint.load(stranger / "last.safetensors").trainer["epoch"] == 2


def test_a_link_out_of_a_run_is_not_written_through(stranger, tmp_path):
    target = tmp_path / "outside"
    target.mkdir()
    (stranger / "wandb").symlink_to(target)
    assert f"run/wandb is a link to {target}, outside run" in told(RunError, resume)
    assert not list(target.iterdir())


# Studies of a stranger

STUDIES = {
    "folder outside": lambda m: m["runs"][0].update(folder="../../../run"),
    "folder absolute": lambda m: m["runs"][0].update(folder="/etc"),
    "folder of another kind": lambda m: m["runs"][0].update(folder=["x"]),
    "point of another kind": lambda m: m["runs"][0].update(point=[1]),
    "escape": lambda m: m["runs"][0].update(point={"lr": "\x1b[2J"}),
    "interpolation": lambda m: m["runs"][0].update(point={"lr": "${oc.env:MARKER}"}),
    "metric": lambda m: m["sweep"].update(metric="reason"),
    "no runs": lambda m: m.pop("runs"),
    "runs of another kind": lambda m: m.update(runs={"a": 1}),
    "stages without end": lambda m: m["sweep"].update(method="random", stages=10**10),
    "a stage without words": lambda m: m.update(stages=[{"stage": 1}]),
    "data of another kind": lambda m: m.update(data={"a": ["b"]}),
    "points without their seed": lambda m: m.update(replicates=["seed=0"]),
}


@pytest.mark.parametrize("how", STUDIES)
def test_a_hostile_study_is_refused_in_one_line(how, strange_study, monkeypatch):
    monkeypatch.setenv("MARKER", MARK)
    path = strange_study / "study.json"
    manifest = json.loads(path.read_text())
    STUDIES[how](manifest)
    path.write_text(json.dumps(manifest))
    assert "study.json is damaged" in told(RunError, report.main, [str(strange_study)])
    assert "study.json is damaged" in told(RunError, finalize.main, [str(strange_study)])


RESULTS = [
    '{"state": "finished", "validation_accuracy": "x"}',
    '{"state": 1}',
    "[]",
    "[" * 100_000,
    '{"state": "owned"}',
    '{"state": "finished", "validation_accuracy": 1e300}',
    '{"state": "finished", "best_epoch": 1%s}' % (400 * "0"),
    '{"state": "finished", "validation_images": -1}',
]


@pytest.mark.parametrize("text", RESULTS)
def test_a_hostile_result_is_told_in_one_line(text, strange_study, capsys):
    (result, *_) = strange_study.glob("*/result.json")
    result.write_text(text)
    assert "result.json is damaged" in told(RunError, finalize.main, [str(strange_study)])
    assert report.main([str(strange_study)]) == 0  # of the other runs
    assert f"{result} is damaged" in " ".join(capsys.readouterr().out.split())


def test_a_run_of_a_study_that_is_a_link_outside_is_refused(strange_study, stranger):
    (folder, *_) = [path.parent for path in strange_study.glob("*/result.json")]
    shutil.rmtree(folder)
    folder.symlink_to(stranger.absolute())
    assert "study.json is damaged" in told(RunError, report.main, [str(strange_study)])
    told(RunError, finalize.main, [str(strange_study)])


def test_a_run_of_a_study_that_is_a_link_to_itself_is_missing(strange_study):
    (folder, *_) = [path.parent for path in strange_study.glob("*/result.json")]
    shutil.rmtree(folder)
    folder.symlink_to(folder.name)
    assert report.main([str(strange_study)]) == 1
    assert "1 of 2 runs are missing: their folders are gone" in told(RunError, finalize.main, [str(strange_study)])


def begun_again(study: Path) -> Path:
    """Return the folder of a run that the study's command will continue."""
    (result, *_) = sorted(study.glob("lr-*/result.json"))
    result.unlink()
    return result.parent


@pytest.mark.parametrize("name", ["log.txt", "wandb", ".heartbeat", "../study.json", "../launcher"])
def test_a_study_that_goes_on_writes_through_no_link(name, strange_study, tmp_path):
    target, folder = tmp_path / "mine", begun_again(strange_study)
    target.write_text("mine")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)
    before = [path for path in sorted(strange_study.rglob("*")) if path.name != ".lock"]
    assert f" is a link to {target}, outside outputs/sweeps/" in told(RunError, go_on)
    if "/" not in name:
        assert f" is a link to {target}, outside outputs/sweeps/" in told(RunError, work, folder)
    assert target.read_text() == "mine"
    assert [path for path in sorted(strange_study.rglob("*")) if path.name != ".lock"] == before


def test_a_study_that_goes_on_trains_in_no_folder_outside(strange_study, tmp_path):
    folder, outside = begun_again(strange_study), tmp_path / "outside"
    outside.mkdir()
    shutil.rmtree(folder)
    folder.symlink_to(outside)
    assert f"{folder.name} is a link to {outside}, outside outputs/sweeps/" in told(RunError, go_on)
    assert not list(outside.iterdir())


def test_the_log_of_a_run_is_a_plain_file(strange_study):
    folder = begun_again(strange_study)
    log, best = folder / "log.txt", (folder / "best.json").read_bytes()
    log.unlink()
    log.symlink_to("best.json")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        work(folder)
    log.unlink()
    os.mkfifo(log)  # to write into it would wait for a reader
    with pytest.raises(OSError, match="No such device or address"):
        work(folder)
    assert (folder / "best.json").read_bytes() == best and not (folder / "result.json").exists()


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("config.yaml", "lr: !!python/object/apply:os.system ['touch harmed']", "could not determine a constructor"),
        ("config.yaml", "data_dir: ${oc.env:MARKER}", "data_dir holds an interpolation"),
        ("config.yaml", "notes: " + "x" * 300_000, "where at most 200000 are expected"),
        ("job.json", '{"threads": 1000000000, "pruning": null}', "job.json is damaged (threads=1000000000: must be"),
        ("job.json", '{"threads": 1, "pruning": {"pruner": 7}}', "job.json is damaged (pruning.pruner: "),
        ("job.json", "[" * 100_000, "job.json is damaged ("),
    ],
)
def test_what_a_worker_is_told_is_read_as_data(file, text, sentence, strange_study, monkeypatch):
    monkeypatch.setenv("MARKER", MARK)
    folder = begun_again(strange_study)
    (folder / file).write_text(text)
    work(folder)
    ended = read_outcome(folder)
    assert ended.state == "failed" and sentence in ended.reason and MARK not in ended.reason
    assert "Traceback" not in (folder / "log.txt").read_text() and not Path("harmed").exists()


def test_finalize_locks_nothing_that_a_link_leads_to(strange_study, tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("mine")
    (strange_study / "final").mkdir()
    (strange_study / "final" / ".lock").symlink_to(kept)
    assert "final/.lock is a link to" in told(RunError, finalize.main, [str(strange_study)])
    assert kept.read_text() == "mine"


# Numbers of a stranger

HUGE = "1" + 400 * "0"
ROWS = [
    f'{{"epoch": 1, "train_loss": {HUGE}}}',
    '{"epoch": 1, "train_loss": 1e300}',
    '{"epoch": 1, "train_accuracy": -1}',
    '{"epoch": 1, "validation_own": "1"}',
    '{"epoch": 1, "validation_own": 1e300}',
    '{"epoch": 1, "lr": NaN}',
    '{"epoch": 1, "halves": 5}',
    '{"epoch": 1, "halves": [{}]}',
    '{"epoch": 1, "halves": [{}, {"validation_accuracy": -1}]}',
    '{"epoch": 1, "epoch_seconds": 1e300}',
    '{"epoch": -1}',
    f'{{"epoch": {HUGE}}}',
    "[]",
    "x" * 20_000_001,
]


@pytest.mark.parametrize("row", ROWS, ids=[row[:30] for row in ROWS])
def test_a_number_that_no_run_writes_is_damage(row, stranger, capsys):
    good = (stranger / "metrics.jsonl").read_text()
    (stranger / "metrics.jsonl").write_text(good + row + "\n")
    assert told(RunError, doctor.main, ["run"]) == "run/metrics.jsonl, line 2 is damaged"
    assert report.main(["run"]) == 0  # what stands is shown
    assert "run/metrics.jsonl, line 2 is damaged: what it holds is left out." in capsys.readouterr().out
    (stranger / "metrics.jsonl").write_text(row + "\n" + good)
    assert "run/metrics.jsonl, line 1 is damaged" in told(RunError, resume)


def test_an_accuracy_that_is_missing_is_told_before_training_and_not_after_it(stranger):
    (row,) = metrics(stranger)
    for name in ("train_accuracy", "validation_accuracy"):
        (stranger / "metrics.jsonl").write_text(json.dumps({**row, name: None}) + "\n")
        assert "run/metrics.jsonl, line 1 is damaged" in told(RunError, resume)


def test_counts_that_no_run_has_are_damage(stranger):
    for count in (HUGE, "-1"):
        text = f'{{"parameters": 1, "classes": ["a", "b"], "confusion": [[{count}, 1], [1, 1]]}}'
        (stranger / "best.json").write_text(text)
        assert told(RunError, report.main, ["run"]) == "run/best.json is damaged"


def test_an_insight_that_is_not_finite_is_damage(stranger):
    (row,) = metrics(stranger)
    row["layer_stats"] = {"layers": {"1": {"kind": "Linear", "update_ratio": float("nan")}}}
    (stranger / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    assert "run/metrics.jsonl is damaged: layer_stats: layers.1.update_ratio: " in told(RunError, report.main, ["run"])


def test_an_epoch_that_is_no_whole_number_is_named_by_the_doctor(stranger):
    altered(stranger / "last.safetensors", part("epoch", 1.0))
    sentence = "trainer.epoch is of type float, where a whole number is expected"
    assert told(RunError, doctor.main, ["run"]) == f"run/last.safetensors cannot be read as a checkpoint: {sentence}"


def test_one_bad_run_does_not_keep_the_others_from_the_index(stranger, monkeypatch):
    shutil.copytree(stranger, "other")
    (stranger / "metrics.jsonl").write_text(ROWS[0] + "\n")
    assert index.write(Path())[1:3] == (0, 1)
    assert "run/metrics.jsonl, line 1 is damaged" in Path("index.html").read_text()
    real = index.of_run

    def of_run(folder):
        return 1 / 0 if folder.name == "run" else real(folder)

    monkeypatch.setattr(index, "of_run", of_run)  # whatever nobody has thought of
    assert index.write(Path())[1:3] == (0, 1)
    assert "run: ZeroDivisionError: division by zero" in Path("index.html").read_text()


def test_a_time_without_end_can_be_told():
    assert (duration(119), duration(7200)) == ("119.0 s", "2:00:00")
    assert duration(1e300).startswith("1000") and duration(1e300).endswith(" s")


# What else a run can bring


def test_predict_follows_no_link_out_of_a_folder_and_prints_no_control_characters(stranger, tmp_path, capsys):
    secret = tmp_path / "secret.png"
    Image.new("L", (8, 8)).save(secret)
    album = Path("album")
    album.mkdir()
    (album / "link.png").symlink_to(secret)
    Image.new("L", (8, 8)).save(album / "a\n\x1b[2J.png")
    assert predict.main(["run", "album"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("album/a??[2J.png\t") and printed.count("\n") == 1


@pytest.mark.parametrize(("command", "file"), [(evaluate, "best.safetensors"), (doctor, "config.yaml")])
def test_a_download_goes_only_where_the_person_says(command, file, stranger):
    state = checkpoint.load(stranger / "best.safetensors")
    dataset = {"name": "mnist", "validation_size": 0.1, "folds": None, "fold": None}
    other = {**state.config, "dataset": dataset, "data_dir": "../planted"}
    checkpoint.save(stranger / "best.safetensors", replace(state, config=other))
    (stranger / "config.yaml").write_text(yaml.safe_dump(other))
    text = told(ConfigError, command.main, ["run"])
    assert text == (
        f"run/{file}: mnist does not lie in the data_dir that is recorded there, ../planted. Say where it lies, or may"
        " be downloaded to: --data-dir DIR"
    )
    assert not Path("../planted").exists()


def test_the_terminal_is_not_commanded(in_empty_folder):
    (in_empty_folder / "run\x1b[2J").mkdir()
    done = program("resume=run\x1b[2J", cwd=in_empty_folder)
    assert done.returncode == 2 and "\x1b" not in done.stderr and done.stderr.count("\n") == 1
