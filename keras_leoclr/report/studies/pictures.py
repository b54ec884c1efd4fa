"""Pictures of a study as SVG files: dots with intervals, and curves over the epochs."""

from __future__ import annotations

from collections.abc import Sequence

from keras_leoclr.evaluation.measures import either
from keras_leoclr.report.drawing import Drawing, Plot, Scale
from keras_leoclr.report.studies.measured import Study, mean_curves, title_of
from keras_leoclr.runs.monitored import KNN

WIDTH, ROW, TOP, GAP = 960, 22, 46, 16  # pixels
LETTER = 7  # largest width in pixels of a letter of a label
CURVES = {name: f"{short} on held-out training images, %" for name, short in KNN.items()}
CURVES["loss_to_chance"] = "loss divided by that of guessing"


def picture(study: Study, measures: Sequence[str] = (*either("knn"), *either("linear"))) -> str:
    """Draws, for each variant, a ring for each seed, and a dot and a bar for the mean and its 95 % interval.

    Args:
        study: the results of the study.
        measures: names of measures; there is one panel for each that was measured.
    """
    shown = [m for m in measures if m in study.measures]
    variants = list(study.values)
    bottom = TOP + ROW * len(variants)
    titles = ", ".join(map(title_of, shown))
    drawing = Drawing(WIDTH, bottom + 34, f"{study.name}: {titles}")
    # The scale reaches from 8 pixels above the first row to 4 pixels below the last one.
    rows = Scale(-0.5 - 8 / ROW, len(variants) - 0.5 + 4 / ROW, TOP - 8, bottom + 4)
    left = 24 + LETTER * max(map(len, variants), default=0)
    for row, variant in enumerate(variants):
        drawing.text(left - 12, rows(row) + 4, variant, anchor="end")
    room = (WIDTH - left - GAP * len(shown)) / max(1, len(shown))
    for column, measure in enumerate(shown):
        start = left + column * (room + GAP)
        _panel(drawing, study, measure, rows, start, start + room)
    return drawing.alone()


def _panel(drawing, study, measure, rows, left, right):
    found = {v: measured[measure] for v, measured in study.values.items() if measure in measured}
    values = [value for seeds in found.values() for value in seeds.values()]
    x = Scale.of(values, left, right, pad=0.08)
    plot = Plot(drawing, x, rows)
    drawing.text(left, 18, f"{title_of(measure)}, %", "head")
    plot.ticks_x(x.ticks(7), lambda tick: f"{100 * tick:.3g}", "quiet", grid=True)
    if study.reference in found:
        plot.upwards(study.of(study.reference, measure).mean, "mark")
    for row, variant in enumerate(study.values):
        if variant not in found:
            continue
        y, mean = rows(row), study.of(variant, measure)
        if mean.low is not None:
            drawing.line((x.within(mean.low), x.within(mean.high)), (y, y), "bar s0")
        for seed, value in found[variant].items():
            drawing.ring(x(value), y, f"{variant}, seed {seed}: {100 * value:.1f} %")
        drawing.mark(0, x(mean.mean), y, size=3.5)


def curves(study: Study, name: str = "knn_top1") -> str | None:
    """Draws the curve of each variant over the epochs, as the mean over the seeds.

    Args:
        study: the results of the study.
        name: see `mean_curves`.

    Returns:
        The SVG; None if there is nothing to show.
    """
    means = mean_curves(study, name)
    if not means:
        return None
    factor = 100 if name in KNN else 1
    label = CURVES.get(name, name)
    left, right, height = 56, WIDTH - 330, max(320, 50 + ROW * len(means))
    last = max(points[-1][0] for points in means.values())
    y = Scale.of([value for points in means.values() for _, value in points], height - 44, 20, pad=0.05)
    drawing = Drawing(WIDTH, height, f"{study.name}: {label}, over epochs")
    plot = Plot(drawing, Scale(1, max(2, last), left, right), y)
    plot.ticks_y(y.ticks(8), lambda tick: f"{factor * tick:.4g}", "quiet")
    epochs = sorted({1, *range(0, last + 1, max(1, round(last / 8)))} - {0})
    plot.ticks_x(epochs, str, "quiet")
    drawing.text(left, height - 6, "epoch", "quiet")
    drawing.text(left, 13, f"{label}, mean over seeds", "head")
    for kind, points in enumerate(means.values()):
        plot.curve(points, kind)
    drawing.legend(right + 16, 30, list(means), ROW)
    return drawing.alone()
