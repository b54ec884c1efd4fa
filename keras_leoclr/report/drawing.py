"""Drawings as SVG: scales, ticks, curves, marks and legends, for charts of pages and pictures of studies.

A drawing has classes but no colours. On a page, the style sheets define these (`static/drawing.css` with the
colours of `static/page.css`, light or dark). A picture in a file of its own contains the same rules with the
light colours.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence

from markupsafe import Markup

from keras_leoclr.report.rendering import static

KINDS = 8  # number of classes s0 to s7 of the style sheet; each has a colour, dashes and a mark


class Scale:
    """Converts values on an axis to positions in pixels.

    Args:
        low: value at `start`.
        high: value at `stop`, greater than `low`.
        start: position of the low end in pixels.
        stop: position of the high end in pixels; less than `start` if the axis points up or to the left.
    """

    def __init__(self, low: float, high: float, start: float, stop: float):
        self.low, self.high, self.start, self.stop = low, high, start, stop

    @classmethod
    def of(cls, values: Sequence[float], start: float, stop: float, pad: float = 0.0) -> Scale:
        """Makes the scale that shows all values.

        Args:
            values: the values, at least one.
            start: position of the low end in pixels.
            stop: position of the high end in pixels.
            pad: space at both ends, as a share of the range; 0 by default.
        """
        low, high = min(values), max(values)
        if low == high:
            room = abs(low) * 0.1 or 1.0
        else:
            room = pad * (high - low)
        return cls(low - room, high + room, start, stop)

    def rounded(self, count: int) -> tuple[Scale, list[float]]:
        """Extends the scale to round numbers, and returns it with about `count` round numbers."""
        ticks = round_numbers(self.low, self.high, count)
        low, high = min(self.low, ticks[0]), max(self.high, ticks[-1])
        return Scale(low, high, self.start, self.stop), ticks

    def ticks(self, count: int, whole: bool = False) -> list[float]:
        """Round numbers within the scale, about `count` of them."""
        return [n for n in round_numbers(self.low, self.high, count, whole) if self.low <= n <= self.high]

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def within(self, value: float) -> float:
        """The position of a value; values beyond the scale are moved to its nearest end."""
        return self(min(max(value, self.low), self.high))


def round_numbers(low: float, high: float, count: int, whole: bool = False) -> list[float]:
    """Multiples of 1, 2, 2.5 or 5 times a power of ten, from about `low` to about `high`.

    Args:
        low: low end of the range.
        high: high end of the range.
        count: approximate number of results.
        whole: whether only whole numbers are wanted; false by default.
    """
    if low == high:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    step = max(1, math.ceil(step)) if whole else step
    first = math.floor(low / step + 1e-9)
    return [round(n * step, 12) for n in range(first, math.ceil(high / step - 1e-9) + 1)]


class Drawing:
    """Builds an SVG element by element.

    Args:
        width: width of the drawing in pixels.
        height: height of the drawing in pixels.
        title: text for screen readers; "" hides the drawing from them.
        look: class of the style sheet.
    """

    def __init__(self, width: float, height: float, title: str = "", look: str = ""):
        self.width, self.height = width, height
        said = {"role": "img", "aria-label": title} if title else {"aria-hidden": "true"}
        self.root = ET.Element("svg", {**_look(look), "viewBox": f"0 0 {width} {height}", **said})

    def text(self, x: float, y: float, words: str, look: str = "", anchor: str = "") -> None:
        """Writes text that begins at a point, or is centred there or ends there, depending on `anchor`."""
        self._add("text", look, x=x, y=y, **({"text-anchor": anchor} if anchor else {})).text = words

    def line(self, x: tuple[float, float], y: tuple[float, float], look: str) -> None:
        """Draws a straight line from (x[0], y[0]) to (x[1], y[1])."""
        self._add("line", look, x1=x[0], x2=x[1], y1=y[0], y2=y[1])

    def curve(self, points: Sequence[tuple[float, float]], kind: int) -> None:
        """Draws connected points in the colour and dashes of a kind."""
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._add("polyline", f"s{kind % KINDS}", points=places)

    def ring(self, x: float, y: float, told: str) -> None:
        """Draws a small open circle."""
        self._told(self._add("circle", "ring", cx=x, cy=y, r=3), told)

    def mark(self, kind: int, x: float, y: float, told: str = "", size: float = 3.0) -> None:
        """Draws the mark of a kind: a circle, square, triangle or diamond in its colour.

        Args:
            kind: number of the kind, from 0.
            x: horizontal position of the centre in pixels.
            y: vertical position of the centre in pixels.
            told: text that is shown when the pointer is on the mark.
            size: half the width in pixels; 3 by default.
        """
        kind, r, d = kind % KINDS, size, 1.4 * size
        shapes = (
            f"m{-r},0a{r},{r} 0 1,0 {2 * r},0a{r},{r} 0 1,0 {-2 * r},0z",
            f"m{-r},{-r}h{2 * r}v{2 * r}h{-2 * r}z",
            f"m0,{-1.3 * r:.1f}l{1.2 * r:.1f},{2.2 * r:.1f}h{-2.4 * r:.1f}z",
            f"m0,{-d:.1f}l{d:.1f},{d:.1f}l{-d:.1f},{d:.1f}l{-d:.1f},{-d:.1f}z",
        )
        shape = f"M{x:.1f},{y:.1f}{shapes[kind % len(shapes)]}"
        self._told(self._add("path", f"dot s{kind}", d=shape), told)

    def legend(self, x: float, y: float, labels: Sequence[str], row: float) -> None:
        """Draws a piece of the curve of each kind, from 0, with its name, one below the other.

        Args:
            x: position of the left edge in pixels.
            y: position of the centre of the first row in pixels.
            labels: name of each kind.
            row: height of a row in pixels.
        """
        for kind, label in enumerate(labels):
            middle = y + row * kind
            self.curve([(x, middle), (x + 34, middle)], kind)
            self.text(x + 42, middle + 4, label)

    def embedded(self) -> Markup:
        """Returns the drawing as a part of a page."""
        return Markup(ET.tostring(self.root, encoding="unicode"))  # ElementTree has escaped the text.

    def alone(self) -> str:
        """Returns the drawing as a separate file, on white."""
        root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **self.root.attrib})
        ET.SubElement(root, "style").text = _style_alone()
        size = {"width": str(self.width), "height": str(self.height)}
        ET.SubElement(root, "rect", {**size, "fill": "#fff"})
        root.extend(self.root)
        return ET.tostring(root, encoding="unicode") + "\n"

    def _add(self, tag, look, **attributes):
        made = ET.SubElement(self.root, tag, _look(look))
        for name, value in attributes.items():
            made.set(name, value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0"))
        return made

    @staticmethod
    def _told(element, told):
        if told:
            ET.SubElement(element, "title").text = told


class Plot:
    """A part of a drawing with two axes.

    Args:
        drawing: the drawing that the plot is a part of.
        x: horizontal scale.
        y: vertical scale; its ends are the bottom and the top of the plot.
    """

    def __init__(self, drawing: Drawing, x: Scale, y: Scale):
        self.drawing, self.x, self.y = drawing, x, y
        self.left, self.right = sorted((x.start, x.stop))
        self.top, self.bottom = sorted((y.start, y.stop))

    def ticks_y(self, ticks: Sequence[float], show: Callable[[float], str], look: str = "") -> None:
        """Draws a horizontal line for each tick, with its number on the left."""
        for tick in ticks:
            self.across(tick, "grid")
            self.drawing.text(self.left - 6, self.y(tick) + 4, show(tick), look, "end")

    def ticks_x(
        self, ticks: Sequence[float], show: Callable[[float], str], look: str = "", grid: bool = False
    ) -> None:
        """Writes the number of each tick below the plot, with a vertical line if `grid` is true."""
        for tick in ticks:
            if grid:
                self.upwards(tick, "grid")
            self.drawing.text(self.x(tick), self.bottom + 13, show(tick), look, "middle")

    def across(self, value: float, look: str) -> None:
        """Draws a horizontal line at a value."""
        self.drawing.line((self.left, self.right), (self.y(value),) * 2, look)

    def upwards(self, value: float, look: str) -> None:
        """Draws a vertical line at a value."""
        self.drawing.line((self.x(value),) * 2, (self.top, self.bottom), look)

    def curve(self, points: Sequence[Sequence[float]], kind: int) -> None:
        """Draws connected values."""
        self.drawing.curve([(self.x(point[0]), self.y(point[1])) for point in points], kind)

    def interval(self, x: float, ends: Sequence[float], kind: int) -> None:
        """Draws a vertical bar from one value to another."""
        self.drawing.line((self.x(x),) * 2, (self.y(ends[0]), self.y(ends[1])), f"bar s{kind % KINDS}")

    def mark(self, x: float, y: float, kind: int, told: str) -> None:
        """Draws a mark at a point, see `Drawing.mark`."""
        self.drawing.mark(kind, self.x(x), self.y(y), told)


def key(kind: int, width: float = 28) -> Drawing:
    """A piece of a curve, to be put before its name in a legend."""
    drawing = Drawing(width, 12, look="key")
    drawing.curve([(0, 6), (width, 6)], kind)
    drawing.mark(kind, width / 2, 6)
    return drawing


def _look(look):
    return {"class": look} if look else {}


def _style_alone():
    """The rules of drawings, with the light colours of the page instead of variables."""
    light: dict[str, str] = {}
    for name, value in re.findall(r"--(\w+): ([^;]+);", static("page.css")):
        light.setdefault(name, value)  # The first value is used; those of the dark page come later.
    rules = re.sub(
        r"var\(--(\w+)\)", lambda found: light[found[1]], static("drawing.css") + static("picture.css")
    )
    return rules
