"""The table of a study, as plain text and in Markdown; accuracies in percent."""

from __future__ import annotations

import json

from keras_leoclr.evaluation.comparison import text_table
from keras_leoclr.report.studies.measured import RANDOM, Spread, Study, title_of

OF_RANDOM = ("dataset", "image_size", "backbone", "stem", "widths")  # settings that random weights depend on


def text(study: Study) -> str:
    """The table as plain text, and sentences on what its differences are from if that is not obvious."""
    return "\n".join([text_table(_rows(study)), *_notes(study)])


def markdown(study: Study) -> str:
    """The table in Markdown, with the sentences of `text`."""
    return "\n".join([text_table(_rows(study), markdown=True), *_notes(study)])


def points(change: Spread) -> str:
    """A difference in percentage points with its interval, such as "+1.2, 0.8 to 1.6 *" (* beyond chance)."""
    told = f"{100 * change.mean:+.1f}"
    if change.low is not None:
        told += f", {100 * change.low:+.1f} to {100 * change.high:+.1f}"
    return told + (" *" if change.beyond_chance else "")


def points_of(change: Spread, seeds: int) -> str:
    """As `points`, with the number of seeds if the difference has fewer than its row says.

    Args:
        change: the difference, over the seeds that both variants have.
        seeds: the number of seeds that the row, or the value beside it, says.
    """
    return points(change) + (f", {_seeds(change.count)}" if change.count < seeds else "")


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


def _notes(study):
    """Sentences on a first row that is not the first variant alone, and on runs with different settings."""
    variants = [variant for variant in study.values if variant != RANDOM]
    firsts = {line["variant"] for line in study.runs if line["place"] == 0}
    notes = []
    if study.runs and len(variants) > 1 and firsts != {study.reference}:
        why = "" if firsts else ": the first variant of the study has no results here"
        notes.append(f"Differences are from {study.reference}, in the first row{why}.")
    for variant in variants:
        recipes = [line["recipe"] for line in study.runs if line["variant"] == variant]
        for name, found in _varied(recipes).items():
            notes.append(
                f"The seeds of {variant} were trained with different settings: {name} {' and '.join(found)}."
            )
    notes += _not_changed_by_variants(study) or _left_behind(study)
    notes += [*_limited_shares(study), *_on_other_test_images(study)]
    return ["", *dict.fromkeys(notes)] if notes else []


def _not_changed_by_variants(study):
    """A sentence on settings that differ between variants although none of these changes them.

    Such are those of two commands that ran some variants each. Lines of earlier versions do not say what a
    variant changes.
    """
    found: dict[str, dict[str, dict[str, None]]] = {}  # variants by setting and value
    for line in (line for line in study.runs if "changes" in line):
        for name, value in line["recipe"].items():
            if name not in (*line["changes"], "seed", "data_dir"):
                variants = found.setdefault(name, {}).setdefault(json.dumps(value), {})
                variants[line["variant"]] = None
    parts = [
        f"{name} {', '.join(f'{value} in {_several(list(own))}' for value, own in by_value.items())}"
        for name, by_value in found.items()
        if len({*map(frozenset, by_value.values())}) > 1
    ]
    if not parts:
        return []
    told = "; ".join(parts)
    return [f"Besides what they change, the variants were trained with different settings: {told}."]


def _limited_shares(study):
    """A sentence if variants train on shares of the pictures of which a limit takes the same number."""
    recipes = [line["recipe"] for line in study.runs]
    limits = sorted({recipe["max_images"] for recipe in recipes if recipe.get("max_images")})
    if not limits or len({recipe["train_split"] for recipe in recipes}) < 2:
        return []
    most = " or ".join(f"{limit:,}" for limit in limits)
    return [
        f"`max_images` takes at most {most} pictures of each share, so that shares which hold more do not "
        "differ in their number."
    ]


def _on_other_test_images(study):
    """Sentences on measures whose values are of other numbers of test images."""
    told: dict[str, list[str]] = {}
    for measure in study.measures:
        variants: dict[int, dict[str, None]] = {}
        for (variant, _), count in study.tested.get(measure, {}).items():
            variants.setdefault(count, {})[variant] = None
        if len(variants) > 1:
            parts = [f"{count:,} in {_several(list(own))}" for count, own in variants.items()]
            told.setdefault(", ".join(parts), []).append(title_of(measure))
    for numbers, titles in told.items():
        yield f"The numbers of test images differ in {', '.join(titles)}: {numbers}."


def _several(names):
    """The first of some names, and how many others there are if these are more than two."""
    return " and ".join(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1} others"


def _left_behind(study):
    """Sentences on variants with the settings that others had before they were trained anew."""
    newest = {(line["variant"], line["seed"]): line["recipe"] for line in study.runs}
    for line in study.replaced:
        variant, old = line["variant"], line["recipe"]
        new = newest[variant, line["seed"]]
        changed = [name for name in _varied([old, new]) if name in old]
        others = [
            other
            for (other, _), recipe in newest.items()
            if changed and other != variant and all(recipe.get(name) == old[name] for name in changed)
        ]
        if others:
            anew = ", ".join(f"{name} {json.dumps(new.get(name))}" for name in changed)
            before = ", ".join(f"{name} {json.dumps(old[name])}" for name in changed)
            names = " and ".join(dict.fromkeys(others))
            yield f"{variant} was trained anew with {anew}, but {names} with {before}."


def _varied(recipes):
    """The values of settings, except the seed, that have several; not every version has each setting."""
    values: dict[str, list[str]] = {}
    for recipe in recipes:
        for name, value in recipe.items():
            if name not in ("seed", "data_dir"):
                values.setdefault(name, []).append(json.dumps(value))
    several = {name: list(dict.fromkeys(found)) for name, found in values.items()}
    return {name: found for name, found in several.items() if len(found) > 1}


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
        told += f", {_seeds(value.count)}"
    change = None if variant in (study.reference, RANDOM) else study.change(variant, measure)
    return told if change is None else f"{told} ({points_of(change, value.count)})"


def _seeds(count):
    return f"{count} seed{'s' * (count > 1)}"
