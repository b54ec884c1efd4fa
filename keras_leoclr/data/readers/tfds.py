"""Data sets of TensorFlow Datasets, in any of its file formats."""

from __future__ import annotations

import difflib
import os
import pathlib
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_leoclr.data.images import Images
from keras_leoclr.data.readers.tfds_labels import label_feature
from keras_leoclr.data.splits import SplitError
from keras_leoclr.tensorflow_host import tf

LOOKED_AT = 1000  # a split whose first so many labels are all -1 is treated as unlabelled


class TFDSSource:
    """One split of a data set of TensorFlow Datasets.

    Args:
        name: name of the data set, optionally with configuration and version: "NAME/CONFIG:VERSION".
        split: a split string.
        data_dir: folder where TensorFlow Datasets keeps its files.

    Attributes:
        encoded: whether pictures are read as bytes. That is so for pictures of three or four 8-bit channels
            whose size varies. Others are few or small, and TensorFlow Datasets decodes them.
        random_access: whether the files can be read in any order (array_record).
        mixed: whether the elements are in random order. TensorFlow Datasets writes them so unless the data
            set requests another order.
        label: the `LabelFeature` that says where the labels are in an element; None without labels.
        labelled: whether there are labels. The label -1 means none: a split whose first 1,000 labels are -1,
            such as STL-10's "unlabelled", is unlabelled; so is one whose first 1,000 lists of labels are
            empty.
        several_labels: whether a label is a row (C,) of zeros and ones.
        class_names: names of the classes; () if there are none.

    Raises:
        ValueError: if there is no such data set or split, or it has no pictures.
        OSError: if the data are not on disk and cannot be downloaded.
    """

    def __init__(self, name: str, split: str, data_dir: str | os.PathLike | None):
        self.name = f"tfds:{name}"
        self.split = split
        self.builder = prepared(name, data_dir)
        features = self.builder.info.features
        if "image" not in features or len(features["image"].shape or ()) != 3:
            raise ValueError(
                f"{self.name} must have a feature `image` (H, W, C). Received: {sorted(features or ())}"
            )
        self.image_shape = tuple(features["image"].shape)
        whole_size = None not in self.image_shape
        self.encoded = (
            features["image"].np_dtype == np.uint8 and self.image_shape[2] in (3, 4) and not whole_size
        )
        self.random_access = getattr(self.builder.info.file_format, "value", "") == "array_record"
        self.mixed = not self.builder.info.disable_shuffling
        self.label = label_feature(features, self.name)
        if self.label is not None and not any(map(self.label.says_something, self._first_labels())):
            self.label = None
        self.labelled = self.label is not None
        self.several_labels = self.labelled and self.label.classes > 0
        self.class_names = self.label.class_names if self.labelled else ()

    def stream(self) -> tf.data.Dataset:
        """All elements in the order of the files: `{"image", "label", "name"}`, see `encoded`."""
        import tensorflow_datasets as tfds

        # Without this option, small data sets would be kept in memory.
        config = tfds.ReadConfig(add_tfds_id=True, try_autocache=False)
        dataset = self._split_or_error(
            self.builder.as_dataset,
            split=self.split,
            decoders=tfds.decode.PartialDecoding(
                {"image": True} | ({} if self.label is None else self.label.decoded()), self._decoders()
            ),
            read_config=config,
            shuffle_files=False,
        )
        return dataset.map(self._rename)

    def records(self) -> Any:
        """The elements by number, as serialized bytes; only available with `random_access`."""
        import tensorflow_datasets as tfds

        return self._split_or_error(
            self.builder.as_data_source,
            split=self.split,
            deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES,
        )

    def parse(self, record: tf.Tensor) -> dict[str, tf.Tensor]:
        """Parses serialized bytes () to an element, see `stream`, without `name`."""
        features = self.builder.info.features
        element = features.deserialize_example(record, decoders=self._decoders())
        return self._kept(element)

    def _first_labels(self) -> Iterator[np.ndarray]:
        import tensorflow_datasets as tfds

        if self.random_access:
            records = self.records()
            for number in range(min(LOOKED_AT, len(records))):
                yield self.parse(tf.constant(records[number]))["label"].numpy()
            return
        dataset = self._split_or_error(
            self.builder.as_dataset,
            split=self.split,
            decoders=tfds.decode.PartialDecoding(self.label.decoded()),
            read_config=tfds.ReadConfig(try_autocache=False),
            shuffle_files=False,
        )
        yield from dataset.take(LOOKED_AT).map(self.label.of).as_numpy_iterator()

    def _kept(self, element: dict) -> dict[str, tf.Tensor]:
        label = {} if self.label is None else {"label": self.label.of(element)}
        return {"image": element["image"]} | label

    def _decoders(self) -> dict:
        import tensorflow_datasets as tfds

        return {"image": tfds.decode.SkipDecoding()} if self.encoded else {}

    def _rename(self, element: dict) -> dict:
        return self._kept(element) | {"name": element["tfds_id"]}

    def _split_or_error(self, read, **options):
        try:
            return read(**options)
        except ValueError as error:
            known = sorted(self.builder.info.splits)
            raise SplitError(
                f"`split` must be one of {', '.join(known)} of {self.name}, or a slice. "
                f"Received: split={self.split!r} ({str(error).splitlines()[0]})"
            ) from error


class RecordImages(Images):
    """Elements of an array_record data set.

    If bad pictures are skipped, the next good one in the order of the numbers given to `fetch` replaces them.

    Args:
        source: a source with `random_access`.
        decode: function `(elements, least_pixels, parallel)` that maps a data set of elements with bytes as
            `image` to one of elements with pixels.
    """

    def __init__(self, source: TFDSSource, decode: Any, rows: np.ndarray | None = None):
        self._source = source
        self._decode = decode
        self._records = source.records()
        self._rows = np.arange(len(self._records)) if rows is None else rows
        self.count = len(self._rows)
        self.labelled = source.labelled
        self.several_labels = source.several_labels
        self.class_names = source.class_names
        self.image_shape = (None, None, 3) if source.encoded else source.image_shape

    def fetch(self, indices, least_pixels=None, parallel=2):
        return self._decode(self.encoded(indices), least_pixels, parallel)

    def encoded(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """The encoded elements with the given numbers, in that order: `{"image", "label", "name"}`."""

        def read(numbers):
            return np.array(self._records.__getitems__(self._rows[numbers].tolist()), object)

        def parse(index, record):
            name = tf.strings.join([self._source.name, " record ", tf.strings.as_string(index)])
            return self._source.parse(tf.ensure_shape(record, [])) | {"name": name}

        no_autograph = tf.autograph.experimental.do_not_convert
        records = indices.batch(16).map(
            no_autograph(lambda numbers: (numbers, tf.numpy_function(read, [numbers], tf.string)))
        )
        records = records.map(no_autograph(lambda i, r: (i, tf.ensure_shape(r, [None])))).unbatch()
        return records.map(no_autograph(parse))

    def subset(self, rows):
        return RecordImages(self._source, self._decode, self._rows[rows])


def without_name(dataset: tf.data.Dataset, *_: Any) -> tf.data.Dataset:
    """Drops `name`, which only messages need; it is used instead of a function that decodes."""
    return dataset.map(lambda element: {key: value for key, value in element.items() if key != "name"})


def prepared(name: str, data_dir: str | os.PathLike | None) -> Any:
    """Returns the builder of TensorFlow Datasets after its data were downloaded and prepared.

    Raises:
        ValueError: if there is no such data set.
        OSError: if the data are not on disk and cannot be downloaded.
    """
    import tensorflow_datasets as tfds

    data_dir = None if data_dir is None else os.path.expanduser(os.fspath(data_dir))
    try:
        builder = tfds.builder(name, data_dir=data_dir, try_gcs=False)
    except (ValueError, ImportError, AttributeError) as error:
        bare = name.split("/")[0].split(":")[0]
        if bare in tfds.list_builders():
            raise ValueError(
                f"`name_or_path`: {' '.join(str(error).split())[:300]}. Received: tfds:{name}"
            ) from error
        near = difflib.get_close_matches(bare, tfds.list_builders(), n=3)
        raise ValueError(
            f"`name_or_path` must name a data set of TensorFlow Datasets"
            f"{', such as ' + ', '.join(near) if near else ''}, or one that lies in `data_dir`. "
            f"Received: tfds:{name}, data_dir={data_dir!r}"
        ) from error
    if not builder.is_prepared():
        _download(builder, name)
    return builder


def _download(builder: Any, name: str) -> None:
    try:
        _check_network(builder)
        builder.download_and_prepare()
    except Exception as error:  # The network, the disk, or the data set's own script may fail.
        words = str(error).strip().splitlines() or [""]
        raise OSError(
            f"tfds:{name} does not lie in {builder.data_dir} and cannot be downloaded: "
            f"{type(error).__name__}: {words[0][:200]}. Check the network, or pass the `data_dir` with it."
        ) from error


def _check_network(builder: Any) -> None:
    """Raises OSError if there is no network, where a download would be retried for minutes."""
    downloads = pathlib.Path(builder.data_dir).parents[1] / "downloads"
    try:
        urls = builder.url_infos or ()
    except Exception:  # The data set has no list of downloads, or it cannot be read.
        return
    hosts = sorted(filter(None, (urllib.parse.urlparse(url).hostname for url in urls)))
    if not hosts or downloads.exists() or urllib.request.getproxies():
        return
    try:
        socket.getaddrinfo(hosts[0], 443)
    except OSError as error:
        raise OSError(f"{hosts[0]} is not reachable") from error
