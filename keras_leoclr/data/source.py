"""A source of images, as `load` returns it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_leoclr.data.failures import Failures
from keras_leoclr.data.images import Images
from keras_leoclr.tensorflow_host import tf, untuned

Pick = Callable[[np.ndarray], tf.data.Dataset]
Decode = Callable[[tf.data.Dataset, int | None, int], tf.data.Dataset]


class Source:
    """Images in their order, with labels if there are any. Most sources can also be read by number.

    Iterating over a source gives dictionaries `{"image": (H, W, C), "label": ()}` of TensorFlow tensors,
    without `label` if the source has none. If images have several labels, `label` is (C,) uint8: 1 for each
    of the C classes that is in the image, and otherwise 0. `take`, `skip`, `subset`, `sample` and `permuted`
    return a Source. All other methods of `tf.data.Dataset`, such as `map`, `filter` or `batch`, are available
    and return a `tf.data.Dataset`, which can only be read in its order. Functions that require a
    `tf.data.Dataset` itself, such as `tf.data.Dataset.zip` and `flat_map`, take `source.dataset`.

    Args:
        images: the images by number; or
        dataset: tf.data of the dictionaries; or
        encoded: tf.data of dictionaries with the bytes of a picture as `image`.
        decode: with `encoded`, the function `(encoded, least_pixels, parallel)` that decodes them.
        failures: counts the pictures that are skipped.
        pick: with `encoded`, the function that reads the pictures with the given numbers (N,), in that order
            and no others, encoded as in `encoded`; None if a stream can only be read from its beginning.
        mixed: whether a stream is in random order, so that its first images are a sample of all.
        class_names: names of the classes of a stream; for `images` they are taken from there.
        least_pixels: see `Images.fetch`.
        parallel: number of pictures that are decoded at the same time; 2 by default.

    Attributes:
        images: `Images`, the images by number; None for a stream, which can only be read in its order.
        encoded: see the argument; None if the source is not a stream of encoded pictures.
        decode: see the argument.
        pick: see the argument.
        mixed: see the argument; it has no meaning if there are `images`.
        failures: `Failures`, the pictures that have been skipped so far.
        count: number of images; None if it is not known.
        labelled: whether there are labels.
        several_labels: whether a label is a row (C,) of zeros and ones.
        labels: (`count`,) int64, or (`count`, C) uint8 with several labels per image, if they are held in
            memory; otherwise None. See `read_labels`.
        class_names: names of the classes in the order of their numbers; () if there are none.
        image_shape: (H, W, C), with None where it varies.
        part: checksum of the choices of `take`, `skip`, `subset`, `sample` and `permuted`; "" for all images.
        dataset: all images in their order, as a `tf.data.Dataset`.
    """

    def __init__(
        self,
        images: Images | None = None,
        dataset: tf.data.Dataset | None = None,
        encoded: tf.data.Dataset | None = None,
        decode: Decode | None = None,
        failures: Failures | None = None,
        least_pixels: int | None = None,
        parallel: int = 2,
        pick: Pick | None = None,
        mixed: bool = False,
        class_names: tuple[str, ...] = (),
    ):
        self.images = images
        self.encoded = None if encoded is None else untuned(encoded)
        self.decode = decode
        self.pick = pick
        self.mixed = mixed
        self.part = ""
        self.failures = Failures() if failures is None else failures
        self._dataset = None if dataset is None else untuned(dataset)
        self._class_names = class_names
        self._options = (least_pixels, parallel)
        if self.failures.total is None:
            self.failures.total = self.count

    @property
    def dataset(self) -> tf.data.Dataset:
        if self._dataset is None:
            with tf.init_scope():  # The data set may be requested inside a function of tf.data.
                self._dataset = untuned(self._in_order())
        return self._dataset

    def _in_order(self):
        if self.images is None:
            return self.decode(self.encoded, *self._options)
        dataset = self.images.fetch(tf.data.Dataset.range(self.images.count), *self._options)
        return dataset.apply(tf.data.experimental.assert_cardinality(self.images.count))

    @property
    def count(self) -> int | None:
        if self.images is not None:
            return self.images.count
        count = int((self._dataset if self.encoded is None else self.encoded).cardinality())
        return None if count < 0 else count

    @property
    def labelled(self) -> bool:
        return "label" in self.element_spec if self.images is None else self.images.labelled

    @property
    def several_labels(self) -> bool:
        if self.images is not None:
            return self.images.several_labels
        return self.labelled and self.element_spec["label"].shape.rank == 1

    @property
    def labels(self) -> np.ndarray | None:
        return None if self.images is None else self.images.labels

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._class_names if self.images is None else self.images.class_names

    @property
    def image_shape(self) -> tuple[int | None, int | None, int | None]:
        if self.images is not None:
            return tuple(self.images.image_shape)
        shape = self.element_spec["image"].shape
        return (None,) * 3 if shape.rank is None else tuple(shape)

    @property
    def least_pixels(self) -> int | None:
        """See the argument."""
        return self._options[0]

    @property
    def element_spec(self) -> dict[str, tf.TensorSpec]:
        """The shapes and types of the dictionaries."""
        return self.dataset.element_spec

    def read_labels(self) -> np.ndarray:
        """Reads the labels (N,) int64, or (N, C) uint8 with several labels per image.

        Encoded pictures of a stream are not decoded for this.

        Raises:
            ValueError: if there are no labels.
        """
        self.check_labelled()
        dtype = "uint8" if self.several_labels else "int64"
        if self.labels is not None:
            return np.asarray(self.labels, dtype)
        stream = self.dataset if self.encoded is None else self.encoded
        if self.images is not None and hasattr(self.images, "encoded"):
            stream = untuned(self.images.encoded(tf.data.Dataset.range(self.images.count)))
        labels = list(stream.map(lambda element: element["label"]).as_numpy_iterator())
        return np.array(labels, dtype).reshape(-1, *self.element_spec["label"].shape)

    def check_labelled(self) -> None:
        """Raises ValueError if there are no labels."""
        if not self.labelled:
            raise ValueError(
                "`source` must have labels to be evaluated on. "
                f"Received: elements with {', '.join(sorted(self.element_spec))} alone"
            )

    def subset(self, rows: np.ndarray) -> Source:
        """Selects the images with the given numbers, in ascending order.

        Args:
            rows: (N,) distinct numbers in [0, `count`).
        """
        rows = np.sort(np.asarray(rows, "int64"))
        if len(rows) and (rows[0] < 0 or (self.count is not None and rows[-1] >= self.count)):
            most = "" if self.count is None else f" below {self.count}, the number of images"
            raise ValueError(
                f"`rows` must be numbers from 0{most}. Received: rows from {rows[0]} to {rows[-1]}"
            )
        part = self._part_of("rows", rows)
        if self.images is not None:
            return self._made_of(part, images=self.images.subset(rows))
        if self.pick is not None:
            return self._made_of(
                part, encoded=self.pick(rows), decode=self.decode, pick=lambda inner: self.pick(rows[inner])
            )
        mask = np.zeros(rows.max(initial=-1) + 1, bool)
        mask[rows] = True
        stream = self._dataset if self.encoded is None else self.encoded
        stream = stream.take(len(mask)).enumerate().filter(lambda number, _: tf.gather(mask, number))
        stream = stream.map(lambda _, element: element)
        stream = stream.apply(tf.data.experimental.assert_cardinality(len(rows)))
        if self.encoded is None:
            return self._made_of(part, dataset=stream)
        return self._made_of(part, encoded=stream, decode=self.decode)

    def sample(self, count: int, seed: int) -> Source:
        """Draws `count` images by the seed, in ascending order; returns all if there are no more."""
        if self.count is None or self.count <= count:
            return self
        return self.subset(np.random.default_rng(seed).permutation(self.count)[:count])

    def permuted(self, seed: int) -> Source:
        """Returns all images in a random order that depends on the seed.

        A stream that can only be read from its beginning keeps its order.
        """
        if self.images is None and self.pick is None:
            return self
        order = np.random.default_rng(seed).permutation(self.count)
        part = self._part_of("rows", order)
        if self.images is not None:
            return self._made_of(part, images=self.images.subset(order))
        return self._made_of(
            part, encoded=self.pick(order), decode=self.decode, pick=lambda inner: self.pick(order[inner])
        )

    def take(self, count: int) -> Source:
        """The first `count` images, all if `count` is -1."""
        if self.images is None:  # Taking decoded pictures makes them the first elements of the stream.
            return self._made_of(self._part_of("take", count), dataset=self.dataset.take(count))
        return self.subset(np.arange(self.count if count < 0 else min(int(count), self.count)))

    def skip(self, count: int) -> Source:
        """All but the first `count` images, none if `count` is -1."""
        if self.images is None:
            return self._made_of(self._part_of("skip", count), dataset=self.dataset.skip(count))
        return self.subset(np.arange(self.count if count < 0 else int(count), self.count))

    def reduced(self, least_pixels: int | None) -> Source:
        """The same images with this `least_pixels`; the source itself if it has one, or no large pictures."""
        if least_pixels is None or self.least_pixels is not None or not self._has_larger(least_pixels):
            return self
        streams = {"encoded": self.encoded, "decode": self.decode, "pick": self.pick}
        made = self._made_of(self.part, **(streams if self.images is None else {"images": self.images}))
        made._options = (least_pixels, self._options[1])
        return made

    def _has_larger(self, least_pixels):
        """Whether a picture may have `least_pixels` at half of its size."""
        if self.images is None:
            return self.encoded is not None
        if (sizes := getattr(self.images, "sizes", None)) is None:
            return None in self.image_shape
        return bool((np.prod(np.asarray(sizes) // 2, axis=1) >= least_pixels).any())

    def of_images(self, images: Images) -> Source:
        """The same source of changed images, such as those with other labels, in the same order."""
        return self._made_of(self.part, images=images)

    def _made_of(self, part, **content):
        least_pixels, parallel = self._options
        options = {"least_pixels": least_pixels, "parallel": parallel, "mixed": self.mixed}
        options["class_names"] = self._class_names
        made = Source(**content, failures=self.failures, **options)
        made.part = part
        return made

    def _part_of(self, how: str, numbers: Any) -> str:
        """Computes `part` after a choice from this source: the rows (N,), or a number of images."""
        if not tf.executing_eagerly():  # Inside a function of tf.data nothing is cached, so it is not needed.
            return self.part
        numbers, count = np.atleast_1d(np.asarray(numbers, "int64")), self.count
        if how == "rows":
            whole = count is not None and np.array_equal(numbers, np.arange(count))
        elif how == "take":
            whole = numbers[0] < 0 or (count is not None and numbers[0] >= count)
        else:
            whole = numbers[0] == 0
        if whole:
            return self.part
        digest = hashlib.blake2b(f"{self.part} {how} ".encode(), digest_size=16)
        digest.update(numbers.astype("<i8").tobytes())
        return digest.hexdigest()

    def __iter__(self) -> Iterator[dict[str, tf.Tensor]]:
        return iter(self.dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __bool__(self) -> bool:
        return True  # A tf.data.Dataset is true as well, even if its length is not known.

    def __getattr__(self, name: str) -> Any:
        """The other methods of `tf.data.Dataset`."""
        if name.startswith("_") or not hasattr(tf.data.Dataset, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.dataset, name)

    def __repr__(self) -> str:
        count = "an unknown number of" if self.count is None else f"{self.count:,}"
        shape = " x ".join(str(side or "?") for side in self.image_shape)
        how = "a stream" if self.images is None else "by number"
        labels = "several labels each" if self.several_labels else "labelled"
        labels = labels if self.labelled else "not labelled"
        return f"<Source: {count} images {shape}, {labels}, {how}>"
