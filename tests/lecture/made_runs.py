"""Records of runs made up for the tests of measures: their numbers are known without training."""

import json

import numpy as np
import yaml
from safetensors.numpy import save_file

from trainer.lecture.measuring.runs import RunRecord

EPOCH = {
    "train_loss": 1.0,
    "train_accuracy": 0.5,
    "validation_loss": 1.0,
    "validation_accuracy": 0.5,
    "lr": 0.1,
    "epoch_seconds": 2.0,
    "images_per_second": 100.0,
    "improved": False,
}
CONFIG = {"batch_size": 64, "epochs": 4, "dataset": {"name": "digits", "classes": None}}


def made_run(folder, epochs=(), result=None, best=None, last=None, config=None, classes=()):
    """A run whose `epochs` differ from EPOCH in these figures. `best`: arrays; `classes`: of best.json."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"epoch": number, **EPOCH, **figures} for number, figures in enumerate(epochs, start=1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "config.yaml").write_text(yaml.safe_dump({**CONFIG, **(config or {})}))
    (folder / "result.json").write_text(json.dumps({"state": "finished", "epochs": len(rows), **(result or {})}))
    for name, tensors in (("best", best), ("last", last)):
        if tensors is not None:
            save_file({key: np.asarray(value) for key, value in tensors.items()}, folder / f"{name}.safetensors")
    if classes:
        (folder / "best.json").write_text(json.dumps({"epoch": 1, "classes": list(classes)}))
    return RunRecord.read(folder)
