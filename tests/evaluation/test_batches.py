"""Labelled images for evaluation: batches of them, and images that two sources share."""

import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr import evaluation
from keras_leoclr.data import as_source
from keras_leoclr.evaluation import batches
from tests.evaluation.examples import VIEWS, pictures


def as_stream(source):
    return tf.data.Dataset.from_tensors(0).flat_map(lambda _: source.dataset)


@pytest.mark.backend_free
@pytest.mark.parametrize("stream", [False, True])
def test_rows_and_labels_of_a_source(stream):
    source = pictures()
    part = as_source(as_stream(source) if stream else source).subset(np.array([30, 2, 7]))
    assert int(part.cardinality()) == 3
    whole = list(source.as_numpy_iterator())
    for row, element in zip((2, 7, 30), part.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(element["image"], whole[row]["image"])
    assert part.read_labels().tolist() == [2, 1, 0]


@pytest.mark.backend_free
@pytest.mark.parametrize("stream", [False, True])
def test_batches_are_a_function_of_the_seed_and_shuffle_every_image_once(stream):
    source = as_stream(pictures()) if stream else pictures()
    view = batches.clean_view(VIEWS, (0.3, 0.6), 0.5)

    def passes(seed):
        return list(evaluation.labelled_batches(source, view, 12, seed, epochs=2).as_numpy_iterator())

    first, again, other = passes(0), passes(0), passes(1)
    assert len(first) == 6
    for (images, labels), (same, same_labels) in zip(first, again, strict=True):
        np.testing.assert_allclose(images, same, atol=1e-5)
        np.testing.assert_array_equal(labels, same_labels)
    for epoch in (first[:3], first[3:]):
        assert np.bincount(np.concatenate([labels for _, labels in epoch])).tolist() == [12, 12, 12]
    orders = [np.concatenate([labels for _, labels in e]).tolist() for e in (first[:3], first[3:], other[:3])]
    assert len({tuple(order) for order in orders}) == 3


@pytest.mark.backend_free
def test_images_of_many_sizes_are_batched_one_by_one(tmp_path):
    from PIL import Image

    for label in "ab":
        (tmp_path / label).mkdir()
        for side in (9, 14, 20):
            Image.new("RGB", (side, side + 2), (side * 10, 0, 0)).save(tmp_path / label / f"{side}.png")
    source = kl.data.load(tmp_path)
    found = list(
        evaluation.labelled_batches(source, batches.clean_view(VIEWS), 4, epochs=1).as_numpy_iterator()
    )
    assert [images.shape for images, _ in found] == [(4, 8, 8, 3)]
    found = list(evaluation.labelled_batches(source, batches.clean_view(VIEWS), 4).as_numpy_iterator())
    assert [images.shape for images, _ in found] == [(4, 8, 8, 3), (2, 8, 8, 3)]


@pytest.mark.backend_free
def test_images_that_train_and_test_share_are_counted():
    def same_view(source):
        return kl.data.image_batches(source, VIEWS, 7)

    train = pictures()
    test = kl.data.load({**next(iter(pictures(seed=1).batch(36).as_numpy_iterator()))})
    assert evaluation.shared_images(same_view(train), same_view(test)) == 0
    assert evaluation.shared_images(same_view(train), same_view(train.subset(np.arange(5)))) == 5


@pytest.mark.backend_free
def test_every_image_of_a_stream_is_trained_on_though_the_rest_of_a_pass_is_dropped():
    source = pictures().map(lambda e: {**e, "label": tf.cast(e["image"][0, 0, 0], tf.int64)})
    source = as_source(source.filter(lambda e: True).apply(tf.data.experimental.assert_cardinality(36)))
    found = evaluation.labelled_batches(source, batches.clean_view(VIEWS), 16, epochs=20)
    seen = {int(label) for _, labels in found.as_numpy_iterator() for label in labels}
    assert seen == set(source.read_labels().tolist())
