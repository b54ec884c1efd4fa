"""By how much a method is ahead of MoCo v2, where all else is equal: pairs of variants, table and picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from keras_leoclr.evaluation.comparison import text_table
from keras_leoclr.report.drawing import Drawing, Plot, Scale
from keras_leoclr.report.studies.budgets import epochs_of_equal_compute
from keras_leoclr.report.studies.measured import MEASURES, Spread, Study
from keras_leoclr.report.studies.tables import points, points_of

STEMS = ("knn", "linear", "linear_few")  # of the measures that are compared
TITLES = {stem: MEASURES[f"{stem}/top1"] for stem in STEMS}
EQUAL_EPOCHS, EQUAL_COMPUTE, TURNED = "equal epochs", "equal compute", "crop to original"
SERIES = (EQUAL_EPOCHS, EQUAL_COMPUTE, TURNED)
BASELINE = "moco_v2"
WIDTH, LINE, TOP, GAP = 960, 15, 64, 20  # pixels
LETTER = 7  # largest width in pixels of a letter of a label


class Lead(NamedTuple):
    """A variant of a method beside one of MoCo v2 that differs from it in the method alone.

    Attributes:
        cell: what the two have in common, such as "2 of 8 px".
        setting: the same with the budget, such as "at equal compute, 2 of 8 px".
        budget: `EQUAL_EPOCHS`, or `EQUAL_COMPUTE` if the method has as many fewer epochs as its steps cost
            more.
        base: label of the variant of MoCo v2.
        label: label of the variant of the method.
        changes: by measure of `STEMS`, the mean difference in accuracy, or in mean average precision where
            pictures have several labels, as a share of 1; None where it was not measured.
    """

    cell: str
    setting: str
    budget: str
    base: str
    label: str
    changes: dict[str, Spread | None]


def leads(study: Study, method: str = "leoclr") -> list[Lead]:
    """What can be compared in a study: each variant of a method beside that of MoCo v2.

    In a study of the method itself, and in the map of scenes, the number of epochs may differ: equal compute.
    Other numbers of epochs, such as those of two studies of the method in one folder, are not compared.
    """
    recipes = {}
    for line in study.runs:
        recipes.setdefault(line["variant"], line["recipe"])
    found = []
    varied = _varied(recipes.values())
    for label, recipe in recipes.items():
        if recipe["method"] != method:
            continue
        for other, base in recipes.items():
            if base["method"] != BASELINE or not _comparable(study, recipe, base, varied):
                continue
            if (budget := _budget(recipe, base)) is None:
                continue
            changes = {stem: _change(study, label, stem, other) for stem in STEMS}
            found.append(Lead(_after_method(other), _setting_of(label), budget, other, label, changes))
    return found


def table_of_leads(found: Sequence[Lead]) -> str:
    """The leads as plain text, a row for each lead, in points of accuracy."""
    shown = [stem for stem in STEMS if any(lead.changes[stem] is not None for lead in found)]
    rows = [["LeOCLR minus MoCo v2, points", "seeds", *(TITLES[stem] for stem in shown)]]
    for lead in found:
        seeds = count_of(lead)
        rows.append([lead.setting, str(seeds), *(told(lead.changes[stem], seeds) for stem in shown)])
    return text_table(rows)


def told(change: Spread | None, seeds: int) -> str:
    """A difference in points with its interval, see `points_of`; "–" where there is none."""
    return "–" if change is None else points_of(change, seeds)


def count_of(lead: Lead) -> int:
    """Number of seeds of a lead."""
    return max((change.count for change in lead.changes.values() if change is not None), default=0)


def by_cell(study: Study) -> dict[str, dict[str, Lead]]:
    """The leads of LeOCLR, and of crop to original, by cell and series, as `leads_picture` takes them."""
    rows: dict[str, dict[str, Lead]] = {}
    for lead in leads(study):
        rows.setdefault(lead.cell, {})[lead.budget] = lead
    for lead in leads(study, "crop_to_original"):
        rows.setdefault(lead.cell, {})[TURNED] = lead
    return rows


def leads_picture(
    title: str, rows: Mapping[str, Mapping[str, Lead]], stems: Sequence[str] = STEMS[:2]
) -> str | None:
    """Draws the lead over MoCo v2 in each row as a mark with its 95 % interval, right of 0 where it is ahead.

    Args:
        title: text for screen readers.
        rows: by label of a row and name of a series, the lead.
        stems: the measures; there is one panel for each that was measured.

    Returns:
        The SVG; None if there is nothing to show.
    """
    every = [lead for row in rows.values() for lead in row.values()]
    stems = [stem for stem in stems if any(lead.changes[stem] is not None for lead in every)]
    if not stems:
        return None
    series = [name for name in SERIES if any(name in row for row in rows.values())]
    places, y = {}, TOP
    for label, row in rows.items():
        for number, name in enumerate(name for name in series if name in row):
            places[label, name] = y + LINE * number
        y += LINE * len(row) + LINE * 0.7
    drawing = Drawing(WIDTH, y + 30, title)
    left = 24 + LETTER * max(map(len, rows))
    for kind, name in enumerate(series):
        x = left + 190 * kind
        drawing.mark(kind, x + 5, 10, size=3.5)
        drawing.text(x + 16, 14, ("" if name == TURNED else "LeOCLR at ") + name)
    for label, row in rows.items():
        middle = (places[label, next(iter(_in(series, row)))] + places[label, [*_in(series, row)][-1]]) / 2
        drawing.text(left - 12, middle + 4, label, anchor="end")
    room = (WIDTH - left - GAP * len(stems)) / len(stems)
    for column, stem in enumerate(stems):
        start = left + column * (room + GAP)
        drawing.text(start, 38, f"{TITLES[stem]}: minus MoCo v2, points", "head")
        scale = _scale(stem, every, start, start + room)
        plot = Plot(drawing, scale, Scale(0, 1, TOP - 12, y - 2))
        plot.ticks_x(scale.ticks(7), lambda tick: f"{tick:+g}" if tick else "0", "quiet", grid=True)
        plot.upwards(0, "mark")
        for (label, name), height in places.items():
            change = rows[label][name].changes[stem]
            if change is None:
                continue
            kind = series.index(name)
            if change.low is not None:
                ends = scale.within(100 * change.low), scale.within(100 * change.high)
                drawing.line(ends, (height, height), f"bar s{kind}")
            drawing.mark(kind, scale(100 * change.mean), height, f"{label}, {name}: {points(change)}", 3.5)
    return drawing.alone()


def _in(series, row):
    return (name for name in series if name in row)


def _scale(stem, every, left, right):
    """Shows all means and 0; an interval of two seeds may reach beyond, which is cut off."""
    changes = [lead.changes[stem] for lead in every if lead.changes[stem] is not None]
    means = [0.0, *(100 * change.mean for change in changes)]
    most = max(abs(mean) for mean in means)
    ends = [100 * end for change in changes if change.low is not None for end in (change.low, change.high)]
    return Scale.of([*means, *(min(max(end, -1.6 * most), 1.6 * most) for end in ends)], left, right, 0.06)


def _varied(recipes):
    """The settings that have several values. One that only some recipes have is of a later version."""
    values: dict[str, set[str]] = {}
    for recipe in recipes:
        for key, value in recipe.items():
            values.setdefault(key, set()).add(json.dumps(value))
    return {key for key, found in values.items() if len(found) > 1}


def _comparable(study, recipe, base, varied):
    """Whether two recipes differ in the method alone, or in the number of epochs for equal compute."""
    if study.name == "method":
        return True
    free = {"method", "seed"} | ({"epochs"} if study.name == "scenes" else set())
    return all(base.get(key) == recipe.get(key) for key in varied - free)


def _budget(recipe, base):
    """What two recipes have in common beside their settings; None if one is trained for longer."""
    if recipe["epochs"] == base["epochs"]:
        return EQUAL_EPOCHS
    equal = epochs_of_equal_compute(base["epochs"], recipe.get("num_crops", base.get("num_crops", 2)))
    return EQUAL_COMPUTE if recipe["epochs"] == equal else None


def _change(study, label, stem, base):
    found = (study.change(label, f"{stem}/{kind}", base) for kind in ("top1", "map"))
    return next((change for change in found if change is not None), None)


def _after_method(label):
    """What a label says beside the method: "0.1" of "LeOCLR, 0.1"."""
    return label.partition(", ")[2]


def _setting_of(label):
    method, _, rest = label.partition(", ")
    return f"at equal compute, {rest}" if method == "LeOCLR at equal compute" else rest
