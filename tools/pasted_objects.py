"""Makes a small data set in VOC's format from real pictures: garments pasted into photographs.

    python tools/pasted_objects.py DIR [--train 600] [--val 200] [--size 96] [--seed 0]

The garments are the bundled part of Fashion-MNIST, the photographs scikit-learn's two, a temple and a flower
(Creative Commons), or any folder of pictures. Boxes and masks are exact: one knows where things were put.
Training and validation pictures share neither a garment nor a place of a photograph.
"""

import argparse
import pathlib
import xml.etree.ElementTree as ElementTree

import numpy as np
from PIL import Image

from keras_leoclr import data

CLASSES = "t-shirt trouser pullover dress coat sandal shirt sneaker bag boot".split()
COLOURS = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
PARTS = {"train": (0.0, 0.6), "val": (0.6, 1.0)}  # range of the width of each photograph
OUTLINE = 24  # Pixels of a garment are brighter than this value, out of 255.
OBJECTS = (1, 4)
ENLARGED = (1.0, 2.0)
LARGEST = round(28 * ENLARGED[1])  # pixels
OVERLAP = 0.1  # share of a garment's box that may be covered by others
TRIES = 20


def photographs(folder=None):
    """Loads the photographs as RGB arrays."""
    if folder is None:
        from sklearn.datasets import load_sample_images

        return [np.asarray(image) for image in load_sample_images().images]
    return [element["image"] for element in data.load(str(folder)).as_numpy_iterator()]


def make(folder, pictures, size=96, seed=0, photos=None):
    """Writes the data set.

    Args:
        folder: path of a new or empty folder.
        pictures: numbers of pictures, {"train": n, "val": n}.
        size: side of the pictures in pixels; 96 by default.
        seed: seed of everything that is random; 0 by default.
        photos: folder of photographs; by default scikit-learn's are used.
    """
    folder = pathlib.Path(folder)
    backgrounds = photographs(photos)
    for name in (
        "JPEGImages",
        "Annotations",
        "SegmentationClass",
        "ImageSets/Main",
        "ImageSets/Segmentation",
    ):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("\n".join(["background", *CLASSES]) + "\n")
    for number, (split, count) in enumerate(pictures.items()):
        rng = np.random.default_rng([seed, number])
        source = data.load("fashion_mnist", "test" if split == "val" else "train")
        garments = list(source.shuffle(10_000, seed=seed).take(4 * count).as_numpy_iterator())
        names = [f"{split}_{index:05d}" for index in range(count)]
        for name in names:
            _picture(folder, name, _background(rng, backgrounds, PARTS[split], size), garments, rng)
        for sets in ("Main", "Segmentation"):
            (folder / "ImageSets" / sets / f"{split}.txt").write_text("\n".join(names) + "\n")


def _background(rng, photos, part, size):
    photo = photos[rng.integers(len(photos))]
    height, width = photo.shape[:2]
    low, high = (int(share * width) for share in part)
    side = int(rng.uniform(min(size, height, high - low), min(height, high - low)))
    top, left = rng.integers(0, height - side + 1), rng.integers(low, high - side + 1)
    crop = Image.fromarray(photo[top : top + side, left : left + side])
    return np.array(crop.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0))


def _picture(folder, name, pixels, garments, rng):
    size = len(pixels)
    mask = np.zeros((size, size), np.uint8)
    boxes = []
    for _ in range(rng.integers(OBJECTS[0], OBJECTS[1] + 1)):
        garment = garments[rng.integers(len(garments))]
        side = round(28 * rng.uniform(*ENLARGED))
        grey = np.asarray(
            Image.fromarray(garment["image"][..., 0]).resize((side, side), Image.Resampling.BICUBIC)
        )
        shape = grey > OUTLINE
        rows, columns = np.flatnonzero(shape.any(1)), np.flatnonzero(shape.any(0))
        if not len(rows):
            continue
        inside = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        grey, shape = grey[inside], shape[inside]
        height, width = shape.shape
        for _ in range(TRIES):
            top, left = rng.integers(0, size - height + 1), rng.integers(0, size - width + 1)
            if not _covered((top, left, top + height, left + width), boxes):
                break
        else:
            continue
        place = np.s_[top : top + height, left : left + width]
        tint = rng.uniform(0.4, 1.0, 3)
        pixels[place][shape] = (grey[shape][:, None] * tint).astype(np.uint8)
        mask[place][shape] = garment["label"] + 1
        boxes.append((top, left, top + height, left + width, CLASSES[garment["label"]]))
    Image.fromarray(pixels).save(folder / "JPEGImages" / f"{name}.jpg", quality=95)
    image = Image.fromarray(mask)
    image.putpalette(np.vstack([[0, 0, 0], COLOURS[1:]]).astype(np.uint8).tobytes())
    image.save(folder / "SegmentationClass" / f"{name}.png")
    _annotation(folder / "Annotations" / f"{name}.xml", f"{name}.jpg", size, boxes)


def _covered(box, others):
    """Whether a box covers too much of another box, or another box covers too much of it."""
    for other in others:
        height = min(box[2], other[2]) - max(box[0], other[0])
        width = min(box[3], other[3]) - max(box[1], other[1])
        least = min((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other))
        if height > 0 and width > 0 and height * width > OVERLAP * least:
            return True
    return False


def _annotation(path, filename, size, boxes):
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = filename
    sizes = ElementTree.SubElement(root, "size")
    for name, value in (("width", size), ("height", size), ("depth", 3)):
        ElementTree.SubElement(sizes, name).text = str(value)
    for top, left, bottom, right, name in boxes:
        entry = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(entry, "name").text = name
        ElementTree.SubElement(entry, "difficult").text = "0"
        box = ElementTree.SubElement(entry, "bndbox")
        # VOC counts pixels from 1, and a box includes its last pixel.
        for side, value in (("xmin", left + 1), ("ymin", top + 1), ("xmax", right), ("ymax", bottom)):
            ElementTree.SubElement(box, side).text = str(value)
    ElementTree.ElementTree(root).write(path, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--train", type=int, default=600, help="pictures")
    parser.add_argument("--val", type=int, default=200, help="pictures")
    parser.add_argument("--size", type=int, default=96, help="side, pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--photos", type=pathlib.Path, help="folder of photographs")
    given = parser.parse_args()
    if given.size < LARGEST:
        parser.error(f"`--size` must be >= {LARGEST}, the side of a large garment. Received: {given.size}")
    for name in ("train", "val"):
        if getattr(given, name) < 1:
            parser.error(f"`--{name}` must be >= 1. Received: {getattr(given, name)}")
    make(given.folder, {"train": given.train, "val": given.val}, given.size, given.seed, given.photos)


if __name__ == "__main__":
    main()
