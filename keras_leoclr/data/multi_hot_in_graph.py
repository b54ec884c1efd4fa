"""Labels of pictures, several or one for each, in functions of tf.data."""

from __future__ import annotations

from keras_leoclr.tensorflow_host import tf

# The rule of the labels of images with one label each.
WHOLE = "must have whole numbers as `label`, -1 for an image without one"


def of_numbers(numbers: tf.Tensor, classes: int) -> tf.Tensor:
    """Converts class numbers (K,), with or without repetitions, to zeros and ones (`classes`,) uint8.

    Negative numbers are ignored.
    """
    return tf.reduce_max(tf.one_hot(numbers, classes, dtype=tf.uint8), axis=0)


def checked_in_graph(element: dict[str, tf.Tensor], name: str) -> dict[str, tf.Tensor]:
    """Converts the label (C,) of an element to uint8; fails if it has values other than zero and one.

    Args:
        element: dictionary with `label`.
        name: name of the source, for messages.
    """
    label = tf.convert_to_tensor(element["label"])
    if label.dtype != tf.bool:
        good = tf.reduce_all(tf.logical_or(tf.equal(label, 0), tf.equal(label, 1)))
        words = f"`{name}` must have a `label` of zeros and ones where an image has several labels. Received:"
        with tf.control_dependencies([tf.debugging.Assert(good, [words, label], summarize=20)]):
            label = tf.identity(label)
    return {**element, "label": tf.cast(label, tf.uint8)}


def whole_in_graph(element: dict[str, tf.Tensor], name: str) -> dict[str, tf.Tensor]:
    """Converts the label () of an element from a float to int64; fails if it is no whole number.

    Args:
        element: dictionary with `label`.
        name: name of the source, for messages.
    """
    label = element["label"]
    good = tf.logical_and(tf.math.is_finite(label), tf.equal(label, tf.round(label)))
    words = f"`{name}` {WHOLE}. Received:"
    with tf.control_dependencies([tf.debugging.Assert(good, [words, label])]):
        return {**element, "label": tf.cast(label, tf.int64)}
