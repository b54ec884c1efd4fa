"""Which of several runs is ahead, and the results of all in one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from keras_leoclr.evaluation import ahead
from keras_leoclr.evaluation.meanings import meaning_of
from keras_leoclr.evaluation.measures import difference_text, either, value_text
from keras_leoclr.evaluation.result_columns import columns, entries, on_one_data_set
from keras_leoclr.report.reading import RunRecord

FIRST = tuple(
    name for stem in ahead.MEASURES for name in either(stem)
)  # the others are in a table that opens


class Row(NamedTuple):
    """The result of one backbone for one measurement, as it is shown.

    Attributes:
        name: name of the run, or of a baseline that no training produced, such as raw pixels.
        value: the result.
        interval: 95 % interval of the result, or "".
        change: difference from the first backbone, or "".
        change_interval: 95 % interval of the difference, or "".
        finding: "higher", "lower", "no clear difference", or "" if that is not known.
    """

    name: str
    value: str
    interval: str
    change: str
    change_interval: str
    finding: str


class Group(NamedTuple):
    """One measurement of all backbones.

    Attributes:
        label: name of the measurement with its settings.
        meaning: sentences that explain it.
        rows: one row for each backbone, those of the runs first.
    """

    label: str
    meaning: str
    rows: list[Row]


def differences(runs: Sequence[RunRecord]) -> dict[str, Any] | None:
    """Sentences on which run is ahead, and tables; None for a single run or if nothing was evaluated."""
    if len(runs) < 2:
        return None
    try:
        lines = [(run, [*run.results, *run.on_other_data]) for run in runs]
        found, labels = columns(
            on_one_data_set([(run.name, run.folder.path, run.recipe, all_of_it) for run, all_of_it in lines])
        )
    except ValueError:
        return None
    measured = entries(found, labels)
    made = {label: _group(label, listed, found[0]) for label, listed in measured.items() if listed}
    names = {label: listed[0].line["name"] for label, listed in measured.items() if listed}
    main = [label for label in made if names[label] in FIRST]
    return {
        "findings": [
            ("open" if finding.mark == ahead.OPEN else "good", finding)  # with classes of the style sheet
            for finding in ahead.findings(found, measured)
        ],
        "first": _title(found[0]),
        "tables": [
            ("", [made[label] for label in sorted(main, key=lambda label: FIRST.index(names[label]))]),
            ("All other measures", [group for label, group in made.items() if label not in main]),
        ],
    }


def _group(label, listed, first):
    rows = []
    for entry in listed:
        value, interval = _parted(value_text(entry.line))
        change = change_interval = finding = ""
        if entry.column is not first and entry.change is not None:
            change, change_interval = _parted(difference_text(entry.line, entry.change).removesuffix(" *"))
            finding = _finding(entry.change)
        rows.append(Row(_title(entry.column), value, interval, change, change_interval, finding))
    return Group(label, meaning_of(listed[0].line["name"]), rows)


def _title(column):
    return column.run if column.subject == "pretrained" else column.title


def _parted(text):
    """Splits a text into a value and its interval, which stands in brackets."""
    value, _, interval = text.partition(" (")
    return value, f"({interval}" if interval else ""


def _finding(change):
    if "beyond_chance" not in change:
        return ""
    if not change["beyond_chance"]:
        return "no clear difference"
    return "higher" if change["value"] > 0 else "lower"
