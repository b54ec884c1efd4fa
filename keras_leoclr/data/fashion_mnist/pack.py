"""Makes `train.npz` and `test.npz` in this folder from the four IDX files of Fashion-MNIST.

    python pack.py --source /usr/share/datasets/fashion-mnist

The IDX files are in Debian's package dataset-fashion-mnist and at
https://github.com/zalandoresearch/fashion-mnist. Of each class the first 1,000 training and
the first 200 test images are kept, in the order of the source, so the result is the same
wherever it is made.
"""

import argparse
import pathlib

import numpy as np

from keras_leoclr.data.readers.idx import read_idx

FILES = {"train": ("train", 1000), "test": ("t10k", 200)}


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """The indices of the first `count` examples of every class, ascending."""
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in np.unique(labels)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--source", type=pathlib.Path, required=True, help="folder with the .gz files")
    source = parser.parse_args().source
    for split, (name, count) in FILES.items():
        images = read_idx(source / f"{name}-images-idx3-ubyte.gz")
        labels = read_idx(source / f"{name}-labels-idx1-ubyte.gz")
        kept = first_of_each_class(labels, count)
        path = pathlib.Path(__file__).with_name(f"{split}.npz")
        np.savez_compressed(path, image=images[kept][..., None], label=labels[kept])
        print(f"{path.name}: {len(kept)} images, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
