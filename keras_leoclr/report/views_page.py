"""A page with the views of a recipe, before any training."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from keras_leoclr.report.rendering import page
from keras_leoclr.report.sections.settings import setting_text
from keras_leoclr.report.sections.views import strips
from keras_leoclr.runs.files import write_text

STYLES = ("page.css", "report.css")


def write_views_page(
    path: str | os.PathLike,
    title: str,
    settings: Mapping[str, Any],
    pngs: Sequence[bytes],
    headings: Sequence[str],
) -> None:
    """Writes one HTML file with all pictures embedded.

    Args:
        path: path of the page; the file appears only when it is complete.
        title: heading of the page.
        settings: the settings that the views depend on, by name.
        pngs: one PNG for each picture, with its views, see `views.sheet`.
        headings: headings of the tiles of a PNG, from left to right.
    """
    told = ", ".join(f"{name} {setting_text(value)}" for name, value in settings.items())
    made = page("views.html", STYLES, title=title, settings=told, strips=strips(pngs, headings))
    write_text(path, made)
