"""Batches of images and seeds, from which a model makes the views within its step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from tests.case import random_images, small_model


def views_layer(size=16, **options):
    return kl.LeOCLRViews(size, **{"crop_scale": (0.3, 1.0), "jit_compile": False, **options})


def raw_dataset(**options):
    source = kl.data.load({"image": random_images(16, 12, 12)})
    return kl.data.view_dataset(source, None, 8, seed=1, **options)


on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's operations")


@on_tensorflow
def test_views_within_the_step_train_and_repeat():
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        model = small_model(views=views_layer(8))
        history = model.fit(raw_dataset(), epochs=2, shuffle=False, verbose=0).history
        assert np.isfinite(history["loss"]).all()
        weights.append(model.query_encoder.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@on_tensorflow
def test_views_within_the_step_are_those_of_their_seed():
    model = small_model(views=views_layer(8))
    batch = next(iter(raw_dataset()))
    made = model._views_of(batch)
    expected = views_layer(8)(batch["image"], batch["seed"][0])
    for name, value in expected.items():
        np.testing.assert_allclose(made[name], value, atol=1e-5)


@on_tensorflow
def test_keys_that_are_permuted_within_the_step_are_those_that_the_host_would_permute():
    """The same permutation of the same batch, and the key views in its order."""
    model = small_model(views=views_layer(8), bn_groups=2)
    source = kl.data.load({"image": random_images(16, 12, 12)})
    options = {"seed": 1, "permute_keys": True, "initial_epoch": 1}
    within = kl.data.view_dataset(source, None, 8, **options)
    on_host = kl.data.view_dataset(source, views_layer(8), 8, **options)
    for batch, of_host in zip(within, on_host, strict=True):
        np.testing.assert_array_equal(batch["permutation"], of_host["permutation"])
        made = model._views_of(batch)
        plain = model._views_of({name: batch[name] for name in ("image", "seed")})
        np.testing.assert_array_equal(made["query"], plain["query"])
        np.testing.assert_array_equal(made["keys"], tf.gather(plain["keys"], of_host["permutation"]))
        np.testing.assert_array_equal(made["permutation"], of_host["permutation"])
        # back in the order of the queries, as the loss takes them
        keys = model._encode_keys(made, False)
        np.testing.assert_allclose(keys, model._encode_keys(plain, False), atol=1e-5)
    assert np.isfinite(model.fit(within, shuffle=False, verbose=0).history["loss"]).all()


@on_tensorflow
def test_keys_are_not_permuted_within_the_step_of_several_devices():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        backbone = kl.backbones.resnet_small((8, 8, 3), widths=(8, 16))
    model = kl.LeOCLR(backbone, projection_dim=8, queue_size=16, views=views_layer(8))
    with pytest.raises(ValueError, match='a "permutation" of the keys needs one device.*Received: 2 devices'):
        model._views_of(next(iter(raw_dataset(permute_keys=True))))


@on_tensorflow
def test_a_saved_model_keeps_its_views(tmp_path):
    model = small_model(views=views_layer(8))
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    images, seed = random_images(), [0, 1]
    np.testing.assert_array_equal(copy.views(images, seed)["keys"], model.views(images, seed)["keys"])


@on_tensorflow
def test_a_model_with_views_of_its_own_names_what_it_needs():
    model = small_model(views=views_layer(8))
    with pytest.raises(
        ValueError, match='must be a dictionary with "image" and "seed". Received: tuple|list'
    ):
        model._views_of(([1], [2]))


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="allowed there")
def test_views_within_the_step_are_refused_on_other_backends():
    with pytest.raises(ValueError, match="`views` within the step need the TensorFlow backend"):
        small_model(views=views_layer(8))
