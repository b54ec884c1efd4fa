"""BatchNorm by one kernel: the numbers of Keras' own, the layers of the model that was given."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_leoclr as kl
from keras_leoclr.batch_norm import with_fused_batch_norm, without_fused_batch_norm
from tests.case import to_numpy

FUSES = keras.backend.backend() != "jax"


def network(**options):
    images = keras.Input((6, 6, 3))
    inner = keras.Sequential([keras.Input((6, 6, 4)), layers.BatchNormalization(**options), layers.ReLU()])
    x = layers.Conv2D(4, 3, use_bias=False)(layers.ZeroPadding2D(1)(images))
    return keras.Model(images, layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(inner(x)))


def random_weights(model, seed=0):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.5, 1.5, w.shape).astype("float32") for w in model.get_weights()])
    return model


def images(seed=1):
    return np.random.default_rng(seed).normal(2.0, 3.0, (8, 6, 6, 3)).astype("float32")


def trained(model, steps=3):
    """Outputs, losses and weights of a few steps of training."""
    model.compile(optimizer=kl.optimizers.SGD(0.05, momentum=0.9), loss="mse", jit_compile=False)
    losses = [float(model.train_on_batch(images(step), np.ones((8, 6, 6, 4)))) for step in range(steps)]
    return losses, model.get_weights(), to_numpy(model(images(), training=True))


def kinds(model):
    return {type(layer).__name__ for layer in model._flatten_layers()}


def test_training_is_that_of_the_stock_layer():
    expected = trained(random_weights(network()))
    fused = with_fused_batch_norm(random_weights(network()))
    assert ("_Fused" in kinds(fused)) == FUSES
    losses, weights, outputs = trained(fused)
    np.testing.assert_allclose(losses, expected[0], rtol=2e-5)
    for mine, stock in zip(weights, expected[1], strict=True):  # the moving variance is divided by n in both
        np.testing.assert_allclose(mine, stock, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(outputs, expected[2], rtol=1e-4, atol=1e-5)


def test_layers_and_weights_are_shared_and_the_model_stays_stock(tmp_path):
    model = random_weights(network())
    fused = with_fused_batch_norm(model)
    assert "_Fused" not in kinds(model)
    assert [id(v) for v in fused.trainable_variables] == [id(v) for v in model.trainable_variables]
    trained(fused)
    np.testing.assert_array_equal(to_numpy(fused(images())), to_numpy(model(images())))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(to_numpy(loaded(images())), to_numpy(model(images())), rtol=1e-5)


def test_the_stock_model_comes_back_of_the_same_weights():
    fused = with_fused_batch_norm(random_weights(network()))
    stock = without_fused_batch_norm(fused)
    assert "_Fused" not in kinds(stock)
    assert [id(v) for v in stock.variables] == [id(v) for v in fused.variables]
    np.testing.assert_array_equal(to_numpy(stock(images())), to_numpy(fused(images())))
    assert without_fused_batch_norm(stock) is stock


def test_a_layer_that_is_frozen_later_keeps_its_statistics():
    model = random_weights(network())
    fused = with_fused_batch_norm(model)
    model.layers[-1].trainable = False
    before = to_numpy(model.layers[-1].moving_mean)
    outputs = fused(images(), training=True)
    np.testing.assert_array_equal(to_numpy(model.layers[-1].moving_mean), before)
    np.testing.assert_allclose(
        to_numpy(outputs), to_numpy(model(images(), training=True)), rtol=1e-4, atol=1e-5
    )


OTHERS = [{"axis": 1}, {"scale": False}, {"center": False}]
if keras.backend.backend() == "tensorflow":
    OTHERS.append({"synchronized": True})


@pytest.mark.parametrize("options", OTHERS)
def test_what_has_no_kernel_stays_as_it_is(options):
    fused = with_fused_batch_norm(network(**options))
    norms = [x for x in fused._flatten_layers() if type(x).__name__ == "_Fused"]
    assert len(norms) == (1 if FUSES else 0)  # the other layer of the network


def test_vectors_are_normalised_by_the_stock_layer():
    model = keras.Sequential([keras.Input((5,)), layers.BatchNormalization()])
    assert "_Fused" not in kinds(with_fused_batch_norm(model))


def test_models_of_other_classes_are_returned():
    class Own(keras.Model):
        pass

    inputs = keras.Input((6, 6, 3))
    model = Own(inputs, layers.BatchNormalization()(inputs))
    assert with_fused_batch_norm(model) is model


@pytest.mark.skipif(not FUSES, reason="JAX has no other kernel")
def test_half_precision_keeps_statistics_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy("float32")
    stock = keras.models.clone_model(random_weights(model))
    stock.set_weights(model.get_weights())
    fused = with_fused_batch_norm(model)
    made, expected = (ops.cast(m(images(), training=True), "float32") for m in (fused, stock))
    np.testing.assert_allclose(to_numpy(made), to_numpy(expected), atol=0.05)
    for mine, other in zip(model.non_trainable_variables, stock.non_trainable_variables, strict=True):
        assert mine.dtype == "float32"
        np.testing.assert_allclose(to_numpy(mine), to_numpy(other), rtol=1e-2)


def test_both_encoders_are_faster_and_the_backbone_is_stock():
    model = kl.LeOCLR(kl.backbones.resnet_small((8, 8, 3), widths=(8, 16)), projection_dim=8, queue_size=16)
    for encoder in (model.query_encoder, model.key_encoder):
        assert ("_Fused" in kinds(encoder)) == FUSES
    assert "_Fused" not in kinds(model.backbone)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="XLA is TensorFlow's choice")
def test_xla_is_left_off_on_processors_unless_asked_for():
    model = kl.LeOCLR(kl.backbones.resnet_small((8, 8, 3), widths=(8, 16)), projection_dim=8, queue_size=16)
    model.compile(optimizer=kl.optimizers.SGD(0.1))
    assert not model.jit_compile
    model.compile(optimizer=kl.optimizers.SGD(0.1), jit_compile=True)
    assert model.jit_compile
