"""Faster kernels: the numbers of Keras' own layers, and these layers for all else than training."""

import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_leoclr as kl
from keras_leoclr.backbones.kernels import with_fast_kernels
from tests.case import batched, random_views, small_model, to_numpy

FUSES = keras.backend.backend() != "jax"
TORCH = keras.backend.backend() == "torch"


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
    fused = with_fast_kernels(random_weights(network()))
    assert ("_BatchNorm" in kinds(fused)) == FUSES
    losses, weights, outputs = trained(fused)
    np.testing.assert_allclose(losses, expected[0], rtol=2e-5)
    for mine, stock in zip(weights, expected[1], strict=True):  # the moving variance is divided by n in both
        np.testing.assert_allclose(mine, stock, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(outputs, expected[2], rtol=1e-4, atol=1e-5)


def test_layers_and_weights_are_shared_and_the_model_stays_stock(tmp_path):
    model = random_weights(network())
    fused = with_fast_kernels(model)
    assert "_BatchNorm" not in kinds(model)
    assert [id(v) for v in fused.trainable_variables] == [id(v) for v in model.trainable_variables]
    trained(fused)
    np.testing.assert_array_equal(to_numpy(fused(images())), to_numpy(model(images())))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(to_numpy(loaded(images())), to_numpy(model(images())), rtol=1e-5)


def test_a_layer_that_is_frozen_later_keeps_its_statistics():
    model = random_weights(network())
    fused = with_fast_kernels(model)
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
    fused = with_fast_kernels(network(**options))
    norms = [x for x in fused._flatten_layers() if type(x).__name__ == "_BatchNorm"]
    assert len(norms) == (1 if FUSES else 0)  # the other layer of the network


def test_vectors_are_normalised_by_the_stock_layer():
    model = keras.Sequential([keras.Input((5,)), layers.BatchNormalization()])
    assert "_BatchNorm" not in kinds(with_fast_kernels(model))


def test_models_of_other_classes_are_returned():
    class Own(keras.Model):
        pass

    inputs = keras.Input((6, 6, 3))
    model = Own(inputs, layers.BatchNormalization()(inputs))
    assert with_fast_kernels(model) is model


@pytest.mark.skipif(not FUSES, reason="JAX has no other kernel")
def test_half_precision_keeps_statistics_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy("float32")
    stock = keras.models.clone_model(random_weights(model))
    stock.set_weights(model.get_weights())
    fused = with_fast_kernels(model)
    made, expected = (ops.cast(m(images(), training=True), "float32") for m in (fused, stock))
    np.testing.assert_allclose(to_numpy(made), to_numpy(expected), atol=0.05)
    for mine, other in zip(model.non_trainable_variables, stock.non_trainable_variables, strict=True):
        assert mine.dtype == "float32"
        np.testing.assert_allclose(to_numpy(mine), to_numpy(other), rtol=1e-2)


def test_both_encoders_train_by_the_kernels_and_are_stock():
    model = small_model()
    for encoder in (model.query_encoder, model.key_encoder):
        fast = model._in_training(encoder)
        assert "_BatchNorm" in kinds(fast)  # on JAX for groups of images alone
        assert [id(v) for v in fast.variables] == [id(v) for v in encoder.variables]
    assert not {kind for kind in kinds(model) if kind.startswith("_")}


def test_a_saved_model_has_the_paths_of_stock_layers(tmp_path):
    model = small_model()
    model.fit(batched(random_views()), verbose=0)
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        archive.extract("model.weights.h5", tmp_path)
    names = []
    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visit(names.append)
    assert any(name.endswith("batch_normalization/vars") for name in names)
    assert not [name for name in names if "/_" in name]  # another backend has other kernels
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for mine, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


# === Convolutions, pooling and ReLU ===


def case(kind):
    """A network whose kinds of layers have other forms, and these."""
    images = keras.Input((9, 8, 3))
    conv = {"use_bias": True, "name": "conv"}
    if kind == "padding by the convolution":
        x = layers.Conv2D(4, 3, strides=2, **conv)(layers.ZeroPadding2D((2, 1))(images))
        return keras.Model(images, x), {"_Conv", "_Nothing"}
    if kind == "same, dilated, grouped":
        x = layers.Conv2D(6, (3, 5), padding="same", dilation_rate=2, groups=3, **conv)(images)
        return keras.Model(images, layers.MaxPooling2D(2)(x)), {"_Conv", "_MaxPool"}
    if kind == "activation of the convolution":
        return keras.Model(images, layers.Conv2D(4, 3, activation="relu", **conv)(images)), {"_Conv"}
    if kind == "pooling behind ReLU":
        x = layers.ReLU()(layers.Conv2D(4, 1, **conv)(images))
        x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))
        return keras.Model(images, x), {"_Conv", "_Nothing", "_MaxPool"}
    if kind == "pooling of what is below zero":  # zero, which is padded, is larger
        x = layers.ZeroPadding2D(1)(layers.Conv2D(4, 1, **conv)(images))
        return keras.Model(images, layers.MaxPooling2D(3, 2)(x)), {"_Conv", "_MaxPool"}
    if kind == "padding that is wanted elsewhere":
        x = layers.ZeroPadding2D(1)(images)
        y = layers.Conv2D(3, 3, padding="same", **conv)(x)
        return keras.Model(images, layers.Add()([x, y])), {"_Conv"}
    if kind == "padding of one side":
        x = layers.ZeroPadding2D(((0, 1), (0, 1)))(images)
        return keras.Model(images, layers.Conv2D(4, 3, strides=2, **conv)(x)), {"_Conv"}
    if kind == "same with strides":
        return keras.Model(images, layers.Conv2D(4, 3, strides=2, padding="same", **conv)(images)), set()
    if kind == "ReLU of BatchNorm and of a sum":
        x = layers.Conv2D(4, 3, padding="same", **conv)(images)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        y = layers.BatchNormalization()(layers.Conv2D(4, 1)(x))
        x = layers.Activation("relu")(layers.Add()([x, y]))
        return keras.Model(images, x), {"_Conv", "_BatchNorm", "_Nothing", "_ReLUInPlace"}
    if kind == "what ReLU reads is read again":
        x = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", **conv)(images))
        x = layers.Add()([layers.ReLU()(x), x])
        return keras.Model(images, layers.Multiply()([layers.ReLU()(x), x])), {"_Conv", "_BatchNorm"}
    if kind == "a layer that is called twice":
        shared = layers.Conv2D(3, 3, padding="same", **conv)
        return keras.Model(images, shared(layers.ReLU()(shared(images)))), {"_Conv"}
    assert kind == "a penalty of what the layer returns"
    x = layers.Conv2D(4, 3, activity_regularizer="l2", **conv)(images)
    return keras.Model(images, x), set()


CASES = [
    "padding by the convolution",
    "same, dilated, grouped",
    "activation of the convolution",
    "pooling behind ReLU",
    "pooling of what is below zero",
    "padding that is wanted elsewhere",
    "padding of one side",
    "same with strides",
    "ReLU of BatchNorm and of a sum",
    "what ReLU reads is read again",
    "a layer that is called twice",
    "a penalty of what the layer returns",
]


# On TensorFlow the padded copies are all that differs, and BatchNorm.
ON_TENSORFLOW = {
    "padding by the convolution": {"_Conv", "_Nothing"},
    "pooling behind ReLU": {"_MaxPool", "_Nothing"},
    "ReLU of BatchNorm and of a sum": {"_BatchNorm"},
    "what ReLU reads is read again": {"_BatchNorm"},
}


def results_of(model, images, target, compiled):
    """Outputs, in training and not, gradients by images and weights, and statistics."""
    inputs = ops.convert_to_tensor(images)
    if TORCH:
        inputs.requires_grad_()
        model.zero_grad()
        outputs = model(inputs, training=True)
        (ops.sum(outputs * ops.convert_to_tensor(target)) + sum(model.losses)).backward()
        gradients = [inputs.grad, *(v.value.grad for v in model.trainable_variables)]
    else:
        import tensorflow as tf

        def step(inputs):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = model(inputs, training=True)
                loss = ops.sum(outputs * target) + sum(model.losses)
            return outputs, tape.gradient(loss, [inputs, *(v.value for v in model.trainable_variables)])

        outputs, gradients = (tf.function(step) if compiled else step)(inputs)
    return [to_numpy(x) for x in [outputs, model(inputs), *gradients, *model.non_trainable_variables]]


@pytest.mark.skipif(not FUSES, reason="JAX has no other kernel")
@pytest.mark.parametrize("compiled", [False] if TORCH else [False, True])
@pytest.mark.parametrize("kind", CASES)
def test_outputs_and_gradients_are_those_of_the_stock_layers(kind, compiled):
    stock, forms = case(kind)
    if not TORCH:
        forms = ON_TENSORFLOW.get(kind, set())
        if "grouped" in kind:
            pytest.skip("TensorFlow has no gradient of grouped convolutions on CPUs")
    rng = np.random.default_rng(0)
    stock.set_weights([rng.normal(0, 0.5, w.shape).astype("float32") ** 2 for w in stock.get_weights()])
    images = rng.normal(-0.5, 1.0, (4, 9, 8, 3)).astype("float32")
    stock.get_layer("conv").set_weights([w - 0.2 for w in stock.get_layer("conv").get_weights()])
    initial = stock.get_weights()
    fast = with_fast_kernels(stock)
    assert {kind for kind in kinds(fast) if kind.startswith("_")} == forms
    assert fast.output_shape == stock.output_shape

    target = rng.normal(size=(4, *stock.output_shape[1:])).astype("float32")
    made = []
    for model in (fast, stock):
        stock.set_weights(initial)
        made.append(results_of(model, images, target, compiled))
    for mine, other in zip(*made, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the others have padding in the kernel")
def test_padded_copies_are_made_again_for_the_gradient():
    import tensorflow as tf

    fast = with_fast_kernels(case("padding by the convolution")[0])

    @tf.function
    def step(images):
        with tf.GradientTape() as tape:
            loss = ops.sum(ops.square(fast(images, training=True)))
        return tape.gradient(loss, [v.value for v in fast.trainable_variables])

    graph = step.get_concrete_function(tf.TensorSpec((4, 9, 8, 3))).graph
    pads = [operation for operation in graph.get_operations() if operation.type == "Pad"]
    (backward,) = (x for x in graph.get_operations() if x.type == "Conv2DBackpropFilter")
    assert len(pads) == 2 and backward.inputs[0].op == pads[1]
    # not of the same tensor: TensorFlow would take the second to be the first
    assert pads[1].inputs[0] is not pads[0].inputs[0]


@pytest.mark.skipif(not TORCH, reason="the others compile what these kernels save")
def test_features_in_inference_are_those_of_the_backbone():
    backbone = kl.backbones.resnet18((32, 32, 3), width=8)
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    features, _ = kl.evaluation.extract_features(backbone, [(images, np.zeros(4, int))])
    expected = backbone.predict_on_batch(images)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="XLA is TensorFlow's choice")
def test_xla_is_left_off_on_processors_unless_asked_for():
    model = small_model()
    assert not model.jit_compile
    model.compile(optimizer=kl.optimizers.SGD(0.1), jit_compile=True)
    assert model.jit_compile
