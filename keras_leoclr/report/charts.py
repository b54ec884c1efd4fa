"""Line charts of a page: the picture, its legend, and a table of the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from keras_leoclr.report.drawing import Drawing, Plot, Scale, key, round_numbers
from keras_leoclr.report.tables import Table, cells

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 30
MARKED = 60  # A curve with more points is drawn without marks, except for points that stand alone.
LISTED = 60  # largest number of rows of a table of numbers


class Line(NamedTuple):
    """A curve.

    Attributes:
        label: name of the curve in the legend.
        points: (x, y) or (x, y, low, high), with ascending x.
        kind: number of the curve's colour, dashes and mark.
        breaks: positions at which the curve is interrupted: the points before and after are not connected.
    """

    label: str
    points: Sequence[tuple[float, ...]]
    kind: int = 0
    breaks: Sequence[float] = ()


class Chart(NamedTuple):
    """The content of a figure on a page.

    Attributes:
        title: the caption.
        drawing: the curves.
        legend: (piece of the curve, label) of each curve; empty if there is only one.
        numbers: the table that can be opened below.
        about: a sentence on what is shown; "" for none.
    """

    title: str
    drawing: Markup
    legend: list[tuple[Markup, str]]
    numbers: Table
    about: str = ""


def chart(
    title: str,
    lines: Sequence[Line],
    x_label: str,
    percent: bool = False,
    level: tuple[float, str] | None = None,
    marks: Sequence[float] = (),
    about: str = "",
) -> Chart:
    """Draws curves.

    Args:
        title: the caption.
        lines: the curves, at least one, with points.
        x_label: name of the horizontal axis.
        percent: whether values are shares to be shown in percent; false by default.
        level: a value at which a horizontal line is drawn, and the name of the line.
        marks: positions of dashed vertical lines, such as the epochs in which the run was resumed.
        about: a sentence on what is shown, below the caption; "" (the default) for none.
    """
    lines = [line for line in lines if line.points]
    show = (lambda value: f"{100 * value:.4g} %") if percent else (lambda value: f"{value:.4g}")
    summary = "; ".join(
        f"{line.label}: {show(line.points[0][1])} at {line.points[0][0]:g}, "
        f"{show(line.points[-1][1])} at {line.points[-1][0]:g}"
        for line in lines
    )
    drawing = Drawing(WIDTH, HEIGHT, f"{title}, over {x_label}. {summary}")
    plot = _axes(drawing, lines, x_label, percent, level, marks)
    for line in lines:
        _curve(plot, line, show)
    legend = [(key(line.kind).embedded(), line.label) for line in lines] if len(lines) > 1 else []
    return Chart(title, drawing.embedded(), legend, _numbers(title, lines, x_label, show), about)


def _axes(drawing, lines, x_label, percent, level, marks):
    """Makes the plot with everything that lies behind the curves."""
    xs = [point[0] for line in lines for point in line.points]
    ys = [value for line in lines for point in line.points for value in point[1:]]
    if level is not None:
        ys.append(level[0])
    y, ticks = Scale.of(ys, HEIGHT - BOTTOM, TOP).rounded(4)
    plot = Plot(drawing, Scale.of(xs, LEFT, WIDTH - RIGHT), y)
    plot.ticks_y(ticks, lambda tick: f"{100 * tick:.4g}" if percent else f"{tick:.4g}")
    low, high = min(xs), max(xs)
    round_xs = round_numbers(low, high, 6, whole=all(x == int(x) for x in xs))
    plot.ticks_x([x for x in round_xs if low <= x <= high], lambda tick: f"{tick:.3g}")
    drawing.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, x_label, anchor="middle")
    for mark in marks:
        if low <= mark <= high:
            plot.upwards(mark, "mark")
    if level is not None:
        value, name = level
        plot.across(value, "level")
        drawing.text(LEFT + 3, y(value) + (13 if y(value) < TOP + 16 else -4), name)
    return plot


def _curve(plot: Plot, line: Line, show: Callable[[float], str]):
    pieces: list[list[tuple[float, ...]]] = []
    for point in line.points:
        if not pieces or any(pieces[-1][-1][0] < at < point[0] for at in line.breaks):
            pieces.append([])
        pieces[-1].append(point)
    for piece in pieces:
        plot.curve(piece, line.kind)
        for x, y, *interval in piece:
            if interval:
                plot.interval(x, interval, line.kind)
            if len(line.points) <= MARKED or len(piece) == 1:  # A line of one point is not visible.
                plot.mark(x, y, line.kind, f"{line.label}: {show(y)} at {x:g}")


def _numbers(title, lines, x_label, show):
    xs = sorted({point[0] for line in lines for point in line.points})
    if len(xs) > LISTED:  # The first, the last and evenly spaced numbers between them are listed.
        xs = [xs[round(i * (len(xs) - 1) / (LISTED - 1))] for i in range(LISTED)]
    found = [{point[0]: point for point in line.points} for line in lines]
    body = [(f"{x:g}", cells([show(points[x][1]) if x in points else "–" for points in found])) for x in xs]
    return Table([x_label, *(line.label for line in lines)], body, f"Numbers of: {title}")
