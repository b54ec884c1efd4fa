"""TFRecord files of encoded pictures."""

from __future__ import annotations

import array
import glob
import os
import struct
from collections.abc import Callable

import numpy as np

from keras_leoclr import terminal
from keras_leoclr.data.failures import shown
from keras_leoclr.tensorflow_host import tf

IMAGE_NAMES = ("image/encoded", "image")
LABEL_NAMES = ("image/class/label", "label")
# A record consists of its length (8 bytes), a checksum (4), the data, and a checksum (4).
_FRAME = 16


def tfrecord_files(path_or_glob: str) -> list[str]:
    """The paths of the files, sorted; [] if there are none."""
    if os.path.isfile(path_or_glob):
        return [path_or_glob]
    return sorted(path for path in glob.glob(path_or_glob) if os.path.isfile(path))


class RecordFiles:
    """The encoded pictures of TFRecord files, in the order of the files.

    A label is a class number or, with several labels per picture, zeros and ones for each class. The first
    record determines which kind it is, and the number of classes.

    If no file is compressed, the positions of all records are computed from their lengths. Their number is
    then known, and single records can be read without the others.

    Args:
        files: paths of the files; names that end in .gz are compressed with gzip.
        progress: whether to show a progress bar if this takes longer than a second; true by default.

    Raises:
        ValueError: if a file is damaged, empty, or holds no pictures.
    """

    def __init__(self, files: list[str], progress: bool = True):
        self.files = files
        self._features, self._classes = _features(files[0])
        self._compression = "GZIP" if files[0].endswith(".gz") else ""
        self._places = None
        if not self._compression:
            found = terminal.progress(map(record_places, files), len(files), "Records", "files", progress)
            places = list(found)
            parts = [
                np.column_stack([np.full(len(part), file), np.arange(len(part)), part])
                for file, part in enumerate(places)
            ]
            self._places = np.concatenate(parts)  # (N, 4): file, number in the file, start, length

    def stream(self) -> tf.data.Dataset:
        """Yields all pictures: `{"image": () bytes, "label": () int64, "name": () string}`.

        With several labels per picture, `label` is (C,) uint8. It is missing if the first record has none.
        """

        def records(file):
            return (
                tf.data.TFRecordDataset(file, self._compression)
                .enumerate()
                .map(lambda number, record: self._parse(file, number, record))
            )

        dataset = tf.data.Dataset.from_tensor_slices(self.files).flat_map(records)
        if self._places is None:
            return dataset
        return dataset.apply(tf.data.experimental.assert_cardinality(len(self._places)))

    @property
    def pick(self) -> Callable[[np.ndarray], tf.data.Dataset] | None:
        """A function that reads the pictures with given numbers (N,), in order; None for compressed files."""
        return None if self._places is None else self._picked

    def _picked(self, rows):
        files = tf.constant(self.files)

        def parse(place):
            file, number = place[0], place[1]
            record = tf.ensure_shape(tf.numpy_function(self._read, [place], tf.string), [])
            return self._parse(tf.gather(files, file), number, record)

        return tf.data.Dataset.from_tensor_slices(self._places[rows]).map(parse)

    def _read(self, place):
        file, number, start, length = place
        with open(self.files[file], "rb") as opened:
            opened.seek(start)
            record = opened.read(length)
        if len(record) != length:
            raise ValueError(
                f"{shown(self.files[file])}: it is cut off within record {number}. Write or copy it again."
            )
        return record

    def _parse(self, file, number, record):
        kinds = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.VarLenFeature(tf.int64)}
        wanted = {theirs: kinds[ours] for ours, theirs in self._features.items()}
        values = tf.io.parse_single_example(record, wanted)
        element = {ours: values[theirs] for ours, theirs in self._features.items()}
        element["name"] = tf.strings.join([file, " record ", tf.strings.as_string(number)])
        return self._with_label(element) if "label" in element else element

    def _with_label(self, element):
        """Adds a label of the kind of the first record; if that is impossible, an error names the record."""
        label = tf.sparse.to_dense(element["label"])
        rule = f"{self._classes} zeros and ones" if self._classes else "one number"
        good = tf.equal(tf.size(label), self._classes or 1)
        if self._classes:
            bits = tf.logical_or(tf.equal(label, 0), tf.equal(label, 1))
            good = tf.logical_and(good, tf.reduce_all(bits))
        received = tf.strings.reduce_join(tf.strings.as_string(label[:20]), separator=" ")
        message = f": the label must be {rule}, as that of the first record. Received: "
        message = tf.strings.join([element["name"], message, received])
        with tf.control_dependencies([tf.debugging.Assert(good, [message])]):
            label = tf.identity(label)
        if self._classes:
            return {**element, "label": tf.ensure_shape(tf.cast(label, tf.uint8), [self._classes])}
        return {**element, "label": tf.reshape(label, [])}


def record_places(path: str) -> np.ndarray:
    """The positions of the records of an uncompressed file, computed from their lengths alone.

    Returns:
        (N, 2) int64, the first byte of each record and its length.

    Raises:
        ValueError: if the file ends within a record.
    """
    places, position = array.array("q"), 0
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while position < size:
            head = os.pread(file.fileno(), 8, position)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
            places.extend((position + 12, min(length, size)))
            position += _FRAME + length
    if position > size:
        raise ValueError(
            f"{shown(path)}: no TFRecord file, or one that is cut off within record {len(places) // 2 - 1}. "
            "Write or copy it again."
        )
    return np.array(places, np.int64).reshape(-1, 2)


def _features(path: str) -> tuple[dict[str, str], int]:
    """The names of "image" and "label" in the first record, and the number of classes of a label.

    The number is 0 if a picture has one label, or none.
    """
    compression = "GZIP" if path.endswith(".gz") else ""
    try:
        first = next(iter(tf.data.TFRecordDataset(path, compression).take(1)), None)
        example = tf.train.Example.FromString(first.numpy()) if first is not None else None
    except Exception as error:  # TensorFlow and protobuf raise their own types.
        raise ValueError(
            f"{shown(path)}: no TFRecord file of tf.train.Example, or a damaged one; a folder of pictures, a "
            ".npz file and TFRecord files can be read"
        ) from error
    if example is None:
        raise ValueError(f"{shown(path)}: a TFRecord file must hold a record. Received: none")
    present = example.features.feature
    images = [name for name in IMAGE_NAMES if len(present[name].bytes_list.value) == 1]
    labels = [name for name in LABEL_NAMES if len(present[name].int64_list.value)]
    if not images:
        raise ValueError(
            f"{shown(path)}: the records must hold an encoded picture as {' or '.join(IMAGE_NAMES)}. "
            f"Received: {sorted(name for name in present if present[name].WhichOneof('kind'))}"
        )
    if not labels:
        return {"image": images[0]}, 0
    values = present[labels[0]].int64_list.value
    if len(values) > 1 and not {0, 1}.issuperset(values):
        raise ValueError(
            f"{shown(path)}: `{labels[0]}` must be one number, or zeros and ones, one for each class, with "
            f"several labels per picture. Received: {', '.join(map(str, values[:10]))} in the first record"
        )
    return {"image": images[0], "label": labels[0]}, len(values) if len(values) > 1 else 0
