"""The difference of two results that were measured on the same images."""

from __future__ import annotations

import pathlib
import warnings
from typing import Any

import numpy as np

from keras_leoclr.evaluation import average_precision
from keras_leoclr.evaluation.measures import on_same_images
from keras_leoclr.evaluation.scores import read_hits, read_ranking
from keras_leoclr.evaluation.statistics import paired_bootstrap


def paired_interval(
    line: dict[str, Any], workdir: pathlib.Path, other: dict[str, Any], other_workdir: pathlib.Path
) -> tuple[float, float] | None:
    """95 % interval of a difference of two results, from a paired bootstrap over the images.

    For accuracies it needs to know which images each result classified correctly, for mean average precisions
    the ranks of their scores.

    Args:
        line: line of `results.jsonl` with the result that is subtracted.
        workdir: folder of that result.
        other: line of `results.jsonl` with the result that it is subtracted from.
        other_workdir: folder of the other result.

    Returns:
        Low and high end; None if the two were not measured on the same images, if results of single images
        were not kept, or, with a warning, if their files are missing or damaged.
    """
    if not on_same_images(line, other):
        return None
    (hits, ranking), (others, other_ranking) = _read(line, workdir), _read(other, other_workdir)
    if hits is not None and others is not None:
        return paired_bootstrap(hits, others)
    rankings = [ranking, other_ranking]
    if any(found is None for found in rankings):
        return None
    if not np.array_equal(rankings[0][1], rankings[1][1]):  # Other labels show that the images differ.
        return None
    judged = [_judged(found[1], each) for found, each in zip(rankings, (line, other), strict=True)]
    (ranks, labels), (others, _) = rankings
    return average_precision.paired_interval(ranks, others, labels, judged)


def _read(line, workdir):
    try:
        return read_hits(line, workdir), read_ranking(line, workdir)
    except (OSError, ValueError, EOFError) as error:
        warnings.warn(
            f"The results of single images in {workdir} are missing or damaged ({type(error).__name__}): "
            "the differences of its results are not paired.",
            stacklevel=3,
        )
        return None, None


def _judged(labels, line):
    judged = np.ones(labels.shape[1], bool)
    judged[[label for label in line.get("left_out", ()) if label < len(judged)]] = False
    return judged
