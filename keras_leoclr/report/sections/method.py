"""Explains the method: a picture, what its crops miss, and what the training has gained."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import NamedTuple

from keras_leoclr.evaluation.measures import (
    KINDS,
    kind_of_results,
    neighbours_of,
    on_different_images,
)
from keras_leoclr.report.accuracies import latest
from keras_leoclr.report.reading import RunRecord
from keras_leoclr.report.rendering import data_uri

GAINS = {"linear": "a linear classifier", "knn": "the nearest neighbours"}  # names in sentences
OTHERS = {"random": "random weights", "raw pixels": "raw pixels"}
# A training that begins with weights of a file has gained what it is ahead of these.
OTHERS_OF_STARTED = {"before": "the weights that it began with"}
PAIRS = {  # for each method, what is compared with what
    **dict.fromkeys(
        ("leoclr", "end_to_end"),
        "MoCo v2, the baseline, compares two crops with each other, whatever they show. LeOCLR compares each "
        "crop with the original, the whole picture, which holds everything that a crop shows",
    ),
    "moco_v2": "MoCo v2 compares the two crops with each other",
    "crop_to_original": "Each crop is compared with the original, and the encoder is trained on the crops",
}


class Explanation(NamedTuple):
    """The explanation of the method for one run.

    Attributes:
        heading: name of the run; "" if it is the only one.
        figure: the picture and its crops, encoded as an address; "" if there is none.
        width: width of the figure in pixels.
        description: description of the figure for screen readers.
        lines: sentences.
    """

    heading: str
    figure: str
    width: int
    description: str
    lines: list[str]


def explanations(runs: Sequence[RunRecord]) -> list[Explanation]:
    """One explanation for each run that has a figure of what its crops miss."""
    return [_explanation(run, run.name if len(runs) > 1 else "") for run in runs if run.missed is not None]


def _explanation(run, heading):
    png, about, width = run.missed
    pictures = about["pictures"]
    chosen = pictures[about["chosen"]]
    method = str(run.recipe.get("method", ""))
    lines = [_of_one(chosen), *_of_all(pictures), *_pairs(method), *_gain(run)]
    return Explanation(heading, data_uri(png, "png"), width, _described(chosen), lines)


def _of_one(picture):
    crops = [view for view in picture["views"] if view["crop"]]
    if not picture["things"]:
        if not crops:
            return "No part of this picture is cut off: all views show the original."
        first, *others = ((view["name"], f"{100 * view['area']:.0f} %") for view in crops)
        areas = [f"{first[0]} shows {first[1]} of the area", *map(" ".join, others)]
        told = _listed(areas)
        if len(crops) > 1:
            shared = f"{100 * picture['shared']:.0f} % is in {'both' if len(crops) == 2 else 'all'}"
            told += f"; {shared if picture['shared'] >= 0.005 else 'they share nothing'}"
        return f"{told[0].upper()}{told[1:]}."
    told = [f"This picture holds {_things(picture['things'])}."]
    for view in crops:
        parts = []
        for fate in ("shown", "cut", "missed"):
            found = [name for name, its in zip(picture["things"], view["fates"], strict=True) if its == fate]
            if found:
                word = {"shown": "shows", "cut": "cuts off a part of", "missed": "misses"}[fate]
                parts.append(f"{word} {_things(found, the=True)}")
        told.append(f"{view['name'].capitalize()} {_listed(parts)}.")
    return " ".join(told)


def _of_all(pictures):
    """Sentences on how often crops miss things, and how often two of them have a thing in common."""
    crops = [(picture, [view for view in picture["views"] if view["crop"]]) for picture in pictures]
    total = sum(len(picture["things"]) * len(views) for picture, views in crops)
    if not total:
        return []
    missed = sum(view["fates"].count("missed") for _, views in crops for view in views)
    apart = sum(len(views) > 1 and not _in_common(views) for _, views in crops)
    line = f"In {len(pictures)} pictures, a crop misses {missed / total:.0%} of the things on average"
    if any(len(views) > 1 for _, views in crops):
        line += f", and in {apart} of them the crops have no thing in common that all of them show"
    return [line + "."]


def _in_common(views):
    """Whether there is a thing that all views show."""
    fates = zip(*(view["fates"] for view in views), strict=True)
    return any(all(fate == "shown" for fate in of_one) for of_one in fates)


def _pairs(method):
    return [f"{PAIRS[method]}."] if method in PAIRS else []


def _gain(run):
    others = OTHERS_OF_STARTED if run.recipe.get("initial_weights") else OTHERS
    for name, words in GAINS.items():
        mine = latest(run.results, "pretrained", name)
        if mine is None:
            continue
        judged = {told: latest(run.results, other, name) for other, told in others.items()}
        found = {told: one for told, one in judged.items() if one and _comparable(mine, one)}
        if not found:
            continue
        told = []
        for other, line in found.items():
            gain = 100 * (mine["value"] - line["value"])
            told.append(f"{100 * line['value']:.1f} % with {other} ({gain:+.1f} points)")
        words = f"the {KINDS[kind_of_results([mine])]} of {words}"
        value = f"{100 * mine['value']:.1f} %"
        return [
            f"What the training, without labels, has gained: {words} is {value}, against {_listed(told)}."
        ]
    return []


def _comparable(mine, other):
    return not on_different_images(mine, other) and neighbours_of(mine) == neighbours_of(other)


def _described(picture):
    views = _listed([view["name"] for view in picture["views"] if view["crop"]])
    marks = "; outlines are whole where a thing is shown, dashed where it is cut, crossed where it is missed"
    return f"A picture, and the parts of it that {views} show{marks if picture['things'] else ''}"


def _things(names, the=False):
    counts = collections.Counter(name.lower() for name in names)
    words = []
    for name, count in counts.items():
        if count > 1:
            words.append(f"{count} × {name}")
        else:
            words.append(f"{'the' if the else _article(name)} {name}")
    return _listed(words)


def _article(name):
    return "an" if name[:1] in "aeiou" else "a"


def _listed(parts):
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
