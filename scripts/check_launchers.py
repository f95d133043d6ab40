"""Studies through real launchers: an eight-run study with a run that fails and one that is killed.

python scripts/check_launchers.py joblib submitit_local     the cores of this machine
python scripts/check_launchers.py ray                       starts a local Ray (pip install '.[ray]')
python scripts/check_launchers.py submitit_slurm            starts a real Slurm on this machine: as root, on Debian; its
                                                     packages are unpacked into a temporary folder, not installed

Each must end with six finished runs, one failed ("the training loss is nan") and one failed ("its worker was killed"),
exit code 1, and the same command again must train only the two; under Slurm a run that is sent USR2, as before a time
limit, must be requeued and continue in its own folder. Exit code 1 if anything differs.
"""

import argparse
import contextlib
import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

RATES = ("0.01", "0.02", "0.03", "1e30", "0.04", "0.05", "0.06", "0.07")
KILLED = "0.04"
TINY = ["dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "device=cpu", "wandb.mode=disabled"]
PACKAGES = (
    "libhwloc15",
    "liblua5.1-0",
    "libmunge2",
    "munge",
    "slurm-wlm-basic-plugins",
    "slurm-client",
    "slurmd",
    "slurmctld",
)
OPTIONS = {
    "ray": ["+hydra.launcher.ray.init.include_dashboard=false", "+hydra.launcher.ray.init.num_cpus=2"],
    "submitit_slurm": ["hydra.launcher.timeout_min=5", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("launchers", nargs="+", choices=["joblib", "submitit_local", "ray", "submitit_slurm"])
    wrong = 0
    for launcher in parser.parse_args().launchers:
        with (
            tempfile.TemporaryDirectory() as folder,
            slurm() if launcher == "submitit_slurm" else started() as variables,
        ):
            environment = {**os.environ, **variables}
            wrong += check(launcher, Path(folder), environment)
            if launcher == "submitit_slurm":
                wrong += check_requeue(Path(folder) / "requeue", environment)
    sys.exit(1 if wrong else 0)


def check(launcher: str, folder: Path, environment: dict[str, str]) -> int:
    """Run the eight-run study, then the same command again. Return the number of failed expectations."""
    arguments = [*TINY, "epochs=300", "early_stop_patience=null", "optimizer=sgd", f"lr={','.join(RATES)}"]
    arguments += [f"hydra/launcher={launcher}", *OPTIONS.get(launcher, [])]
    begun = time.monotonic()
    with killing(folder, f"lr-{KILLED}-*"):
        first = train(arguments, folder, environment)
    seconds = time.monotonic() - begun
    states = outcomes(folder)
    expected = dict.fromkeys(RATES, "finished") | {"1e30": "failed", KILLED: "failed"}
    reasons = json.dumps({rate: reason for rate, (_, reason) in states.items() if reason})
    print(f"{launcher}: {seconds:.0f} s, exit code {first}, {reasons}", flush=True)
    wrong = tell("states", {rate: state for rate, (state, _) in states.items()}, expected) + tell("exit code", first, 1)
    wrong += tell("reason of the killed run", states[KILLED][1], "its worker was killed")
    before = {path: path.stat().st_mtime_ns for path in folder.glob("outputs/sweeps/*/*/last.safetensors")}
    again = train(arguments, folder, environment)
    untouched = sum(
        path.stat().st_mtime_ns == stamp for path, stamp in before.items() if f"lr-{KILLED}-" not in str(path)
    )
    wrong += tell("exit code of the same command again", again, 1) + tell("runs left alone by it", untouched, 6)
    return wrong + tell("state of the killed run after it", outcomes(folder)[KILLED][0], "finished")


def check_requeue(folder: Path, environment: dict[str, str]) -> int:
    """Check that a warning (USR2) requeues the job, which continues in its folder. Slurm holds it for two minutes."""
    folder.mkdir()
    arguments = [*TINY, "epochs=3000", "early_stop_patience=null", "lr=0.01,0.02", "hydra/launcher=submitit_slurm"]
    arguments += [*OPTIONS["submitit_slurm"], "hydra.launcher.max_num_timeout=2"]
    done = threading.Event()

    def warn() -> None:
        while not done.wait(0.2):
            if list(folder.glob("outputs/sweeps/*/lr-0.01-*/last.safetensors")):
                tasks = _asked(environment, "squeue", "-h", "-r", "-o", "%i").split()  # %A would be the whole array
                subprocess.run(["scancel", "--signal=USR2", min(tasks)], env=environment, check=False)
                return

    thread = threading.Thread(target=warn)
    thread.start()
    begun = time.monotonic()
    code = train(arguments, folder, environment)
    done.set()
    thread.join()
    starts = [json.loads(path.read_text())["starts"] for path in sorted(folder.glob("outputs/sweeps/*/*/result.json"))]
    lines = [len(path.read_text().splitlines()) for path in folder.glob("outputs/sweeps/*/*/metrics.jsonl")]
    print(f"requeue: {time.monotonic() - begun:.0f} s, exit code {code}, starts {starts}, epochs {lines}", flush=True)
    return tell("exit code", code, 0) + tell("starts", sorted(starts), [1, 2]) + tell("epochs", lines, [3000, 3000])


def train(arguments: list[str], folder: Path, environment: dict[str, str]) -> int:
    command = [sys.executable, "-m", "trainer", "-m", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1200, check=False
    )
    if "Traceback" in done.stderr:
        print(done.stdout[-2000:], done.stderr[-4000:])
    return done.returncode


def outcomes(folder: Path) -> dict[str, tuple[str, str]]:
    (table,) = folder.glob("outputs/sweeps/*/table.csv")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    named = {row["lr"].replace("e+", "e"): (row["state"], row["reason"]) for row in rows}
    return {rate: named[rate] for rate in RATES}


def tell(what: str, seen: object, expected: object) -> int:
    if seen == expected:
        return 0
    print(f"  WRONG {what}: {seen}, expected {expected}", flush=True)
    return 1


@contextlib.contextmanager
def killing(folder: Path, pattern: str) -> Iterator[None]:
    """Kill each process that trains a run of this name while the block runs."""
    over = threading.Event()

    def kill() -> None:
        killed = set()
        while not over.wait(0.05):
            for lock in folder.glob(f"outputs/sweeps/*/{pattern}/.lock"):
                found = re.match(r"process (\d+) ", lock.read_text())
                if found and found[1] not in killed and (lock.parent / "last.safetensors").is_file():
                    killed.add(found[1])
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(found[1]), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def started() -> Iterator[dict[str, str]]:
    """Yield no variables: the launcher starts its own services."""
    yield {}


@contextlib.contextmanager
def slurm() -> Iterator[dict[str, str]]:
    """Start a controller and a node of Slurm, without accounting. Yield the variables that its commands need."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        for name in ("debs", "root", "etc", "run", "log", "spool/ctld", "spool/slurmd"):
            (place / name).mkdir(parents=True)
        place.chmod(0o755)
        subprocess.run(
            ["apt-get", "download", "-q", *PACKAGES], cwd=place / "debs", check=True, stdout=subprocess.DEVNULL
        )
        for package in (place / "debs").iterdir():
            subprocess.run(["dpkg", "-x", package, place / "root"], check=True)
        root, conf = place / "root", place / "etc" / "slurm.conf"
        library = f"{root}/usr/lib/x86_64-linux-gnu"
        variables = {
            "LD_LIBRARY_PATH": f"{library}:{library}/slurm-wlm",
            "PATH": f"{root}/usr/bin:{root}/usr/sbin:{os.environ['PATH']}",
            "SLURM_CONF": str(conf),
        }
        environment = {**os.environ, **variables}
        conf.write_text(_slurm_conf(place, library))
        key = place / "etc" / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        files = {"key-file": key, "socket": place / "run/munge.socket", "pid-file": place / "run/munged.pid"}
        files |= {"log-file": place / "log/munged.log", "seed-file": place / "run/munge.seed"}
        node = socket.gethostname()
        subprocess.run(["munged", "--force", *(f"--{k}={v}" for k, v in files.items())], env=environment, check=True)
        subprocess.run(["slurmctld-wlm", "-c", "-f", conf], env=environment, check=True)
        step = root / "usr/sbin/slurmstepd-wlm"
        subprocess.run(["slurmd-wlm", "-f", conf, "-N", node, "-d", step], env=environment, check=True)
        try:
            while "idle" not in _asked(environment, "sinfo", "-h", "-o", "%T"):
                time.sleep(0.5)
            yield variables
        finally:
            for daemon in ("slurmd", "slurmctld", "munged"):
                with contextlib.suppress(OSError, ValueError):
                    os.kill(int((place / f"run/{daemon}.pid").read_text()), signal.SIGTERM)
            time.sleep(2)


def _asked(environment: dict[str, str], *command: str) -> str:
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True).stdout


def _slurm_conf(place: Path, library: str) -> str:
    node, cores = socket.gethostname(), os.cpu_count()
    values = {
        "ClusterName": "local",
        "SlurmctldHost": f"{node}(127.0.0.1)",
        "SlurmUser": "root",
        "SlurmdUser": "root",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={place}/run/munge.socket",
        "CredType": "cred/munge",
        "PluginDir": f"{library}/slurm-wlm",
        "StateSaveLocation": f"{place}/spool/ctld",
        "SlurmdSpoolDir": f"{place}/spool/slurmd",
        "SlurmctldPidFile": f"{place}/run/slurmctld.pid",
        "SlurmdPidFile": f"{place}/run/slurmd.pid",
        "SlurmctldLogFile": f"{place}/log/slurmctld.log",
        "SlurmdLogFile": f"{place}/log/slurmd.log",
        "SlurmctldPort": 26817,
        "SlurmdPort": 26818,
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core",
        "JobAcctGatherType": "jobacct_gather/none",
        "AccountingStorageType": "accounting_storage/none",
        "MpiDefault": "none",
        "ReturnToService": 2,
        "NodeName": f"{node} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=8000 State=UNKNOWN",
        "PartitionName": f"debug Nodes={node} Default=YES MaxTime=INFINITE State=UP",
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


if __name__ == "__main__":
    main()
