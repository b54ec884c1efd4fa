"""Line charts as inline SVG, without a style attribute and without a script."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 30
COLOURS = 8  # of the style sheet: s0 to s7, with dashes and marks of their own


class Line(NamedTuple):
    """A curve.

    Attributes:
        label: of the legend.
        points: (x, y) or (x, y, low, high), in ascending x.
        kind: number of colour, dashes and mark.
    """

    label: str
    points: Sequence[tuple[float, ...]]
    kind: int = 0


def chart(
    title: str,
    lines: Sequence[Line],
    x_label: str,
    percent: bool = False,
    level: tuple[float, str] | None = None,
    marks: Sequence[float] = (),
    gap: float | None = None,
) -> str:
    """A figure with a caption, a chart, a legend and the numbers as a table that opens.

    Args:
        title: caption.
        lines: at least one, with points.
        x_label: of the horizontal axis.
        percent: whether values are shares to be shown in percent.
        level: a value that a line is drawn at, and its name.
        marks: places on the horizontal axis with a dashed line: where the run was resumed.
        gap: points that lie further apart are not joined.
    """
    lines = [line for line in lines if line.points]
    xs = [point[0] for line in lines for point in line.points]
    ys = [value for line in lines for point in line.points for value in point[1:]]
    if level is not None:
        ys.append(level[0])
    x_axis, y_axis = _Axis(xs, LEFT, WIDTH - RIGHT), _Axis(ys, HEIGHT - BOTTOM, TOP, ticks=True)
    show = (lambda value: f"{100 * value:.4g} %") if percent else (lambda value: f"{value:.4g}")
    parts = []
    for tick in y_axis.ticks:
        y = y_axis(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        text = f"{100 * tick:.4g}" if percent else f"{tick:.4g}"
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for tick in nice(min(xs), max(xs), 6, whole=all(x == int(x) for x in xs)):
        if min(xs) <= tick <= max(xs):
            parts.append(
                f'<text x="{x_axis(tick):.1f}" y="{HEIGHT - 17}" text-anchor="middle">{tick:.3g}</text>'
            )
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" text-anchor="middle">'
        f"{html.escape(x_label)}</text>"
    )
    for mark in marks:
        if min(xs) <= mark <= max(xs):
            x = x_axis(mark)
            parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    if level is not None:
        y = y_axis(level[0])
        parts.append(f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text x="{LEFT + 3}" y="{y + (13 if y < TOP + 16 else -4):.1f}">{html.escape(level[1])}</text>'
        )
    parts += [_curve(line, x_axis, y_axis, show, gap) for line in lines]
    summary = "; ".join(
        f"{line.label}: {show(line.points[0][1])} at {line.points[0][0]:g}, "
        f"{show(line.points[-1][1])} at {line.points[-1][0]:g}"
        for line in lines
    )
    legend = _legend(lines) if len(lines) > 1 else ""
    return (
        f'<figure class="chart"><figcaption>{html.escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(f"{title}, over {x_label}. {summary}")}">{"".join(parts)}</svg>'
        f"{legend}{_numbers(title, lines, x_label, show)}</figure>"
    )


class _Axis:
    """Values to pixels."""

    def __init__(self, values, start, stop, ticks=False):
        low, high = min(values), max(values)
        if low == high:
            pad = abs(low) * 0.1 or 1.0
            low, high = low - pad, high + pad
        self.ticks = nice(low, high, 4) if ticks else []
        if ticks:
            low, high = min(low, self.ticks[0]), max(high, self.ticks[-1])
        self.low, self.high, self.start, self.stop = low, high, start, stop

    def __call__(self, value):
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)


def nice(low, high, count, whole=False):
    """Round numbers from about `low` to about `high`."""
    if low == high:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    step = max(1, math.ceil(step)) if whole else step
    first = math.floor(low / step + 1e-9)
    return [round(n * step, 12) for n in range(first, math.ceil(high / step - 1e-9) + 1)]


def _curve(line, x_axis, y_axis, show, gap):
    pieces, last = [[]], None
    for point in line.points:
        if gap is not None and last is not None and point[0] - last > gap:
            pieces.append([])
        pieces[-1].append(point)
        last = point[0]
    kind = line.kind % COLOURS
    parts = []
    for piece in pieces:
        places = " ".join(f"{x_axis(point[0]):.1f},{y_axis(point[1]):.1f}" for point in piece)
        parts.append(f'<polyline class="s{kind}" points="{places}"/>')
    few = len(line.points) <= 60
    for x, y, *interval in line.points:
        px, py = x_axis(x), y_axis(y)
        if interval:
            ends = [y_axis(value) for value in interval]
            parts.append(
                f'<line class="bar s{kind}" x1="{px:.1f}" x2="{px:.1f}" '
                f'y1="{ends[0]:.1f}" y2="{ends[1]:.1f}"/>'
            )
        if few:
            text = html.escape(f"{line.label}: {show(y)} at {x:g}")
            parts.append(f"{mark(kind, px, py)}<title>{text}</title></path>")
    return "".join(parts)


def mark(kind: int, x: float, y: float, size: float = 3.0) -> str:
    """An open `<path>` of a curve's mark, to be closed by `</path>`: circle, square, triangle, ..."""
    r, d = size, 1.4 * size
    shapes = (
        f"m{-r},0a{r},{r} 0 1,0 {2 * r},0a{r},{r} 0 1,0 {-2 * r},0z",
        f"m{-r},{-r}h{2 * r}v{2 * r}h{-2 * r}z",
        f"m0,{-1.3 * r:.1f}l{1.2 * r:.1f},{2.2 * r:.1f}h{-2.4 * r:.1f}z",
        f"m0,{-d:.1f}l{d:.1f},{d:.1f}l{-d:.1f},{d:.1f}l{-d:.1f},{-d:.1f}z",
    )
    return f'<path class="dot s{kind}" d="M{x:.1f},{y:.1f}{shapes[kind % len(shapes)]}">'


def _legend(lines):
    items = "".join(
        '<li><svg class="key" viewBox="0 0 28 12" aria-hidden="true">'
        f'<polyline class="s{line.kind % COLOURS}" points="0,6 28,6"/>'
        f"{mark(line.kind % COLOURS, 14, 6)}</path></svg>{html.escape(line.label)}</li>"
        for line in lines
    )
    return f'<ul class="legend">{items}</ul>'


def _numbers(title, lines, x_label, show):
    xs = sorted({point[0] for line in lines for point in line.points})
    if len(xs) > 60:  # the first, the last and some between
        xs = [xs[round(i * (len(xs) - 1) / 59)] for i in range(60)]
    found = [{point[0]: point for point in line.points} for line in lines]
    body = [(f"{x:g}", [show(points[x][1]) if x in points else "–" for points in found]) for x in xs]
    made = table([x_label, *(line.label for line in lines)], body, f"Numbers of: {title}")
    unseen = f'<span class="unseen"> of: {html.escape(title)}</span>'
    return f"<details><summary>Numbers{unseen}</summary>{made}</details>"


def table(
    head: Sequence[str],
    body: Sequence[tuple[str, Sequence[str]]],
    name: str,
    look: str = "",
    caption: str = "",
) -> str:
    """A table in a frame of its own that scrolls where it is too wide; all text is escaped.

    Args:
        head: of each column.
        body: head and cells of each row.
        name: what a screen reader calls the frame.
        look: class of the table; cells may be `Cell`s with classes of their own.
        caption: above it.
    """
    first, *others = map(html.escape, head)
    columns = "".join(f'<th scope="col"><span>{text}</span></th>' for text in others)
    first = f'<th scope="col">{first}</th>' if first else "<td></td>"
    rows = "".join(
        f'<tr><th scope="row">{html.escape(start)}</th>{"".join(map(_cell, cells))}</tr>'
        for start, cells in body
    )
    above = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll" role="region" aria-label="{html.escape(name)}" tabindex="0">'
        f'<table class="{look}">{above}<thead><tr>{first}{columns}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


class Cell(NamedTuple):
    """A cell of a table with a class, and with small print."""

    text: str
    look: str = ""
    small: str = ""


def _cell(cell):
    text, look, small = cell if isinstance(cell, Cell) else (cell, "", "")
    small = f" <small>{html.escape(small)}</small>" if small else ""
    return (
        f'<td class="{look}">{html.escape(text)}{small}</td>'
        if look
        else f"<td>{html.escape(text)}{small}</td>"
    )
