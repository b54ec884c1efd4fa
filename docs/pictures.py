"""Draws the pictures of two pages: `python docs/pictures.py`. They are the same on every machine.

`crops.png`: scenes of several garments, each with the boxes of two random crops, and what the crops show.
`centred.png`: the same of pictures that show one garment which fills them.
"""

import argparse
import pathlib

import numpy as np
from PIL import Image, ImageDraw

import keras_leoclr as kl
from keras_leoclr.views import sampling

FOLDER = pathlib.Path(__file__).parent / "pictures"
COLOURS = ("#d1495b", "#00798c")  # of the first and of the second crop
SCALE, GAP = 5, 12  # pixels per pixel, space between pictures
SCENES = {3: 185, 10: 97, 13: 66}  # scene: seed of its crops; they were chosen to show different things
GARMENTS = {0: 0, 1: 1, 3: 3}  # garment: seed of its crops, which were not chosen


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
    beside = Image.new("RGB", (3 * side + 2 * GAP, side), "white")
    whole = enlarged(pixels, side)
    draw = ImageDraw.Draw(whole)
    for number, (top, left, height, width) in enumerate(boxes.astype(int)):
        corners = [left * SCALE, top * SCALE, (left + width) * SCALE - 1, (top + height) * SCALE - 1]
        draw.rectangle(corners, outline=COLOURS[number], width=2)
        crop = enlarged(pixels[top : top + height, left : left + width], side)
        ImageDraw.Draw(crop).rectangle([0, 0, side - 1, side - 1], outline=COLOURS[number], width=3)
        beside.paste(crop, ((number + 1) * (side + GAP), 0))
    beside.paste(whole, (0, 0))
    return beside


def sheet(dataset: str, chosen: dict[int, int], name: str) -> None:
    """Draws and writes a sheet.

    Args:
        dataset: name of the data set whose training pictures are drawn.
        chosen: seed of the crops by number of the picture.
        name: name of the file.
    """
    views = kl.LeOCLRViews(image_size=32, crop_scale=(0.2, 1.0))
    rows = []
    pictures = kl.data.load(dataset, "train").subset(np.array(list(chosen)))
    for element, seed in zip(pictures.as_numpy_iterator(), chosen.values(), strict=True):
        pixels = element["image"]
        draws = sampling.draw(views.settings.keys, 2, np.array([seed, 0]))
        boxes = sampling.parameters(views.settings.keys, draws, *pixels.shape[:2])["box"]
        rows.append(row(pixels, boxes))
    width, height = rows[0].size
    drawn = Image.new("RGB", (width, len(rows) * (height + GAP) - GAP), "white")
    for number, each in enumerate(rows):
        drawn.paste(each, (0, number * (height + GAP)))
    FOLDER.mkdir(exist_ok=True)
    drawn.quantize(64).save(FOLDER / name, optimize=True)
    print(FOLDER / name)


def main():
    """Draws both sheets."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    sheet("fashion_scenes", SCENES, "crops.png")
    sheet("fashion_mnist", GARMENTS, "centred.png")


if __name__ == "__main__":
    main()
