"""W&B under fault: the training ends with the same weights and one warning, whatever its server or folder does."""

import json
import os
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT, compose, fresh, in_time, program, quick, timeless
from fake_wandb_server import wandb_server
from full_disk import fill, mounted, unmount

from trainer.records import wandb_connection, wandb_environment
from trainer.records.outcome import read_outcome
from trainer.records.samples import samples
from trainer.records.wandb_mirror import wandb_mirror
from trainer.run import train
from trainer.storage import checkpoint

NOT_READ = "not read, since W&B gets what the settings of the run say"
SHORT = ("dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "epochs=2", "device=cpu")
KEY = {"WANDB_API_KEY": "0" * 40}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    return quick(*SHORT, f"output_dir={folder}").folder


def same(folder: Path, other: Path) -> bool:
    first, second = (checkpoint.load(each / "last.safetensors").trainer["model"] for each in (folder, other))
    return timeless(folder) == timeless(other) and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.long
def test_a_server_that_crashes_the_client_leads_to_one_warning(in_empty_folder, undisturbed):
    """wandb's service dies during the run. Servers that hang, fail, die or come back: scripts/wandb_faults.py."""
    with wandb_server("answers nonsense") as (address, _):
        done = program(
            *SHORT,
            "wandb.mode=online",
            "wandb.log_code=true",  # an artifact, which the server answers with nonsense
            "output_dir=run",
            cwd=in_empty_folder,
            WANDB_BASE_URL=address,
            HOME=str(in_empty_folder),
            **KEY,
        )
    assert (done.returncode, "Traceback" in done.stdout + done.stderr) == (0, False), done.stderr
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("trainer: ")]
    # The error is noticed at the next message or at the end, depending on when the answer arrives.
    assert warning.startswith(
        ("trainer: warning: W&B gets no more of this run: ", "trainer: warning: W&B did not finish: ")
    )
    (kept,) = in_empty_folder.glob("run/wandb/run-*/run-*.wandb")
    assert warning.endswith(f": wandb sync {kept.parent}")
    assert same(in_empty_folder / "run", undisturbed)


@pytest.mark.long
def test_folders_that_wandb_could_not_use_cost_nothing(in_empty_folder, undisturbed):
    """Its cache, its data and its home; its service, which then has no file for its log, gets no terminal for it."""
    places = dict.fromkeys(("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "XDG_CACHE_HOME"), "/dev/null/x")
    done = program(*SHORT, "output_dir=run", cwd=in_empty_folder, **places)
    assert (done.returncode, done.stderr) == (
        0, f"trainer: warning: WANDB_DATA_DIR: {NOT_READ}\n"
    )  # fmt: skip
    (record,) = in_empty_folder.glob("run/wandb/offline-run-*/run-*.wandb")
    assert in_time(record, b"train_loss")
    assert same(in_empty_folder / "run", undisturbed)


@pytest.mark.parametrize("moment", ["before", "within"])
def test_a_full_disk_under_its_folder_leads_to_one_warning(moment, in_empty_folder, undisturbed, capfd):
    """wandb's service does not report that nothing more is written."""
    disk = quick(*SHORT, "epochs=1", "output_dir=run").folder / "wandb"
    if not mounted(disk):
        pytest.skip("only root may mount")
    try:
        if moment == "before":
            fill(disk)
        capfd.readouterr()
        train(compose(["resume=run", "epochs=2", "wandb.mode=offline"])[0], stop=lambda report: bool(fill(disk)))
    finally:
        unmount(disk)
    (warning,) = capfd.readouterr().err.splitlines()
    what = "records nothing" if moment == "before" else "gets no more"
    assert warning.startswith(f"trainer: warning: W&B {what} of this run: {in_empty_folder}/run/wandb")
    assert " cannot be written: No space left on device. The run's own folder has everything" in warning
    assert same(in_empty_folder / "run", undisturbed)


# Neither the package nor its metadata can be found.
HIDING = """
from importlib import metadata

find = metadata.Distribution.from_name.__func__


def from_name(cls, name):
    if name == "wandb":
        raise metadata.PackageNotFoundError(name)
    return find(cls, name)


metadata.Distribution.from_name = classmethod(from_name)
"""


@pytest.mark.long
def test_without_the_package_the_run_is_trained(in_empty_folder, undisturbed):
    (in_empty_folder / "hidden").mkdir()
    (in_empty_folder / "hidden" / "wandb.py").write_text("raise ImportError('No module named wandb')")
    (in_empty_folder / "hidden" / "sitecustomize.py").write_text(HIDING)
    path = f"{in_empty_folder / 'hidden'}:{ROOT}"
    done = fresh(*SHORT, "output_dir=run", cwd=in_empty_folder, PYTHONPATH=path)
    assert done.returncode == 0
    told = "W&B records nothing of this run: No module named wandb. The run's own folder has everything"
    assert done.stderr == f"trainer: warning: {told}\n"
    assert same(in_empty_folder / "run", undisturbed)
    (stamp,) = json.loads((in_empty_folder / "run" / "environment.json").read_text())
    assert "torch" in stamp["packages"] and "wandb" not in stamp["packages"]


def test_a_name_look_up_that_hangs_is_abandoned(monkeypatch):
    import wandb

    address = SimpleNamespace(settings=SimpleNamespace(base_url="http://wandb.invalid"))
    monkeypatch.setattr(wandb, "setup", lambda *_: address)
    monkeypatch.setattr(wandb, "login", lambda **_: True)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(9))
    monkeypatch.setattr(wandb_connection, "CONNECT_SECONDS", 0.2)
    started = time.monotonic()
    assert wandb_connection.why_not_online() == "wandb.invalid:80 cannot be reached (no answer for 0.2 seconds)"
    assert time.monotonic() - started < 5


def test_a_missing_file_leads_to_a_warning_and_no_tables(monkeypatch, capsys):
    def gone(trainer, folder):
        (folder / "best.json").unlink()
        return samples(trainer, folder)

    monkeypatch.setattr("trainer.run.samples", gone)
    quick(*SHORT, "output_dir=run", "wandb.mode=offline")
    told = "W&B gets no samples of this run: run/best.json: No such file or directory"
    assert capsys.readouterr().err == f"trainer: warning: {told}\n"
    assert read_outcome(Path("run")).state == "finished"


def begun(monkeypatch, capsys, mode="online", **variables) -> tuple[str, bytes]:
    """Return what is warned of when a run begins under these variables, and its record."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "NETRC"))]:
        monkeypatch.delenv(name)
    for name, value in {"WANDB_ERROR_REPORTING": "false", **variables}.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    Path("run").mkdir()
    config = compose(["dataset=digits", f"wandb.mode={mode}"])[0].wandb
    with wandb_mirror(config, {}, Path("run"), "abcd1234"):
        pass
    assert {**os.environ, **dict.fromkeys(os.environ.keys() - before.keys())} == before
    (record,) = Path("run").glob("wandb/offline-run-*/run-*.wandb")
    assert in_time(record, b"abcd1234")
    return capsys.readouterr().err, record.read_bytes()


SETTINGS = "config/settings"
NETRC = {"NETRC": "netrc", "WANDB_BASE_URL": "http://127.0.0.1:9"}
UNUSABLE = {
    "key": ({"WANDB_API_KEY": "short"}, {}, "WANDB_API_KEY invalid: API key must have 40+ characters, has 5"),
    "blank": ({"WANDB_API_KEY": "0" * 40 + " "}, {}, "WANDB_API_KEY: API key cannot start or end with whitespace"),
    "scheme": ({"WANDB_BASE_URL": "localhost:1"}, {}, "WANDB_BASE_URL: URL scheme should be 'http' or 'https'"),
    "port": (
        {"WANDB_BASE_URL": "http://user:secret@h:x"}, {},
        "WANDB_BASE_URL: Input should be a valid URL, invalid port number",
    ),
    "switch": (
        {"WANDB_INSECURE_DISABLE_SSL": "perhaps"}, {},
        "WANDB_INSECURE_DISABLE_SSL: Input should be a valid boolean, unable to interpret input",
    ),
    "netrc": (NETRC, {"netrc": "machine 127.0.0.1:9 pass secret"}, "netrc cannot be read: line 1 is wrong"),
    "bytes": (NETRC, {"netrc": b"\xff\xfe"}, "netrc cannot be read: it is no text"),
    "its key": (
        NETRC, {"netrc": "machine 127.0.0.1:9 login user password secret"},
        "netrc: API key must have 40+ characters, has 6",
    ),
    "settings": (
        {"WANDB_CONFIG_DIR": "config"}, {SETTINGS: "api_key secret"},
        "config/settings cannot be read: File contains no section headers.",
    ),
    "their address": (
        {"WANDB_CONFIG_DIR": "config"}, {SETTINGS: "[default]\nbase_url = localhost"},
        "base_url in config/settings: Input should be a valid URL, relative URL without a base",
    ),
    "their server": (
        {"WANDB_CONFIG_DIR": "config", **KEY}, {SETTINGS: "[default]\nbase_url = http://127.0.0.1:9\nmode = disabled"},
        "127.0.0.1:9 cannot be reached (Connection refused)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", UNUSABLE)
def test_what_cannot_be_used_is_named_and_the_run_is_recorded_offline(what, monkeypatch, capsys):
    variables, contents, reason = UNUSABLE[what]
    for name, content in contents.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    told, _ = begun(monkeypatch, capsys, **variables)
    assert told == (
        f"trainer: warning: W&B is recorded offline instead: {reason}. Upload it later:"
        " wandb sync run/wandb/offline-run-*\n"
    )


def test_the_service_of_a_parent_process_is_not_used(monkeypatch, capsys):
    assert begun(monkeypatch, capsys, "offline", WANDB_SERVICE="3-12345-tcp-localhost-9")[0] == ""


def test_variables_that_describe_a_run_are_named_and_not_read(monkeypatch, capsys):
    described = dict.fromkeys(("PROJECT", "NAME", "ENTITY", "RUN_GROUP", "NOTES", "TAGS", "JOB_TYPE"), "from-outside")
    variables = {f"WANDB_{name}": value for name, value in described.items()}
    told, record = begun(monkeypatch, capsys, "offline", **variables, WANDB_MODE="disabled")
    assert told == (
        "trainer: warning: WANDB_ENTITY, WANDB_JOB_TYPE, WANDB_MODE, WANDB_NAME, WANDB_NOTES, WANDB_PROJECT,"
        f" WANDB_RUN_GROUP, WANDB_TAGS: {NOT_READ}: use wandb.entity, wandb.job_type, wandb.mode, wandb.name,"
        " wandb.notes, wandb.project, wandb.group, wandb.tags\n"
    )
    assert b"from-outside" not in record and b"ablation-trainer" in record


def test_a_user_without_a_home_folder_has_a_complete_record(monkeypatch, capsys):
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError))
    with wandb_environment.staged_in(Path("place")):
        assert os.environ["WANDB_DATA_DIR"] == os.environ["XDG_DATA_HOME"] == "place"
    assert begun(monkeypatch, capsys, "online", WANDB_BASE_URL="http://127.0.0.1:9")[0].endswith(
        "no API key is configured (wandb login). Upload it later: wandb sync run/wandb/offline-run-*\n"
    )


def test_a_folder_whose_name_the_locale_cannot_read_is_told_as_that(monkeypatch, capsys):
    folder = Path("caf\udce9")
    folder.mkdir()
    monkeypatch.chdir(folder)
    quick(*SHORT, "output_dir=run", "wandb.mode=offline")
    assert capsys.readouterr().err == (
        "trainer: warning: W&B records nothing of this run: caf?: this name cannot be read in the locale's encoding,"
        " utf-8. Rename it in UTF-8. The run's own folder has everything\n"
    )


def test_runs_that_are_open_at_once_stay_open_when_the_server_is_away(monkeypatch, capsys):
    """As under `sweep.concurrent`: the second run must not end the service of the first one."""
    for name, value in {"WANDB_BASE_URL": "http://127.0.0.1:9", **KEY}.items():
        monkeypatch.setenv(name, value)
    config = compose(["dataset=digits", "wandb.mode=online"])[0].wandb
    first, second = Path("first"), Path("second")
    first.mkdir()
    second.mkdir()
    runs = [wandb_connection.begin(config, {}, folder, f"abcd-{folder}") for folder in (first, second)]
    for run in runs:
        run.summary.update({"kept": run.id})
        run.finish()
    told = capsys.readouterr().err.splitlines()
    assert [line.partition("instead: ")[2].partition(". Upload")[0] for line in told] == [
        "127.0.0.1:9 cannot be reached (Connection refused)",
        "runs that are recorded offline are open in this process",
    ]
    for folder in (first, second):
        (record,) = folder.glob("wandb/offline-run-*/run-*.wandb")
        assert in_time(record, b"kept")
