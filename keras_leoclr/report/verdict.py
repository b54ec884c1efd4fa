"""The verdict on a run: whether it learns, in words, from the intervals of what was measured."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from keras_leoclr.evaluation.measures import on_same_images
from keras_leoclr.evaluation.scores import read_hits
from keras_leoclr.evaluation.statistics import paired_bootstrap
from keras_leoclr.report.accuracies import latest
from keras_leoclr.report.reading import RunRecord

YES, NO, OPEN = "yes", "no", "open"
MEASURES = {"linear/top1": "linear accuracy", "knn/top1": "kNN accuracy"}


class Point(NamedTuple):
    """One finding.

    Attributes:
        mark: "yes", "no" or "open".
        text: a sentence.
    """

    mark: str
    text: str


class Verdict(NamedTuple):
    """The answer to whether a run learns.

    Attributes:
        mark: "yes", "no" or "open".
        headline: a sentence.
        points: the findings that the answer rests on.
    """

    mark: str
    headline: str
    points: list[Point]


def verdict(run: RunRecord) -> Verdict:
    """Says whether a run learns: by its loss, its spread, and against chance, random weights and pixels."""
    training = [*_loss(run), *_spread(run), *_monitor(run)]
    compared = {other: _against(run, other) for other in ("random", "raw pixels")}
    chance = _chance(run)
    points = [*training, *chance, *compared["random"], *compared["raw pixels"]]
    return Verdict(*_headline(training, chance, compared), points)


def difference(
    run: RunRecord, line: dict[str, Any], other: dict[str, Any]
) -> tuple[float, float, float] | None:
    """`line` minus `other`, two results of one run, and the 95 % interval, in [-1, 1].

    The interval is that of a paired bootstrap where the hits of the same images are there. Otherwise both
    intervals are taken as independent and normal. The result is None where intervals are missing.
    """
    change = line["value"] - other["value"]
    if on_same_images(line, other):
        mine, theirs = read_hits(line, run.folder.path), read_hits(other, run.folder.path)
        if mine is not None and theirs is not None:
            return (change, *paired_bootstrap(theirs, mine))
    if "low" not in line or "low" not in other:
        return None
    half = math.hypot(*((one["high"] - one["low"]) / 2 for one in (line, other)))
    return change, change - half, change + half


def chance_level(run: RunRecord) -> float | None:
    """Accuracy of always naming the most frequent class of the test images, in (0, 1]."""
    for subject in run.subjects:
        confusion = run.array(run.last("quality/worst_class", subject=subject), "confusion")
        if confusion is not None and confusion.ndim == 2 and confusion.sum() > 0:
            return float(confusion.sum(axis=1).max() / confusion.sum())
    labels = run.array(next((r for r in reversed(run.results) if "labels_file" in r), None), "labels")
    labels = None if labels is None else labels[labels >= 0]  # -1 stands for none
    if labels is not None and len(labels):
        return float(np.bincount(labels).max() / len(labels))
    return None


def _loss(run):
    values = run.history.get("loss_to_chance")
    if not values:
        return
    (_, first), (epoch, last) = values[0], values[-1]
    where = f"{last:.2f} of that of guessing in epoch {epoch:g}"
    if last > 0.99:
        yield Point(NO, f"The loss is {where}: the training task is not being solved.")
    elif len(values) > 1 and last > first:
        yield Point(OPEN, f"The loss is {where}, more than the {first:.2f} it began with.")
    else:
        yield Point(YES, f"The loss is {where} (first epoch {first:.2f}; 1 is guessing).")


def _spread(run):
    values, width = run.history.get("feature_std"), run.recipe.get("projection_dim")
    if not values or not isinstance(width, int) or width < 1:
        return
    share = values[-1][1] * math.sqrt(width)
    if share < 0.1:
        yield Point(NO, f"The queries have collapsed: their spread is {share:.0%} of the largest possible.")
    else:
        yield Point(YES, f"The queries are spread out: {share:.0%} of the largest possible deviation.")


def _monitor(run):
    values = run.history.get("knn_top1")
    if not values or len(values) < 2:
        return
    line = run.last("monitor/knn_top1") or {}
    queries = line.get("queries")
    (_, first), (epoch, last) = values[0], values[-1]
    text = f"kNN on held-out training images went from {first:.1%} to {last:.1%} in epoch {epoch:g}"
    if not queries:
        yield Point(OPEN, f"{text}.")
        return
    # of one measurement: two binomials, as if independent
    half = 1.96 * math.sqrt((first * (1 - first) + last * (1 - last)) / queries)
    chance = f"the ± {100 * half:.1f} points that chance makes"
    if last - first > half:
        yield Point(YES, f"{text}, more than {chance}.")
    elif first - last > half:
        yield Point(NO, f"{text}: it fell, by more than {chance}.")
    else:
        yield Point(OPEN, f"{text}, within {chance}.")


def _chance(run):
    level = chance_level(run)
    line = next((found for name in MEASURES if (found := latest(run.results, "pretrained", name))), None)
    if level is None or line is None or "low" not in line:
        return []
    text = (
        f"{MEASURES[line['name']]} {line['value']:.1%} ({line['low']:.1%} to {line['high']:.1%}) against "
        f"{level:.1%} of always naming the most frequent class."
    )
    return [Point(YES if line["low"] > level else NO, _sentence(text))]


def _against(run, other):
    points = []
    name = {"random": "the random backbone", "raw pixels": "raw pixels"}[other]
    for measure, words in MEASURES.items():
        mine, theirs = (latest(run.results, subject, measure) for subject in ("pretrained", other))
        if mine is None or theirs is None:
            continue
        found = difference(run, mine, theirs)
        if found is None:
            continue
        change, low, high = (100 * value for value in found)
        text = f"{words} {change:+.1f} points against {name} ({low:+.1f} to {high:+.1f}): "
        mark = YES if low > 0 else NO if high < 0 else OPEN
        text += {YES: "better.", NO: "worse.", OPEN: "not to be told apart."}[mark]
        points.append(Point(mark, _sentence(text)))
    return points


def _sentence(text):
    return text if text.startswith("kNN") else text[0].upper() + text[1:]


def _headline(training, chance, compared):
    marks = {other: {point.mark for point in points} for other, points in compared.items()}
    if any(point.mark == NO for point in (*training[:2], *chance)):
        return NO, "It is not learning."
    if not marks["random"]:
        signs = {point.mark for point in training}
        if YES in signs and NO not in signs:
            return OPEN, "The training goes as it should; what it is worth has not been measured."
        return OPEN, "Whether it is learning cannot be told from what is there."
    if NO in marks["random"]:
        if YES in marks["random"]:
            return OPEN, "Better than a random backbone in one measure and worse in the other."
        return NO, "The pretrained backbone is worse than a random one."
    if YES not in marks["random"]:
        return NO, "No sign of learning: the pretrained backbone is not better than a random one."
    if NO in marks["raw pixels"]:
        where = "" if marks["raw pixels"] == {NO} else " in one measure"
        return YES, f"It is learning: better than a random backbone. Raw pixels are still ahead{where}."
    if marks["raw pixels"] == {YES}:
        return YES, "It is learning: better than a random backbone and than raw pixels."
    if marks["raw pixels"]:
        return YES, "It is learning: better than a random backbone, not clearly better than raw pixels."
    return YES, "It is learning: better than a random backbone."
