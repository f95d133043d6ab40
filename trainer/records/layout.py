"""The names of the files and folders of runs and studies. Imports no torch."""

from pathlib import Path

from trainer.errors import ConfigError
from trainer.storage.places import absent, named_folder, named_run

SWEEPS = "sweeps"  # below the root: the folder of all studies

LAST, BEST, DESCRIBED = "last.safetensors", "best.safetensors", "best.json"
HITS = "hits.json"  # which validation images the run classified correctly
MANIFEST = "study.json"
RESULT = "result.json"
TRACEBACK = "traceback.txt"  # of an error in an own technique, which is reported in one line
PATCH = "changes.patch"  # what the trainer's checkout had beside its commit
JOB = "job.json"  # in the folder of a study's run: the instructions for its worker
HEARTBEAT = ".heartbeat"  # touched every few seconds by the worker of a launcher


def best_of(run: str) -> Path:
    """Return the best checkpoint in a run's folder, or `run` itself if it is a file. Raises ConfigError without one."""
    from trainer.storage.untrusted import refuse_earlier_version  # not at the top: it would delay `--help` by 20 ms

    path = named_folder(run)
    if path.is_file():
        return path
    if not path.is_dir():
        raise ConfigError(f"{run}: {absent(path, 'run or checkpoint')}")
    best = path / BEST
    refuse_earlier_version(best)
    if not best.is_file():
        named_run(run)  # says what the folder is instead
        raise ConfigError(f"{run}: is not the folder of a run that has been validated, {best} does not exist")
    return best
