"""Does the agreement of crops, by a feature that needs no training, tell which method is better?

    python benchmarks/crop_agreement.py [NAME_OR_PATH[@LOW,HIGH] ...] [--images 1000] [--output FILE.json]

The feature is a histogram of gradient orientations in 4 x 4 parts of a view of 16 pixels (Dalal and Triggs,
CVPR 2005). Printed is how often the view of an image is more like another view of the same image than like
one of another image: of two crops, as MoCo v2 pairs them, and of the original and a crop, as LeOCLR does.
50 % is chance. The larger the difference, the more a crop loses that the original shows. After the "@" stands
the area of the crops. With `--output`, what was measured is added to a file; `make results` makes the
table in docs/compare_methods.md of docs/results/crop_agreement.json.
"""

from __future__ import annotations

import argparse
import json
import pathlib

import keras_leoclr as kl
from keras_leoclr.runs.files import write_json
from keras_leoclr.training.crop_agreement import crop_agreement

SETS = (
    *(f"fashion_mnist@{scale}" for scale in ("0.05,0.3", "0.08,1", "0.2,1", "0.3,1", "0.5,1")),
    *(f"fashion_scenes:things={things},size=8" for things in (1, 2, 4, 8)),
    *(f"fashion_scenes:things=2,size={size}" for size in (12, 16)),
    *(f"fashion_scenes@{scale}" for scale in ("0.08,1", "0.2,1", "0.5,1")),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "sets", nargs="*", default=SETS, help="data as `kl.data.load` takes them, @ crop scale"
    )
    parser.add_argument("--images", type=int, default=1000, help="of each set")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file that the results are added to")
    options = parser.parse_args()
    sets = [_parted(name, parser) for name in options.sets]
    measured = {}
    if options.output is not None and options.output.is_file():
        measured = json.loads(options.output.read_text(encoding="utf-8"))
    print("| data | crops | two crops, % | original and crop, % | difference |\n|---|---|---|---|---|")
    for data, low, high in sets:
        found = crop_agreement(kl.data.load(data), (low, high), options.images)
        pair, whole, change = (100 * number for number in (*found, found.difference))
        print(f"| {data} | {low:g} to {high:g} | {pair:.1f} | {whole:.1f} | {change:+.1f} |", flush=True)
        measured[f"{data}@{low:g},{high:g}"] = [round(number, 4) for number in found]
        if options.output is not None:
            write_json(options.output, measured)


def _parted(name, parser):
    """The data, and the smallest and largest area of the crops."""
    data, _, area = name.partition("@")
    try:
        low, high = (float(number) for number in (area or "0.2,1").split(","))
    except ValueError:
        parser.error(f"`sets` must have LOW,HIGH after an `@`, two numbers. Received: {name}")
    return data, low, high


if __name__ == "__main__":
    main()
