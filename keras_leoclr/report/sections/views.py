"""The views of some pictures, as the encoders see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from keras_leoclr.report.reading import RunRecord
from keras_leoclr.report.rendering import data_uri


class Strips(NamedTuple):
    """Rows of views, one for each picture.

    Attributes:
        headings: headings of the tiles of a row, from left to right; empty if unknown.
        pictures: the rows, each a PNG encoded as an address.
    """

    headings: Sequence[str]
    pictures: list[str]


def strips(pngs: Sequence[bytes], headings: Sequence[str]) -> Strips:
    """The content of the macro `strips` in `templates/parts.html`.

    Args:
        pngs: one PNG for each picture, see `views.sheet`.
        headings: headings of the tiles of a PNG, from left to right.
    """
    return Strips(headings, [data_uri(content, "png") for content in pngs])


def views(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """The views of each run that has a sheet of views."""
    return [
        {"heading": _heading(run, len(runs) > 1), "strips": strips(run.strips, run.headings)}
        for run in runs
        if run.strips
    ]


def _heading(run, several):
    place = "made on the device" if run.about.get("views_on") == "device" else ""
    return ", ".join(part for part in (run.name if several else "", place) if part)
