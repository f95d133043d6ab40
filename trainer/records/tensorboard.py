"""Event files for TensorBoard, beside the run's own metrics: records of each epoch, written as it ends.

They are written by TensorBoard's own record writer and not by torch's SummaryWriter, which names its file after the
host, writes from a second thread, and imports TensorFlow where that is installed.
"""

import contextlib
import itertools
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from trainer.errors import reason_of
from trainer.records.histograms import Counts, parameter_counts
from trainer.records.metrics import FIGURES, further_of, read_metrics
from trainer.runtime.console import warn
from trainer.runtime.files import make_folder
from trainer.training.epoch import EpochReport

FOLDER = "tensorboard"
PREFIX = "events.out.tfevents."  # by which TensorBoard finds event files; it reads them in the order of their names
SCALARS = (*FIGURES, "skipped_steps")
VERSION = "brain.Event:2"
BEFORE, BEHIND = 12, 4  # bytes of a record around its content: its length with a checksum, and a checksum


class EventFile:
    """The event file of one start of a run, or none. An error is a warning, the last one, and never ends the run."""

    def __init__(self) -> None:
        self.records: Any = None  # TensorBoard's writer

    def begin(self, folder: Path, epoch: int) -> None:
        """Begin a file in which the run continues after `epoch`.

        Later epochs of earlier files are withdrawn; figures of epochs that those lack are taken from the metrics.
        """
        with self._warned():
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog
            from tensorboard.summary.writer.record_writer import RecordWriter

            place = make_folder(folder / FOLDER)
            earlier = sorted(place.glob(f"{PREFIX}*"))
            known = _last_epoch(earlier, epoch)
            self.records = RecordWriter((place / f"{PREFIX}{len(earlier) + 1:06}").open("xb"))
            self._write(Event(wall_time=time.time(), file_version=VERSION))
            if earlier:
                start = SessionLog(status=SessionLog.START)
                self._write(Event(wall_time=time.time(), step=epoch + 1, session_log=start))
            # None are missing, unless the run was killed between two files or was trained without tensorboard=true.
            for row in read_metrics(folder) if known < epoch else ():
                if known < row["epoch"] <= epoch:
                    self._record(row, {})
            self.records.flush()

    def log(self, report: EpochReport, network: nn.Module) -> None:
        """Record the figures of an epoch and a histogram of each parameter."""
        if self.records:
            with self._warned():
                self._record(report.row(), parameter_counts(network))
                self.records.flush()

    def close(self) -> None:
        """Close the file."""
        if self.records:
            with self._warned():
                self.records.close()

    @contextlib.contextmanager
    def _warned(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # not installed, a full disk, a damaged file, no memory for the counts
            records, self.records = self.records, None
            with contextlib.suppress(Exception):  # what is left in the buffer may not fit, either
                records.close()
            reason = (reason_of(error).splitlines() or [type(error).__name__])[0]
            warn(f"TensorBoard gets no more of this run: {reason}. The run's own folder has everything")

    def _record(self, row: Mapping[str, Any], histograms: Mapping[str, Counts]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [
            Summary.Value(tag=tag, simple_value=row[tag])
            for tag in (*SCALARS, *further_of(row))
            if row[tag] is not None
        ]
        values += [Summary.Value(tag=f"parameters/{name}", histo=_proto(each)) for name, each in histograms.items()]
        self._write(Event(wall_time=time.time(), step=row["epoch"], summary=Summary(value=values)))

    def _write(self, event: Any) -> None:
        self.records.write(event.SerializeToString())


@contextlib.contextmanager
def event_file(on: bool, folder: Path, epoch: int) -> Iterator[EventFile]:
    """Yield the event file of a run that continues after `epoch`, and close it. It records nothing unless `on`."""
    file = EventFile()
    if on:
        file.begin(folder, epoch)
    try:
        yield file
    finally:
        file.close()


def _proto(each: Counts) -> Any:
    """Return a histogram as TensorBoard stores it; of equal values it is one bin. Its sums are rounded to bins."""
    from tensorboard.compat.proto.histogram_pb2 import HistogramProto

    edges, counts = each.edges, each.counts
    if each.low == each.high:
        edges, counts = [each.low, each.high], [sum(counts)]
    middles = [(left + right) / 2 for left, right in itertools.pairwise(edges)]
    pairs = list(zip(counts, middles, strict=True))
    return HistogramProto(
        min=each.low,
        max=each.high,
        num=sum(counts),
        sum=sum(count * middle for count, middle in pairs),
        sum_squares=sum(count * middle**2 for count, middle in pairs),
        bucket_limit=edges[1:],
        bucket=counts,
    )


def _last_epoch(files: list[Path], most: int) -> int:
    """Return the last epoch, `most` at most, of which event files hold figures; 0 if there is none."""
    epochs = set[int]()
    for path in files:
        for event in _events(path.read_bytes()):
            if event.HasField("session_log"):  # what came before and is later has been withdrawn
                epochs = {epoch for epoch in epochs if epoch < event.step}
            if event.summary.value:
                epochs.add(event.step)
    return max((epoch for epoch in epochs if epoch <= most), default=0)


def _events(content: bytes) -> Iterator[Any]:
    """Yield the events in a file; the last one may be torn, as by a kill."""
    from tensorboard.compat.proto.event_pb2 import Event

    start = 0
    while start + BEFORE <= len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        end = start + BEFORE + length
        if end + BEHIND > len(content):
            return
        yield Event.FromString(content[start + BEFORE : end])
        start = end + BEHIND
