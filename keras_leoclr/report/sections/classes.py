"""The average precision of each class, if images have several labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_leoclr.report.reading import RunRecord
from keras_leoclr.report.tables import Cell, Table

NAME = "quality/average_precision"
WORDS = (
    "Of kNN, in percent, with 95 % intervals by the bootstrap over the test images. Average precision is 100 "
    "where every image that has the class is ranked before all others; for an order that does not depend on "
    "the images it is the share of the images that have the class."
)


def classes(runs: Sequence[RunRecord]) -> dict[str, Any] | None:
    """A table of average precision by class, with one column for each backbone."""
    columns = {}
    for run in runs:
        for subject in run.subjects:
            found = [line for line in run.named(NAME, subject=subject) if _of_class(line)]
            # Classes of several runs are matched by name: another data set numbers them in another way.
            named = next((each for each in (run, *runs) if _names_classes(each)), run)
            lines = {named.class_name(line["class"]): line for line in sorted(found, key=_number)}
            if lines:
                columns[f"{run.name}: {subject}" if len(runs) > 1 else subject] = lines
    if not columns:
        return None
    names = dict.fromkeys(name for lines in columns.values() for name in lines)
    first = next(iter(columns.values()))
    body = []
    for name in names:
        count = first.get(name, {}).get("images")
        cells = [Cell("–" if count is None else str(count))]
        body.append((name, cells + [_cell(lines.get(name)) for lines in columns.values()]))
    head = ["class", "images that have it", *columns]
    left_out = _left_out(runs)
    words = f"{WORDS} {left_out}".strip()
    return {"words": words, "table": Table(head, body, "Average precision of each class")}


def _of_class(line):
    return isinstance(line.get("class"), int)


def _names_classes(run):
    return bool((run.last("embedding/explained") or {}).get("class_names"))


def _number(line):
    return line["class"]


def _cell(line):
    if line is None:
        return Cell("–")
    small = f"({100 * line['low']:.1f} to {100 * line['high']:.1f})" if "low" in line else ""
    return Cell(f"{100 * line['value']:.1f}", small=small)


def _left_out(runs):
    """A sentence on classes that no training image or no test image has."""
    found = {}
    for run in runs:
        for line in run.results:
            for number in line.get("left_out", ()) if line["name"].endswith("/map") else ():
                found.setdefault(run.class_name(number) if isinstance(number, int) else str(number))
    if not found:
        return ""
    return (
        f"{len(found)} of the classes are left out of a mean average precision, as no training image or no "
        f"test image has them: {', '.join(found)}."
    )
