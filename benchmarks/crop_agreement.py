"""Does the agreement of crops, by a feature that needs no training, tell which method is better?

    python benchmarks/crop_agreement.py [NAME_OR_PATH ...] [--crop_scale 0.2,1]

The feature is a histogram of gradient orientations in 4 x 4 parts of a view of 16 pixels (Dalal and Triggs,
CVPR 2005). Printed is how often the view of an image is more like another view of the same image than like
one of another image: of two crops, as MoCo v2 pairs them, and of the original and a crop, as LeOCLR does.
50 % is chance. The larger the difference, the more a crop loses that the original shows.
"""

from __future__ import annotations

import argparse

import numpy as np

import keras_leoclr as kl

SIZE, PARTS, ANGLES = 16, 4, 8
SETS = (
    "fashion_mnist",
    "fashion_scenes:things=1,size=12",
    "fashion_scenes",
    *(f"fashion_scenes:things={things},size=8" for things in (1, 2, 4, 8)),
)


def features(images: np.ndarray) -> np.ndarray:
    """Histograms (N, F) of gradient orientations of images (N, 16, 16, 3), of length 1."""
    down, right = np.gradient(images.mean(axis=-1), axis=(1, 2))
    strength = np.hypot(down, right)
    angle = ((np.arctan2(down, right) + np.pi) / (2 * np.pi) * ANGLES).astype(int) % ANGLES
    split = strength[..., None] * (angle[..., None] == np.arange(ANGLES))
    side = SIZE // PARTS
    split = split.reshape(-1, PARTS, side, PARTS, side, ANGLES).sum(axis=(2, 4))
    found = np.sqrt(split).reshape(len(images), -1)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)


def agreement(views: np.ndarray, others: np.ndarray) -> float:
    """How often a view (N, F) is more like its own other view than like those of other images, in [0, 1]."""
    similar = views @ others.T
    return float((np.diagonal(similar)[:, None] > similar).sum() / (len(views) * (len(views) - 1)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sets", nargs="*", default=SETS, help="as `kl.data.load` takes them")
    parser.add_argument("--crop_scale", default="0.2,1", help="area of the crops, low and high")
    parser.add_argument("--images", type=int, default=1000, help="of each set")
    options = parser.parse_args()
    scale = tuple(float(number) for number in options.crop_scale.split(","))
    plain = {"jitter_probability": 0.0, "grayscale_probability": 0.0, "blur_probability": 0.0}
    views = kl.LeOCLRViews(SIZE, scale, antialias_original=True, jit_compile=False, **plain)
    print("| data | two crops, % | original and crop, % | difference |\n|---|---|---|---|")
    for name in options.sets:
        source = kl.data.load(name).sample(options.images, seed=0)
        batches = list(kl.data.view_dataset(source, views, batch_size=50, seed=0))
        original = features(np.concatenate([np.asarray(batch["query"]) for batch in batches]))
        crops = np.concatenate([np.asarray(batch["keys"]) for batch in batches])
        first, second = (features(crops[:, number]) for number in (0, 1))
        pair, whole = 100 * agreement(first, second), 100 * agreement(original, first)
        print(f"| {name} | {pair:.1f} | {whole:.1f} | {whole - pair:+.1f} |", flush=True)


if __name__ == "__main__":
    main()
