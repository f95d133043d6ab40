"""Runs and studies from a stranger: refused in one line, or read as data; nothing in them is run or written."""

import hashlib
import io
import json
import os
import shutil
import zipfile
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from conftest import compose, program
from PIL import Image

from trainer import checkpoint, doctor, evaluate, finalize, predict, report, reproduce
from trainer.commandline import interpret
from trainer.config import RunConfig
from trainer.errors import ConfigError, RunError
from trainer.ledger import LEDGER
from trainer.run import train
from trainer.study.conduct import conduct

TINY = ("dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "device=cpu", "wandb.mode=disabled")
SHORT = (*TINY, "epochs=1")
MARK = "mArkEr-0451"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of one epoch, trained once; each test gets a copy."""
    place = tmp_path_factory.mktemp("run") / "run"
    (config,) = compose([*SHORT, "optimizer=momentum", f"output_dir={place}"])
    return train(config).folder


@pytest.fixture
def stranger(run):
    return Path(shutil.copytree(run, "run"))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    place, before = tmp_path_factory.mktemp("study"), Path.cwd()
    os.chdir(place)
    try:
        conduct(interpret(["-m", *SHORT, "lr=0.01,0.03"]))
    finally:
        os.chdir(before)
    (folder,) = (place / "outputs" / "sweeps").glob("*")
    return folder


@pytest.fixture
def strange_study(study):
    return Path(shutil.copytree(study, Path("outputs") / "sweeps" / study.name))


def told(error: type[Exception], act, *arguments) -> str:
    """The one line that it ends with."""
    with pytest.raises(error) as caught:
        act(*arguments)
    text = str(caught.value)
    assert text.isprintable() and MARK not in text
    assert not Path("harmed").exists()
    return text


# Checkpoints


class Touch:
    def __reduce__(self):
        return (Path("harmed").touch, ())


def repacked(path: Path, change=lambda name, content: content, **how) -> None:
    """The checkpoint with parts of its zip file changed, their checksums being right."""
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as old, zipfile.ZipFile(path, "w", **how) as new:
        for part in old.namelist():
            new.writestr(part, change(part, old.read(part)))


def zip_bomb(path: Path) -> None:
    repacked(path, lambda name, content: bytes(50_000_000) if "data/0" in name else content, compression=8)


def smuggled(path: Path) -> None:
    """A pickle that is no torch file at all, and calls os.system."""
    path.write_bytes(b"\x80\x02cposix\nsystem\nX\x0c\x00\x00\x00touch harmed\x85R.")


def smuggled_inside(path: Path) -> None:
    payload = b"\x80\x02cposix\nsystem\nX\x0c\x00\x00\x00touch harmed\x85R."
    repacked(path, lambda name, content: payload if name.endswith("data.pkl") else content)


def outside_names(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as parts:
        parts.writestr("archive/../../harmed", "x")


def larger_than_itself(path: Path) -> None:
    """The directory at its end names one part fifty times: so are bombs made that need no compression."""
    with zipfile.ZipFile(path, "a") as parts:
        biggest = max(parts.infolist(), key=lambda part: part.file_size)
        for _ in range(50):
            parts.filelist.append(biggest)
        parts._didModify = True


def deep() -> list:
    value: list = []
    for _ in range(60):
        value = [value]
    return value


def changed(**values):
    def change(state):
        return {**state, **values}

    return change


def config(**values):
    return lambda state: {**state, "config": {**state["config"], **values}}


def part(name: str, value):
    return lambda state: {**state, "trainer": {**state["trainer"], name: value}}


def early(**values):
    return lambda state: part("early_stopping", {**state["trainer"]["early_stopping"], **values})(state)


def weights(value):
    return lambda state: part("model", dict.fromkeys(state["trainer"]["model"], value))(state)


def memory(value):
    def change(state):
        optimizer = state["trainer"]["optimizer"]
        return part("optimizer", {**optimizer, "state": {0: {"momentum_buffer": value}}})(state)

    return change


CHECKPOINTS = {  # what is done to the file, or to the state in it; what is said
    "GLOBAL os.system": (smuggled, "cannot be read as a checkpoint: it is no zip file"),
    "os.system in its pickle": (smuggled_inside, "it asks for posix.system, and a checkpoint may run nothing"),
    "__reduce__": (changed(classes=Touch()), "and a checkpoint may run nothing"),
    "zip bomb": (zip_bomb, "parts of it are compressed"),
    "parts that overlap": (larger_than_itself, "its parts are larger than itself"),
    "traversal in the archive": (outside_names, "it names files outside itself"),
    "a trillion elements": (weights(torch.ones(1).expand(10**12)), "uses the same memory several times"),
    "strides that overlap": (weights(torch.ones(5).as_strided((2, 4), (1, 1))), "[2, 4] elements overlap"),
    "sparse": (weights(torch.eye(3).to_sparse()), "is not a plain tensor"),
    "deep": (changed(extra=deep()), "nested far too deep"),
    "no group": (lambda _: [1, 2], "is not a checkpoint of this trainer"),
    "shape": (weights(torch.ones(7)), "size mismatch for"),
    "type": (weights(torch.ones(7, dtype=torch.int32)), "size mismatch for"),
}
# These pass as a file and are found when something is made of them: by resume=, and by what builds a network.
RESUMED = {
    "no trainer": (
        lambda state: {key: value for key, value in state.items() if key != "trainer"},
        "it must hold epoch",
    ),
    "epoch": (part("epoch", "9" * 99), "where a number is expected"),
    "negative epoch": (part("epoch", -5), "epoch=-5 is out of range"),
    "methods replaced": (early(observe="x"), "early_stopping must hold best_loss"),
    "memory of another shape": (memory(torch.ones(3)), "size mismatch for optimizer.state.0.momentum_buffer"),
    "memory of whole numbers": (memory(torch.ones(8, 64, dtype=torch.int64)), "of floating point is expected"),
    "learning rate": (part("schedule", {"steps": float("nan"), "scale": 1.0, "rule": {}}), "schedule.steps=nan"),
}
BUILT = {
    "interpolation": (config(data_dir="${oc.env:MARKER}"), "data_dir holds an interpolation"),
    "control characters": (config(decay="\x1b]0;x\x07"), "decay holds control characters"),
    "class of code": (config(optimizer={"name": "os.system"}), "there is no such optimizer"),
    "NaN": (config(lr=float("nan")), "lr=nan (configuration): must be a number above 0"),
    "config of another kind": (changed(config=[1]), "holds no network that this trainer can build"),
    "a million layers": (config(model={"name": "mlp", "hidden": [1] * 19_000}), "layers, the file holds 6 weights"),
    "image of a terapixel": (changed(shape=[1, 10**6, 10**6]), "at most 4096×4096 pixels are read"),
    "two sizes": (changed(shape=[1, 9, 9]), "dataset.image_size=8 contradict each other"),
}


def altered(path: Path, how) -> None:
    if how in (smuggled, smuggled_inside, zip_bomb, larger_than_itself, outside_names):
        how(path)
    else:
        state = how(checkpoint.load(path))
        torch.save(state, path)
    if zipfile.is_zipfile(path):
        seal(path)


def seal(path: Path) -> None:
    """A checksum proves nothing against a stranger: they can write one, too."""
    content = bytearray(path.read_bytes())
    if content[-checkpoint.COMMENT :].startswith(checkpoint.SEAL):
        del content[-checkpoint.COMMENT :]
    content[-2:] = checkpoint.COMMENT.to_bytes(2, "little")
    path.write_bytes(content + checkpoint.SEAL + hashlib.sha256(content).hexdigest().encode())


@cache
def going_on() -> RunConfig:
    """Composed once: what the tests of checkpoints change is not config.yaml."""
    return interpret(["resume=run", "epochs=2"])


def resume() -> None:
    train(going_on())


def resume_anew() -> None:
    train(interpret(["resume=run", "epochs=2"]))


@pytest.mark.parametrize("how", CHECKPOINTS)
def test_a_hostile_checkpoint_is_refused_by_whatever_reads_it(how, stranger, monkeypatch):
    monkeypatch.setenv("MARKER", MARK)
    change, sentence = CHECKPOINTS[how]
    altered(stranger / "last.pt", change)
    picture = stranger / "picture.png"
    Image.new("L", (8, 8)).save(picture)
    before = {path: path.read_bytes() for path in stranger.rglob("*") if path.is_file()}
    told_by = [
        told(RunError, resume),
        told(RunError, evaluate.main, ["run/last.pt"]),
        told(RunError, predict.main, ["run/last.pt", str(picture)]),
        told(RunError, reproduce.main, ["run"]) if how not in ("shape", "type") else sentence,
    ]
    assert all(sentence in text for text in told_by), told_by
    assert {path: path.read_bytes() for path in stranger.rglob("*") if path.is_file()} == before
    assert not LEDGER.exists()


@pytest.mark.parametrize("how", RESUMED)
def test_a_state_that_does_not_fit_is_not_taken_up(how, stranger):
    change, sentence = RESUMED[how]
    altered(stranger / "last.pt", change)
    assert sentence in told(RunError, resume)


@pytest.mark.parametrize("how", BUILT)
def test_a_network_that_cannot_be_is_not_built(how, stranger, monkeypatch):
    monkeypatch.setenv("MARKER", MARK)
    change, sentence = BUILT[how]
    altered(stranger / "last.pt", change)
    assert sentence in told(RunError, evaluate.main, ["run/last.pt"])
    if "shape" not in change(checkpoint.load(stranger / "last.pt")) or how in ("interpolation", "NaN", "class of code"):
        told(RunError, reproduce.main, ["run"])


def test_every_call_of_torch_load_is_guarded():
    """Where torch.load stands, weights_only=True stands; pickle stands where CIFAR-10 is read, and is restricted."""
    root = Path(checkpoint.__file__).parent
    source = {path.name: path.read_text() for path in root.rglob("*.py")}
    assert [name for name, text in source.items() if "torch.load(" in text] == ["checkpoint.py"]
    assert source["checkpoint.py"].count("torch.load(") == source["checkpoint.py"].count("weights_only=True") == 1
    assert sorted(name for name, text in source.items() if "import pickle" in text) == ["archive.py", "cifar.py"]
    for word in (" eval(", "exec(", "yaml.load(", "utils.instantiate(", "shell=True", "allow_pickle=True"):
        for name, text in source.items():
            assert word not in text, (name, word)


# Configurations of a stranger

YAML = {
    "lr: !!python/object/apply:os.system ['touch harmed']": "could not determine a constructor for the tag",
    "lr: !!python/name:os.system ''": "could not determine a constructor for the tag",
    "data_dir: ${oc.env:MARKER}": "data_dir holds an interpolation, ${…}: a file's values are taken as they stand",
    'decay: "\\e]0;owned\\a"': "decay holds control characters",
    "lr: .nan": "lr=nan (configuration): must be a number above 0",
    "lr: 2001-01-01": "lr is of type date, which no setting is",
    "[" * 50_000: "more than 500 brackets",
    "- " * 2000 + "x": "nested too deep",
    "lr: " + "[" * 40 + "]" * 40: "values nested more than 20 deep",
    "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60)): "more than 20000 values",
    "notes: " + "x" * 300_000: "where at most 200000 are expected",
    "model: {name: mlp, hidden: [1000000000000]}": "for its weights, the memory is",
    "model: {name: ensemble, members: 1000000000}": "must be a whole number of at least 1 and at most 1000",
    "dataset: {name: digits, image_size: 10000000}": "the digits need",
    "dataset: true": "dataset=true (configuration): must be one of cifar10, digits,",
    "dataset: {name: cifar10}\ndata_dir: ../../x": "cifar10 does not lie in the data_dir that is recorded there,",
    "output_dir: ../../x\noptimizer: {name: ../../x}": "there is no such optimizer",
}


@pytest.mark.parametrize("lines", YAML, ids=[line[:30] for line in YAML])
def test_a_strangers_configuration_is_refused_in_one_line(lines, stranger, monkeypatch):
    monkeypatch.setenv("MARKER", MARK)
    (stranger / "last.pt").unlink()
    tree = yaml.safe_load((stranger / "config.yaml").read_text())
    kept = {key: value for key, value in tree.items() if f"{key}:" not in lines}
    (stranger / "config.yaml").write_text(f"{lines}\n{yaml.safe_dump(kept)}")
    assert YAML[lines] in told(ConfigError, resume_anew)


def test_a_recorded_output_dir_is_not_followed(stranger):
    text = (stranger / "config.yaml").read_text()
    (stranger / "config.yaml").write_text(text.replace("output_dir:", "output_dir: ../elsewhere\n#"))
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
    resume()
    assert checkpoint.load(stranger / "last.pt")["trainer"]["epoch"] == 2


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
]


@pytest.mark.parametrize("text", RESULTS)
def test_a_hostile_result_is_refused_in_one_line(text, strange_study):
    (result, *_) = strange_study.glob("*/result.json")
    result.write_text(text)
    assert "result.json is damaged" in told(RunError, finalize.main, [str(strange_study)])
    assert "is damaged" in told(RunError, report.main, [str(strange_study)])


def test_a_run_of_a_study_that_is_a_link_outside_is_refused(strange_study, stranger):
    (folder, *_) = [path.parent for path in strange_study.glob("*/result.json")]
    shutil.rmtree(folder)
    folder.symlink_to(stranger.absolute())
    assert "study.json is damaged" in told(RunError, report.main, [str(strange_study)])
    told(RunError, finalize.main, [str(strange_study)])


def test_finalize_locks_nothing_that_a_link_leads_to(strange_study, tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("mine")
    (strange_study / "final").mkdir()
    (strange_study / "final" / ".lock").symlink_to(kept)
    assert "final/.lock is a link to" in told(RunError, finalize.main, [str(strange_study)])
    assert kept.read_text() == "mine"


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


@pytest.mark.parametrize(("command", "file"), [(evaluate, "best.pt"), (doctor, "config.yaml")])
def test_a_download_goes_only_where_the_person_says(command, file, stranger):
    state = checkpoint.load(stranger / "best.pt")
    dataset = {"name": "mnist", "validation_size": 0.1, "folds": None, "fold": None}
    other = {**state["config"], "dataset": dataset, "data_dir": "../planted"}
    checkpoint.save(stranger / "best.pt", {**state, "config": other})
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
