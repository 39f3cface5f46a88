"""The log for TensorBoard: event files in `tensorboard/`, with curves, pictures and histograms of gradients.

Written by tensorboardX, an optional dependency that needs neither TensorFlow nor TensorBoard. Its `SummaryWriter` hands
events to a thread, where a full disk goes unnoticed; so each event is written here, by the parts below it.
"""

import contextlib
import importlib
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minigan.data.png import encode_png
from minigan.errors import MissingExtraError, OutputError
from minigan.support.durable_files import atomic_write, make_folder
from minigan.training.learner import Learner
from minigan.training.listeners.base import Listener, Record, Training

__all__ = ["TensorBoardLog"]

BARS = 64  # of a histogram; TensorBoard draws fewer
HEAD, CHECKSUM = struct.calcsize("<QI"), struct.calcsize("<I")  # bytes around a record of an event file


class TensorBoardLog(Listener):
    """Writes what `log.jsonl` holds as scalars, the sample pictures, and histograms of the gradients where logged.

    Each training writes a file of its own. A resumed one first removes the events after its first step from the
    earlier files, and tells a TensorBoard that has read them already.

    Raises:
        MissingExtraError: tensorboardX is not installed.
    """

    def __init__(self) -> None:
        try:
            self._records = importlib.import_module("tensorboardX.record_writer")
            self._events = importlib.import_module("tensorboardX.proto.event_pb2")
        except ImportError:
            raise MissingExtraError.of(
                package="tensorboardX", extra="tensorboard", purpose="`log='tensorboard'`"
            ) from None
        self._writer: Any = None

    def on_start(self, training: Training) -> None:
        self.training = training
        step = training.state.step
        for path in sorted(self.folder.glob("events.out.tfevents.*")):
            self._remove_after(step, path)
        self._open()

    @property
    def folder(self) -> Path:
        """The folder of the event files."""
        return self.training.state.folder / "tensorboard"

    def on_record(self, record: Record) -> None:
        group = "training" if "seconds" in record else "evaluation"
        scalars = {f"{group}/{name}": value for name, value in record.items() if name != "step"}
        scalars |= {f"gradient_norms/{path}": norm for path, norm in record.get("gradients", {}).items()}
        values = [{"tag": tag, "simple_value": value} for tag, value in scalars.items() if _is_number(value)]
        if "gradients" in record:
            values += gradient_histograms(self.training.state.learner)
        self._write(record["step"], values)

    def on_picture(self, step: int, picture: np.ndarray) -> None:
        height, width, channels = picture.shape
        image = {"height": height, "width": width, "colorspace": channels, "encoded_image_string": encode_png(picture)}
        self._write(step, [{"tag": "samples", "image": image}])

    def on_end(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError):  # each event is on the disk already, or its error is known
                self._writer.close()
            self._writer = None

    def _open(self) -> None:
        """Begins a new file, which says from which step on it replaces earlier ones."""
        self.on_end()
        step = self.training.state.step
        make_folder(self.folder, parents=False)
        # TensorBoard reads files in the order of their names.
        self._path = self.folder / f"events.out.tfevents.{int(time.time()):010}.minigan.{step:09}"
        start = {"status": self._events.SessionLog.START}
        with self._naming_the_file():
            self._writer = self._records.RecordWriter(str(self._path))
            for event in ({"file_version": "brain.Event:2"}, {"step": step + 1, "session_log": start}):
                self._writer.write(self._events.Event(wall_time=time.time(), **event).SerializeToString())
            self._writer.flush()

    def _write(self, step: int, values: list[dict[str, Any]]) -> None:
        if self._writer is None or not self._path.exists():  # the run's folder was removed, and is there again
            self._open()
        event = self._events.Event(wall_time=time.time(), step=step, summary={"value": values})
        with self._naming_the_file():
            self._writer.write(event.SerializeToString())
            self._writer.flush()

    def _remove_after(self, step: int, path: Path) -> None:
        """Removes the events of later steps from a file, damaged ones, and a file of which nothing is left."""
        with self._naming_the_file(path):
            content = path.read_bytes()
        kept, is_empty = [], True
        for record in records(content):
            try:
                event = self._events.Event.FromString(record[HEAD:-CHECKSUM])
            except Exception:  # the error of a damaged message is a class of protobuf's
                continue
            if event.step <= step or event.HasField("session_log"):
                kept.append(record)
                is_empty &= not event.HasField("summary")
        if is_empty:
            with self._naming_the_file(path):
                path.unlink()
        elif (rest := b"".join(kept)) != content:
            atomic_write(path, rest)

    @contextlib.contextmanager
    def _naming_the_file(self, path: Path | None = None) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError.of(path or self._path, error) from None


def records(content: bytes) -> Iterator[bytes]:
    """The records of an event file, each with its head (length, checksum) and its checksum; not a cut-off last one."""
    place = 0
    while place + HEAD <= len(content):
        end = place + HEAD + struct.unpack_from("<Q", content, place)[0] + CHECKSUM
        if end > len(content):
            return
        yield content[place:end]
        place = end


def gradient_histograms(learner: Learner) -> list[dict[str, Any]]:
    """A histogram of each weight's gradient in the last step, as `gradient_norms` reads them."""
    values = []
    for name, network in learner.networks.items():
        for _, layer in network.walk():
            for parameter in layer.own_parameters:
                gradient = network.kernels.to_numpy(learner.grads[name][parameter])
                values.append({"tag": f"gradients/{layer.path}.{parameter.name}", "histo": histogram(gradient)})
    return values


def histogram(values: np.ndarray) -> dict[str, Any]:
    """A histogram as TensorBoard has it: the upper limit and the number of values of each bar."""
    values = values.astype(np.float64).ravel()
    low, high = values.min(), values.max()
    # Equal values, as of a single bias, need bars of some width, which float64 must be able to tell apart.
    is_narrow = high - low <= 1e-9 * max(abs(low), abs(high))
    margin = (1e-3 * abs(high) or 0.5) if is_narrow else 0.0
    limits = np.linspace(low - margin, high + margin, BARS + 1)
    counts, _ = np.histogram(values, limits)
    return {
        "min": low,
        "max": high,
        "num": values.size,
        "sum": values.sum(),
        "sum_squares": values @ values,
        "bucket_limit": limits,  # the first is the lower end of the first bar
        "bucket": [0, *counts],
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
