"""The table of a study, as plain text and in Markdown; accuracies in percent."""

from __future__ import annotations

import json

from keras_leoclr.evaluation.comparison import text_table
from keras_leoclr.report.studies.measured import RANDOM, Spread, Study, title_of

OF_RANDOM = ("dataset", "image_size", "backbone", "stem", "widths")  # settings that random weights depend on


def text(study: Study) -> str:
    """The table as plain text."""
    return text_table(_rows(study))


def markdown(study: Study) -> str:
    """The table in Markdown."""
    return text_table(_rows(study), markdown=True)


def points(change: Spread) -> str:
    """A difference in percentage points with its interval, such as "+1.2, 0.8 to 1.6 *" (* beyond chance)."""
    told = f"{100 * change.mean:+.1f}"
    if change.low is not None:
        told += f", {100 * change.low:+.1f} to {100 * change.high:+.1f}"
    return told + (" *" if change.beyond_chance else "")


def percent(value: Spread) -> str:
    """A mean in percent with its standard deviation, such as "61.2 ± 0.4"; the mean alone for one seed."""
    deviation = "" if value.deviation is None else f" ± {100 * value.deviation:.1f}"
    return f"{100 * value.mean:.1f}{deviation}"


def _rows(study):
    rows = [["variant", "seeds", *map(title_of, study.measures)]]
    for variant in study.values:
        found = [study.of(variant, m) for m in study.measures]
        seeds = max((s.count for s in found if s is not None), default=0)
        cells = (_cell(study, variant, measure, seeds) for measure in study.measures)
        rows.append([_name(study, variant), str(seeds), *cells])
    return rows


def _name(study, variant):
    """Random weights are measured once, with the pictures and the network of the first row."""
    own = {json.dumps([run["recipe"].get(name) for name in OF_RANDOM]) for run in study.runs}
    return (
        f"{variant}, pictures and network of the first row" if variant == RANDOM and len(own) > 1 else variant
    )


def _cell(study, variant, measure, seeds):
    """Mean and difference; a cell with fewer seeds than its row says how many it has."""
    value = study.of(variant, measure)
    if value is None:
        return "–"
    told = percent(value)
    if value.count < seeds:
        told += f", {value.count} seed{'s' * (value.count > 1)}"
    change = None if variant in (study.reference, RANDOM) else study.change(variant, measure)
    return told if change is None else f"{told} ({points(change)})"
