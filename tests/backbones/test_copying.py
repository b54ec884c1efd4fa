"""Copies of models compute what the models compute."""

import pathlib
import re
import tempfile

import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest

from keras_leoclr import LeOCLR
from keras_leoclr.backbones.copying import copy_of, copy_weights
from keras_leoclr.backbones.feature_pyramid import resized
from keras_leoclr.backbones.kernels import with_fast_kernels
from keras_leoclr.backbones.resnet import resnet_small
from keras_leoclr.evaluation.features import in_precision

SHAPE = (8, 8, 3)


def images(count=4):
    return np.random.default_rng(1).normal(100, 50, (count, *SHAPE)).astype("float32")


def adapted():
    layer = keras.layers.Normalization(name="adapted")
    layer.adapt(images(64))
    return layer


def given():
    return keras.layers.Normalization(mean=[90, 100, 110], variance=[30, 20, 10])


def network():
    """Layers behind a normalisation, as a list."""
    return [
        keras.layers.Conv2D(4, 3),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.GlobalAveragePooling2D(),
    ]


def sequential(*before):
    model = keras.Sequential([keras.Input(SHAPE), *before, *network()], name="sequential")
    rng = np.random.default_rng(0)
    model.layers[-3].set_weights([rng.uniform(0.5, 1.5, w.shape) for w in model.layers[-3].get_weights()])
    return model


def functional(*before):
    inner = sequential(*before)
    pixels = keras.Input(SHAPE)
    return keras.Model(pixels, inner(pixels), name="functional")


def nested():
    """The adapted layer lies two models deep, and another one on top."""
    pixels = keras.Input(SHAPE)
    other = keras.layers.Normalization()
    other.adapt(images(16) / 3)
    return keras.Model(pixels, keras.layers.Dense(3)(functional(adapted())(other(pixels))))


MODELS = {
    "adapted": lambda: sequential(adapted()),
    "given": lambda: sequential(given()),
    "functional": lambda: functional(adapted()),
    "nested": nested,
    "discretized": lambda: keras.Sequential(
        [keras.Input(SHAPE), _discretization(), keras.layers.Rescaling(1.0), keras.layers.Flatten()]
    ),
    "plain": lambda: resnet_small(SHAPE),
}


def _discretization():
    layer = keras.layers.Discretization(num_bins=5)
    layer.adapt(images(16))
    return layer


@pytest.mark.parametrize("name", [*MODELS])
def test_a_copy_computes_the_same_outputs_with_variables_of_its_own(name):
    model = MODELS[name]()
    copy = copy_of(model)
    np.testing.assert_array_equal(copy.predict(images(), verbose=0), model.predict(images(), verbose=0))
    assert not {id(v) for v in copy.variables} & {id(v) for v in model.variables}
    assert [v.name for v in copy.variables] == [v.name for v in model.variables]


@pytest.mark.parametrize("name", ["adapted", "functional", "nested"])
def test_a_copy_of_new_weights_stays_adapted_to_the_images(name):
    model = MODELS[name]()
    copy = copy_of(model, weights=False)
    assert np.abs(copy.predict(images(), verbose=0) - model.predict(images(), verbose=0)).max() > 1e-3
    own, expected = (
        [layer for layer in m._flatten_layers() if isinstance(layer, keras.layers.Normalization)]
        for m in (copy, model)
    )
    assert len(own) == len(expected) > 0
    for one, other in zip(own, expected, strict=True):
        np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(n(images())) for n in (one, other)))


@pytest.mark.parametrize("name", ["adapted", "functional", "plain"])
def test_a_copy_in_another_precision_differs_by_its_rounding_alone(name):
    model = MODELS[name]()
    for copy in (copy_of(model, dtype="mixed_bfloat16"), in_precision(model, "mixed_bfloat16")):
        expected = model.predict(images(), verbose=0)
        np.testing.assert_allclose(
            np.asarray(copy.predict(images(), verbose=0), "float32"),
            expected,
            atol=0.05 * np.abs(expected).max(),
        )
        layers = [n for n in copy._flatten_layers() if n.weights and not isinstance(n, keras.Model)]
        assert {layer.compute_dtype for layer in layers} == {"bfloat16"}
        assert {v.dtype for v in copy.trainable_variables} == {"float32"}


def test_a_copy_lies_on_the_device_that_is_named():
    model = sequential(adapted())
    copy = copy_of(model, device="cpu" if keras.backend.backend() == "torch" else "cpu:0")
    np.testing.assert_array_equal(copy.predict(images(), verbose=0), model.predict(images(), verbose=0))


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_a_copy_for_images_of_another_size(kind):
    model = sequential(adapted())
    model = model if kind == "sequential" else keras.Model(model.inputs, model.outputs)
    larger = np.tile(images(), (1, 2, 2, 1))
    copy = resized(model, larger.shape[1:])
    one = copy_of(copy).predict(larger, verbose=0)
    np.testing.assert_array_equal(one, copy.predict(larger, verbose=0))
    layer = next(n for n in copy._flatten_layers() if isinstance(n, keras.layers.Normalization))
    expected = next(n for n in model._flatten_layers() if isinstance(n, keras.layers.Normalization))
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(n(images())) for n in (layer, expected)))


def test_weights_of_a_model_are_copied_into_another_one():
    model, other = sequential(adapted()), sequential(keras.layers.Normalization())
    copy_weights(model, other)
    np.testing.assert_array_equal(other.predict(images(), verbose=0), model.predict(images(), verbose=0))


def test_the_key_encoder_of_an_adapted_backbone_begins_as_the_query_encoder():
    layer = keras.layers.Normalization()
    layer.adapt((images(64) - 96) / 45)  # to views, which are normalised, not to pixels
    model = LeOCLR(sequential(layer), projection_dim=4, queue_size=8)
    query, key = (e.predict(images(), verbose=0) for e in (model.query_encoder, model.key_encoder))
    np.testing.assert_array_equal(query, key)
    fast = with_fast_kernels(model.key_encoder.layers[1])(images(), training=True)
    slow = model.query_encoder.layers[1](images(), training=True)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(fast), keras.ops.convert_to_numpy(slow), rtol=1e-4, atol=1e-4
    )


def _batch_norm(rng):
    layer = keras.layers.BatchNormalization()
    layer.build((None, *SHAPE))
    layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return layer


def _normalization(rng):
    layer = keras.layers.Normalization()
    layer.adapt(rng.normal(rng.uniform(50, 200), rng.uniform(10, 80), (32, *SHAPE)))
    return layer


WITH_STATE = {
    "adapted normalization": _normalization,
    "given normalization": lambda rng: keras.layers.Normalization(mean=[90, 100, 110], variance=[30, 20, 10]),
    "batch norm": _batch_norm,
    "group norm": lambda rng: keras.layers.GroupNormalization(3),
    "dropout": lambda rng: keras.layers.Dropout(0.5, seed=int(rng.integers(100))),
    "noise": lambda rng: keras.layers.GaussianNoise(1.0),
    "random flip": lambda rng: keras.layers.RandomFlip("horizontal"),
    "rescaling": lambda rng: keras.layers.Rescaling(rng.uniform(0.01, 1.0)),
    "convolution": lambda rng: keras.layers.Conv2D(3, 1),
    "prelu": lambda rng: keras.layers.PReLU(alpha_initializer="uniform"),
}


@hypothesis.settings(max_examples=25, deadline=None, derandomize=True)
@hypothesis.given(
    names=st.lists(st.sampled_from(sorted(WITH_STATE)), min_size=1, max_size=4),
    depth=st.integers(0, 2),
    seed=st.integers(0, 9),
)
def test_copies_and_saved_models_compute_the_same_whatever_state_their_layers_have(names, depth, seed):
    rng = np.random.default_rng(seed)
    model = keras.Sequential([keras.Input(SHAPE), *(WITH_STATE[name](rng) for name in names)])
    for _ in range(depth):
        pixels = keras.Input(SHAPE)
        model = keras.Model(pixels, _normalization(rng)(model(pixels)))
    expected = keras.ops.convert_to_numpy(model(images()))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(copy_of(model)(images())), expected)
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        loaded = keras.saving.load_model(f"{folder}/model.keras")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(copy_of(loaded)(images())), expected)


@pytest.mark.backend_free
def test_models_are_copied_in_one_place():
    root = pathlib.Path(__file__).parents[2]
    sources = [
        p for folder in ("keras_leoclr", "callbacks", "recipes") for p in (root / folder).rglob("*.py")
    ]
    users = {p.name for p in sources if re.search(r"\bclone_model\(", p.read_text())}
    # graph.py connects the same layers anew, channels.py builds them for other shapes of the kernels.
    assert users == {"copying.py", "graph.py", "channels.py"}
