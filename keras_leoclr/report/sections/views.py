"""What the encoders see of some pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from keras_leoclr.report.reading import RunRecord
from keras_leoclr.report.rendering import data_uri


class Strips(NamedTuple):
    """Rows of views, one for each picture.

    Attributes:
        headings: what the tiles of a row are, from left to right; empty if unknown.
        pictures: the rows, as addresses that hold a PNG.
    """

    headings: Sequence[str]
    pictures: list[str]


def strips(pngs: Sequence[bytes], headings: Sequence[str]) -> Strips:
    """What the macro `strips` of `templates/parts.html` shows.

    Args:
        pngs: a PNG for each picture, see `views.sheet`.
        headings: what the tiles of a PNG show, from left to right.
    """
    return Strips(headings, [data_uri(content, "png") for content in pngs])


def views(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """The views of each run that has kept some."""
    return [
        {"heading": _heading(run, len(runs) > 1), "strips": strips(run.strips, run.headings)}
        for run in runs
        if run.strips
    ]


def _heading(run, several):
    place = "made on the device" if run.about.get("views_on") == "device" else ""
    return ", ".join(part for part in (run.name if several else "", place) if part)
