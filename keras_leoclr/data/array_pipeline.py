"""Makes batches for `fit` from pictures in memory with NumPy alone; the model makes the views."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_leoclr import philox
from keras_leoclr.checks import PixelRange, whole_number, whole_seed
from keras_leoclr.data import canvas as canvases

CHUNK = 256  # number of pictures that are checked together


def array_batches(
    images: np.ndarray | Sequence[np.ndarray],
    views: Any,
    batch_size: int,
    seed: int = 0,
    shuffle_buffer: int | None = None,
    permute_keys: bool = False,
    initial_epoch: int = 0,
    initial_batch: int = 0,
    shard: tuple[int, int] = (0, 1),
    prefetch: int = 2,
    canvas: tuple[int, int] | None = None,
    max_pixels: int = canvases.MAX_PIXELS,
) -> Any:
    """Batches of pictures in memory for `LeOCLR(views=...).fit`, where TensorFlow is not installed.

    The order, the pixels and the parameters of the views are bit by bit those of
    `view_dataset(load({"image": images}), views, ..., views_on="device")`. Each pass is the next epoch, and
    its batches come in their order, whatever the argument `shuffle` of `fit` is.

    Args:
        images: (N, H, W, C) array, or N arrays (H, W, C) of different sizes; uint8 or float in [0, 255], C is
            the number of channels of the views, or 1 for views of RGB.
        views: layer such as `LeOCLRViews`, the same as that of the model.
        batch_size: B, pictures per batch, at most N. A last, smaller batch is dropped.
        seed: seed of the order and the views, any whole number of 64 bits; 0 by default.
        shuffle_buffer: see `view_dataset`.
        permute_keys: see `view_dataset`.
        initial_epoch: epoch of the first pass; 0 by default.
        initial_batch: batch that the first pass starts with; see `view_dataset`.
        shard: see `view_dataset`.
        prefetch: number of batches that a thread makes in advance, 2 by default; 0 for none.
        canvas: (height, width) of the canvas in pixels, see `view_dataset`.
        max_pixels: largest height times width of a picture.

    Returns:
        A `keras.utils.PyDataset` of the batches that `view_dataset(..., views_on="device")` describes; on the
        TensorFlow backend a `tf.data.Dataset` of them, since Keras does not tell TensorFlow the shapes of a
        PyDataset.

    Raises:
        ValueError: if an argument is wrong, or the images are not pixels in [0, 255].

    Example:
        ```python
        views = kl.LeOCLRViews(image_size=32)
        model = kl.LeOCLR(backbone, views=views)
        model.compile(kl.optimizers.SGD(0.03, momentum=0.9))
        model.fit(kl.data.array_batches(images, views, batch_size=256), epochs=200)
        ```
    """
    whole_number("batch_size", batch_size, 1)
    for name, value in {"initial_epoch": initial_epoch, "initial_batch": initial_batch}.items():
        whole_number(name, value, 0)
    seed = whole_seed(seed)
    whole_number("prefetch", prefetch, 0)
    whole_number("max_pixels", max_pixels, 1)
    canvases.check_place("device", views, canvas)
    size = canvases.shard_size(shard, batch_size)
    images = _checked(images, max_pixels, len(views.settings.keys.mean))
    if len(images) < batch_size:
        raise ValueError(
            "`batch_size` must not be larger than the number of images. "
            f"Received: batch_size={batch_size}, {len(images)} images"
        )
    canvases.check_initial_batch(initial_batch, len(images) // batch_size)
    whole_number("shuffle_buffer", len(images) if shuffle_buffer is None else shuffle_buffer, 1)
    if isinstance(images, np.ndarray):
        shape, sizes = images.shape[1:], None
    else:
        shape, sizes = (None, None, images[0].shape[-1]), np.array([image.shape[:2] for image in images])
    chosen = canvases.canvas_of(canvas, shape, sizes, views.settings.least_pixels)
    canvases.check_memory(chosen, shape[-1], size, prefetch + 2)
    batches = ArrayBatches(
        images=images,
        views=views,
        canvas=chosen,
        batch_size=batch_size,
        seed=seed,
        chunk=min(shuffle_buffer or len(images), len(images)),
        permute_keys=permute_keys,
        start=(initial_epoch, initial_batch),
        rows=slice(shard[0] * size, (shard[0] + 1) * size),
        prefetch=prefetch,
    )
    return _in_tf_data(batches) if keras.backend.backend() == "tensorflow" else batches


class ArrayBatches(keras.utils.PyDataset):
    """The batches that `array_batches` returns; the arguments are checked there.

    Args:
        images: the pictures.
        views: layer that draws random numbers and computes parameters.
        canvas: height and width of the canvas.
        batch_size: pictures of a batch, of all shards together.
        seed: seed of the order and the views.
        chunk: number of pictures that are shuffled together.
        permute_keys: whether the key views are permuted.
        start: epoch and batch of the first pass.
        rows: the rows of a batch that this shard makes.
        prefetch: number of batches that are made in advance.
    """

    def __init__(
        self,
        images: np.ndarray | Sequence[np.ndarray],
        views: Any,
        canvas: canvases.Canvas,
        batch_size: int,
        seed: int,
        chunk: int,
        permute_keys: bool,
        start: tuple[int, int],
        rows: slice,
        prefetch: int,
    ):
        super().__init__()
        self.images, self.views, self.canvas = images, views, canvas
        self.batch_size, self.seed, self.chunk = batch_size, seed, chunk
        self.permute_keys, self.rows, self.prefetch = permute_keys, rows, prefetch
        self.epoch, self.first = start
        # Keras shuffles the numbers of batches by default. Whichever it asks for first is the first batch.
        self._places: dict[int, int] = {}
        self._passed = False
        self._order: tuple[int, np.ndarray] = (-1, np.array([], np.int64))
        self._lock = threading.Lock()
        self._thread = concurrent.futures.ThreadPoolExecutor(1) if prefetch else None
        self._ahead: dict[tuple[int, int], concurrent.futures.Future] = {}

    def __len__(self) -> int:
        """The number of batches of the pass."""
        return max(0, len(self.images) // self.batch_size - self.first)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(f"`index` must be in [0, {len(self)}). Received: index={index}")
        with self._lock:
            number = self.first + self._places.setdefault(index, len(self._places))
            if self._thread is None:
                return self.batch(self.epoch, number)
            last = len(self.images) // self.batch_size
            wanted = [(self.epoch, each) for each in range(number, min(number + self.prefetch + 1, last))]
            self._ahead = {
                key: self._ahead.get(key) or self._thread.submit(self.batch, *key) for key in wanted
            }
            batch = self._ahead[wanted[0]]
        return batch.result()

    def __iter__(self):
        """Yields the batches of a pass; the next call yields those of the next epoch."""
        with self._lock:
            if self._passed:
                self._go_on()
            self._passed = True
        for index in range(len(self)):
            yield self[index]

    def on_epoch_begin(self) -> None:
        """Moves on to the next epoch if all batches of this one were taken.

        Raises:
            ValueError: if the first pass began within an epoch. Keras counted its batches for all epochs of
                a `fit`, and would take as few of the next, and then repeat them.
        """
        with self._lock:
            if len(self._places) < len(self):
                return
            if self.first:
                raise ValueError(
                    f"`initial_batch` must be 0 in a `fit` of several epochs: a first `fit` takes the last "
                    f"{len(self)} batches of this epoch, a second one the epochs after it, from new batches "
                    f"with initial_epoch={self.epoch + 1}. `Checkpoint.fit` does both. "
                    f"Received: initial_batch={self.first}"
                )
            self._go_on()

    def _go_on(self):
        self.epoch, self.first, self._places = self.epoch + 1, 0, {}

    def batch(self, epoch: int, number: int) -> dict[str, np.ndarray]:
        """Makes one batch of an epoch; it depends only on these two numbers and the seed.

        Args:
            epoch: number of the epoch, >= 0.
            number: number of the batch, from 0.
        """
        epoch_seed = philox.fold_in(np.array([self.seed, 0], np.int64), np.int64(epoch))
        batch_seed = philox.fold_in(epoch_seed, np.int64(number))
        first = number * self.batch_size
        chosen = self._numbers(epoch, epoch_seed)[first : first + self.batch_size][self.rows]
        if isinstance(self.images, np.ndarray):
            pictures = canvases.pixels(self.images[chosen])
        else:
            pictures = [canvases.pixels(self.images[place]) for place in chosen]
        made = self.canvas.placed(pictures)
        drawn = self.views.draw_arrays(self.batch_size, batch_seed)
        own = {view: {name: rows[self.rows] for name, rows in draws.items()} for view, draws in drawn.items()}
        made |= self.views.packed(own, made["size"][:, 0], made["size"][:, 1])
        if self.permute_keys:
            order = philox.shuffled(len(chosen), batch_seed)
            made["permutation"] = (self.rows.start + order).astype(np.int32)
        return made

    def _numbers(self, epoch, epoch_seed):
        """The numbers of the pictures in the order of an epoch."""
        if self._order[0] != epoch:
            count, order = len(self.images), []
            for place, start in enumerate(range(0, count, self.chunk)):
                chunk_seed = philox.fold_in(epoch_seed, np.int64(-1 - place))
                order.append(start + philox.shuffled(min(self.chunk, count - start), chunk_seed))
            self._order = epoch, np.concatenate(order)
        return self._order[1]


def _in_tf_data(batches):
    """Wraps the batches in tf.data with their shapes, which TensorFlow needs to know."""
    from keras_leoclr.tensorflow_host import tf, untuned

    first = batches.batch(batches.epoch, 0)
    spec = {name: tf.TensorSpec(rows.shape, rows.dtype) for name, rows in first.items()}
    dataset = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=spec)
    if not batches.first:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))
    dataset = untuned(dataset.prefetch(1))
    dataset.batches = batches
    return dataset


def _checked(images, max_pixels, channels):
    """Returns the images unchanged, (N, H, W, C) or a list of (H, W, C), after checking their pixels."""
    whole = isinstance(images, np.ndarray)
    if whole and images.ndim == 4:
        shapes, kinds = [images.shape[1:]], {images.dtype}
    elif isinstance(images, (list, tuple)) and images:
        images = [np.asarray(image) for image in images]
        shapes, kinds = [image.shape for image in images], {image.dtype for image in images}
    else:
        received = f"an array of shape {images.shape}" if whole else type(images).__name__
        raise ValueError(
            "`images` must be an array (N, H, W, C), or a list of arrays (H, W, C) of many sizes. "
            f"Received: {received}"
        )
    for number, shape in enumerate(shapes):
        allowed = (1, 3) if channels == 3 else (channels,)
        if len(shape) != 3 or shape[-1] not in allowed or shape[-1] != shapes[0][-1]:
            which = "1 or 3" if channels == 3 else channels
            raise ValueError(
                f"`images` must have {which} channels, last, and all of them the same number. "
                f"Received: picture {number} of shape {shape}"
            )
        canvases.check_pixels("images", shape, max_pixels, None if whole else number)
    for kind in kinds:
        if kind != np.uint8 and kind.kind != "f":
            raise ValueError(f"`images` must be uint8 or float, in [0, 255]. Received: images.dtype={kind}")
    if kinds != {np.dtype(np.uint8)}:
        seen = PixelRange("images", enough=np.inf)
        for start in range(0, len(images), CHUNK if whole else 1):
            seen.see(images[start : start + CHUNK] if whole else images[start][None])
        seen.check()
    return images
