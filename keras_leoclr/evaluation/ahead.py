"""Sentences that say which of several pretrained backbones is ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from keras_leoclr.evaluation.measures import KINDS, either, is_usual, kind_of_results, on_different_images
from keras_leoclr.evaluation.own_results import OTHER_DATA

AHEAD, BEHIND, OPEN = "ahead", "behind", "open"
UNKNOWN = "no interval over the test images is known"
DIFFERENT = "they were measured on different test images"
# The measures that the sentences are about, in this order.
MEASURES = {
    "linear": "{kind} of a linear classifier",
    "knn": "{kind} of the nearest neighbours (kNN)",
    "linear_few": "{kind} of a linear classifier with few labels",
}


class Finding(NamedTuple):
    """Whether one pretrained backbone is ahead of the first one.

    Attributes:
        mark: "ahead", "behind", or "open" if neither is shown.
        headline: a sentence with the difference and its interval.
        points: (mark, sentence) of each measure that the headline does not mention.
    """

    mark: str
    headline: str
    points: list[tuple[str, str]]


class _Pair(NamedTuple):
    """The results of two backbones by one measure.

    Attributes:
        mark: "ahead" if the other backbone is ahead of the first, or "behind", or "open".
        measure: name of the measure as it stands in a sentence.
        change: the other result minus the first, in percentage points.
        reason: the interval of the difference in words, or what is known instead.
    """

    mark: str
    measure: str
    change: float
    reason: str

    @property
    def unsure(self) -> bool:
        """Whether nothing can be said about the difference."""
        return self.reason in (UNKNOWN, DIFFERENT)


def findings(columns: Sequence[Any], entries: Mapping[str, Sequence[Any]]) -> list[Finding]:
    """Compares each further run that has a pretrained backbone with the first run.

    Args:
        columns: the backbones, see `result_columns.columns`. The result is empty unless the first of them is
            a pretrained backbone.
        entries: their results, see `result_columns.entries`.
    """
    first, *others = columns
    if first.subject != "pretrained":
        return []
    return [_finding(entries, first, other) for other in others if other.subject == "pretrained"]


def _finding(entries, first, other):
    pairs = [pair for stem in MEASURES if (pair := _pair(entries, first, other, stem)) is not None]
    marks = {pair.mark for pair in pairs}
    if not pairs:
        text = f"Whether {first.run} or {other.run} is ahead has not been measured: they share no measure."
        return Finding(OPEN, text, [])
    if {AHEAD, BEHIND} <= marks:
        better, worse = (_names(pairs, mark) for mark in (AHEAD, BEHIND))
        text = f"{other.run} is ahead of {first.run} in the {better}, and behind in the {worse}."
        return Finding(OPEN, text, [(pair.mark, _point(pair, first.run, other.run)) for pair in pairs])
    mark = next((mark for mark in (AHEAD, BEHIND) if mark in marks), OPEN)
    pair = next(pair for pair in pairs if pair.mark == mark)
    if mark == OPEN:
        known = [pair for pair in pairs if not pair.unsure]
        pair = (known or pairs)[0]
        apart = f"{first.run} and {other.run} cannot be told apart"
        unsaid = f"Whether {first.run} or {other.run} is ahead cannot be said"
        text = (
            f"{apart if known else unsaid}: in the {pair.measure}, {other.run} minus "
            f"{first.run} is {pair.change:+.1f} points ({pair.reason})."
        )
    else:
        leader, behind = (other.run, first.run) if mark == AHEAD else (first.run, other.run)
        text = (
            f"{leader} is ahead of {behind}, by {abs(pair.change):.1f} points in the {pair.measure} "
            f"({pair.reason})."
        )
    rest = [(each.mark, _point(each, first.run, other.run)) for each in pairs if each is not pair]
    return Finding(mark, text, rest)


def _pair(entries, first, other, stem):
    """The two results of a measure; None if one of them was not measured. For kNN, k = 20 is used."""
    found = []
    for listed in entries.values():
        by_title = {entry.column.title: entry for entry in listed}
        if (
            listed
            and OTHER_DATA not in listed[0].line
            and listed[0].line["name"] in either(stem)
            and {first.title, other.title} <= set(by_title)
        ):
            found.append((by_title[first.title].line, by_title[other.title]))
    usual = [pair for pair in found if is_usual(pair[0])]
    if not found:
        return None
    reference, entry = (usual or found)[-1]
    change = entry.change
    measure = MEASURES[stem].format(kind=KINDS[kind_of_results([reference])])
    mark = OPEN
    if change.get("beyond_chance"):
        mark = AHEAD if change["value"] > 0 else BEHIND
    reason = DIFFERENT if on_different_images(reference, entry.line) else _reason(mark, change)
    return _Pair(mark, measure, 100 * change["value"], reason)


def _reason(mark, change):
    if "low" in change:
        ends = (100 * change["low"], 100 * change["high"])
        if mark == OPEN:
            return f"95 % interval {ends[0]:+.1f} to {ends[1]:+.1f}"
        low, high = sorted(map(abs, ends))
        return f"95 % interval {low:.1f} to {high:.1f}"
    if "beyond_chance" in change:
        return f"the 95 % intervals of both results {'do not ' if mark != OPEN else ''}overlap"
    return UNKNOWN


def _point(pair, first, other):
    measure = pair.measure[0].upper() + pair.measure[1:]
    size = abs(pair.change)
    if pair.mark == OPEN:
        found = "whether they differ cannot be said" if pair.unsure else "no clear difference"
        told = f"{found}; {other} minus {first} is {pair.change:+.1f} points"
    else:
        leader, behind = (other, first) if pair.mark == AHEAD else (first, other)
        told = f"{leader} is {size:.1f} points ahead of {behind}"
    return f"{measure}: {told} ({pair.reason})."


def _names(pairs, mark):
    return " and the ".join(pair.measure for pair in pairs if pair.mark == mark)
