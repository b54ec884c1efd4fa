"""Reads text and CSV files that list pictures, by paths relative to the file itself."""

from __future__ import annotations

import csv
import io
import os
import re
from typing import NamedTuple

from keras_leoclr.data.failures import shown
from keras_leoclr.data.readers.text_lines import text_of

LISTS = (".txt", ".csv")
# Possible names of the columns; the first that the file has is used.
NUMBER = re.compile(r"-?\d+")  # Where all classes are numbers, -1 is that of pictures without a class.
FILE, CLASS = ("file", "path"), ("class", "label")


class PictureList(NamedTuple):
    """The pictures that a list names.

    Attributes:
        paths: absolute path of each picture, without repetitions.
        classes: name of the class by path, "" for a picture of no class; None if the list names no classes.
        repeated: number of lines that name a picture again.
    """

    paths: list[bytes]
    classes: dict[bytes, str] | None
    repeated: int


def read_list(path: str) -> PictureList:
    """Reads a list of pictures.

    Args:
        path: path of a .txt file with one path on each line, in which empty lines and lines that begin with #
            are ignored; or of a .csv file with the columns `file` (or `path`) and, optionally, `class` (or
            `label`), of which an empty field means no class; so does -1 where all classes are numbers.

    Raises:
        ValueError: if the list is damaged, names no picture, or gives a picture two classes.
    """

    def error(rule, received):
        return ValueError(f"{shown(path)}: {rule}. Received: {received}")

    text = text_of(path, "a list of pictures")
    rows = _rows(text, error) if path.lower().endswith(".csv") else _lines(text)
    classes: dict[bytes, str | None] = {}
    repeated = 0
    for name, label in rows:
        full = os.fsencode(os.path.normpath(os.path.join(os.path.dirname(path), os.path.expanduser(name))))
        if classes.setdefault(full, label) != label:
            raise error("a picture must have one class", f"{name} with {classes[full]} and {label}")
        repeated += 1
    if not classes:
        raise error("a list of pictures must name at least one picture", "no paths")
    has_classes = None not in classes.values()
    return PictureList(list(classes), classes if has_classes else None, repeated - len(classes))


def _lines(text):
    lines = (line.strip() for line in text.splitlines())
    return [(line, None) for line in lines if line and not line.startswith("#")]


def _rows(text, error):
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as problem:
        raise error("a list of pictures must be CSV with commas between the columns", problem) from problem
    header = [name.strip() for name in rows[0]] if rows else []
    column = next((header.index(name) for name in FILE if name in header), None)
    if column is None:
        raise error(
            f"the first line of a list of pictures must name a column {' or '.join(FILE)}",
            ",".join(header)[:80] or "an empty file",
        )
    if "labels" in header:
        raise error(
            "a list has one class per picture; several labels per picture are read from labels.csv in a "
            "folder of pictures",
            "a column `labels`",
        )
    label = next((header.index(name) for name in CLASS if name in header), None)
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header) or not row[column].strip():
            raise error(f"row {number} of a list of pictures must have {len(header)} columns and a path", row)
    if label is None:
        return [(row[column].strip(), None) for row in rows[1:]]
    classes = [row[label].strip() for row in rows[1:]]
    if all(NUMBER.fullmatch(name) for name in classes if name):
        classes = ["" if name == "-1" else name for name in classes]
    return [(row[column].strip(), name) for row, name in zip(rows[1:], classes, strict=True)]
