"""A table of the results of several backbones and of their differences."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from keras_leoclr.evaluation.ahead import findings
from keras_leoclr.evaluation.measures import difference_text, value_text
from keras_leoclr.evaluation.result_columns import columns, entries, name_apart, on_one_data_set
from keras_leoclr.runs.folder import RunFolder


def compare(
    workdirs: Sequence[str | pathlib.Path],
    subjects: Sequence[str] | None = None,
    only: str = "",
    everything: bool = False,
    markdown: bool = False,
) -> str:
    """Writes a table of the results in `results.jsonl` of one or more runs; accuracies are in percent.

    With several runs, sentences come first. They say whether the pretrained backbone of each further run is
    ahead of that of the first run, by how many points, and with which interval. The table below has, for each
    measurement, one row for each backbone: first the pretrained ones, then the baselines that no training
    produced, such as raw pixels, which are listed once if the runs agree on them. With a single run, each
    subject has a column.

    All differences are relative to the backbone that comes first. If both results hold which test images were
    classified correctly, or the ranks of their scores for mean average precision, the interval of the
    difference comes from a paired bootstrap over the images, which takes into account how often the two agree
    and not only how often each is right. A difference whose 95 % interval does not contain 0 is marked with
    `*`, unless the two results are of different test images; so is one without an interval, if those of the
    two results do not overlap. Means over draws of labelled images or over trainings have no mark, because
    their intervals do not say what other test images would give. If a measurement has several lines, the last
    one counts. Results on other images than those that the first run is judged on have rows of their own,
    which name the data set and the split.

    Args:
        workdirs: folders with `results.jsonl`.
        subjects: subjects to show, of those that a run evaluated ("pretrained", "random", ...), in this
            order; all by default.
        only: shows only names that contain this text, such as "linear"; all by default.
        everything: whether to show results of single classes, seeds and severities, and those measured during
            training, too; false by default.
        markdown: whether to write a Markdown table; false by default.

    Raises:
        FileNotFoundError: if a folder has no results.
        ValueError: if nothing is left to compare, or a folder is that of a study.
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
    """The content of the table of `compare`, as numbers.

    Args:
        workdirs: see `compare`.
        subjects: see `compare`.
        only: see `compare`.
        everything: see `compare`.

    Returns:
        For each measurement `{"measurement", "values", "differences"}`. Both `values` and `differences` hold,
        for each column, `{"value"}` and, if they are known, `"low"` and `"high"` of the 95 % interval;
        differences also hold `"beyond_chance"` if that is known. The others are compared with the first
        column, which is the pretrained backbone of the first run if there are several runs. Each run has its
        own columns.
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
    """A table with one column for each backbone; its first row is the header."""
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
    """A table with one row for each backbone and measurement; its first row is the header."""
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
    """Reads the name, the folder and the lines of results of each run."""
    runs = []
    folders = list(map(pathlib.Path, workdirs))
    for name, workdir in zip(name_apart([folder.resolve().name for folder in folders]), folders, strict=True):
        run = RunFolder(workdir)
        run.check_no_study("workdirs")
        lines = run.results.read()
        if not lines:
            raise FileNotFoundError(f"`workdirs` must hold results.jsonl. Received: {workdir}")
        runs.append((name, workdir, _recipe(run), lines))
    return on_one_data_set(runs)


def _recipe(run):
    try:
        return run.recipe()
    except ValueError:  # A damaged file leaves the results as they are.
        return {}


def text_table(rows: Sequence[Sequence[str]], markdown: bool = False, left: int = 1) -> str:
    """Formats rows of equal length as plain text or Markdown; the first row is the header.

    Args:
        rows: the cells of each row.
        markdown: whether to write Markdown; false by default.
        left: number of columns, counted from the first, that plain text aligns to the left; 1 by default.
    """
    if markdown:
        lines = ["| " + " | ".join(map(_in_markdown, row)) + " |" for row in rows]
        return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _in_markdown(cell: str) -> str:
    """A cell whose bars and ends of lines do not end it."""
    return " ".join(cell.replace("|", "\\|").splitlines())
