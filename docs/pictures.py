"""Draws the pictures of the page on the ideas: `python docs/pictures.py`. They are the same on every machine.

`crops.png`: scenes of several garments, each with the boxes of two random crops, and what the crops show.
"""

import pathlib

import numpy as np
from PIL import Image, ImageDraw

import keras_leoclr as kl
from keras_leoclr.views import sampling

FOLDER = pathlib.Path(__file__).parent / "pictures"
COLOURS = ("#d1495b", "#00798c")  # of the first and of the second crop
SCALE, GAP = 5, 12  # pixels per pixel, space between pictures
CHOSEN = {3: 185, 10: 97, 13: 66}  # scene: seed of its crops; they were chosen to show different things


def enlarged(pixels: np.ndarray, side: int) -> Image.Image:
    """Grey or colour pixels (H, W, C) as a square picture of `side` pixels, without smoothing."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
    return image.resize((side, side), Image.Resampling.NEAREST)


def row(pixels: np.ndarray, boxes: np.ndarray) -> Image.Image:
    """A scene with its boxes, then each crop, side by side.

    Args:
        pixels: (H, W, C) uint8.
        boxes: (2, 4), top, left, height and width of the crops.
    """
    side = pixels.shape[0] * SCALE
    sheet = Image.new("RGB", (3 * side + 2 * GAP, side), "white")
    whole = enlarged(pixels, side)
    draw = ImageDraw.Draw(whole)
    for number, (top, left, height, width) in enumerate(boxes.astype(int)):
        corners = [left * SCALE, top * SCALE, (left + width) * SCALE - 1, (top + height) * SCALE - 1]
        draw.rectangle(corners, outline=COLOURS[number], width=2)
        crop = enlarged(pixels[top : top + height, left : left + width], side)
        ImageDraw.Draw(crop).rectangle([0, 0, side - 1, side - 1], outline=COLOURS[number], width=3)
        sheet.paste(crop, ((number + 1) * (side + GAP), 0))
    sheet.paste(whole, (0, 0))
    return sheet


def main():
    """Draws and writes the sheet."""
    views = kl.LeOCLRViews(image_size=32, crop_scale=(0.2, 1.0))
    rows = []
    scenes = kl.data.load("fashion_scenes", "train").subset(np.array(list(CHOSEN)))
    for element, seed in zip(scenes.as_numpy_iterator(), CHOSEN.values(), strict=True):
        pixels = element["image"]
        draws = sampling.draw(views.settings.keys, 2, np.array([seed, 0]))
        boxes = sampling.parameters(views.settings.keys, draws, *pixels.shape[:2])["box"]
        rows.append(row(pixels, boxes))
    width, height = rows[0].size
    sheet = Image.new("RGB", (width, len(rows) * (height + GAP) - GAP), "white")
    for number, each in enumerate(rows):
        sheet.paste(each, (0, number * (height + GAP)))
    FOLDER.mkdir(exist_ok=True)
    sheet.quantize(64).save(FOLDER / "crops.png", optimize=True)
    print(FOLDER / "crops.png")


if __name__ == "__main__":
    main()
