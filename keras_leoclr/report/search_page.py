"""A page with the results of a search."""

from __future__ import annotations

import io
import os
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from PIL import Image

from keras_leoclr.data import decode
from keras_leoclr.data.channels import ChannelPixels, as_rgb
from keras_leoclr.data.failures import ImageError, shown
from keras_leoclr.report.rendering import data_uri, page
from keras_leoclr.runs.files import write_text

if TYPE_CHECKING:
    from keras_leoclr.search.query import Hit

SIDE = 192  # largest side of a thumbnail in pixels
STYLES = ("page.css", "search.css")


def write_page(
    path: str | os.PathLike,
    found: Iterable[tuple[str, list[Hit] | str]],
    folder: str,
    about: str,
    pixels: ChannelPixels | None = None,
) -> None:
    """Writes one HTML file with all pictures embedded; it needs no network and has a light and a dark look.

    Args:
        path: path of the page; the file appears only when it is complete.
        found: the results that `search` yields.
        folder: folder that was searched; names are shown relative to it.
        about: a line that is shown below the title.
        pixels: how the pictures are read, see `Encoder.pixels`; of these the page shows the first three
            channels, or grey.
    """
    title = f"Similar pictures in {shown(os.path.basename(folder) or folder)}"
    queries = [_query(query, hits, folder, pixels) for query, hits in found]
    write_text(path, page("search.html", STYLES, title=title, about=about, queries=queries))


def _query(query: str, hits: list[Hit] | str, folder: str, pixels: ChannelPixels | None) -> dict[str, Any]:
    if isinstance(hits, str):
        return {"name": shown(query), "reason": hits}
    made = {"name": shown(query), "reason": "", "picture": _thumbnail(query, pixels)}
    return made | {"hits": [_hit(hit, folder, pixels) for hit in hits]}


def _hit(hit: Hit, folder: str, pixels: ChannelPixels | None) -> dict[str, Any]:
    return {
        "name": shown(os.path.relpath(hit.path, folder)),
        "link": pathlib.Path(hit.path).as_uri(),
        "picture": _thumbnail(hit.path, pixels),
        "similarity": hit.similarity,
        "itself": hit.itself,
    }


def _thumbnail(path: str, kept: ChannelPixels | None) -> str:
    """An address that holds a small JPEG of a picture; "" if it cannot be read."""
    try:
        with open(path, "rb") as file:
            if kept is None:
                pixels = decode.decode_image(file, least_pixels=(2 * SIDE) ** 2)
            else:
                pixels = as_rgb(kept.read(file)).round().astype("uint8")
    except (OSError, ImageError):
        return ""
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    held = io.BytesIO()
    image.save(held, "JPEG", quality=80)
    return data_uri(held.getvalue(), "jpeg")
