"""Results of several backbones in one table, with their differences."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from keras_leoclr.evaluation.ahead import findings
from keras_leoclr.evaluation.measures import difference_text, value_text
from keras_leoclr.evaluation.result_columns import columns, entries, name_apart
from keras_leoclr.runs.folder import RunFolder


def compare(
    workdirs: Sequence[str | pathlib.Path],
    subjects: Sequence[str] | None = None,
    only: str = "",
    everything: bool = False,
    markdown: bool = False,
) -> str:
    """One table of `results.jsonl` of runs; accuracies in percent.

    Of several runs, sentences come first which say whether the pretrained backbone of each further run is
    ahead of that of the first run, by how many points, and with which interval. The table below has, for each
    measurement, one row for each backbone: first the pretrained ones, then what is no result of the training,
    such as raw pixels, which is listed once where the runs agree on it. Of a single run, each subject has a
    column.

    All differences are from the backbone that comes first. Where both have the hits of the same test images,
    or the ranks of their scores for mean average precision, the interval of the difference comes from a
    paired bootstrap over the images: how often do they agree matters, not only how often they are right. A
    difference whose 95 % interval does not hold 0 is marked with `*`. Of several lines of one measurement the
    last counts.

    Args:
        workdirs: folders with `results.jsonl`.
        subjects: which of the subjects that a run evaluated ("pretrained", "random", ...), in this order;
            all by default.
        only: names that contain this, such as "linear".
        everything: also single classes, seeds and severities, and what was measured during training.
        markdown: whether to write a Markdown table.

    Raises:
        FileNotFoundError: if a folder has no results.
        ValueError: if nothing is left to compare.
    """
    runs = _runs(workdirs)
    found, labels = columns(runs, subjects, only, everything)
    if len(runs) == 1:
        return text_table(_side_by_side(found, labels), markdown)
    told = []
    for finding in findings(found, entries(found, labels)):
        told += [finding.headline, *(f"- {text}" for _, text in finding.points), ""]
    return "\n".join([*told, text_table(_below_each_other(found, labels), markdown, left=2)])


def compare_rows(
    workdirs: Sequence[str | pathlib.Path],
    subjects: Sequence[str] | None = None,
    only: str = "",
    everything: bool = False,
) -> list[dict[str, Any]]:
    """What `compare` shows, as numbers.

    Args:
        workdirs: see `compare`, as the others.
        subjects: which subjects.
        only: part of the names.
        everything: also single classes, seeds and severities.

    Returns:
        For each measurement `{"measurement", "values", "differences"}`; both hold, by column,
        `{"value"}` and, where they are known, `"low"` and `"high"` of the 95 % interval; differences also
        `"beyond_chance"` where that is known. The first column is what the others are compared with; of
        several runs it is the pretrained backbone of the first. Each run has columns of its own.
    """
    found, labels = columns(_runs(workdirs), subjects, only, everything, once=False)
    rows = []
    for label, listed in entries(found, labels).items():
        values = {
            entry.column.title: {
                key: entry.line[key] for key in ("value", "low", "high") if key in entry.line
            }
            for entry in listed
        }
        changes = {entry.column.title: entry.change for entry in listed if entry.change is not None}
        rows.append({"measurement": label, "values": values, "differences": changes})
    return rows


def _side_by_side(found, labels):
    """A column for each backbone, the header first."""
    first, *others = found
    header = ["measurement", first.title]
    for column in others:
        header += [column.title, "difference"]
    rows = [header]
    for label, listed in entries(found, labels).items():
        by_title = {entry.column.title: entry for entry in listed}
        reference = by_title.get(first.title)
        row = [label, value_text(reference and reference.line)]
        for column in others:
            entry = by_title.get(column.title)
            row += ["-", "-"] if entry is None else _texts(entry)
        rows.append(row)
    return rows


def _below_each_other(found, labels):
    """A row for each backbone and measurement, the header first."""
    rows = [["measurement", "backbone", "result", f"difference from {found[0].title}"]]
    for label, listed in entries(found, labels).items():
        for number, entry in enumerate(listed):
            value, change = _texts(entry)
            told = "" if entry.column is found[0] else change
            rows.append(["" if number else label, entry.column.title, value, told])
    return rows


def _texts(entry):
    return [value_text(entry.line), difference_text(entry.line, entry.change)]


def _runs(workdirs):
    """Name, folder and lines of results of each."""
    runs = []
    folders = list(map(pathlib.Path, workdirs))
    for name, workdir in zip(name_apart([folder.resolve().name for folder in folders]), folders, strict=True):
        lines = RunFolder(workdir).results.read()
        if not lines:
            raise FileNotFoundError(f"`workdirs` must hold results.jsonl. Received: {workdir}")
        runs.append((name, workdir, lines))
    return runs


def text_table(rows: Sequence[Sequence[str]], markdown: bool = False, left: int = 1) -> str:
    """Rows of equal length, the first of them the head, as plain text or Markdown.

    Args:
        rows: cells.
        markdown: whether it is Markdown.
        left: number of columns, from the first, that are flush left in plain text.
    """
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
