"""Whether the losses of two methods, which need no labels, tell which of them has the better features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scipy.stats import spearmanr

from keras_leoclr.evaluation.comparison import text_table
from keras_leoclr.report.studies.measured import Spread, Study, mean_curves

LEAST = 3  # rows that a rank correlation is made of


class Foretold(NamedTuple):
    """Two methods that were trained alike, the second minus the first.

    Attributes:
        name: of the setting.
        first: difference of `loss_to_chance` in the first epoch, mean over the seeds.
        last: the same in the last epoch.
        linear: difference in linear accuracy or mean average precision, in [-1, 1].
        knn: the same of kNN.
    """

    name: str
    first: float
    last: float
    linear: float
    knn: float


def losses_foretell(
    name: str, study: Study, base: str, label: str, linear: Spread | None, knn: Spread | None
) -> Foretold | None:
    """Losses and gains of two variants of a study; None where one of them was not measured.

    Args:
        name: of the setting.
        study: what was measured.
        base: the variant that the other is compared with.
        label: the other variant.
        linear: its gain in linear accuracy.
        knn: its gain in kNN accuracy.
    """
    losses = mean_curves(study, "loss_to_chance")
    if not {base, label} <= set(losses) or linear is None or knn is None:
        return None
    first, last = (losses[label][place][1] - losses[base][place][1] for place in (0, -1))
    return Foretold(name, first, last, linear.mean, knn.mean)


def foretold_text(rows: Sequence[Foretold]) -> list[str]:
    """A table in Markdown, and how often each loss was right; nothing for fewer than 3 rows.

    A loss is right where the method with the smaller one is ahead by the linear classifier.
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
