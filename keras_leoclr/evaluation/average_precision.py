"""Average precision, the measure for pictures with several labels, and its interval by the bootstrap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from keras_leoclr.evaluation.statistics import CONFIDENCE

MOST_DRAWS, FEWEST_DRAWS = 1000, 200  # limits of the number of draws of the bootstrap
WORK = 400_000_000  # limit of the scores that all draws together visit, unless FEWEST_DRAWS exceeds it
BLOCK = 250_000  # counts of drawn images that are held at a time, few enough for the processor's cache


def average_precisions(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average precision of each class, as scikit-learn's `average_precision_score` defines it.

    With the images ordered by falling score,

        AP = sum_n (R_n - R_(n-1)) P_n

    over the thresholds n, where P_n and R_n are precision and recall of the images whose score reaches the
    threshold. Images of equal score pass a threshold together. There is no interpolation.

    Args:
        scores: (M, C), finite; a higher score stands for a label that is more likely.
        labels: (M, C), 1 where an image has the label and 0 where it does not.

    Returns:
        (C,) float64 in [0, 1]; NaN for a class that no image has.
    """
    return np.array([_Ranked(*pair).value() for pair in _columns(scores, labels)])


def mean_average_precision(scores: np.ndarray, labels: np.ndarray, judged: np.ndarray | None = None) -> float:
    """Mean of the average precisions of the classes; NaN if no class counts.

    Args:
        scores: (M, C) scores of the test images.
        labels: (M, C), zeros and ones.
        judged: (C,) bool, the classes that count, all by default; classes without a positive image never do.
    """
    return _mean(average_precisions(scores, labels)[None], judged)[0]


def bootstrap(scores: np.ndarray, labels: np.ndarray, seed: int = 0, draws: int | None = None) -> np.ndarray:
    """Average precisions on bootstrap samples: images drawn with replacement from the test images.

    The draws depend only on the number of images and on the seed, so the draws for two results on the same
    images are paired.

    Args:
        scores: (M, C) scores of the test images.
        labels: (M, C), zeros and ones.
        seed: seed of the draws; 0 by default.
        draws: number of draws; None (the default) takes `number_of_draws`.

    Returns:
        (draws, C) float64; NaN where a draw holds no image of a class.
    """
    count, classes = np.shape(labels)
    total = number_of_draws(count, classes) if draws is None else draws
    ranked = [_Ranked(*pair) for pair in _columns(scores, labels)]
    parts = [
        np.stack([each.values(times) for each in ranked], axis=1) for times in _drawn(count, total, seed)
    ]
    return np.concatenate(parts)


def number_of_draws(count: int, classes: int) -> int:
    """Number of draws of the bootstrap: 1,000, or fewer for many images and classes, but at least 200.

    Args:
        count: number of images.
        classes: number of classes.
    """
    return int(np.clip(WORK // max(1, count * classes), FEWEST_DRAWS, MOST_DRAWS))


def interval(drawn: np.ndarray, value: float) -> tuple[float, float] | None:
    """95 % interval of a value by the percentiles of its bootstrap draws; None if no draw has a value.

    The average precision of a sample is biased upwards if the sample is small, and a bootstrap sample adds
    this bias a second time. The draws are therefore shifted so that their mean is the value.

    Args:
        drawn: (draws,) values of the draws; NaN for a draw without a value.
        value: value on the images themselves.
    """
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return None
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(drawn, [tail, 100 - tail]) - drawn.mean() + value
    return float(low), float(high)


def class_intervals(scores: np.ndarray, labels: np.ndarray) -> list[tuple[float, float] | None]:
    """95 % interval of the average precision of each class; None for a class that no image has.

    Args:
        scores: (M, C) scores of the test images.
        labels: (M, C), zeros and ones.
    """
    values, drawn = average_precisions(scores, labels), bootstrap(scores, labels)
    return [_within(interval(*pair)) for pair in zip(drawn.T, values, strict=True)]


def mean_interval(
    scores: np.ndarray, labels: np.ndarray, judged: np.ndarray | None = None, draws: int | None = None
) -> tuple[float, float] | None:
    """95 % interval of the mean average precision, by the bootstrap over the images.

    Args:
        scores: (M, C) scores of the test images.
        labels: (M, C), zeros and ones.
        judged: (C,) bool, the classes that count, all by default. In a draw without an image of some class,
            the mean is taken over the other classes.
        draws: number of draws, see `bootstrap`.
    """
    value = mean_average_precision(scores, labels, judged)
    return _within(interval(_mean(bootstrap(scores, labels, draws=draws), judged), value))


def paired_interval(
    scores: np.ndarray,
    others: np.ndarray,
    labels: np.ndarray,
    judged: Sequence[np.ndarray | None] = (None,) * 2,
) -> tuple[float, float] | None:
    """95 % interval of the difference of two mean average precisions on the same images.

    Args:
        scores: (M, C), scores of the first classifier.
        others: (M, C), scores of the second classifier.
        labels: (M, C), zeros and ones.
        judged: (C,) bool for each of the two, the classes that count.

    Returns:
        Low and high end of the second value minus the first; None if no class can be judged.
    """
    pair = list(zip((scores, others), judged, strict=True))
    first, second = (mean_average_precision(one, labels, counts) for one, counts in pair)
    drawn = [_mean(bootstrap(one, labels), counts) for one, counts in pair]
    return interval(drawn[1] - drawn[0], second - first)


def ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks of the scores: whole numbers that order the images of each class alike, with equal ties.

    Average precision depends on this order alone, so the ranks are all that has to be kept.

    Args:
        scores: (M, C) scores of the test images.

    Returns:
        (M, C) uint16, or uint32 for more than 65,536 images.
    """
    dtype = np.uint16 if len(scores) <= 2**16 else np.uint32
    columns = [np.unique(column, return_inverse=True)[1].ravel() for column in np.transpose(scores)]
    return np.stack(columns, axis=1).astype(dtype)


def _mean(values, judged):
    """Means over the classes of values (draws, C); NaN where no class has a value."""
    if judged is not None:
        values = values[:, judged]
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=1) / known.sum(axis=1)


def _within(found):
    return None if found is None else (max(0.0, found[0]), min(1.0, found[1]))


def _columns(scores, labels):
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 2 or scores.shape != labels.shape:
        raise ValueError(
            "`scores` and `labels` must both be (M, C). "
            f"Received: scores.shape={scores.shape}, labels.shape={labels.shape}"
        )
    return zip(scores.T, labels.T, strict=True)


def _drawn(count, total, seed) -> Iterator[np.ndarray]:
    """Yields blocks of counts (M, draws), how often each image is drawn; each column sums to M."""
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK // count)
    for first in range(0, total, block):
        size = min(block, total - first)
        cells = rng.integers(0, count, (count, size)) * size + np.arange(size)
        yield np.bincount(cells.ravel(), minlength=count * size).reshape(count, size).astype("int32")


class _Ranked:
    """The images of one class in the order of their scores.

    Args:
        scores: (M,) scores of the images for this class.
        labels: (M,), zeros and ones.
    """

    def __init__(self, scores, labels):
        self.order = np.argsort(-scores.astype("float64"), kind="stable")
        ordered = scores[self.order]
        self.positive = np.flatnonzero(labels[self.order])  # positions in the order
        # The last position with the same score: images of equal score pass the threshold together.
        last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
        self.last = last[np.searchsorted(last, self.positive)]
        self.among = np.searchsorted(self.positive, self.last, side="right") - 1  # position among positives

    def value(self) -> float:
        """Average precision of the images."""
        if not len(self.positive):
            return float("nan")
        return float(np.mean((self.among + 1) / (self.last + 1)))

    def values(self, times: np.ndarray) -> np.ndarray:
        """Average precisions (draws,) if the images count `times` (M, draws) times in each draw."""
        if not len(self.positive):
            return np.full(times.shape[1], np.nan)
        ordered = times[self.order]
        own = ordered[self.positive]
        found, passed = own.cumsum(axis=0)[self.among], ordered.cumsum(axis=0)[self.last]
        total = own.sum(axis=0)
        with np.errstate(invalid="ignore"):
            return (own * found / np.maximum(passed, 1)).sum(axis=0) / total
