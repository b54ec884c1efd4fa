"""Scales, drawings and charts."""

import re
import xml.etree.ElementTree as ET

import pytest

from keras_leoclr.report.charts import Line, chart
from keras_leoclr.report.drawing import Drawing, Plot, Scale, round_numbers
from keras_leoclr.report.rendering import static

pytestmark = pytest.mark.backend_free


def test_a_chart_of_equal_values_or_a_single_point_has_an_axis():
    for points in ([(1, 0.5)], [(1, 0.0), (2, 0.0)], [(1, -3e-9), (2, 4e9)]):
        made = "".join(map(str, chart("t", [Line("a", points)], "epoch")))
        assert "nan" not in made and "inf" not in made and "<polyline" in made


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        (0.0, 1.0, 4, [0, 0.25, 0.5, 0.75, 1]),
        (0.13, 0.88, 4, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (1, 6, 6, [1, 2, 3, 4, 5, 6]),
        (-3e-9, 4e9, 4, [0, 1e9, 2e9, 3e9, 4e9]),
        (2.0, 2.0, 4, [2]),
    ],
)
def test_ticks_are_round_and_reach_both_ends(low, high, count, expected):
    assert round_numbers(low, high, count) == expected
    assert Scale(low, high + (low == high), 0, 10).ticks(count)[0] >= low


def test_whole_ticks_stay_whole_where_there_are_few():
    assert round_numbers(1, 3, 6, whole=True) == [1, 2, 3]


def test_a_scale_puts_values_between_its_ends():
    scale = Scale.of([2.0, 4.0], 100, 0, pad=0.5)
    assert (scale.low, scale.high) == (1, 5)
    assert [scale(value) for value in (1, 3, 5)] == [100, 50, 0]
    assert scale.within(9) == 0 and scale.within(-9) == 100
    wider, ticks = Scale.of([0.13, 0.88], 0, 1).rounded(4)
    assert (wider.low, wider.high) == (0, 1) and ticks[0] == 0 and ticks[-1] == 1


def drawn():
    drawing = Drawing(90, 60, 'of "a" & <b>')
    plot = Plot(drawing, Scale(0, 1, 10, 80), Scale(0, 1, 50, 10))
    plot.ticks_y([0, 0.5], "{:g}".format)
    plot.curve([(0, 0), (1, 1)], 9)
    drawing.ring(20, 30, "<i>told</i>")
    drawing.legend(50, 10, ["one", "<two>"], 12)
    return drawing


def test_words_in_a_drawing_are_escaped():
    made = str(drawn().embedded())
    assert "<b>" not in made and "<i>" not in made and "<two>" not in made
    root = ET.fromstring(made)
    assert root.get("aria-label") == 'of "a" & <b>' and "<i>told</i>" in "".join(root.itertext())
    assert "style" not in made and "xmlns" not in made
    assert root.find("polyline").get("class") == "s1"  # of eight kinds the tenth is the second again
    assert root.find("polyline").get("points") == "10.0,50.0 80.0,10.0"


def test_a_picture_of_its_own_carries_the_light_colours_of_the_page():
    root = ET.fromstring(drawn().alone())
    name = "{http://www.w3.org/2000/svg}"
    style = root.find(f"{name}style").text
    assert "var(" not in style
    light = re.search(r"--s0: (#\w+);", static("page.css"))[1]
    assert f".s0 {{ stroke: {light}; }}" in style
    assert root.find(f"{name}rect").get("fill") == "#fff"


def test_every_class_of_a_drawing_has_a_rule():
    rules = static("drawing.css")
    assert all(f".{name} {{" in rules for name in ("grid", "mark", "level", "bar", "ring", "dot"))
    assert all(f".s{kind} {{ stroke" in rules and f".dot.s{kind} {{ fill" in rules for kind in range(8))
