"""Sources of images: the bundled set, folders, arrays, TFRecord files and TensorFlow Datasets."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_leoclr.data import decode, streams
from keras_leoclr.data.failures import Failures, shown
from keras_leoclr.data.images import ArrayImages, Images
from keras_leoclr.data.readers import files as index
from keras_leoclr.data.readers import folder, idx, tfrecord
from keras_leoclr.data.readers.tfds import RecordImages, TFDSSource
from keras_leoclr.data.splits import split_name, split_rows
from keras_leoclr.tensorflow_host import tf

__all__ = ["Images", "load"]

BUNDLED = {"fashion_mnist": pathlib.Path(__file__).parent / "fashion_mnist"}
CLASS_NAMES = {
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )
}
# Sub-folders that are a split wherever they are; next to `train` any sub-folder is one.
SPLIT_FOLDERS = {
    "train": ("train",),
    "test": ("test",),
    "validation": ("validation", "val"),
    "val": ("val", "validation"),
}


def load(
    name_or_path: Any,
    split: str = "train",
    data_dir: str | os.PathLike | None = None,
    on_error: str = "raise",
    max_failures: float = 0.01,
    max_pixels: int = decode.MAX_PIXELS,
    background: Sequence[int] = decode.WHITE,
    least_pixels: int | None = None,
    parallel: int = 2,
    progress: bool = True,
) -> tf.data.Dataset:
    """Loads images, and labels where there are any.

    Args:
        name_or_path: one of
            - `"fashion_mnist"`: 10,000 training and 2,000 test images of Fashion-MNIST, 28 x 28, grey,
              that come with this package;
            - a folder of pictures. The sub-folders `train`, `test`, `validation` or `val` are its splits;
              without them, everything is "train". One sub-folder per class gives labels, as in
              torchvision's `ImageFolder`, and pictures directly in the folder none. JPEG, PNG, WebP, BMP,
              GIF and TIFF in any colour mode become RGB. The pictures are in the order of a hash of their
              path, so that a slice is a sample of all classes. Their headers are read once and kept in
              `$XDG_CACHE_HOME/keras_leoclr`;
            - a folder of IDX files, the format of MNIST and Fashion-MNIST: `train-images-idx3-ubyte.gz`,
              `train-labels-idx1-ubyte.gz`, and `t10k-...` for "test", packed or not;
            - a path or glob of TFRecord files whose examples hold an encoded picture as `image/encoded`
              or `image` and, optionally, `image/class/label` or `label`;
            - `"tfds:NAME"`: a data set of TensorFlow Datasets with features `image` and, if it has
              labels, `label`;
            - a path to a `.npz` file with arrays `image` and, optionally, `label`; with splits, the
              arrays are called `train_image`, `train_label` and so on;
            - a dictionary of such arrays.
        split: "train", "test", or another split of the source, and slices of it such as "train[:80%]",
            "train[80%:]" or "train[100:200]". TFRecord files are "train" and have no slices.
        data_dir: where TensorFlow Datasets keeps its files.
        on_error: what happens at a picture that cannot be read. "raise": an error that names it. "skip":
            one whose header cannot be read is left out; one that fails when its pixels are decoded is
            replaced by the next good one, so that the number of images and their order stay. In streams
            every bad picture is replaced.
        max_failures: with "skip", largest share of pictures that may fail, in [0, 1].
        max_pixels: largest width times height of a picture, at most 178,956,970; a larger one cannot be
            read.
        background: RGB in [0, 255] behind transparent pixels.
        least_pixels: large JPEGs are decoded at 1/2, 1/4 or 1/8 of their size as long as at least so
            many pixels remain; None: at full size.
        parallel: pictures decoded at the same time.
        progress: whether a progress bar is shown when the headers of a folder take longer than a second.

    Returns:
        tf.data of `{"image": (H, W, C) uint8 or float, "label": () int64}`, one element per image;
        without `label` where the source has none, or -1, which stands for none, all over. It has the
        attributes
        - `images`: `Images`, the same by number in any order; None for streams (TFRecord files);
        - `encoded`: where `images` is None and pictures are encoded, the tf.data of the same elements
          with their bytes as `image`, for `decode_dataset`; else None;
        - `decode`: with `encoded`, the function `(encoded, least_pixels, parallel)` that decodes them with
          the options given here;
        - `failures`: `Failures`, the pictures that were skipped so far.

    Raises:
        ValueError, FileNotFoundError: if an argument is wrong or the pictures cannot be read.
    """
    decode.check_options(on_error, max_pixels, background, least_pixels, parallel)
    failures = Failures(max_failures=max_failures)
    options = {"background": tuple(background), "max_pixels": max_pixels}

    def decoded(encoded, least_pixels, parallel):
        return streams.decode_dataset(encoded, least_pixels, parallel, on_error, failures=failures, **options)

    def stream(encoded):
        failures.total = int(encoded.cardinality()) if int(encoded.cardinality()) >= 0 else None
        dataset = decoded(encoded, least_pixels, parallel)
        return with_attributes(dataset, images=None, encoded=encoded, decode=decoded, failures=failures)

    if isinstance(name_or_path, dict):
        images = array_images(name_or_path, split, "a dictionary of arrays")
        return dataset_of(images, failures, least_pixels, parallel)
    name = os.path.expanduser(os.fsdecode(name_or_path))
    if name.startswith("tfds:"):
        source = TFDSSource(name.removeprefix("tfds:"), split, data_dir)
        if not source.random_access:
            dataset = source.stream()
            if source.encoded:
                return stream(dataset)
            return with_attributes(without_name(dataset), images=None, encoded=None, failures=failures)
        images = RecordImages(source, decoded if source.encoded else without_name)
    elif name in BUNDLED:
        images = _bundled(name, split)
    elif os.path.isdir(name) and idx.has_idx(name):
        images = array_images(idx.idx_arrays(name, split_name(split)), split, name)
    elif os.path.isdir(name):
        images = _folder(name, split, failures, progress, skip=on_error == "skip", **options)
    elif name.endswith(".npz"):
        images = _npz(name, split)
    else:
        return stream(_tfrecords(name, split, progress))
    return dataset_of(images, failures, least_pixels, parallel)


def dataset_of(
    images: Images, failures: Failures, least_pixels: int | None = None, parallel: int = 2
) -> tf.data.Dataset:
    """All images in the order of their numbers, with the attributes that `load` names."""
    failures.total = images.count if failures.total is None else failures.total
    dataset = images.fetch(tf.data.Dataset.range(images.count), least_pixels, parallel)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(images.count))
    return with_attributes(dataset, images=images, encoded=None, failures=failures)


def with_attributes(dataset: tf.data.Dataset, **attributes: Any) -> tf.data.Dataset:
    """The dataset itself; what is derived from it with `take`, `map` and so on has no attributes."""
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def without_name(dataset: tf.data.Dataset, *_: Any) -> tf.data.Dataset:
    """Drops what only messages need."""
    return dataset.map(lambda element: {key: value for key, value in element.items() if key != "name"})


def split_folder(path: str, split: str) -> str:
    """The folder that holds a split of a folder of pictures.

    Raises:
        ValueError: if there is no such split.
    """
    name = split_name(split)
    folders = sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and entry.name[0] != ".")
    for candidate in SPLIT_FOLDERS.get(name, (name,) if "train" in folders else ()):
        if candidate in folders:
            return os.path.join(path, candidate)
    if name == "train":
        return path
    known = [entry for entry in folders if "train" in folders or entry in SPLIT_FOLDERS]
    if "train" not in folders:
        known.append('"train", which is everything')
    raise ValueError(
        f"`split` of {shown(path)} must name one of its sub-folders: {', '.join(map(shown, known))}. "
        f"Received: split={split!r}"
    )


def array_images(arrays: dict, split: str, origin: str) -> ArrayImages:
    """Arrays `image` and `label`, or `train_image`, `train_label` and so on, after a check."""
    name = split_name(split)
    prefix = f"{name}_" if f"{name}_image" in arrays else ""
    if f"{prefix}image" not in arrays:
        raise ValueError(f"{origin} must hold an array `image` or `{name}_image`. Received: {sorted(arrays)}")
    images = np.asarray(arrays[f"{prefix}image"])
    label = arrays.get(f"{prefix}label")
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"`image` in {origin} must be (N, H, W, C) with C 1 or 3. Received: image.shape={images.shape}"
        )
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise ValueError(f"`image` in {origin} must be uint8 or float. Received: image.dtype={images.dtype}")
    label = None if label is None else np.asarray(label).astype("int64")
    if label is not None and label.shape != images.shape[:1]:
        raise ValueError(
            f"`label` in {origin} must be ({len(images)},), as many as images. "
            f"Received: label.shape={label.shape}"
        )
    if label is not None and len(label) and label.max() < 0:
        label = None
    return ArrayImages(images, label).subset(split_rows(split, len(images)))


def _bundled(name: str, split: str) -> ArrayImages:
    wanted = split_name(split)
    if wanted not in ("train", "test"):
        raise ValueError(
            f'`split` of "{name}" must be "train" or "test", or a slice of them. Received: split={split!r}'
        )
    images = _npz(str(BUNDLED[name] / f"{wanted}.npz"), split)
    images.class_names = CLASS_NAMES[name]
    return images


def _npz(path: str, split: str) -> ArrayImages:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"`name_or_path`: no such file. Received: {path}")
    with np.load(path, allow_pickle=False) as file:
        return array_images(dict(file), split, path)


def _folder(path: str, split: str, failures: Failures, progress: bool, **options: Any) -> Images:
    root = os.fsencode(os.path.abspath(split_folder(path, split)))
    found = index.read_index(root, options["max_pixels"], progress)
    failures.total = len(found.headers) + len(found.failures)
    images = folder.folder_images(root, found, failures, **options)
    return images.subset(split_rows(split, images.count))


def _tfrecords(name: str, split: str, progress: bool) -> tf.data.Dataset:
    files = tfrecord.tfrecord_files(name)
    if not files and (os.sep in name or "." in name):
        raise FileNotFoundError(f"`name_or_path`: no such file or folder. Received: {shown(name)}")
    if not files:
        raise ValueError(
            f'`name_or_path` must be one of {sorted(BUNDLED)}, "tfds:NAME", a folder, a .npz file, TFRecord '
            f"files or a dictionary of arrays. Received: {name!r}"
        )
    if split != "train":
        raise ValueError(
            f'`split` of TFRecord files must be "train", which is all of {shown(name)}; give other files for '
            f"other splits. Received: split={split!r}"
        )
    return tfrecord.encoded_records(files, progress)
