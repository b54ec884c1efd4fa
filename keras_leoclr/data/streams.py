"""Streams of encoded pictures, which are read in order and decoded late."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from keras_leoclr.data import decode
from keras_leoclr.data.failures import Failures, ImageError
from keras_leoclr.tensorflow_host import tf

# Headers are read in Python; so many of them per call make the cost of the call negligible.
_HEADERS_PER_CALL = 16
_HEADER = ("route", "orientation", "height", "width")


def decode_dataset(
    encoded: tf.data.Dataset,
    least_pixels: int | None = None,
    parallel: int = 2,
    on_error: str = "raise",
    max_pixels: int = decode.MAX_PIXELS,
    background: Sequence[int] = decode.WHITE,
    failures: Failures | None = None,
) -> tf.data.Dataset:
    """Decodes the pictures of a stream; their order and number stay the same.

    Args:
        encoded: tf.data of `{"image": () bytes, "label": ()}`, such as the attribute `encoded` of the result
            of `load`, shuffled or not; `label` may be missing. `name`, () string, identifies a picture in
            messages.
        least_pixels: large JPEGs are decoded at 1/2, 1/4 or 1/8 of their size as long as at least so
            many pixels remain; None (the default) decodes at full size.
        parallel: number of pictures that are decoded at the same time; 2 by default.
        on_error: "raise" (the default), or "skip": the next good picture replaces a bad one, and at the end
            of the stream the last good one does.
        max_pixels: largest width times height of a picture.
        background: RGB in [0, 255] behind transparent pixels; white by default.
        failures: counts the pictures that are skipped, and limits their number.

    Returns:
        tf.data of `{"image": (H, W, 3) uint8, "label": ()}`; `label` is unchanged.
    """
    decode.check_options(on_error, max_pixels, background, least_pixels, parallel)
    failures = Failures() if failures is None else failures
    skip = on_error == "skip"
    reader = _Reader(least_pixels, tuple(background), max_pixels, skip, failures)
    labelled = "label" in encoded.element_spec

    def add_headers(batch):
        headers = tf.ensure_shape(tf.numpy_function(reader.headers, [batch["image"]], tf.int64), [None, 4])
        return batch | dict(zip(_HEADER, tf.unstack(headers, axis=1), strict=True))

    def add_name(position, element):
        return {"name": tf.strings.join(["picture ", tf.strings.as_string(position)])} | element

    def finished(image, row):
        element = {"image": tf.ensure_shape(image, [None, None, 3])}
        return element | ({"label": row["label"]} if labelled else {})

    def in_graph(row):
        return finished(decode.decode_in_graph(row["image"], row, least_pixels), row)

    def in_python(row):
        image, message = tf.numpy_function(reader.decode, [row["image"], row["name"]], [tf.uint8, tf.string])
        decode.raise_if(message)
        return finished(image, row)

    no_autograph = tf.autograph.experimental.do_not_convert
    named = encoded.enumerate().map(no_autograph(add_name))
    rows = named.batch(_HEADERS_PER_CALL).map(no_autograph(add_headers)).unbatch()
    decoded = decode.in_order(rows, in_graph, in_python, parallel)
    if skip:
        decoded = _fill_gaps(decoded)
    # Inside a function of another data set the number is not known yet.
    count = int(encoded.cardinality()) if tf.executing_eagerly() else -1
    return decoded if count < 0 else decoded.apply(tf.data.experimental.assert_cardinality(count))


class _Reader:
    """The part of reading a stream that runs in Python."""

    def __init__(self, least_pixels, background, max_pixels, skip, failures: Failures):
        self.least_pixels = least_pixels
        self.background = background
        self.max_pixels = max_pixels
        self.skip = skip
        self.failures = failures

    def headers(self, pictures: np.ndarray) -> np.ndarray:
        """Reads headers (N,) bytes to fields `_HEADER` (N, 4); bad headers are left to `decode` to report."""
        self.failures.saw(len(pictures))
        rows = np.zeros((len(pictures), len(_HEADER)), np.int64)
        rows[:, 0] = decode.PILLOW
        for row, picture in zip(rows, pictures, strict=True):
            try:
                header = decode.read_header(io.BytesIO(picture), self.max_pixels)
            except ImageError:
                continue
            row[:] = [getattr(header, name) for name in _HEADER]
        return rows

    def decode(self, picture: bytes, name: bytes) -> tuple[np.ndarray, bytes]:
        """Returns pixels and b""; or no pixels, and a message if that is an error."""
        nothing = np.zeros((0, 0, 3), np.uint8)
        try:
            options = (self.least_pixels, self.background, self.max_pixels)
            return decode.decode_image(io.BytesIO(picture), *options), b""
        except ImageError as error:
            if not self.skip:
                return nothing, decode.advice(name, str(error)).encode()
            self.failures.add(name, str(error))
        try:
            self.failures.check()
        except ValueError as error:
            return nothing, str(error).encode()
        self.failures.warn("Later ones are counted only.")
        return nothing, b""


def _fill_gaps(decoded: tf.data.Dataset) -> tf.data.Dataset:
    """Replaces elements without pixels by the next good one, and by the last good one at the end."""
    spec = decoded.element_spec
    nothing = {name: tf.zeros([size or 0 for size in part.shape], part.dtype) for name, part in spec.items()}
    end = tf.data.Dataset.from_tensors((nothing, True))

    def count_copies(state, element, at_end):
        owed, last = state
        good = tf.size(element["image"]) > 0
        copies = tf.where(good, owed + 1, tf.where(at_end, owed, 0))
        last = tf.cond(good, lambda: element, lambda: last)
        nothing_good = tf.logical_and(copies > 0, tf.equal(tf.size(last["image"]), 0))
        decode.raise_if(tf.where(nothing_good, "No picture of the stream can be decoded.", ""))
        return (tf.where(good, tf.constant(0, tf.int64), owed + 1), last), (last, copies)

    flagged = decoded.map(lambda element: (element, False)).concatenate(end)
    counted = flagged.scan(
        (tf.constant(0, tf.int64), nothing), lambda state, element: count_copies(state, *element)
    )
    return counted.flat_map(lambda element, copies: tf.data.Dataset.from_tensors(element).repeat(copies))
