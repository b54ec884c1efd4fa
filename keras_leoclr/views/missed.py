"""A figure of what the crops of a picture show and what they miss, drawn with Pillow only."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from keras_leoclr.runs.files import whole_file
from keras_leoclr.views.sheet import COLOURS, QUERY_COLOUR, Drawn, font, png

TILE, GAP = 288, 14  # pixels
SHOWN, MISSED = 0.75, 0.25  # least and largest visible share of a thing that is shown or missed
MARKS = {"shown": "#009e73", "cut": "#e69f00", "missed": "#d55e00"}  # colours by Okabe and Ito
ABOUT = "about"  # name of the text chunk in the PNG that holds the numbers of the figure
FORMAT = 1


def share_inside(box: Sequence[float], of: Sequence[float]) -> float:
    """The share of the area of the box `of` that lies inside of `box`, in [0, 1].

    Args:
        box: (4,) top, left, height and width of the box that may contain the other one.
        of: (4,) top, left, height and width of the box whose share is computed.
    """
    sides = [
        max(0.0, min(box[i] + box[i + 2], of[i] + of[i + 2]) - max(box[i], of[i])) / of[i + 2] for i in (0, 1)
    ]
    return float(sides[0] * sides[1])


def fate(share: float) -> str:
    """Says whether a thing is "shown", "cut" or "missed" by a view that holds this share of its area."""
    return "shown" if share >= SHOWN else "missed" if share <= MISSED else "cut"


def describe(drawn: Drawn) -> dict[str, Any]:
    """Computes what the views of a picture show of it, as a dictionary that JSON can hold.

    Returns:
        `{"things": [name, ...], "views": [{"name", "crop", "area", "fates": [...]}, ...], "shared": s}`. The
        first view is the query, and s is the share of the picture that lies in all crops.
    """
    height, width = drawn.picture.shape[:2]
    whole = (0, 0, height, width)
    boxes = [drawn.boxes["query"], *drawn.boxes["keys"]]
    views = []
    for number, box in enumerate(boxes):
        crop = drawn.is_crop(box)
        letter = "q" if number == 0 else str(number)
        fates = [fate(share_inside(box, thing)) for _, thing in drawn.things]
        name = f"crop {letter}" if crop else "the original"
        views.append({"name": name, "crop": crop, "area": share_inside(box, whole), "fates": fates})
    crops = [box for box in boxes if drawn.is_crop(box)]
    return {
        "things": [name for name, _ in drawn.things],
        "views": views,
        "shared": share_inside(_common(crops), whole) if crops else 1.0,
    }


def differences(drawn: Drawn) -> float:
    """The least number of things that a crop misses and another shows; things that are cut count partly."""
    crops = [box for box in (drawn.boxes["query"], *drawn.boxes["keys"]) if drawn.is_crop(box)]
    if not crops or not drawn.things:
        return 0.0
    shares = np.array([[share_inside(box, thing) for _, thing in drawn.things] for box in crops])
    return float((shares.max(axis=0) - shares).sum(axis=1).min())


def figure(drawn: Drawn) -> Image.Image:
    """Draws the picture with its things, then the same picture for each crop with the rest dimmed.

    The outline of a thing is solid where the crop shows the thing, dashed where the crop cuts it, and crossed
    out where the crop misses it.
    """
    about = describe(drawn)
    crops = [
        (number, box)
        for number, box in enumerate([drawn.boxes["query"], *drawn.boxes["keys"]])
        if drawn.is_crop(box)
    ]
    height, width = drawn.picture.shape[:2]
    scale = TILE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    enlarged = size[0] >= width
    picture = Image.fromarray(drawn.picture).resize(
        size, Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    )
    image = Image.new("RGBA", ((len(crops) + 1) * (size[0] + GAP) - GAP, size[1]), (0, 0, 0, 0))
    image.paste(_with_things(picture, drawn, scale, ["shown"] * len(drawn.things)), (0, 0))
    for place, (number, box) in enumerate(crops, 1):
        tile = _dimmed(picture, box, scale)
        tile = _with_things(tile, drawn, scale, about["views"][number]["fates"])
        colour = QUERY_COLOUR if number == 0 else COLOURS[(number - 1) % len(COLOURS)]
        _outline(ImageDraw.Draw(tile), box, scale, colour, "q" if number == 0 else str(number), size)
        image.paste(tile, (place * (size[0] + GAP), 0))
    return image


def write_figure(drawn: Sequence[Drawn], path: str | os.PathLike) -> None:
    """Writes the figure of the picture whose crops differ most as a PNG, with the numbers of all pictures.

    Args:
        drawn: the views of at least one picture.
        path: path of the PNG file.
    """
    found = [describe(one) for one in drawn]
    # If two pictures differ equally or no things are known, the crops with the smallest common part win.
    chosen = max(range(len(drawn)), key=lambda number: (differences(drawn[number]), -found[number]["shared"]))
    about = PngInfo()
    about.add_text(ABOUT, json.dumps({"format": FORMAT, "chosen": chosen, "pictures": found}))
    with whole_file(path) as file:
        figure(drawn[chosen]).save(file, "PNG", optimize=True, pnginfo=about)


def read_figure(path: str | os.PathLike) -> tuple[bytes, dict[str, Any], int]:
    """Reads the figure as a PNG, the numbers of `describe` for all pictures, and the width in pixels.

    Raises:
        OSError: if the file is missing or is not a PNG.
        ValueError: if the file does not hold the numbers.
    """
    with Image.open(path) as image:
        image.load()
        try:
            about = json.loads(image.text[ABOUT])
            if about["format"] != FORMAT:
                raise ValueError(about["format"])
            _check(about)
        except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"`path` must be a PNG of `write_figure`. Received: {path}") from error
        return png(image), about, image.width


def _check(about):
    for picture in about["pictures"]:
        float(picture["shared"])
        for view in picture["views"]:
            if not set(view["fates"]) <= set(MARKS) or len(view["fates"]) != len(picture["things"]):
                raise ValueError(view["fates"])
            float(view["area"]), str(view["name"]), bool(view["crop"])
    about["pictures"][about["chosen"]]


def _common(boxes):
    boxes = np.asarray(boxes, float)
    low = boxes[:, :2].max(axis=0)
    high = (boxes[:, :2] + boxes[:, 2:]).min(axis=0)
    return (*low, *np.maximum(high - low, 0))


def _dimmed(picture, box, scale):
    tile = Image.blend(picture, Image.new("RGB", picture.size, "#808080"), 0.72)
    top, left, height, width = (round(float(value) * scale) for value in box)
    inside = (left, top, left + width, top + height)
    tile.paste(picture.crop(inside), inside[:2])
    return tile


def _with_things(picture, drawn, scale, fates):
    tile = picture.copy()
    draw = ImageDraw.Draw(tile)
    for (_, (top, left, height, width)), kind in zip(drawn.things, fates, strict=True):
        corners = [value * scale for value in (left, top, left + width, top + height)]
        corners = [corners[0] + 2, corners[1] + 2, corners[2] - 3, corners[3] - 3]
        _rectangle(draw, corners, MARKS[kind], dashed=kind != "shown")
        if kind == "missed":
            draw.line([corners[0], corners[1], corners[2], corners[3]], fill=MARKS[kind], width=3)
            draw.line([corners[0], corners[3], corners[2], corners[1]], fill=MARKS[kind], width=3)
    return tile


def _rectangle(draw, corners, colour, dashed):
    left, top, right, bottom = corners
    for start, end in (
        ((left, top), (right, top)),
        ((right, top), (right, bottom)),
        ((right, bottom), (left, bottom)),
        ((left, bottom), (left, top)),
    ):
        start, end = np.array(start, float), np.array(end, float)
        steps = max(1, round(np.abs(end - start).max() / 8)) if dashed else 1
        for step in range(0, steps, 2):
            ends = [tuple(start + (end - start) * (step + part) / steps) for part in (0, 1)]
            draw.line(ends, fill=colour, width=3)


def _outline(draw, box, scale, colour, name, size):
    top, left, height, width = (round(float(value) * scale) for value in box)
    right, low = min(left + width, size[0]) - 1, min(top + height, size[1]) - 1
    corners = [min(left, right), min(top, low), right, low]  # The picture may be very long.
    draw.rectangle(corners, outline="white", width=6)
    draw.rectangle(corners, outline=colour, width=4)
    draw.rectangle([left, top, left + 22, top + 22], fill=colour)
    draw.text((left + 11, top + 11), name, "white", font(18), anchor="mm")
