"""Tests whether measures that need no labels predict which of two methods has the better features."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from scipy.stats import spearmanr

from keras_leoclr.evaluation.comparison import text_table
from keras_leoclr.report.studies.measured import Spread, Study
from keras_leoclr.report.studies.tables import points

LEAST = 3  # smallest number of rows for a rank correlation


class Foretold(NamedTuple):
    """The differences between two methods with equal training, the second minus the first.

    Attributes:
        name: name of the setting.
        first: difference of `loss_to_chance` in the first epoch, mean over the seeds that both have.
        last: difference of `loss_to_chance` in the last epoch, mean over the seeds that both have.
        linear: difference in linear accuracy or mean average precision, in [-1, 1].
        knn: difference in kNN accuracy or mean average precision, in [-1, 1].
    """

    name: str
    first: float
    last: float
    linear: float
    knn: float


def losses_foretell(
    name: str, study: Study, base: str, label: str, linear: Spread | None, knn: Spread | None
) -> Foretold | None:
    """Differences in loss and gain of two variants of a study; None if one of them was not measured.

    Args:
        name: name of the setting.
        study: the results of the study.
        base: the variant that the other is compared with.
        label: the other variant.
        linear: gain of the other variant in linear accuracy.
        knn: gain of the other variant in kNN accuracy.
    """
    theirs, ours = (study.curves.get(each, {}).get("loss_to_chance", {}) for each in (base, label))
    seeds = [seed for seed in ours if seed in theirs]  # The gains are of the same seeds, see `Study.change`.
    if not seeds or linear is None or knn is None:
        return None
    first, last = (
        statistics.fmean(ours[seed][end(ours[seed])] - theirs[seed][end(theirs[seed])] for seed in seeds)
        for end in (min, max)
    )
    return Foretold(name, first, last, linear.mean, knn.mean)


def foretold_text(rows: Sequence[Foretold]) -> list[str]:
    """A Markdown table, and how often each loss predicted correctly; nothing for fewer than 3 rows.

    A loss predicts correctly if the method with the smaller loss is ahead by the linear classifier.
    """
    if len(rows) < LEAST:
        return []
    table = [["setting", "loss, first epoch", "loss, last epoch", "linear", "kNN"]]
    for row in rows:
        gains = [f"{100 * gain:+.1f}" for gain in (row.linear, row.knn)]
        table.append([row.name, f"{row.first:+.3f}", f"{row.last:+.3f}", *gains])
    lines = [text_table(table, markdown=True) + "\n"]
    for when in ("first", "last"):
        losses = [getattr(row, when) for row in rows]
        right = sum((loss < 0) == (row.linear > 0) for loss, row in zip(losses, rows, strict=True))
        ranks = [
            -spearmanr(losses, gains).statistic for gains in ([r.linear for r in rows], [r.knn for r in rows])
        ]
        lines.append(
            f"- The loss of the {when} epoch names the method that is ahead by the linear classifier in "
            f"{right} of {len(losses)} settings; its rank correlation with the gain is {ranks[0]:+.2f} "
            f"for the linear classifier and {ranks[1]:+.2f} for kNN."
        )
    return [*lines, ""]


class Agreed(NamedTuple):
    """How often views agree (`training.crop_agreement`) in a setting, and the gain that was measured there.

    Attributes:
        pictures: what the pictures show.
        crops: area of the crops, such as "0.2 to 1".
        pair: share of two crops that agree, in [0, 1].
        whole: share of originals and crops that agree, in [0, 1].
        gain: LeOCLR minus MoCo v2 in linear accuracy or mean average precision, as a share of 1.
    """

    pictures: str
    crops: str
    pair: float
    whole: float
    gain: Spread


def agreement_text(rows: Sequence[Agreed], close: float) -> str:
    """A Markdown table in the order of the difference, and how often it predicted correctly.

    Args:
        rows: the settings, 3 or more.
        close: a difference above it predicts that LeOCLR is ahead, one below it that MoCo v2 is.
    """
    rows = sorted(rows, key=lambda row: row.whole - row.pair)
    titles = ("two crops, %", "original and crop, %", "difference", "seeds", "lead of LeOCLR, linear")
    table = [["pictures", "crops", *titles]]
    for row in rows:
        shares = (f"{100 * row.pair:.1f}", f"{100 * row.whole:.1f}", f"{100 * (row.whole - row.pair):+.1f}")
        table.append([row.pictures, row.crops, *shares, str(row.gain.count), points(row.gain)])
    changes, gains = [row.whole - row.pair for row in rows], [row.gain.mean for row in rows]
    right = [(row.whole - row.pair > close) == (row.gain.mean > 0) for row in rows]
    sure = [agrees for row, agrees in zip(rows, right, strict=True) if row.gain.beyond_chance]
    return (
        f"{text_table(table, markdown=True)}\n\nThe rule that LeOCLR is ahead above {100 * close:.0f} points "
        f"and MoCo v2 below agrees with the sign of the mean lead in {sum(right)} of {len(rows)} rows, and "
        f"in {sum(sure)} of the {len(sure)} rows whose interval does not contain 0. The rank correlation of "
        f"the difference with the lead is {spearmanr(changes, gains).statistic:+.2f}."
    )
