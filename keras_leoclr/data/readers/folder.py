"""Opens folders of pictures, with their classes and with files that cannot be read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_leoclr.data import channels, decode
from keras_leoclr.data.failures import Failures, ImageError, files, shown
from keras_leoclr.data.images import Images
from keras_leoclr.data.readers.archives import open_file, parted
from keras_leoclr.data.readers.files import SUFFIXES, Index, read_index
from keras_leoclr.data.readers.folder_splits import other_splits, split_folder, split_folders
from keras_leoclr.data.readers.folder_warnings import left_out, warn_of_classes, warn_of_formats, warn_of_runs
from keras_leoclr.data.readers.labels_csv import listed_labels
from keras_leoclr.data.splits import split_rows
from keras_leoclr.tensorflow_host import tf

_NUMBERS = ("route", "orientation", "height", "width")


class FolderImages(Images):
    """The pictures of an index, as RGB of varying size.

    A picture whose pixels cannot be decoded is an error or, with `skip`, is replaced by the next good one in
    the order of the numbers (the first follows the last), so that number and order stay the same.

    Args:
        root: path of the folder.
        index: the pictures that the folder holds.
        failures: counts the pictures that are replaced.
        skip: whether pictures that fail are replaced; false by default.
        background: RGB in [0, 255] behind transparent pixels; white by default.
        max_pixels: largest width times height of a picture.
        listed: names of the classes and labels (N, C) uint8, or (N,) int64, of the pictures of the index, if
            the labels do not come from folders; `((), None)` for no labels.
        pixels: number of channels of the pictures and range of their values, if these are kept as they are;
            None for RGB of 8 bits.
        without: names of first-level folders that hold other splits; none by default.

    Attributes:
        mixture: the index, if it has pictures of several places; otherwise None.
    """

    def __init__(
        self,
        root: bytes,
        index: Index,
        failures: Failures,
        skip: bool = False,
        background: tuple[int, int, int] = decode.WHITE,
        max_pixels: int = decode.MAX_PIXELS,
        listed: tuple[tuple[str, ...], np.ndarray] | None = None,
        pixels: channels.ChannelPixels | None = None,
        without: frozenset[bytes] = frozenset(),
    ):
        self.root = root
        self.without = without
        self.failures = failures
        self.skip = skip
        self.background = background
        self.max_pixels = max_pixels
        self.class_names, labels = classes(index) if listed is None else listed
        self.several_labels = labels is not None and labels.ndim == 2
        self.mixture = index if index.mixed else None
        self.labelled = labels is not None
        self.pixels = pixels
        self.values_checked = pixels is not None  # each picture is, where it is read
        self.image_shape = (None, None, 3 if pixels is None else pixels.channels)
        self._paths = np.array([os.path.join(root, path) for path in index.headers], object)
        numbers = [[getattr(header, name) for name in _NUMBERS] for header in index.headers.values()]
        self._numbers = np.array(numbers, np.int64).reshape(-1, len(_NUMBERS))
        self.labels = labels
        self.count = len(self._paths)
        self._packed = index.mixed and any(parted(path) for path in self._paths)
        self._tensors: tuple[tf.Tensor, ...] | None = None

    @property
    def paths(self) -> list[str]:
        """The path of each image, in the order of their numbers."""
        return [os.fsdecode(path) for path in self._paths]

    @property
    def sizes(self) -> np.ndarray:
        """(height, width) of each image, (N, 2) int64, after its EXIF orientation is applied."""
        orientation, height, width = self._numbers[:, 1], self._numbers[:, 2], self._numbers[:, 3]
        turned = orientation >= 5
        return np.stack([np.where(turned, width, height), np.where(turned, height, width)], axis=1)

    def fetch(self, indices, least_pixels=None, parallel=2):
        paths, numbers, labels = self._as_tensors()
        kind = tf.uint8 if self.pixels is None else tf.float32

        def look_up(index):
            row = dict(zip(_NUMBERS, tf.unstack(tf.gather(numbers, index)), strict=True))
            return row | {"index": index, "path": tf.gather(paths, index), "label": tf.gather(labels, index)}

        def in_graph(row):
            return self._element(decode.decode_in_graph(self._content(row["path"]), row, least_pixels), row)

        def in_python(row):
            image, index, message = tf.numpy_function(
                self._reader(least_pixels), [row["index"]], [kind, tf.int64, tf.string]
            )
            decode.raise_if(message)
            return self._element(image, look_up(tf.ensure_shape(index, [])))

        rows = indices.map(tf.autograph.experimental.do_not_convert(look_up))
        if self.pixels is not None:
            return rows.map(tf.autograph.experimental.do_not_convert(in_python), parallel, deterministic=True)
        return decode.in_order(rows, in_graph, in_python, parallel)

    def subset(self, rows):
        part = object.__new__(FolderImages)
        part.__dict__.update(self.__dict__)
        part._paths, part._numbers = self._paths[rows], self._numbers[rows]
        part.labels = self.labels[rows] if self.labelled else None
        part.count = len(rows)
        part._tensors = None
        return part

    def read(self, index: int, least_pixels: int | None = None) -> np.ndarray:
        """Decodes one image with Pillow.

        Returns:
            (H, W, 3) uint8, or with `pixels` (H, W, C) float32 in [0, 255].

        Raises:
            ImageError: if it cannot be decoded; the message is only the reason.
        """
        try:
            with open_file(self._paths[index]) as file:
                if self.pixels is not None:
                    return self.pixels.read(file)
                return decode.decode_image(file, least_pixels, self.background, self.max_pixels)
        except OSError as error:
            raise ImageError(f"cannot be opened: {error.strerror}") from error

    def _content(self, path: tf.Tensor) -> tf.Tensor:
        """The bytes of a file, also of one in an archive, ()."""
        if not self._packed:
            return tf.io.read_file(path)
        return tf.ensure_shape(tf.numpy_function(lambda name: open_file(name).read(), [path], tf.string), [])

    def _as_tensors(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Paths (N,), the numbers (N, 4) listed in `_NUMBERS`, and labels (N,) or (N, C)."""
        if self._tensors is None:
            labels = self.labels if self.labelled else np.zeros(self.count, np.int64)
            with tf.init_scope():  # `fetch` may be called inside a tf.data function.
                self._tensors = (
                    tf.constant(self._paths.tolist(), tf.string),
                    tf.constant(self._numbers),
                    tf.constant(labels),
                )
        return self._tensors

    def _element(self, image: tf.Tensor, row: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        element = {"image": tf.ensure_shape(image, self.image_shape)}
        return element | ({"label": row["label"]} if self.labelled else {})

    def _reader(self, least_pixels: int | None) -> Callable[[Any], tuple[np.ndarray, np.int64, bytes]]:
        """The part of `fetch` in Python: maps an index to image, index that was read, and message or b""."""

        def read(index):
            try:
                for number in range(index, index + (self.count if self.skip else 1)):
                    image = self._read_or_count(number % self.count, least_pixels)
                    if image is not None:
                        return image, np.int64(number % self.count), b""
                raise ValueError(
                    "`name_or_path` must hold a picture that can be decoded; `leoclr data DIR --verify` "
                    f"names the damaged ones. Received: {shown(self.root)}, with {self.count} damaged ones"
                )
            except ValueError as error:
                kind = np.uint8 if self.pixels is None else np.float32
                nothing = np.zeros((0, 0, self.image_shape[-1]), kind)
                return nothing, np.int64(index), str(error).encode()

        return read

    def _read_or_count(self, number: int, least_pixels: int | None) -> np.ndarray | None:
        path = self._paths[number]
        if path in self.failures:
            return None
        try:
            return self.read(number, least_pixels)
        except ImageError as error:
            if not self.skip:
                raise ValueError(decode.advice(path, str(error))) from error
            self.failures.add(path, str(error))
            self.failures.check()
            self.failures.warn("Later ones are counted only.")
            return None


def labels_digest(images: FolderImages) -> str:
    """Checksum of the labels of pictures with several labels, and of the names of the classes."""
    digest = hashlib.blake2b("\0".join(images.class_names).encode("utf-8", "surrogateescape"), digest_size=12)
    digest.update(images.labels.tobytes())
    return digest.hexdigest()


def classes(index: Index) -> tuple[tuple[str, ...], np.ndarray | None]:
    """The names of the classes and the label of each picture; () and None if the folder has no classes.

    The first-level folder is the class, also for pictures in deeper folders. If a picture lies directly in
    the folder, there are no classes. A first-level folder without pictures is a class, too, so that class
    numbers depend on the folders alone.
    """
    names = [path.split(b"/", 1)[0] if b"/" in path else None for path in index.headers]
    if None in names or not names:
        return (), None
    number = {name: label for label, name in enumerate(index.folders)}
    return tuple(map(shown, index.folders)), np.array([number[name] for name in names], np.int64)


def folder_images(
    path: str, split: str, failures: Failures, progress: bool = True, **options: Any
) -> FolderImages:
    """Opens the pictures of a split of a folder.

    Args:
        path: path of the folder.
        split: a split, see `split_folder`, or a slice of one.
        failures: counts the pictures that cannot be read.
        progress: whether to show progress if reading the headers takes longer than a second.
        **options: `skip`, `background`, `max_pixels` and `pixels` of `FolderImages`.

    Raises:
        ValueError: for the reasons given in `split_folder` and `indexed_images`.
    """
    path = os.path.abspath(path)
    root = os.fsencode(split_folder(path, split))
    without = options["without"] = other_splits(path, os.fsdecode(root))
    most = options.get("max_pixels", decode.MAX_PIXELS)
    found = index_of(root, most, progress, options.get("pixels"), without)
    single = classes(found)[1] is not None
    listed = listed_labels(path, os.fsdecode(root), split_folders(path), single)
    if listed is not None:
        found, options["listed"] = listed.apply(found, options.get("skip", False))
    failures.total = len(found.headers) + len(found.failures)
    images = indexed_images(root, found, failures, **options)
    return images.subset(split_rows(split, images.count))


def index_of(
    root: bytes,
    max_pixels: int,
    progress: bool,
    pixels: channels.ChannelPixels | None,
    without: frozenset[bytes] = frozenset(),
) -> Index:
    """`read_index` of the pictures that `pixels` reads; of RGB of 8 bits where it is None.

    Raises:
        ValueError: if pictures differ in the type of their values, and no range for all is given.
    """
    if pixels is None:
        return read_index(root, max_pixels, progress, without=without)
    found = read_index(root, max_pixels, progress, channels.SUFFIXES, pixels.header, without)
    check_types(found, pixels)
    return found


def check_types(found: Index, pixels: channels.ChannelPixels) -> None:
    """Raises ValueError if pictures differ in the type of their values, and no range for all is given."""
    kinds = {header.mode: path for path, header in found.headers.items()}
    if len(kinds) > 1 and not pixels.value_range:
        named = ", ".join(f"{kind} in {shown(path)}" for kind, path in sorted(kinds.items()))
        raise ValueError(
            "`value_range` must be given where the pictures of a folder have values of several types: each "
            f"type would be brought to [0, 255] by a range of its own. Received: {named}"
        )


def indexed_images(root: bytes, index: Index, failures: Failures, **options: Any) -> FolderImages:
    """Makes `FolderImages` after checking the index.

    Raises:
        ValueError: if there is no picture, if pictures fail and `skip` is not set, or if more fail than
            `failures` allows.
    """
    for path, reason in index.failures.items():
        failures.add(os.path.join(root, path), reason)
    if failures.count and not options.get("skip"):
        raise ValueError(
            f"`name_or_path`: {files(failures.count)} of {failures.total:,} cannot be read as pictures: "
            f'{failures.first()}. Repair or remove them, or pass on_error="skip" to go on without them. '
            f"Received: {shown(root)}"
        )
    failures.check()
    if not index.headers:
        suffixes = SUFFIXES if options.get("pixels") is None else channels.SUFFIXES
        ignored = ", ".join(f"{count:,} {shown(kind)}" for kind, count in index.ignored.most_common(5))
        unreadable = f"{files(failures.count)} that cannot be read: {failures.first()}"
        raise ValueError(
            "`name_or_path` must hold pictures, files with one of the extensions "
            f"{' '.join(suffix.decode() for suffix in suffixes)}. Received: {shown(root)} with "
            + (unreadable if failures.count else f"other files: {ignored}" if ignored else "no files")
            + (f"; {left_out(index.runs)}" if index.runs else "")
        )
    images = FolderImages(root, index, failures, **options)
    warn_of_formats(images, index)
    warn_of_runs(root, index)
    warn_of_classes(images, index)
    failures.warn()
    return images
