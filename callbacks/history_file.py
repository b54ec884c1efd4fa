"""`history.csv`: the logs of every epoch, to which a resumed run appends."""

from __future__ import annotations

import csv
import io
import pathlib
from collections.abc import Sequence

import keras

from keras_leoclr.distribution.step import inner_of
from keras_leoclr.runs.files import write_text
from keras_leoclr.runs.monitored import NOT_MEASURED

TIMES = ("images_per_second", "waiting")  # columns that two runs of one seed do not share


class HistoryFile(keras.callbacks.CSVLogger):
    """A `CSVLogger` that keeps the columns of an existing file when it appends to it, and adds new ones.

    Keras' `CSVLogger(append=True)` takes the columns from the first epoch of each process. If the logs of
    that epoch hold other names than the file, values are written into the wrong columns. And a name that this
    epoch lacks, such as `knn_top1` if it is measured every second epoch, is never written.

    A name that the file has no column for, such as that of a measurement that was switched on later, becomes
    the last column. The file is then written anew, whole or not at all, with "NA" in the earlier rows.

    The column `learning_rate` holds the learning rate of the last step of the epoch.

    Args:
        path: path of the CSV file; its folder is made if it is missing.
        columns: names that only later epochs have in their logs; () by default. Where an epoch has no value,
            "NA" is written.
    """

    def __init__(self, path: str | pathlib.Path, columns: str | Sequence[str] = ()):
        super().__init__(str(pathlib.Path(path).expanduser()), append=True)
        self.columns = (columns,) if isinstance(columns, str) else tuple(columns)

    def on_train_begin(self, logs=None):
        pathlib.Path(self.filename).parent.mkdir(parents=True, exist_ok=True)
        super().on_train_begin(logs)
        with pathlib.Path(self.filename).open(newline="", encoding="utf-8") as file:
            header = next(csv.reader(file), None)
        if header:
            self.keys = header[1:]  # after "epoch"

    def on_epoch_end(self, epoch, logs=None):
        logs = dict(logs or {})
        rate = last_learning_rate(getattr(self.model, "optimizer", None))
        if rate is not None:
            logs.setdefault("learning_rate", rate)
        if self.keys is None:
            self.keys = sorted({*logs, *self.columns})
        if added := sorted({*logs, *self.columns} - {*self.keys}):
            self._add(added)
        super().on_epoch_end(epoch, logs)

    def _add(self, names):
        """Adds columns to the file, which is open; `on_epoch_end` goes on with a new writer."""
        self.csv_file.close()
        path = pathlib.Path(self.filename)
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        text = io.StringIO()
        lines = csv.writer(text)
        lines.writerow([*header, *names])
        for row in rows:
            lines.writerow([*row, *[NOT_MEASURED] * (len(header) + len(names) - len(row))])
        write_text(path, text.getvalue())
        self.keys = [*self.keys, *names]
        self.append_header, self.writer = False, None
        self.csv_file = path.open("a", newline="", encoding="utf-8")


def without_times(path: str | pathlib.Path) -> list[list[str]]:
    """Reads the lines of a history file, without the columns of times, which differ from run to run."""
    with pathlib.Path(path).open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    kept = [column for column, name in enumerate(lines[0] if lines else ()) if name not in TIMES]
    return [[line[column] for column in kept if column < len(line)] for line in lines]


def last_learning_rate(optimizer: keras.optimizers.Optimizer | None) -> float | None:
    """Learning rate of the step that an optimizer took last; of the first step if it has taken none.

    Where the rate follows a schedule, the property `learning_rate` of an optimizer is that of its next step.

    Args:
        optimizer: the optimizer of a model. The result is None without one, and for several in one, each of
            which has a rate of its own.
    """
    inner = inner_of(optimizer)
    if inner is None or hasattr(inner, "optimizers"):
        return None
    rate, schedule = inner.learning_rate, inner._learning_rate
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        # Keras gives schedules the number of batches, also where gradients are accumulated.
        steps = int(keras.ops.convert_to_numpy(inner._iterations))
        rate = schedule(max(steps - 1, 0))
    return float(keras.ops.convert_to_numpy(rate))
