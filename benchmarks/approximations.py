"""How far the fused views are from what they stand for, in units of 255. Not a speed: a size.

    python benchmarks/approximations.py --folder DIR_OF_JPEGS

- enlarged crops: those of a batch see half a pixel beyond their border, those of single images do not;
- reducing without antialiasing, against with it.

The colour operations are compared with torchvision's sequence in tests/views/test_colour.py.
"""

import argparse
import pathlib

import numpy as np
import tensorflow as tf

import keras_leoclr as kl

BYTES = {"mean": (0.0, 0.0, 0.0), "std": (1 / 255, 1 / 255, 1 / 255)}
CLEAN = {"jitter_probability": 0.0, "grayscale_probability": 0.0, "blur_probability": 0.0}


def border(size):
    """Mean difference of crops made as a batch and one by one, of noisy smooth images of `size`."""
    rng = np.random.default_rng(0)
    smooth = tf.image.resize(rng.uniform(0, 255, (64, 8, 8, 3)), (size, size)).numpy()
    images = np.clip(smooth + rng.normal(0, 10, smooth.shape), 0, 255).astype("uint8")
    layer = kl.LeOCLRViews(size, original_photometrics=False, **CLEAN, **BYTES)
    seed = tf.constant([0, 1])
    draws = layer.draw(len(images), seed)
    single = [
        layer.views_of_one(image, tf.nest.map_structure(lambda rows, row=row: rows[row], draws))["keys"]
        for row, image in enumerate(images)
    ]
    return np.abs(layer(images, seed)["keys"] - np.stack(single)).mean()


def antialiasing(paths, size):
    images = [tf.io.decode_jpeg(tf.io.read_file(str(path)), channels=3) for path in paths]
    shape = (size, size)
    return np.mean(
        [
            np.abs(tf.image.resize(image, shape, antialias=True) - tf.image.resize(image, shape)).mean()
            for image in images
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="folder of JPEGs")
    paths = sorted(parser.parse_args().folder.rglob("*.jp*g"))[::20]
    print(f"enlarged crops, images of 32 px: {border(32):.2f} of 255")
    for size in (224, 96, 32):
        difference = antialiasing(paths, size)
        print(f"{len(paths)} photographs to {size} px, antialiased or not: {difference:.1f} of 255")


if __name__ == "__main__":
    main()
