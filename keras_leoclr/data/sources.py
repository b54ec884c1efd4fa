"""Sources of images: the bundled set, TensorFlow Datasets, `.npz` files and arrays."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

BUNDLED = {"fashion_mnist": pathlib.Path(__file__).parent / "fashion_mnist"}


def load(name_or_path: Any, split: str = "train", data_dir: str | None = None) -> tf.data.Dataset:
    """Loads images, and labels where there are any.

    Args:
        name_or_path: one of
            - `"fashion_mnist"`: 10,000 training and 2,000 test images of Fashion-MNIST, 28 x 28, grey,
              that come with this package;
            - `"tfds:NAME"`: a data set of TensorFlow Datasets with features `image` and, if it has
              labels, `label`;
            - a path to a `.npz` file with arrays `image` and, optionally, `label`; with splits, the
              arrays are called `train_image`, `train_label` and so on;
            - a dictionary of such arrays.
        split: "train", "test", or any split string of TensorFlow Datasets.
        data_dir: where TensorFlow Datasets keeps its files.

    Returns:
        tf.data of `{"image": (H, W, C) uint8 or float, "label": () int}`, one element per image;
        without `label` where the source has none.
    """
    if isinstance(name_or_path, dict):
        return _from_arrays(name_or_path, split, "a dictionary of arrays")
    name = str(name_or_path)
    if name in BUNDLED:
        if split not in ("train", "test"):
            raise ValueError(f'`split` of "{name}" must be "train" or "test". Received: split={split!r}')
        name = str(BUNDLED[name] / f"{split}.npz")
    if name.startswith("tfds:"):
        return _from_tfds(name.removeprefix("tfds:"), split, data_dir)
    if name.endswith(".npz"):
        if not pathlib.Path(name).is_file():
            raise FileNotFoundError(f"`name_or_path`: no such file. Received: {name}")
        with np.load(name, allow_pickle=False) as file:
            return _from_arrays(dict(file), split, name)
    raise ValueError(
        f'`name_or_path` must be one of {sorted(BUNDLED)}, "tfds:NAME", a .npz file or a dictionary of '
        f"arrays. Received: {name!r}"
    )


def _from_arrays(arrays: dict, split: str, origin: str) -> tf.data.Dataset:
    prefix = f"{split}_" if f"{split}_image" in arrays else ""
    if f"{prefix}image" not in arrays:
        raise ValueError(
            f"{origin} must hold an array `image` or `{split}_image`. Received: {sorted(arrays)}"
        )
    elements = {"image": np.asarray(arrays[f"{prefix}image"])}
    if f"{prefix}label" in arrays:
        elements["label"] = np.asarray(arrays[f"{prefix}label"]).astype("int64")
    images = elements["image"]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"`image` in {origin} must be (N, H, W, C) with C 1 or 3. Received: image.shape={images.shape}"
        )
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise ValueError(f"`image` in {origin} must be uint8 or float. Received: image.dtype={images.dtype}")
    if "label" in elements and elements["label"].shape != images.shape[:1]:
        raise ValueError(
            f"`label` in {origin} must be ({len(images)},), as many as images. "
            f"Received: label.shape={elements['label'].shape}"
        )
    return tf.data.Dataset.from_tensor_slices(elements)


def _from_tfds(name: str, split: str, data_dir: str | None) -> tf.data.Dataset:
    import tensorflow_datasets as tfds

    dataset = tfds.load(name, split=split, data_dir=data_dir, shuffle_files=False)
    spec = dataset.element_spec
    if "image" not in spec:
        raise ValueError(f"tfds:{name} must have a feature `image`. Received: {sorted(spec)}")
    kept = [key for key in ("image", "label") if key in spec]
    return dataset.map(
        lambda element: {key: element[key] for key in kept}, num_parallel_calls=tf.data.AUTOTUNE
    )
