"""The verdict on a run: whether it learns, in words, based on the intervals of its measurements."""

from __future__ import annotations

import math
import shlex
from typing import Any, NamedTuple

from keras_leoclr.evaluation.labels import kind_of
from keras_leoclr.evaluation.measures import (
    KINDS,
    kind_of_results,
    neighbours_of,
    on_different_images,
)
from keras_leoclr.evaluation.one_label import MOST_FREQUENT
from keras_leoclr.evaluation.pairs import paired_interval
from keras_leoclr.report.accuracies import latest
from keras_leoclr.report.reading import RunRecord
from keras_leoclr.runs.monitored import KNN

YES, NO, OPEN = "yes", "no", "open"
# The baselines that a pretrained backbone is compared with, in this order, as sentences name them.
OTHERS = {
    "before": "the weights that it began with",
    "random": "the random backbone",
    "raw pixels": "raw pixels",
}
MEASURES = {"linear": "linear", "knn": "kNN"}
MONITORED = {name: f"kNN {kind}" for name, kind in zip(KNN, KINDS.values(), strict=True)}
NOT_MEASURED = "The training task is being learned; how good the features are has not been measured."
COMPARISON_MISSING = (
    "The training task is being learned, and the features were measured. What they owe to the training is "
    "not known, since those of the same network with random weights were not measured on the same images"
)

START_MISSING = (
    "Whether it is learning cannot be said: the weights that it began with were not measured on the same "
    "images, and what is better than random weights may have been so before the training."
)


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
        points: the findings that the answer is based on.
    """

    mark: str
    headline: str
    points: list[Point]


def verdict(run: RunRecord) -> Verdict:
    """Decides whether a run learns: by its loss, its spread, and compared with chance and the baselines."""
    task = [*_loss(run), *_spread(run)]
    training = [*task, *_monitor(run)]
    compared = {other: _against(run, other) for other in OTHERS}
    chance = _chance(run)
    points = [*training, *chance, *(point for found in compared.values() for point in found)]
    began = bool(run.recipe.get("initial_weights"))
    mark, headline = _headline(task, training, chance, compared, began)
    if headline == NOT_MEASURED and (lines := _measured(run)) and not began:
        headline = f"{COMPARISON_MISSING}: `{_random_command(run, lines)}` measures them."
    return Verdict(mark, headline, points)


def difference(
    run: RunRecord, line: dict[str, Any], other: dict[str, Any]
) -> tuple[float, float, float] | None:
    """`line` minus `other`, two results of one run, and the 95 % interval, in [-1, 1].

    The interval is that of a paired bootstrap if the results of single images were kept. Otherwise both
    intervals are treated as independent and normal. The result is None if intervals are missing, or if the
    results are known to be of different images or of other numbers of neighbours.
    """
    if on_different_images(line, other) or neighbours_of(line) != neighbours_of(other):
        return None
    change = line["value"] - other["value"]
    if (paired := paired_interval(other, run.folder.path, line, run.folder.path)) is not None:
        return (change, *paired)
    if "low" not in line or "low" not in other:
        return None
    half = math.hypot(*((one["high"] - one["low"]) / 2 for one in (line, other)))
    return change, change - half, change + half


def chance_level(run: RunRecord) -> tuple[float, str] | None:
    """The value that is reached without looking at the test images, in (0, 1], and how, in words."""
    for subject in run.subjects:
        confusion = run.array(run.last("quality/worst_class", subject=subject), "confusion")
        if confusion is not None and confusion.ndim == 2 and confusion.sum() > 0:
            return float(confusion.sum(axis=1).max() / confusion.sum()), MOST_FREQUENT
    labels = run.array(next((r for r in reversed(run.results) if "labels_file" in r), None), "labels")
    return None if labels is None else kind_of(labels).chance(labels)


def _measured(run):
    """The results of the pretrained backbone; [] if random weights were measured on the same images."""
    mine, theirs = (
        {stem: line for stem in MEASURES if (line := latest(run.results, subject, stem))}
        for subject in ("pretrained", "random")
    )
    compared = any(stem in mine and not on_different_images(mine[stem], theirs[stem]) for stem in theirs)
    return [] if compared else list(mine.values())


def _random_command(run, lines):
    """The command that measures random weights on the images of these results."""
    names = ",".join(dict.fromkeys(line["name"].partition("/")[0] for line in lines))
    command = f"leoclr evaluate {names} --workdir {shlex.quote(str(run.folder.path))} --backbone random"
    for split in ("train_split", "test_split"):
        if split in lines[0] and lines[0][split] != run.recipe.get(split):
            command += f' --{split} "{lines[0][split]}"'
    return command


def _loss(run):
    values = run.history.get("loss_to_chance")
    if not values:
        return
    (_, first), (epoch, last) = values[0], values[-1]
    where = f"{last:.2f} times that of guessing in epoch {epoch:g}"
    if last > 0.99:
        yield Point(NO, f"The loss is {where}: the training task is not being solved.")
    elif len(values) > 1 and last > first:
        yield Point(OPEN, f"The loss is {where}, higher than in the first epoch ({first:.2f}).")
    else:
        yield Point(YES, f"The loss is {where}; it was {first:.2f} times in the first epoch.")


def _spread(run):
    values, width = run.history.get("feature_std"), run.recipe.get("projection_dim")
    if not values or not isinstance(width, int) or width < 1:
        return
    share = values[-1][1] * math.sqrt(width)
    how = f"their standard deviation is {share:.0%} of the largest possible"
    if share < 0.1:
        yield Point(NO, f"The queries have collapsed: different images have nearly the same, {how}.")
    else:
        yield Point(YES, f"Different images have different queries: {how}.")


def _monitor(run):
    column = next((name for name in KNN if name in run.history), None)
    values = run.history.get(column)
    if not values or len(values) < 2:
        return
    (start, first), (epoch, last) = values[0], values[-1]
    text = (
        f"{MONITORED[column]} on held-out training images went from {first:.1%} in epoch {start:g} "
        f"to {last:.1%} in epoch {epoch:g}"
    )
    half = _half_width(run, column, (start, first), (epoch, last))
    if half is None:
        yield Point(OPEN, f"{text}.")
        return
    chance = f"the ± {100 * half:.1f} points that the choice of the images can make"
    if last - first > half:
        yield Point(YES, f"{text}: it rose by more than {chance}.")
    elif first - last > half:
        yield Point(NO, f"{text}: it fell by more than {chance}.")
    else:
        yield Point(OPEN, f"{text}: the change is within {chance}.")


def _half_width(run, column, *points):
    """Half the width of the interval of a difference, treated as independent; None if it is unknown."""
    lines = [run.last(f"monitor/{column}", epoch=int(epoch)) or {} for epoch, _ in points]
    if all("low" in line and "high" in line for line in lines):
        return math.hypot(*((line["high"] - line["low"]) / 2 for line in lines))
    queries = (run.last(f"monitor/{column}") or {}).get("queries")
    if not queries or column != "knn_top1":
        return None
    return 1.96 * math.sqrt(sum(value * (1 - value) for _, value in points) / queries)  # two binomials


def _chance(run):
    level = chance_level(run)
    found = ((words, latest(run.results, "pretrained", stem)) for stem, words in MEASURES.items())
    words, line = next(((words, line) for words, line in found if line), (None, None))
    if level is None or line is None or "low" not in line:
        return []
    level, how = level
    words = f"{words} {KINDS[kind_of_results([line])]}"
    text = (
        f"{words} is {line['value']:.1%} (95 % interval {line['low']:.1%} to {line['high']:.1%}); "
        f"{how} reaches {level:.1%}."
    )
    return [Point(YES if line["low"] > level else NO, _sentence(text))]


def _against(run, other):
    points = []
    name = OTHERS[other]
    for measure, words in MEASURES.items():
        mine, theirs = (latest(run.results, subject, measure) for subject in ("pretrained", other))
        if mine is None or theirs is None:
            continue
        found = difference(run, mine, theirs)
        if found is None:
            continue
        change, low, high = (100 * value for value in found)
        measure = f"{words} {KINDS[kind_of_results([mine])]}"
        mark = YES if low > 0 else NO if high < 0 else OPEN
        if mark == OPEN:
            text = f"is not clearly different from that of {name}: {change:+.1f} points"
            ends = f"{low:+.1f} to {high:+.1f}"
        else:
            text = f"is {abs(change):.1f} points {'higher' if mark == YES else 'lower'} than that of {name}"
            ends = " to ".join(f"{end:.1f}" for end in sorted((abs(low), abs(high))))
        points.append(Point(mark, _sentence(f"{measure} {text} (95 % interval {ends}).")))
    return points


def _sentence(text):
    return text if text.startswith("kNN") else text[0].upper() + text[1:]


def _headline(task, training, chance, compared, began):
    marks = {other: {point.mark for point in points} for other, points in compared.items()}
    if any(point.mark == NO for point in (*task, *chance)):
        return NO, "It is not learning."
    if marks["before"]:  # what is better than random here may have been so before the training
        return _headline_after(marks["before"])
    if began and (marks["random"] or marks["raw pixels"]):
        return OPEN, START_MISSING
    if not marks["random"]:
        signs = {point.mark for point in training}
        if YES in signs and NO not in signs:
            return OPEN, NOT_MEASURED
        return OPEN, "Whether it is learning cannot be said: what would show it was not measured."
    if NO in marks["random"]:
        if YES in marks["random"]:
            return (
                OPEN,
                "The pretrained backbone is better than a random one in one measure and worse in the other.",
            )
        return NO, "The pretrained backbone is worse than a random one."
    if YES not in marks["random"]:
        return NO, "No sign of learning: the pretrained backbone is not better than a random one."
    if NO in marks["raw pixels"]:
        where = "" if marks["raw pixels"] == {NO} else " in one measure"
        return YES, f"It is learning: better than a random backbone. Raw pixels are still ahead{where}."
    if marks["raw pixels"] == {YES}:
        return YES, "It is learning: better than a random backbone and than raw pixels."
    if YES in marks["raw pixels"]:
        return (
            YES,
            "It is learning: better than a random backbone, and in one measure better than raw pixels.",
        )
    if marks["raw pixels"]:
        return YES, "It is learning: better than a random backbone, not clearly better than raw pixels."
    return YES, "It is learning: better than a random backbone."


def _headline_after(marks):
    """The headline on a training that began with weights of a file."""
    if {YES, NO} <= marks:
        return (
            OPEN,
            "In one measure better than the weights that it began with, and in the other worse.",
        )
    if NO in marks:
        return NO, "The pretrained backbone is worse than the weights that it began with."
    if YES in marks:
        return YES, "It is learning: better than the weights that it began with."
    return OPEN, "The pretrained backbone cannot be told apart from the weights that it began with."
