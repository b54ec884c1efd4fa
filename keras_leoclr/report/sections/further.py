"""The results that no other section shows, such as those of evaluators of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_leoclr.evaluation.meanings import meaning_of
from keras_leoclr.evaluation.measures import either, is_main, label_of, value_text
from keras_leoclr.evaluation.own_results import named_data
from keras_leoclr.report.accuracies import COLUMNS
from keras_leoclr.report.reading import RunRecord
from keras_leoclr.report.tables import Cell, Table

# What the first part of a name says that other sections show.
ELSEWHERE = {"knn", "knn_train", "linear", "linear_few", "retrieval", "robustness", "quality"}
# The names that the table of accuracies shows, also those of other test images.
SUMMARISED = {name for stem in COLUMNS for name in either(stem)}
NO_SUBJECT = "result"  # column of lines that name no backbone


def further(runs: Sequence[RunRecord]) -> dict[str, Any] | None:
    """A table of the other main results of a run, with one column for each backbone.

    It is None for several runs, because the section "Which run is ahead" lists all results of these.
    """
    if len(runs) > 1:
        return None
    found: dict[str, dict[str, dict[str, Any]]] = {}
    own = [line for line in runs[0].results if line["name"].partition("/")[0] not in ELSEWHERE]
    for where, lines in (("", own), *_on_other_data(runs[0])):
        for line in filter(lambda each: is_main(each["name"]), lines):  # the last one counts
            found.setdefault(f"{label_of(line)}{where}", {})[line.get("subject", NO_SUBJECT)] = line
    if not found:
        return None
    named = {subject for lines in found.values() for subject in lines}
    subjects = dict.fromkeys((*runs[0].subjects, *sorted(named - {NO_SUBJECT}), NO_SUBJECT))
    columns = [subject for subject in subjects if subject in named]
    body = []
    for label, lines in found.items():
        cells = [_cell(lines.get(subject)) for subject in columns]
        meaning = meaning_of(next(iter(lines.values()))["name"])
        body.append((label, [*cells, Cell(meaning, "about")]))
    head = ["measurement", *columns, "what it means"]
    return {"words": "", "table": Table(head, body, "Further results")}


def _on_other_data(run):
    """The results on other images than those of the run, each with words that name these."""
    return [(f", {named_data(line)}", [line]) for line in run.on_other_data if line["name"] not in SUMMARISED]


def _cell(line):
    value, _, interval = value_text(line).partition(" (")
    return Cell("–" if line is None else value, small=f"({interval}" if interval else "")
