"""The content of W&B runs, read back from the real client's files; runs without a server or a key."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import TINY, in_time, metrics, program, quick
from fake_wandb_server import wandb_server

OFFLINE = "wandb.mode=offline"


def inspected(folder: Path) -> dict:
    """Return the offline run as W&B's own tool reads it, which exits with the exit code of that run."""
    (run,) = (folder / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(run)]
    return json.loads(subprocess.run(command, check=False, capture_output=True, text=True).stdout)


def test_the_offline_run_holds_names_config_and_metrics():
    names = ["wandb.project=p", "wandb.group=g", "wandb.name=n", "wandb.tags=[one,two]", "wandb.notes='some notes'"]
    result = quick(OFFLINE, *TINY, "output_dir=run", "optimizer=rmsprop", *names)
    seen = inspected(result.folder)
    assert (seen["project"], seen["name"], seen["notes"], seen["tags"]) == ("p", "n", "some notes", ["one", "two"])
    assert (seen["exit_code"], seen["state"], seen["step"]) == (0, "finished", 2)
    assert seen["config"]["optimizer"]["alpha"] == 0.99
    assert seen["config"]["batch_size"] == 64
    last = metrics(result.folder)[-1]
    for key in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "lr", "epoch"):
        assert seen["summary"][key] == pytest.approx(last[key]), key
    assert seen["summary"]["best_epoch"] == result.best_epoch


def test_a_failed_run_has_exit_code_1(in_empty_folder):
    from trainer.errors import RunError

    with pytest.raises(RunError):
        quick(OFFLINE, *TINY, "output_dir=run", "lr=1e30")
    assert inspected(Path("run"))["exit_code"] == 1


def test_wandb_changes_no_result():
    with_it, without = quick(OFFLINE, *TINY, "output_dir=a"), quick(*TINY, "output_dir=b")
    assert with_it.best_validation_loss == without.best_validation_loss
    assert not (without.folder / "wandb").exists()


def test_online_without_a_key_goes_offline_with_one_warning(in_empty_folder):
    done = program(
        "dataset=digits",
        *TINY,
        "epochs=1",
        "output_dir=run",
        "wandb.mode=online",
        cwd=in_empty_folder,
        HOME=str(in_empty_folder),
    )
    assert done.returncode == 0
    assert done.stderr == (
        "trainer: warning: W&B is recorded offline instead: no API key is configured (wandb login)."
        " Upload it later: wandb sync run/wandb/offline-run-*\n"
    )
    assert inspected(in_empty_folder / "run")["exit_code"] == 0


def test_online_without_a_server_goes_offline_with_one_warning(in_empty_folder):
    started = time.monotonic()
    done = program(
        "dataset=digits",
        *TINY,
        "epochs=1",
        "output_dir=run",
        "wandb.mode=online",
        cwd=in_empty_folder,
        WANDB_API_KEY="0" * 40,
        WANDB_BASE_URL="http://127.0.0.1:9",
        HOME=str(in_empty_folder),
    )
    assert time.monotonic() - started < 60  # left alone, the client waits for 100 seconds
    assert done.returncode == 0
    assert done.stderr == (
        "trainer: warning: W&B is recorded offline instead: 127.0.0.1:9 cannot be reached (Connection refused)."
        " Upload it later: wandb sync run/wandb/offline-run-*\n"
    )
    assert inspected(in_empty_folder / "run")["exit_code"] == 0


def test_online_everything_arrives_at_the_server(in_empty_folder):
    with wandb_server() as (address, server):
        done = program(
            "dataset=digits",
            *TINY,
            "epochs=3",
            "output_dir=run",
            "wandb.mode=online",
            "wandb.project=p",
            "wandb.group=g",
            "wandb.tags=[one,two]",
            cwd=in_empty_folder,
            WANDB_API_KEY="0" * 40,
            WANDB_BASE_URL=address,
            HOME=str(in_empty_folder),
        )
    assert (done.returncode, done.stderr) == (0, "")
    ((name, run),) = server.runs.items()
    (stamp,) = json.loads((in_empty_folder / "run" / "environment.json").read_text())
    assert name == stamp["run_id"]
    assert (run["project"], run["groupName"], run["displayName"], run["tags"]) == ("p", "g", "run", ["one", "two"])
    assert json.loads(run["config"])["optimizer"]["value"]["betas"] == [0.9, 0.999]
    assert run["exit"] == 0
    assert server.artifacts == [f"run-{name}-samples", f"run-{name}-confusion"]
    told = [row["validation_accuracy"] for row in run["history"] if "validation_accuracy" in row]
    assert told == [row["validation_accuracy"] for row in metrics(in_empty_folder / "run")]


def test_samples_confusion_and_the_best_checkpoint_are_in_the_offline_run():
    result = quick(OFFLINE, *TINY, "output_dir=run", "wandb.log_model=true")
    (folder,) = (result.folder / "wandb").glob("offline-run-*/files/media/table")
    tables = {path.name.split("_")[0]: json.loads(path.read_text()) for path in folder.glob("*.json")}
    counts = {(true, predicted): count for true, predicted, count in tables["confusion"]["data"]}
    best = json.loads((result.folder / "best.json").read_text())
    assert len(counts) == 100 and counts["3", "3"] == best["confusion"][3][3]
    right = sum(count for (true, predicted), count in counts.items() if true == predicted)
    assert right == round(result.best_validation_accuracy * result.validation_images)
    assert len(tables["samples"]["data"]) == 16 and 0.1 <= tables["samples"]["data"][0][3] <= 1
    staged = [path for path in (result.folder / "wandb" / "artifacts").rglob("*") if path.is_file()]
    assert sum(path.read_bytes().startswith(b"\x89PNG") for path in staged) == 16  # and not in the person's home
    (written,) = (result.folder / "wandb").glob("offline-run-*/*.wandb")
    assert in_time(written, b"-best")  # the artifact's name
