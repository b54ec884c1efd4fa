"""ShuffleBN (arXiv 1911.05722, section 3.3) against an encoder that cheats by BatchNorm's statistics."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_leoclr as kl
from tests.case import to_numpy

IMAGE_SHAPE = (8, 8, 16)
IMAGES = 384
GROUPS, GROUP_SIZE = 8, 4
BATCH_SIZE = GROUPS * GROUP_SIZE


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def cheat() -> keras.Model:
    """x - BatchNorm(x): as deviations are about 1, the mean over the images of a group."""
    images = keras.Input(IMAGE_SHAPE)
    normalised = layers.BatchNormalization(center=False, scale=False)(images)
    mean = layers.GlobalAveragePooling2D()(layers.Subtract()([images, normalised]))
    return keras.Model(images, layers.Rescaling(16.0)(mean))


def honest() -> keras.Model:
    images = keras.Input(IMAGE_SHAPE)
    return keras.Model(images, layers.Rescaling(16.0)(layers.GlobalAveragePooling2D()(images)))


def random_images(seed) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((IMAGES, *IMAGE_SHAPE)).astype("float32")


def noisy(images, seed) -> dict:
    """A query and one key view, each with noise of its own."""
    query, key = (
        images + 0.1 * tf.random.stateless_normal(tf.shape(images), tf.random.fold_in(seed, view))
        for view in range(2)
    )
    return {"query": query, "keys": key[:, None]}


def dataset(seed, permute_keys, views=noisy) -> tf.data.Dataset:
    source = tf.data.Dataset.from_tensor_slices(random_images(seed))
    return kl.data.view_dataset(source, views, BATCH_SIZE, seed=seed, permute_keys=permute_keys)


def a_model(backbone) -> kl.LeOCLR:
    model = kl.LeOCLR(
        backbone,
        projection_dim=16,
        hidden_dim=32,
        queue_size=4 * BATCH_SIZE,
        momentum=0.9,
        temperature=0.1,
        bn_groups=GROUPS,
    )
    model.compile(kl.optimizers.SGD(0.05, momentum=0.9))
    return model


def trained(backbone, permute_keys, epochs, seed=0) -> tuple[kl.LeOCLR, dict]:
    keras.utils.set_random_seed(seed)
    model = a_model(backbone())
    history = model.fit(dataset(seed, permute_keys), epochs=epochs, verbose=0, shuffle=False).history
    return model, history


# === The cheat ===


def test_the_cheat_sees_the_group_and_hardly_the_image():
    model = a_model(cheat())
    images = random_images(0)[:BATCH_SIZE]
    parts = [to_numpy(model.backbone(part, training=True)) for part in np.split(images, GROUPS)]
    within_groups = np.mean([part.std(axis=0).mean() for part in parts])
    between_groups = np.std([part.mean(axis=0) for part in parts], axis=0).mean()
    assert within_groups < 0.2 * between_groups


def test_without_shuffling_the_statistics_give_the_keys_away():
    _, history = trained(cheat, permute_keys=False, epochs=3)
    assert history["loss_to_chance"][-1] < 0.25
    assert history["contrast_accuracy"][-1] > 0.95


def test_shuffling_takes_the_statistics_away():
    """Not quite to chance: of the mean over a group, the image itself is a fourth."""
    _, history = trained(cheat, permute_keys=True, epochs=3)
    assert min(history["loss_to_chance"]) > 0.75
    assert history["loss_to_chance"][-1] > 0.85
    assert history["contrast_accuracy"][-1] < 0.3


# === The honest encoder ===


def test_key_rows_belong_to_the_queries_that_the_permutation_names():
    def twice(images, seed):
        return {"query": images, "keys": images[:, None]}

    for batch in dataset(0, permute_keys=True, views=twice).take(3):
        query, keys, permutation = (batch[name].numpy() for name in ("query", "keys", "permutation"))
        np.testing.assert_array_equal(np.sort(permutation), np.arange(BATCH_SIZE))
        assert (permutation != np.arange(BATCH_SIZE)).any()
        np.testing.assert_array_equal(keys[:, 0], query[permutation])


def test_an_honest_encoder_learns_the_same_with_and_without_shuffling():
    plain_model, plain = trained(honest, permute_keys=False, epochs=2)
    shuffled_model, shuffled = trained(honest, permute_keys=True, epochs=2)
    assert plain["loss_to_chance"][-1] < 0.25
    for name, values in plain.items():
        np.testing.assert_allclose(shuffled[name], values, rtol=1e-4, atol=1e-5, err_msg=name)
    # row by row: the queue holds the keys in the order of their queries
    np.testing.assert_allclose(
        to_numpy(shuffled_model.key_queue.keys), to_numpy(plain_model.key_queue.keys), atol=1e-4
    )
