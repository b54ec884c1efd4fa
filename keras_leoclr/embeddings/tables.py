"""Writes the features of pictures as NumPy's .npz, CSV or Parquet, with one row per picture."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_leoclr.data.failures import shown
from keras_leoclr.runs.files import whole_file

ROWS = 4096  # number of rows that are converted to text or to Parquet's columns at a time


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """The features of pictures, in the order of their source.

    Attributes:
        features: (N, F) float32 array, one row per picture. It is read-only if it is mapped from a file.
        paths: path of each picture; None if the pictures are not files and are known by their numbers.
        labels: (N,) int64, -1 for a picture without a label; (N, C) uint8 zeros and ones for several labels
            per picture; None if there are no labels.
        class_names: names of the classes in the order of their numbers; () if the classes have no names.
        skipped: path and reason of each picture that could not be read and has no row.
        about: how the features were computed: `source`, `split`, `backbone`, `checksum` of the backbone,
            `image_size`, `precision`.
    """

    features: np.ndarray
    paths: list[str] | None
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    skipped: list[tuple[str, str]]
    about: dict[str, Any]

    def __len__(self) -> int:
        return len(self.features)

    def names(self) -> dict[str, list]:
        """Returns the column that names the picture of each row: `path` or `number`."""
        if self.paths is None:
            return {"number": list(range(len(self)))}
        return {"path": [os.fsencode(path).decode("utf-8", "backslashreplace") for path in self.paths]}

    def label_columns(self) -> dict[str, list]:
        """Returns the columns of labels: `label` and `class`, or `labels`, lists of names."""
        if self.labels is None:
            return {}
        if self.labels.ndim == 2:
            names = self.class_names or tuple(map(str, range(self.labels.shape[1])))
            return {"labels": [[names[number] for number in np.flatnonzero(row)] for row in self.labels]}
        columns = {"label": self.labels.tolist()}
        if self.class_names:
            columns["class"] = ["" if n < 0 else self.class_names[n] for n in columns["label"]]
        return columns


def check_output(path: str | os.PathLike, overwrite: bool) -> Callable[[pathlib.Path, Embeddings], None]:
    """Checks the path of a file of features, and returns the function that writes such a file.

    Args:
        path: path that ends with .npz, .csv or .parquet.
        overwrite: whether an existing file may be replaced.

    Raises:
        ValueError: if the path has another ending, or the file exists.
        FileNotFoundError: if the folder does not exist.
        ImportError: if a package that the format needs is missing.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITERS:
        raise ValueError(
            f"`output` must be a file that ends with {', '.join(WRITERS)}. "
            f"Received: output={shown(str(path))}"
        )
    if path.is_dir() or (path.exists() and not overwrite):
        raise ValueError(
            "`output` must name a file that does not exist yet; with `overwrite` a file is replaced. "
            f"Received: output={shown(str(path))}, which exists"
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"`output` must lie in a folder that exists. Received: output={shown(str(path))}"
        )
    if suffix == ".parquet":
        pyarrow_package()
    return WRITERS[suffix]


def _write_npz(path: pathlib.Path, table: Embeddings) -> None:
    arrays = {name: np.array(column) for name, column in table.names().items()}
    if table.labels is not None:
        arrays["label"] = table.labels
    if table.class_names:
        arrays["class_names"] = np.array(table.class_names)
    with whole_file(path) as file:
        np.savez(file, features=table.features, about=np.array(json.dumps(table.about)), **arrays)


def _write_csv(path: pathlib.Path, table: Embeddings) -> None:
    columns = table.names() | table.label_columns()
    if "labels" in columns:
        columns["labels"] = ["|".join(names) for names in columns["labels"]]
    width = table.features.shape[1]
    with whole_file(path) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*columns, *(f"feature_{number}" for number in range(width))])
        for first in range(0, len(table), ROWS):
            rows = zip(*(column[first : first + ROWS] for column in columns.values()), strict=True)
            for names, row in zip(rows, table.features[first : first + ROWS].tolist(), strict=True):
                writer.writerow(
                    [*names, *(f"{value:.9g}" for value in row)]
                )  # Nine digits give the same float32 again.
        text.flush()
        text.detach()


def _write_parquet(path: pathlib.Path, table: Embeddings) -> None:
    pyarrow, parquet = pyarrow_package()
    columns = table.names() | table.label_columns()
    kinds = {"number": pyarrow.int64(), "label": pyarrow.int64(), "labels": pyarrow.list_(pyarrow.string())}
    width = table.features.shape[1]
    fields = [(name, kinds.get(name, pyarrow.string())) for name in columns]
    schema = pyarrow.schema([*fields, ("features", pyarrow.list_(pyarrow.float32(), width))])
    schema = schema.with_metadata({"keras_leoclr": json.dumps(table.about)})
    with whole_file(path) as file, parquet.ParquetWriter(file, schema) as writer:
        for first in range(0, len(table), ROWS):
            part = slice(first, first + ROWS)
            values = pyarrow.array(np.ravel(table.features[part]))
            arrays = [pyarrow.array(columns[name][part], kind) for name, kind in fields]
            arrays.append(pyarrow.FixedSizeListArray.from_arrays(values, width))
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))


WRITERS = {".npz": _write_npz, ".csv": _write_csv, ".parquet": _write_parquet}


def pyarrow_package() -> tuple[Any, Any]:
    """Imports the package pyarrow and its module for Parquet.

    Raises:
        ImportError: if it is missing; the message names the extra to install.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "a .parquet file needs pyarrow: pip install 'keras-leoclr[parquet]'; .npz and .csv need nothing"
        ) from error
    return pyarrow, pyarrow.parquet
