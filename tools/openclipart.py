"""Coloured drawings with labels: Debian's package openclipart-png as arrays of 64 x 64 pixels.

    apt-get install openclipart-png
    python tools/openclipart.py [--source /usr/share/openclipart/png] [--output runs/openclipart.npz]

The Open Clip Art Library, release 0.18, is in the public domain (Creative Commons Public Domain Dedication).
The class of a drawing is its first folder; folders of fewer than 90 drawings and those without a subject
("special", "unsorted") are left out, and so are drawings that are the same at 64 pixels. They lie on white
and are reduced with an antialiasing filter, to a square as the views are. Every fifth, in the order of a
hash of its path, is a test image.
"""

import argparse
import pathlib

import numpy as np
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr.terminal import progress

SIZE, LEAST, NO_SUBJECT = 64, 90, ("special", "unsorted")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--source", default="/usr/share/openclipart/png")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/openclipart.npz"))
    options = parser.parse_args()
    source = kl.data.load(options.source, on_error="skip", max_failures=0.05)
    names, counts = source.class_names, np.bincount(source.labels)
    kept = [n for n, count in enumerate(counts) if count >= LEAST and names[n] not in NO_SUBJECT]

    def small(element):
        image = tf.image.resize(element["image"], (SIZE, SIZE), antialias=True)
        return tf.cast(tf.round(tf.clip_by_value(image, 0.0, 255.0)), tf.uint8), element["label"]

    rows = np.flatnonzero(np.isin(source.labels, kept))
    part = source.subset(rows)
    bar = progress(
        part.map(small, num_parallel_calls=2).as_numpy_iterator(), len(rows), "Reducing", "pictures"
    )
    seen, images, labels = set(), [], []
    for image, label in bar:
        if image.tobytes() not in seen:
            seen.add(image.tobytes())
            images.append(image)
            labels.append(kept.index(label))
    images, labels, test = np.stack(images), np.array(labels), np.arange(len(images)) % 5 == 4
    options.output.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"train_image": images[~test], "train_label": labels[~test]}
    np.savez(options.output, **arrays, test_image=images[test], test_label=labels[test])
    sizes = f"{(~test).sum()} training and {test.sum()} test images"
    print(f"{options.output}: {sizes}, {source.failures.count} files skipped")
    pixels = images[~test].reshape(-1, 3) / 255
    print(f"mean {pixels.mean(0).round(3)}, std {pixels.std(0).round(3)}")
    for number, index in enumerate(kept):
        print(f"{names[index]:20}{(labels == number).sum():6}")


if __name__ == "__main__":
    main()
