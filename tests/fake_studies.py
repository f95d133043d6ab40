"""Studies as a finished sweep leaves them, without training: their numbers follow from the point and the seed."""

import itertools
import json
import math
import random

import yaml
from conftest import ROOT


def fake_study(folder, axes, seeds=(0,), epochs=10, method="grid", classes=("cat", "dog", "ship"), failing=()):
    """`axes`: {"lr": ["0.1", "0.01"]}; the more an axis' place in its list, the better. Returns the folder."""
    defaults = yaml.safe_load((ROOT / "conf" / "config.yaml").read_text())["sweep"]
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    entries = []
    for number, (point, seed) in enumerate(itertools.product(points, seeds)):
        name = f"run-{number}"
        config = {"epochs": epochs, "seed": seed, "dataset": {"name": "digits"}, **point}
        place = sum((axes[key].index(value) + 1) / len(axes[key]) for key, value in point.items()) / len(axes)
        failed = number in failing
        fake_run(folder / name, config, place, random.Random(number), 3 if failed else epochs, classes, failed)
        entries.append({
            "id": f"{number:010}", "slug": "run", "folder": name, "point": {**point, "seed": str(seed)},
            "texts": {}, "config": config, "trial": number // len(seeds) if method != "grid" else 0, "stage": 1,
        })  # fmt: skip
    manifest = {
        "name": "made", "command": ["dataset=digits", *(f"{key}={','.join(values)}" for key, values in axes.items())],
        "started": "2026-11-21T08:00:00+00:00", "git": {"commit": "0" * 40, "dirty": False}, "code": "", "data": {},
        "sweep": {**defaults, "method": method}, "runs": entries, "stages": [],
        "axes": [f"{key}={','.join(values)}" for key, values in axes.items()],
        "replicates": [f"seed={','.join(map(str, seeds))}"],
    }  # fmt: skip
    (folder / "study.json").write_text(json.dumps(manifest))
    return folder


def fake_run(folder, config, place, draw, epochs, classes, failed=False):
    folder.mkdir(parents=True)
    rows = [
        {
            "epoch": epoch,
            "train_loss": 2 * math.exp(-epoch * place / 5) + 0.01 * draw.random(),
            "train_accuracy": 1 - 0.9 * math.exp(-epoch * place / 5),
            "validation_loss": 2 * math.exp(-epoch * place / 6) + 0.05 * draw.random(),
            "validation_accuracy": max(
                0.0, 0.9 - 0.2 * (1 - place) - 0.8 * math.exp(-epoch * place / 5) + 0.02 * draw.random()
            ),
            "lr": 0.01,
            "epoch_seconds": 1.5,
            "images_per_second": 1000.0,
            "improved": True,
        }
        for epoch in range(1, epochs + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    best = {key: rows[-1][key] for key in ("validation_loss", "validation_accuracy")}
    ended = {"best_epoch": epochs, "validation_images": 30, **best}
    result = {"state": "failed", "reason": "out of memory"} if failed else {"state": "finished", **ended}
    (folder / "result.json").write_text(json.dumps({**result, "epochs": epochs, "starts": 1, "seconds": 20.0}))
    confusion = [[8 if true == taken else 1 for taken in range(len(classes))] for true in range(len(classes))]
    about = {"epoch": epochs, "parameters": 55490, "classes": list(classes), "confusion": confusion}
    (folder / "best.json").write_text(json.dumps(about))
