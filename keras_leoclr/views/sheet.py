"""Sheets of views, drawn with Pillow only: each picture with the boxes of its crops, and its views."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from keras_leoclr.runs.files import whole_file

TILE = 112  # side of a tile in pixels
GAP = 6
FRAME = 3
HEADER = 18
# The colours are legible on light and dark pages (Okabe and Ito); numbers beside the boxes say the same.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
QUERY_COLOUR = "#808080"
SETTINGS = (  # names of the settings of a recipe that its views depend on
    *("method", "image_size", "crop_scale", "num_crops", "color_jitter", "jitter_probability"),
    *("grayscale_probability", "blur_probability", "blur_sigma", "flip_probability", "seed", "views_on"),
)
STRIPS = "strips"  # name of the text chunk in the PNG that says where its strips lie


class Drawn(NamedTuple):
    """The views of one picture.

    Attributes:
        picture: (H, W, 3) uint8, the unchanged picture.
        boxes: `{"query": (4,), "keys": (V, 4)}`, top, left, height and width in pixels of the picture.
        query: (S, S, 3) uint8, the query view.
        keys: (V, S, S, 3) uint8, the key views.
        things: name and box (top, left, height, width in pixels) of each thing in the picture; empty if they
            are not known.
    """

    picture: np.ndarray
    boxes: dict[str, np.ndarray]
    query: np.ndarray
    keys: np.ndarray
    things: Sequence[tuple[str, Sequence[float]]] = ()

    @property
    def query_is_crop(self) -> bool:
        """Whether the query shows only a part of the picture, as in MoCo v2."""
        return self.is_crop(self.boxes["query"])

    def is_crop(self, box: np.ndarray) -> bool:
        """Whether a box is only a part of the picture."""
        return tuple(box) != (0, 0, *self.picture.shape[:2])


def strip(drawn: Drawn) -> Image.Image:
    """Draws the picture with its boxes, the query and the keys in one row, on a transparent background."""
    number = len(drawn.keys)
    image = Image.new("RGBA", (_left(number + 2) - GAP, TILE), (0, 0, 0, 0))
    image.paste(_with_boxes(drawn), (0, 0))
    image.paste(_tile(drawn.query), (_left(1), 0))
    if drawn.query_is_crop:
        _frame(image, 1, "q", QUERY_COLOUR)
    for key, view in enumerate(drawn.keys):
        image.paste(_tile(view), (_left(key + 2), 0))
        _frame(image, key + 2, str(key + 1), COLOURS[key % len(COLOURS)])
    return image


def sheet(drawn: Sequence[Drawn]) -> Image.Image:
    """Draws all strips below a header, in two columns if there are more than six short strips.

    Args:
        drawn: the views of at least one picture.
    """
    strips = [strip(one) for one in drawn]
    columns = 2 if len(strips) > 6 and len(drawn[0].keys) <= 3 else 1
    rows = math.ceil(len(strips) / columns)
    width, height = strips[0].width, TILE + GAP
    image = Image.new(
        "RGBA", (columns * (width + 4 * GAP) - 4 * GAP + 2 * GAP, HEADER + rows * height + GAP), "white"
    )
    draw = ImageDraw.Draw(image)
    places = []
    for column in range(columns):
        left = GAP + column * (width + 4 * GAP)
        for tile, word in enumerate(headings(drawn[0])):
            draw.text((left + _left(tile), 3), word, "black", font(12))
        for row, one in enumerate(strips[column * rows : (column + 1) * rows]):
            places.append((left, HEADER + row * height))
            image.alpha_composite(one, places[-1])
    pictures = [_picture_box(one) for one in drawn]
    image.info[STRIPS] = json.dumps({"size": strips[0].size, "places": places, "pictures": pictures})
    return image.convert("RGB")


def headings(drawn: Drawn) -> list[str]:
    """The headings above the tiles of a strip."""
    query = "query: crop q" if drawn.query_is_crop else "query: original"
    keys = enumerate(drawn.boxes["keys"], 1)
    return ["picture", query, *(f"key: {'crop' if drawn.is_crop(b) else 'original'} {n}" for n, b in keys)]


def write_sheet(drawn: Sequence[Drawn], path: str | os.PathLike) -> None:
    """Writes `sheet(drawn)` as a PNG that records where its strips lie. No incomplete file is ever left."""
    image = sheet(drawn)
    about = PngInfo()
    about.add_text(STRIPS, json.dumps({**json.loads(image.info[STRIPS]), "headings": headings(drawn[0])}))
    with whole_file(path) as file:
        image.save(file, "PNG", optimize=True, pnginfo=about)


def read_strips(path: str | os.PathLike) -> tuple[list[bytes], list[str]]:
    """Reads the strips of a PNG of `write_sheet`, each as a PNG, and the headings of their tiles.

    A PNG without a record of its strips is returned as one strip without headings. The gaps between tiles are
    made transparent.

    Raises:
        OSError: if the file is missing or is not a PNG.
    """
    with Image.open(path) as image:
        image.load()
        try:
            about = json.loads(image.text[STRIPS])
            (width, height), places = about["size"], about["places"]
            boxes = [(left, top, left + width, top + height) for left, top in places]
            names = [str(name) for name in about["headings"]]
        except (AttributeError, KeyError, TypeError, ValueError):
            boxes, names = [(0, 0, *image.size)], []
        strips = [image.crop(box).convert("RGBA") for box in boxes]
        pictures = about.get("pictures", []) if names else []  # Older sheets do not say where they lie.
        for one, (left, top, right, bottom) in zip(strips, pictures, strict=False):
            whole = one.crop((left, top, right, bottom))
            one.paste((0, 0, 0, 0), (0, 0, TILE, TILE))  # The space beside it becomes transparent, too.
            one.paste(whole, (left, top))
        for one in strips if names else ():  # The gaps become transparent since a page may be dark.
            for tile in range(1, len(names)):
                one.paste((0, 0, 0, 0), (_left(tile) - GAP, 0, _left(tile), one.height))
        return [png(one) for one in strips], names


def png(image: Image.Image) -> bytes:
    """The bytes of an image as a PNG."""
    held = io.BytesIO()
    image.save(held, "PNG", optimize=True)
    return held.getvalue()


# === Drawing ===


def _left(tile):
    return tile * (TILE + GAP)


def font(size: int) -> Any:
    """The default font of Pillow in this size."""
    return ImageFont.load_default(size)


def _tile(pixels, size=(TILE, TILE)):
    image = Image.fromarray(pixels)
    enlarged = size[0] >= image.width  # Enlarged views keep sharp pixels, so that one sees them as they are.
    return image.resize(size, Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS)


def _picture_box(drawn):
    """Left, top, right and bottom of the picture within its tile, in pixels."""
    height, width = drawn.picture.shape[:2]
    scale = TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    left, top = ((TILE - size[0]) // 2, (TILE - size[1]) // 2)
    return left, top, left + size[0], top + size[1]


def _with_boxes(drawn):
    scale = TILE / max(drawn.picture.shape[:2])
    left, top, right, bottom = _picture_box(drawn)
    offset, size = (left, top), (right - left, bottom - top)
    tile = Image.new("RGBA", (TILE, TILE), (0, 0, 0, 0))
    tile.paste(_tile(drawn.picture, size), offset)
    draw = ImageDraw.Draw(tile)
    boxes = [(str(key + 1), box, COLOURS[key % len(COLOURS)]) for key, box in enumerate(drawn.boxes["keys"])]
    if drawn.query_is_crop:
        boxes.insert(0, ("q", drawn.boxes["query"], QUERY_COLOUR))
    for place, (name, (top, left, h, w), colour) in enumerate(boxes):
        x, y = offset[0] + left * scale, offset[1] + top * scale
        # Each box is drawn a pixel further inside, so that boxes at the same place stay visible.
        inset = min(place, 2)
        right, low = max(x, x + w * scale - 1 - inset), max(y, y + h * scale - 1 - inset)
        corners = [min(x + inset, right), min(y + inset, low), right, low]  # The picture may be very long.
        draw.rectangle(corners, outline="white", width=FRAME + 1)
        draw.rectangle(corners, outline=colour, width=FRAME - 1)
        # The names are put into different corners, so that they do not cover each other.
        right, low = place in (1, 2), place in (1, 3)
        _label(
            draw,
            (corners[2] - 13 if right else corners[0], corners[3] - 14 if low else corners[1]),
            name,
            colour,
        )
    return tile


def _frame(image, tile, name, colour):
    draw = ImageDraw.Draw(image)
    corners = [_left(tile), 0, _left(tile) + TILE - 1, TILE - 1]
    draw.rectangle(corners, outline=colour, width=FRAME)
    _label(draw, (corners[0], 0), name, colour)


def _label(draw, corner, name, colour):
    x, y = corner
    draw.rectangle([x, y, x + 13, y + 14], fill=colour)
    draw.text((x + 7, y + 7), name, "white", font(12), anchor="mm")
