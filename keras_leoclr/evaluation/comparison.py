"""Results of several backbones in one table, with their differences."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from keras_leoclr.evaluation.measures import (
    difference_text,
    is_main,
    is_share,
    label_of,
    value_text,
)
from keras_leoclr.evaluation.pairs import paired_interval
from keras_leoclr.runs.folder import RunFolder


def compare(
    workdirs: Sequence[str | pathlib.Path],
    subjects: Sequence[str] | None = None,
    only: str = "",
    everything: bool = False,
    markdown: bool = False,
) -> str:
    """One table of `results.jsonl` of several runs; accuracies in percent.

    The first column is what the others are compared with. Where both have the hits of the same test
    images, or the ranks of their scores for mean average precision, the interval of the difference comes
    from a paired bootstrap over the images: how often do they agree matters, not only how often they are
    right. A difference whose 95 % interval does not hold 0 is marked with `*`. Of several lines of one
    measurement the last counts.

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
    return text_table(comparison(_runs(workdirs), subjects, only, everything), markdown)


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
        `"beyond_chance"` where that is known. The first column is what the others are compared with.
    """
    columns, labels = _columns(_runs(workdirs), subjects, only, everything)
    first = next(iter(columns))
    rows = []
    for label in labels:
        lines = {title: chosen[label] for title, (_, chosen) in columns.items() if label in chosen}
        values = {
            title: {key: line[key] for key in ("value", "low", "high") if key in line}
            for title, line in lines.items()
        }
        changes = {
            title: _change(lines.get(first), columns[first][0], line, columns[title][0])
            for title, line in lines.items()
            if title != first and first in lines
        }
        rows.append({"measurement": label, "values": values, "differences": changes})
    return rows


def comparison(
    runs: Sequence[tuple[str, pathlib.Path, list[dict[str, Any]]]],
    subjects: Sequence[str] | None = None,
    only: str = "",
    everything: bool = False,
) -> list[list[str]]:
    """The cells of `compare`'s table, the header first.

    Args:
        runs: name, folder and lines of results of each.
        subjects: see `compare`.
        only: see `compare`.
        everything: see `compare`.
    """
    columns, labels = _columns(runs, subjects, only, everything)
    first, *others = columns
    header = ["measurement", first]
    for title in others:
        header += [title, "difference"]
    rows = [header]
    for label in labels:
        reference = columns[first][1].get(label)
        row = [label, value_text(reference)]
        for title in others:
            workdir, chosen = columns[title]
            line = chosen.get(label)
            change = _change(reference, columns[first][0], line, workdir)
            row += [value_text(line), difference_text(line, change)]
        rows.append(row)
    return rows


def _runs(workdirs):
    """Name, folder and lines of results of each."""
    runs = []
    for workdir in map(pathlib.Path, workdirs):
        lines = RunFolder(workdir).results.read()
        if not lines:
            raise FileNotFoundError(f"`workdirs` must hold results.jsonl. Received: {workdir}")
        runs.append((workdir.name, workdir, lines))
    return runs


def _columns(runs, subjects, only, everything):
    """Lines by column, with the folder of each, and the labels of all of them."""
    columns = {}
    for name, workdir, lines in runs:
        found = dict.fromkeys(line.get("subject", "") for line in lines)
        for subject in subjects or found:
            chosen = {}
            for line in lines:
                wanted = only in line["name"] and (everything or is_main(line["name"]))
                if line.get("subject", "") == subject and wanted:
                    chosen[label_of(line)] = line
            if chosen:
                title = subject if len(runs) == 1 else f"{name}: {subject}".rstrip(": ")
                columns[title] = (workdir, chosen)
    if not columns:
        raise ValueError(_nothing_left(runs, subjects, only))
    return columns, dict.fromkeys(label for _, chosen in columns.values() for label in chosen)


def _nothing_left(runs, subjects, only) -> str:
    names = ", ".join(name for name, *_ in runs)
    if not any(is_main(line["name"]) for *_, lines in runs for line in lines):
        held = ", ".join(dict.fromkeys(line["name"] for *_, lines in runs for line in lines))
        return (
            "`workdirs` must hold results of an evaluation, such as those that `leoclr evaluate` writes; "
            f"`everything` shows what was measured during training. Received: {names}, with {held}"
        )
    asked = [] if subjects is None else [f"subjects={','.join(subjects)}"]
    asked += [f"only={only!r}"] if only else []
    found = ", ".join(dict.fromkeys(line.get("subject", "") for *_, lines in runs for line in lines))
    return (
        f"`subjects` and `only` must leave results of {names}, which hold the subjects {found}. "
        f"Received: {', '.join(asked)}"
    )


def _change(reference, workdir, line, other_workdir) -> dict[str, Any] | None:
    """The difference of two lines, with its interval and whether it is beyond chance, where that is known."""
    if reference is None or line is None:
        return None
    change = {"value": line["value"] - reference["value"]}
    if not is_share(line["name"]):
        return change
    if (paired := paired_interval(reference, workdir, line, other_workdir)) is not None:
        low, high = paired
        return {**change, "low": low, "high": high, "beyond_chance": low > 0 or high < 0}
    if "low" in reference and "low" in line:
        # two intervals that do not touch: a stricter rule than the paired one, which needs the hits
        change["beyond_chance"] = line["low"] > reference["high"] or line["high"] < reference["low"]
    return change


def text_table(rows: Sequence[Sequence[str]], markdown: bool = False) -> str:
    """Rows of equal length, the first of them the head, as plain text or Markdown."""
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
