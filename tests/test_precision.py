"""Mixed precision: the encoders compute in half precision; what needs float32 is in float32."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_leoclr as kl
from tests.case import to_numpy

POLICIES = ("mixed_bfloat16", "mixed_float16")
IMAGE_SHAPE = (8, 8, 3)
DIM = 16

every_policy = pytest.mark.parametrize("policy", POLICIES)


pytestmark = pytest.mark.usefixtures("one_torch_thread")


@contextlib.contextmanager
def dtype_policy(name):
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def views_of(images, key_views, rng) -> dict:
    """Views of an image are alike."""
    noise = rng.standard_normal((len(images), 1 + key_views, *IMAGE_SHAPE))
    views = (images[:, None] + 0.5 * noise).astype("float32")
    return {"query": views[:, 0], "keys": views[:, 1:]}


def dtype_of(tensor) -> str:
    return keras.backend.standardize_dtype(tensor.dtype)


# === Training ends where it ends in float32 ===

BATCH_SIZE, STEPS, MEAN_OVER = 32, 200, 20


def all_views() -> tf.data.Dataset:
    """Views of 128 images for all steps, others in every pass."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((128, *IMAGE_SHAPE))
    passes = [views_of(images, 1, rng) for _ in range(STEPS * BATCH_SIZE // len(images))]
    together = {name: np.concatenate([views[name] for views in passes]) for name in passes[0]}
    return tf.data.Dataset.from_tensor_slices(together).batch(BATCH_SIZE)


def model_to_train(policy) -> kl.LeOCLR:
    keras.utils.set_random_seed(0)
    with dtype_policy(policy):
        backbone = kl.backbones.resnet_small(IMAGE_SHAPE, widths=(8, 16))
        # At 0.2, runs in float32 whose start weights differ in the 9th bit end percents apart, as far as
        # those in half precision do; at 0.5 they stay within one percent.
        model = kl.LeOCLR(backbone, projection_dim=DIM, queue_size=128, momentum=0.99, temperature=0.5)
    schedule = keras.optimizers.schedules.CosineDecay(0.03, STEPS)
    model.compile(kl.optimizers.SGD(schedule, momentum=0.9, weight_decay=1e-4))
    return model


def parts_of(model):
    """All that has weights; in mixed_float16 the model itself also has the number of its updates."""
    return model.query_encoder, model.key_encoder, model.key_queue


@functools.cache
def training_in_float32():
    """Start weights, and loss of the first and the last steps."""
    model = model_to_train("float32")
    start = [part.get_weights() for part in parts_of(model)]
    return start, *first_and_last_loss(model)


def first_and_last_loss(model):
    history = model.fit(
        all_views().repeat(),
        epochs=STEPS // MEAN_OVER,
        steps_per_epoch=MEAN_OVER,
        shuffle=False,
        verbose=0,
    ).history
    return history["loss"][0], history["loss"][-1]


@pytest.mark.slow
@every_policy
def test_training_ends_within_two_percent_of_the_loss_in_float32(policy):
    start, first_in_float32, last_in_float32 = training_in_float32()
    model = model_to_train(policy)
    for part, weights in zip(parts_of(model), start, strict=True):
        part.set_weights(weights)
    _, last = first_and_last_loss(model)
    assert last_in_float32 < 0.9 * first_in_float32
    assert last == pytest.approx(last_in_float32, rel=0.02)


# === One step in detail ===

STEP_BATCH, KEY_VIEWS = 8, 2
MOMENTUM = 0.999
TEMPERATURE = 0.2


class Recording(kl.LeOCLR):
    """Keeps what the loss of the compiled step was computed from."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        shapes = {"queries": (STEP_BATCH, DIM), "keys": (STEP_BATCH, KEY_VIEWS, DIM)}
        self.recorded = {
            name: self.add_weight(shape=shape, dtype="float32", trainable=False, name=name)
            for name, shape in shapes.items()
        }

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        self.dtypes = (dtype_of(y_pred), dtype_of(y))
        self.recorded["queries"].assign(ops.stop_gradient(y_pred))
        self.recorded["keys"].assign(y)
        return super().compute_loss(x, y, y_pred, sample_weight, training)


def recording_model(policy) -> Recording:
    keras.utils.set_random_seed(0)
    with dtype_policy(policy):
        convolution = layers.Conv2D(8, 3, use_bias=False)
        backbone = keras.Sequential(
            [keras.Input(IMAGE_SHAPE), convolution, layers.BatchNormalization(), layers.ReLU()]
        )
        model = Recording(
            backbone, projection_dim=DIM, queue_size=24, momentum=MOMENTUM, temperature=TEMPERATURE
        )
    model.compile(kl.optimizers.SGD(0.03, momentum=0.9, weight_decay=1e-4))
    return model


def one_batch() -> dict:
    rng = np.random.default_rng(1)
    return views_of(rng.standard_normal((STEP_BATCH, *IMAGE_SHAPE)), KEY_VIEWS, rng)


def values(variables) -> list[np.ndarray]:
    return [np.array(to_numpy(v)) for v in variables]


@dataclass
class Step:
    """A step of a model whose query weights are up to a tenth away from its key weights."""

    model: Recording
    loss: float
    query_weights: list
    key_weights: list
    queue: np.ndarray


@pytest.fixture(scope="module", params=POLICIES)
def step(request) -> Step:
    model = recording_model(request.param)
    rng = np.random.default_rng(2)
    for variable in model.query_encoder.trainable_variables:
        weight = to_numpy(variable)
        variable.assign(weight * rng.uniform(0.9, 1.1, weight.shape).astype("float32"))
    queries, keys = (values(side) for side in zip(*model._pairs, strict=True))
    queue = np.array(to_numpy(model.key_queue.keys))
    logs = model.train_on_batch(one_batch(), return_dict=True)
    return Step(model, float(logs["loss"]), queries, keys, queue)


def test_the_backbone_computes_in_half_precision(step):
    half = step.model.dtype_policy.compute_dtype
    assert half in ("bfloat16", "float16")
    assert dtype_of(step.model.backbone.output) == half
    assert all(dtype_of(v) == "float32" for v in step.model.query_encoder.variables)


def test_queries_and_keys_are_unit_vectors_in_float32(step):
    assert step.model.dtypes == ("float32", "float32")
    predicted = step.model.predict(one_batch(), verbose=0)
    assert predicted.dtype == np.float32
    for vectors in (predicted, *values(step.model.recorded.values())):
        norms = np.linalg.norm(vectors.astype("float64"), axis=-1)
        np.testing.assert_allclose(norms, 1.0, rtol=0, atol=1e-6)


def test_the_queue_holds_the_keys_in_float32(step):
    queue = step.model.key_queue.keys
    assert dtype_of(queue) == "float32"
    keys = to_numpy(step.model.recorded["keys"]).transpose(1, 0, 2).reshape(-1, DIM)
    np.testing.assert_array_equal(to_numpy(queue)[: len(keys)], keys)
    np.testing.assert_array_equal(to_numpy(queue)[len(keys) :], step.queue[len(keys) :])


def test_the_loss_is_infonce_of_queries_and_keys_in_float64(step):
    queries, keys = (to_numpy(v).astype("float64") for v in step.model.recorded.values())
    negative = np.exp(queries @ step.queue.astype("float64").T / TEMPERATURE).sum(axis=1)
    positive = np.exp(np.einsum("bd,bvd->bv", queries, keys) / TEMPERATURE)
    losses = -np.log(positive / (positive + negative[:, None])).sum(axis=1)
    assert step.loss == pytest.approx(losses.mean(), rel=1e-6)


def test_the_key_encoder_moves_by_what_half_precision_would_lose(step):
    m = np.float32(MOMENTUM)
    moved = 0
    for (_, variable), query, before in zip(
        step.model._pairs, step.query_weights, step.key_weights, strict=True
    ):
        after = to_numpy(variable)
        # two units in the last place: compilers fuse the product and the sum
        np.testing.assert_array_max_ulp(after, m * before + (np.float32(1) - m) * query, maxulp=2)
        assert (np.abs(after - before) <= 2.0**-12 * np.abs(before)).all(), "half precision could show it"
        moved += np.sum(after != before)
    kernels = sum(weight.size for weight in step.key_weights if weight.ndim > 1)
    assert moved > 0.95 * kernels


# === Loss scaling ===


def test_float16_scales_the_loss_and_skips_a_step_that_overflows():
    model = recording_model("mixed_float16")
    optimizer = model.optimizer
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    assert isinstance(optimizer.inner_optimizer, kl.optimizers.SGD)
    optimizer.build(model.trainable_variables)
    before, too_large = values(model.trainable_variables), 2.0**126
    optimizer.dynamic_scale.assign(too_large)
    logs = model.train_on_batch(one_batch(), return_dict=True)
    assert np.isfinite(float(logs["loss"]))
    assert float(to_numpy(optimizer.dynamic_scale)) == too_large / 2
    for old, new in zip(before, values(model.trainable_variables), strict=True):
        np.testing.assert_array_equal(old, new)
    assert all(np.isfinite(v).all() for v in values(model.variables) + values(optimizer.variables))
    # the next step, at a scale that fits, trains
    optimizer.dynamic_scale.assign(2.0**10)
    model.train_on_batch(one_batch())
    after = values(model.trainable_variables)
    assert any((old != new).any() for old, new in zip(before, after, strict=True))
    assert all(np.isfinite(v).all() for v in after)


def test_bfloat16_needs_no_scaling():
    assert isinstance(recording_model("mixed_bfloat16").optimizer, kl.optimizers.SGD)
