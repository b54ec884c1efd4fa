"""The results of runs, ordered by backbone and by measurement, with their differences."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from keras_leoclr.evaluation.measures import (
    has_interval_over_images,
    is_main,
    is_share,
    label_of,
    on_different_images,
)
from keras_leoclr.evaluation.own_results import OTHER_DATA, judged_on, marked
from keras_leoclr.evaluation.pairs import paired_interval

PRETRAINED = "pretrained"


class Column(NamedTuple):
    """The results of one backbone.

    Attributes:
        title: name in tables.
        run: name of the run.
        subject: name of what was judged, such as "pretrained".
        folder: folder of the run.
        lines: the last line of results of each measurement, by label.
    """

    title: str
    run: str
    subject: str
    folder: pathlib.Path
    lines: dict[str, dict[str, Any]]


class Entry(NamedTuple):
    """The result of one backbone for one measurement.

    Attributes:
        column: the backbone.
        line: its result.
        change: the difference from the first backbone, see `difference_text`; None for the first itself.
    """

    column: Column
    line: dict[str, Any]
    change: dict[str, Any] | None


def name_apart(names: Sequence[str]) -> list[str]:
    """The names of runs; runs with equal names get a number."""
    return [f"{name} ({number})" if names.count(name) > 1 else name for number, name in enumerate(names, 1)]


def on_one_data_set(
    runs: Sequence[tuple[str, pathlib.Path, dict[str, Any], list[dict[str, Any]]]],
) -> list[tuple[str, pathlib.Path, list[dict[str, Any]]]]:
    """Marks the results of runs that are not of the images that the first run is judged on.

    For a run without results on those, its own images take their place.

    Args:
        runs: name, folder, recipe and lines of results of each run.

    Returns:
        Name, folder and lines of each run, as `columns` takes them.
    """
    first = judged_on(*runs[0][2:])
    return [(name, folder, marked(recipe, lines, first)) for name, folder, recipe, lines in runs]


def entries(found: Sequence[Column], labels: Sequence[str]) -> dict[str, list[Entry]]:
    """Returns the backbones that have a result, for each measurement by its label.

    Args:
        found: the columns; the others are compared with the first.
        labels: labels of the measurements, see `columns`.
    """
    first = found[0]
    made: dict[str, list[Entry]] = {}
    for label in labels:
        reference = first.lines.get(label)
        made[label] = [
            Entry(
                column,
                column.lines[label],
                None
                if column is first
                else _change(reference, first.folder, column.lines[label], column.folder),
            )
            for column in found
            if label in column.lines
        ]
    return made


def columns(
    runs: Sequence[tuple[str, pathlib.Path, list[dict[str, Any]]]],
    subjects: Sequence[str] | None = None,
    only: str = "",
    everything: bool = False,
    once: bool = True,
) -> tuple[list[Column], list[str]]:
    """Returns the backbones of runs as columns, and the labels of all measurements.

    Args:
        runs: name, folder and lines of results of each run. Lines with an entry `on_other_data` are rows of
            their own, see `own_results.marked`.
        subjects: see `comparison.compare`.
        only: see `comparison.compare`.
        everything: see `comparison.compare`.
        once: whether a subject other than "pretrained" that has the same values in several runs, such as raw
            pixels, becomes a single column; true by default.

    Raises:
        ValueError: if nothing is left to compare.
    """
    several = len(runs) > 1
    held = list(dict.fromkeys(line.get("subject", "") for *_, lines in runs for line in lines))
    if several:
        held.sort(key=lambda subject: subject != PRETRAINED)  # The others keep their order.
    found: list[Column] = []
    for subject in subjects or held:
        same: list[Column] = []
        for name, workdir, lines in runs:
            chosen = {
                _label(line): line
                for line in lines
                if line.get("subject", "") == subject
                and only in line["name"]
                and (everything or is_main(line["name"]))
            }
            if chosen:
                title = f"{name}: {subject}".rstrip(": ") if several else subject
                same.append(Column(title, name, subject, workdir, chosen))
        found += _once(same) if once and several and subject != PRETRAINED else same
    if not found:
        raise ValueError(_nothing_left(runs, subjects, only))
    return found, list(dict.fromkeys(label for column in found for label in column.lines))


def _label(line: dict[str, Any]) -> str:
    """The name of a result with its settings, and with the images if these are not those of the run."""
    return f"{label_of(line)}, {line[OTHER_DATA]}" if OTHER_DATA in line else label_of(line)


def _once(same: list[Column]) -> list[Column]:
    """Merges the columns of one subject that have equal values."""
    groups: list[list[Column]] = []
    for column in same:
        home = next((group for group in groups if _agree(group[0], column)), None)
        if home is None:
            groups.append([column])
        else:
            home.append(column)
    made = []
    for group in groups:
        names = " and ".join(column.run for column in group)
        title = group[0].subject if len(groups) == 1 else f"{names}: {group[0].subject}"
        made.append(group[0]._replace(title=title))
    return made


def _agree(one: Column, other: Column) -> bool:
    return one.lines.keys() == other.lines.keys() and all(
        line["value"] == other.lines[label]["value"] for label, line in one.lines.items()
    )


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
    """The difference of two lines, with its interval and whether it is beyond chance, if they are known."""
    if reference is None or line is None:
        return None
    change = {"value": line["value"] - reference["value"]}
    if not is_share(line["name"]) or on_different_images(reference, line):
        return change
    if (paired := paired_interval(reference, workdir, line, other_workdir)) is not None:
        low, high = paired
        return {**change, "low": low, "high": high, "beyond_chance": low > 0 or high < 0}
    if has_interval_over_images(reference) and has_interval_over_images(line):
        # Two intervals that do not overlap are a stricter criterion than the paired interval, which needs to
        # know the images that each classified correctly.
        change["beyond_chance"] = line["low"] > reference["high"] or line["high"] < reference["low"]
    return change
