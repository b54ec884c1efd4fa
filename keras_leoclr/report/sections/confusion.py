"""The confusion matrix of kNN: which classes are mistaken for which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_leoclr.report.reading import RunRecord
from keras_leoclr.report.tables import Cell, Table

CLASSES = 30  # largest number of classes for which a table is shown
MISTAKES = 5


class Confusion(NamedTuple):
    """The confusion matrix of a backbone.

    Attributes:
        heading: name of the backbone.
        mistakes: sentences on the most frequent mistakes.
        matrix: the table; None if there are too many classes.
    """

    heading: str
    mistakes: list[str]
    matrix: Table | None


def confusion(runs: Sequence[RunRecord]) -> list[Confusion]:
    """Counts by true class and predicted class, and the most frequent mistakes, for each backbone."""
    made = []
    for run in runs:
        for subject in run.subjects:
            counts = run.array(run.last("quality/worst_class", subject=subject), "confusion")
            if counts is None or counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not len(counts):
                continue
            heading = f"{run.name}: {subject}" if len(runs) > 1 else subject
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            matrix = _matrix(run, counts, shares, heading) if len(counts) <= CLASSES else None
            made.append(Confusion(heading, _mistakes(run, shares), matrix))
    return made


def _mistakes(run, shares):
    wrong = shares - np.diag(np.diag(shares))
    most = np.argsort(-wrong, axis=None, kind="stable")[:MISTAKES]
    places = [divmod(place, len(shares)) for place in most.tolist()]
    return [
        f"{run.class_name(row)} taken for {run.class_name(column)}: {wrong[row, column]:.0%}"
        for row, column in places
        if wrong[row, column] > 0
    ]


def _matrix(run, counts, shares, heading):
    body = []
    for row, values in enumerate(counts.tolist()):
        cells = []
        for column, value in enumerate(values):
            level = min(9, math.ceil(10 * shares[row, column]) - 1)
            look = f"h{level}" if value else "none"
            cells.append(Cell(str(value), f"{look} own" if row == column else look))
        body.append((run.class_name(row), cells))
    head = ["", *(run.class_name(column) for column in range(len(counts)))]
    caption = f"Rows: true class; columns: answer of kNN; {heading}"
    return Table(head, body, f"Confusion, {heading}", "confusion", caption)
