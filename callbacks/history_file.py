"""`history.csv`, which goes on where it was."""

from __future__ import annotations

import csv
import pathlib

import keras


class HistoryFile(keras.callbacks.CSVLogger):
    """A `CSVLogger` that appends to the columns that a file has already.

    With `append=True`, Keras takes the columns from the first epoch of each process: after a restart in an
    epoch whose logs hold another name, values would stand under the wrong one.

    Args:
        path: the file; its folder is made if it is missing.
    """

    def __init__(self, path: str | pathlib.Path):
        super().__init__(str(path), append=True)

    def on_train_begin(self, logs=None):
        pathlib.Path(self.filename).parent.mkdir(parents=True, exist_ok=True)
        super().on_train_begin(logs)
        with pathlib.Path(self.filename).open(newline="", encoding="utf-8") as file:
            header = next(csv.reader(file), None)
        if header:
            self.keys = header[1:]  # after "epoch"
