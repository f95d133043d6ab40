"""A reader of the files that W&B's client writes: what it would upload, without a server."""

import json
import os
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

HOST = "the-name-of-this-host"


def offline_run(folder: Path) -> SimpleNamespace:
    """The only run of W&B that is recorded offline in the folder: `run`, `config`, `rows`, …"""
    (path,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    give_up = time.monotonic() + 20
    while True:  # W&B's service writes on for a moment after a run has ended
        found = list(_records(path))
        if any(record.WhichOneof("record_type") == "exit" for record in found) or time.monotonic() > give_up:
            break
        time.sleep(0.1)
    run = next(record.run for record in found if record.WhichOneof("record_type") == "run")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    history = [record.history for record in found if record.WhichOneof("record_type") == "history"]
    metrics = [record.metric for record in found if record.WhichOneof("record_type") == "metric"]
    summary: dict = {}
    for record in found:
        for item in record.summary.update:
            _put(summary, item)
    return SimpleNamespace(
        run=run,
        config=config,
        rows=[_row(each.item) for each in history],
        metrics={metric.name or metric.glob_name: metric for metric in metrics},
        summary=summary,
        artifacts=[record.artifact for record in found if record.WhichOneof("record_type") == "artifact"],
        files=path.parent / "files",
    )


def _row(items: Any) -> dict:
    row: dict = {}
    for item in items:
        _put(row, item)
    return row


def _put(row: dict, item: Any) -> None:
    *above, key = item.nested_key or [item.key]
    for name in above:
        row = row.setdefault(name, {})
    row[key] = json.loads(item.value_json)


def _records(path: Path) -> Iterator[Any]:
    """The records of a `.wandb` file, which is framed as LevelDB's log in blocks of 32 KiB."""
    from wandb.proto import wandb_internal_pb2

    data, position, whole = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, position)
        part = data[position + 7 : position + 7 + size]
        if len(part) < size:
            return
        whole += part
        position += 7 + size
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def assert_no_place(folder: Path, *more: Path) -> None:
    """No byte below the folder, and no link, names the host or an absolute path of this machine."""
    places = [os.fsencode(place) for place in (HOST, Path.cwd(), Path.home(), sys.prefix, *more)]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    for path in files:
        assert [place for place in places if place in path.read_bytes()] == [], path
    assert [path for path in folder.rglob("*") if path.is_symlink()] == []
