"""Does the agreement of crops, by a feature that needs no training, tell which method is better?

    python benchmarks/crop_agreement.py [NAME_OR_PATH ...] [--crop_scale 0.2,1]

The feature is a histogram of gradient orientations in 4 x 4 parts of a view of 16 pixels (Dalal and Triggs,
CVPR 2005). Printed is how often the view of an image is more like another view of the same image than like
one of another image: of two crops, as MoCo v2 pairs them, and of the original and a crop, as LeOCLR does.
50 % is chance. The larger the difference, the more a crop loses that the original shows.
"""

from __future__ import annotations

import argparse

import keras_leoclr as kl
from keras_leoclr.training.crop_agreement import crop_agreement

SETS = (
    "fashion_mnist",
    "fashion_scenes:things=1,size=12",
    "fashion_scenes",
    *(f"fashion_scenes:things={things},size=8" for things in (1, 2, 4, 8)),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sets", nargs="*", default=SETS, help="as `kl.data.load` takes them")
    parser.add_argument("--crop_scale", default="0.2,1", help="area of the crops, low and high")
    parser.add_argument("--images", type=int, default=1000, help="of each set")
    options = parser.parse_args()
    scale = tuple(float(number) for number in options.crop_scale.split(","))
    print("| data | two crops, % | original and crop, % | difference |\n|---|---|---|---|")
    for name in options.sets:
        found = crop_agreement(kl.data.load(name), scale, options.images)
        pair, whole, change = (100 * number for number in (*found, found.difference))
        print(f"| {name} | {pair:.1f} | {whole:.1f} | {change:+.1f} |", flush=True)


if __name__ == "__main__":
    main()
