"""Garments small in the picture: Fashion-MNIST reduced and pasted anywhere on larger black canvases.

    python tools/small_objects.py [--object 12] [--canvas 32] [--output FILE.npz] [--seed 0]

Each garment of the bundled sample of Fashion-MNIST is reduced with an antialiasing filter and lies at a place
drawn uniformly; classes, training and test images stay. A crop often misses some of such a garment or all
of it, an original never does: the case for which LeOCLR (arXiv 2403.06813) was made.
"""

import argparse
import pathlib

import numpy as np
from PIL import Image

import keras_leoclr as kl


def pasted(images: np.ndarray, size: int, canvas: int, draws: np.random.Generator) -> np.ndarray:
    """Reduces images (N, H, W, 1) uint8 to `size` pixels and puts each at its place on a black canvas."""
    out = np.zeros((len(images), canvas, canvas, 1), np.uint8)
    corners = draws.integers(0, canvas - size + 1, (len(images), 2))
    for number, (image, (y, x)) in enumerate(zip(images, corners, strict=True)):
        small = Image.fromarray(image[..., 0]).resize((size, size), Image.Resampling.BOX)
        out[number, y : y + size, x : x + size, 0] = np.asarray(small)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--object", type=int, default=12, help="side of a garment, pixels")
    parser.add_argument("--canvas", type=int, default=32, help="side of the canvas, pixels")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/small_objects.npz"))
    parser.add_argument("--seed", type=int, default=0, help="of the places")
    options = parser.parse_args()
    if not 1 <= options.object <= options.canvas:
        parser.error(f"`--object` must be between 1 and `--canvas`. Received: {options.object}")
    draws, arrays = np.random.default_rng(options.seed), {}
    for split in ("train", "test"):
        elements = list(kl.data.load("fashion_mnist", split).as_numpy_iterator())
        images = np.stack([element["image"] for element in elements])
        arrays[f"{split}_image"] = pasted(images, options.object, options.canvas, draws)
        arrays[f"{split}_label"] = np.array([element["label"] for element in elements])
    options.output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(options.output, **arrays)
    pixels = arrays["train_image"] / 255
    print(f"{options.output}: {len(pixels)} training and {len(arrays['test_image'])} test images")
    print(f"mean {pixels.mean():.3f}, std {pixels.std():.3f}")


if __name__ == "__main__":
    main()
