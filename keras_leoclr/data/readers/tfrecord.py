"""TFRecord files of encoded pictures."""

from __future__ import annotations

import glob
import os
import struct

from keras_leoclr import terminal
from keras_leoclr.data.failures import shown
from keras_leoclr.tensorflow_host import tf

IMAGE_NAMES = ("image/encoded", "image")
LABEL_NAMES = ("image/class/label", "label")
# Of a record: length (8 bytes), its checksum (4), the bytes, their checksum (4).
_FRAME = 16


def tfrecord_files(path_or_glob: str) -> list[str]:
    """The files, sorted; [] if there are none."""
    if os.path.isfile(path_or_glob):
        return [path_or_glob]
    return sorted(path for path in glob.glob(path_or_glob) if os.path.isfile(path))


def encoded_records(files: list[str], progress: bool = True) -> tf.data.Dataset:
    """The pictures of TFRecord files, in the order of the files, not decoded.

    The number of pictures is known unless a file is compressed: the lengths of all records are read.

    Args:
        files: paths; compressed with gzip where they end in .gz.
        progress: whether a bar is shown if counting takes longer than a second.

    Returns:
        tf.data of `{"image": () bytes, "label": () int64, "name": () string}`; without `label` where
        the first record has none.

    Raises:
        ValueError: if a file is damaged, empty, or holds no pictures.
    """
    features = _features(files[0])
    compression = "GZIP" if files[0].endswith(".gz") else ""

    def records(file):
        return (
            tf.data.TFRecordDataset(file, compression)
            .enumerate()
            .map(
                lambda number, record: (
                    tf.strings.join([file, " record ", tf.strings.as_string(number)]),
                    record,
                )
            )
        )

    def parse(name, record):
        kinds = {"image": tf.string, "label": tf.int64}
        wanted = {theirs: tf.io.FixedLenFeature([], kinds[ours]) for ours, theirs in features.items()}
        values = tf.io.parse_single_example(record, wanted)
        return {ours: values[theirs] for ours, theirs in features.items()} | {"name": name}

    dataset = tf.data.Dataset.from_tensor_slices(files).flat_map(records).map(parse)
    if compression:
        return dataset
    count = sum(terminal.progress(map(count_records, files), len(files), "Records", "files", progress))
    return dataset.apply(tf.data.experimental.assert_cardinality(count))


def count_records(path: str) -> int:
    """Number of records of a file that is not compressed, from their lengths alone.

    Raises:
        ValueError: if the file ends within a record.
    """
    count = position = 0
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while position < size:
            length = os.pread(file.fileno(), 8, position)
            position += _FRAME + (struct.unpack("<Q", length)[0] if len(length) == 8 else size)
            count += 1
    if position > size:
        raise ValueError(
            f"{shown(path)}: no TFRecord file, or one that is cut off within record {count - 1}. "
            "Write or copy it again."
        )
    return count


def _features(path: str) -> dict[str, str]:
    """Maps "image" and "label" to the names that the first record has for them."""
    compression = "GZIP" if path.endswith(".gz") else ""
    try:
        first = next(iter(tf.data.TFRecordDataset(path, compression).take(1)), None)
        example = tf.train.Example.FromString(first.numpy()) if first is not None else None
    except Exception as error:  # TensorFlow's and protobuf's own types
        raise ValueError(f"{shown(path)}: no TFRecord file of tf.train.Example, or a damaged one") from error
    if example is None:
        raise ValueError(f"{shown(path)}: a TFRecord file must hold a record. Received: none")
    present = example.features.feature
    images = [name for name in IMAGE_NAMES if len(present[name].bytes_list.value) == 1]
    labels = [name for name in LABEL_NAMES if len(present[name].int64_list.value) == 1]
    if not images:
        raise ValueError(
            f"{shown(path)}: the records must hold an encoded picture as {' or '.join(IMAGE_NAMES)}. "
            f"Received: {sorted(name for name in present if present[name].WhichOneof('kind'))}"
        )
    return {"image": images[0]} | ({"label": labels[0]} if labels else {})
