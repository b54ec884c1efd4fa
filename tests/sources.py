"""Folders, records and numbers that tests of sources write and read."""

import numpy as np
import tensorflow as tf

from tests.pictures import encoded, picture


def as_numpy(dataset):
    return list(dataset.as_numpy_iterator())


def numbers(*values):
    return tf.data.Dataset.from_tensor_slices(np.array(values, np.int64))


def write(folder, **files):
    """Writes `name=bytes`; "__" in a name is a sub-folder, the extension is .png."""
    for name, data in files.items():
        path = folder / (name.replace("__", "/") + ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def flat(value):
    """A small PNG of one colour."""
    return encoded(picture("RGB", 3, 4).point(lambda _: value), "PNG")


def value_of(element):
    return int(element["image"].reshape(-1)[0])


def values(dataset):
    return [value_of(element) for element in as_numpy(dataset)]


def example(data, label=None, image="image/encoded", label_name="image/class/label"):
    features = {image: tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))}
    if label is not None:
        values = label if isinstance(label, list) else [label]
        features[label_name] = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_records(path, records, **options):
    with tf.io.TFRecordWriter(str(path), **options) as writer:
        for record in records:
            writer.write(record)
    return path
