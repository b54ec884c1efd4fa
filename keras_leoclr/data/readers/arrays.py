"""Images in memory: dictionaries of arrays, .npz files, and the data sets that come with the package."""

from __future__ import annotations

import os
import pathlib
import warnings
import zipfile
import zlib

import numpy as np

from keras_leoclr import wording
from keras_leoclr.data.channels import ChannelPixels
from keras_leoclr.data.failures import ImageError, shown
from keras_leoclr.data.images import Images
from keras_leoclr.data.multi_hot import check_class_names, checked_labels, counts, is_multi_hot
from keras_leoclr.data.parts import has_label
from keras_leoclr.data.splits import SET_ASIDE, SplitError, split_name, split_rows
from keras_leoclr.data.value_range import check_array
from keras_leoclr.tensorflow_host import tf

BUNDLED = {"fashion_mnist": pathlib.Path(__file__).parents[1] / "fashion_mnist"}
CLASS_NAMES = {
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )
}


class ArrayImages(Images):
    """Images of one size, held in memory.

    Args:
        image: (N, H, W, C) uint8 or float, pixels in [0, 255].
        label: (N,) int64, or (N, C) uint8 zeros and ones for several labels per image; None without labels.
        class_names: names of the classes in the order of their numbers.
    """

    values_checked = True

    def __init__(self, image: np.ndarray, label: np.ndarray | None = None, class_names: tuple[str, ...] = ()):
        self.count = len(image)
        self.labelled = label is not None
        self.image_shape = image.shape[1:]
        self.labels = label
        self.several_labels = label is not None and is_multi_hot(label)
        self.class_names = class_names
        self._image = image
        self._table = None

    @property
    def pixels(self) -> np.ndarray:
        """The images (N, H, W, C)."""
        return self._image

    def fetch(self, indices, least_pixels=None, parallel=2):
        del least_pixels, parallel  # Arrays need no decoding.
        if self._table is None:
            arrays = {"image": self._image} | ({"label": self.labels} if self.labelled else {})
            with tf.init_scope():  # `fetch` may be called inside a tf.data function.
                # The arrays are an element of a data set, since a constant in a graph is limited to 2 GiB.
                self._table = tf.data.Dataset.from_tensors(arrays).repeat()

        def gather(index, arrays):
            return {name: tf.gather(array, index) for name, array in arrays.items()}

        return tf.data.Dataset.zip((indices, self._table)).map(gather)

    def subset(self, rows):
        if len(rows) == self.count and np.array_equal(rows, np.arange(self.count)):
            return self
        label = self.labels[rows] if self.labelled else None
        return ArrayImages(self._image[rows], label, self.class_names)


def array_images(
    arrays: dict,
    split: str,
    origin: str,
    class_names: tuple[str, ...] = (),
    pixels: ChannelPixels | None = None,
    undivided: str = "train",
) -> ArrayImages:
    """Arrays `image` and `label`, or `train_image`, `train_label` and so on, after a check.

    Args:
        arrays: the arrays by name; `class_names` may be among them.
        split: a split of the arrays, or a slice of one.
        origin: where the arrays come from, for messages.
        class_names: names of the classes in the order of their numbers; by default those in `arrays`.
        pixels: how many channels the images have, and the range of their values; None for pixels in [0, 255]
            of 1 or 3 channels.
        undivided: name of the split that `image` and `label` are; "train" by default.

    Raises:
        SplitError: if there is no such split.
        ValueError: if there are no such arrays, or they do not hold images of pixels in [0, 255].
    """
    prefix = _prefix(arrays, split, origin, undivided)
    images = np.asarray(arrays[f"{prefix}image"])
    label = arrays.get(f"{prefix}label")
    if pixels is not None:
        images = _of_channels(images, pixels, f"{prefix}image", origin)
    elif images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"`image` in {origin} must be (N, H, W, C) with C 1 or 3; `channels` takes other numbers. "
            f"Received: image.shape={images.shape}"
        )
    elif images.dtype != np.uint8 and images.dtype.kind != "f":
        raise ValueError(
            f"`image` in {origin} must be uint8 or float; `value_range` brings values of other types to "
            f"[0, 255]. Received: image.dtype={images.dtype}"
        )
    else:
        check_array(images, f"{prefix}image")
    if label is not None:
        label = checked_labels(label, len(images), origin, f"{prefix}label")
        _check_same_classes(arrays, origin)
        class_names = check_class_names(arrays.get("class_names", class_names), label, origin)
    rows = split_rows(split, len(images))
    if label is not None and len(rows) < len(images):
        _warn_of_classes(label, rows, split, origin)
    if label is not None and not is_multi_hot(label) and len(rows) and label[rows].max() < 0:
        label = None
    return ArrayImages(images, label, class_names).subset(rows)


def array_has_labels(arrays: dict, split: str, origin: str) -> bool:
    """Whether images of a split of arrays have labels; the images themselves are not looked at.

    Args:
        arrays: see `array_images`.
        split: see `array_images`.
        origin: where the arrays come from, for messages.

    Raises:
        ValueError: if there is no such split, or the labels cannot be used.
    """
    prefix = _prefix(arrays, split, origin)
    label = arrays.get(f"{prefix}label")
    if label is None:
        return False
    label = checked_labels(label, len(arrays[f"{prefix}image"]), origin, f"{prefix}label")
    return bool(has_label(label[split_rows(split, len(label))]).any())


def _prefix(arrays: dict, split: str, origin: str, undivided: str = "train") -> str:
    """The beginning of the names of the arrays of a split, such as "train_"; "" for `image` and `label`."""
    name = split_name(split)
    if f"{name}_image" in arrays:
        return f"{name}_"
    if name == undivided and "image" in arrays:
        return ""
    if "image" in arrays:
        raise SplitError(
            f'`split` of {origin} must be "{undivided}", which is all of the array `image`, or a slice of '
            f"it: {wording.settings(**SET_ASIDE)} sets a tenth aside. An array `{name}_image` would be the "
            f'split "{name}". Received: split={split!r}, arrays {", ".join(sorted(arrays))}'
        )
    raise SplitError(
        f"{origin} must hold an array {'`image` or ' * (name == undivided)}`{name}_image`. "
        f"Received: split={split!r}, arrays {', '.join(map(str, sorted(arrays)))}"
    )


def _of_channels(images: np.ndarray, pixels: ChannelPixels, name: str, origin: str) -> np.ndarray:
    """Images (N, H, W, C) of any range as pixels in [0, 255]; those of 8 bits stay uint8."""
    if images.ndim != 4 or images.shape[-1] != pixels.channels:
        raise ValueError(
            f"`{name}` in {origin} must be (N, H, W, C) with C = `channels`, {pixels.channels}. "
            f"Received: {name}.shape={images.shape}"
        )
    if images.dtype.kind not in "uif":
        raise ValueError(f"`{name}` in {origin} must be numbers. Received: {name}.dtype={images.dtype}")
    if images.dtype == np.uint8 and not pixels.value_range:
        return images
    made = np.empty(images.shape, np.float32)
    for number, image in enumerate(images):
        try:
            made[number] = pixels.scaled(image)
        except ImageError as error:
            raise ValueError(
                f"`{name}` in {origin} must have values of the range that becomes [0, 255]. "
                f"Received: image {number} with {error}"
            ) from error
    return made


def _check_same_classes(arrays, origin):
    """Raises ValueError if the labels of two splits do not have the same classes."""
    shapes = {
        name: np.shape(label)[1:]
        for name, label in arrays.items()
        if name.endswith("_label") and isinstance(label, np.ndarray)
    }
    if len(set(shapes.values())) > 1:
        found = ", ".join(
            f"{name} (N{''.join(f', {n}' for n in shape) or ','})" for name, shape in shapes.items()
        )
        raise ValueError(
            f"The labels of all splits in {origin} must be of the same classes, one for each image in all or "
            f"several in all. Received: {found}"
        )


def _warn_of_classes(label, rows, split, origin):
    whole, part = (np.flatnonzero(counts(some[has_label(some)])) for some in (label, label[rows]))
    if len(rows) >= 10 * len(whole) and len(part) <= 0.75 * len(whole):
        warnings.warn(
            f"`split` takes images of {len(part)} of the {len(whole)} classes in {origin}: arrays are sliced "
            "in the order in which they are stored, and these are sorted by class. Shuffle them before they "
            f"are saved. Received: split={split!r}",
            stacklevel=4,
        )


def bundled_images(name: str, split: str, pixels: ChannelPixels | None = None) -> ArrayImages:
    """A data set that comes with the package, one of `BUNDLED`.

    Raises:
        ValueError: if there is no such split.
    """
    wanted = split_name(split)
    if wanted not in ("train", "test"):
        raise SplitError(
            f'`split` of "{name}" must be "train" or "test", or a slice of them. Received: split={split!r}'
        )
    return npz_images(str(BUNDLED[name] / f"{wanted}.npz"), split, CLASS_NAMES[name], pixels, wanted)


def npz_images(
    path: str,
    split: str,
    class_names: tuple[str, ...] = (),
    pixels: ChannelPixels | None = None,
    undivided: str = "train",
) -> ArrayImages:
    """The arrays of a .npz file, see `array_images`.

    Raises:
        FileNotFoundError: if there is no such file.
        SplitError: if there is no such split.
        ValueError: if it does not hold images.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"`name_or_path`: no such file. Received: {path}")
    return array_images(_arrays_of(path), split, path, class_names, pixels, undivided)


def _arrays_of(path: str) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name; no objects are loaded, which could run code."""

    def error(rule, received):
        return ValueError(f"`name_or_path` must be {rule}. Received: {shown(path)}, {received}")

    if not os.path.getsize(path):
        raise error("a .npz file of arrays", "which is empty")
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.lib.npyio.NpzFile):
            with file:
                return {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, zlib.error, EOFError) as problem:
        raise error("a whole .npz file", f"which is damaged: {problem}") from problem
    except ValueError as problem:
        if "allow_pickle" in str(problem):
            what = "which is none, or holds Python objects, which are not loaded"
            raise error("a .npz file of numbers", what) from problem
        raise error("a whole .npz file", f"which is damaged: {problem}") from problem
    raise error("a .npz file, as `np.savez` writes it", f"which is one array of shape {file.shape}")
