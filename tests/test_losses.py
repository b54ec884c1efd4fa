"""InfoNCE against a loop over its equation."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from keras import layers

import keras_leoclr as kl
from keras_leoclr.losses import (
    DIAGNOSTICS,
    chance_level,
    check_batch_has_negatives,
    diagnostics,
    info_nce,
    info_nce_in_batch,
)
from tests.case import to_numpy

pytestmark = pytest.mark.method

DIM = 6
TEMPERATURES = (0.01, 0.2, 1.0)

every_temperature = pytest.mark.parametrize("temperature", TEMPERATURES)


# === The equation, one number at a time, in float64 ===


def slow_info_nce(query, keys, negatives, temperature):
    """Losses (B,), positive similarities (B, V), hardest negatives (B,)."""
    return slow_contrast(query, keys, [list(negatives)] * len(query), temperature)


def slow_info_nce_in_batch(query, keys, temperature):
    negatives = [
        [key for other, its_keys in enumerate(keys) if other != image for key in its_keys]
        for image in range(len(query))
    ]
    return slow_contrast(query, keys, negatives, temperature)


def slow_contrast(query, keys, negatives, temperature):
    losses, positives, hardest = [], [], []
    for q, its_keys, its_negatives in zip(query, keys, negatives, strict=True):
        similarities = [dot(q, n) for n in its_negatives]
        hardest.append(max(similarities))
        positives.append([dot(q, k) for k in its_keys])
        total = sum(math.exp(s / temperature) for s in similarities)
        loss = 0.0
        for similarity in positives[-1]:
            positive = math.exp(similarity / temperature)
            loss += math.log((positive + total) / positive)
        losses.append(loss)
    return np.array(losses), np.array(positives), np.array(hardest)


def dot(a, b):
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


# === Inputs and gradients ===


def unit_rows(rng, *shape):
    rows = rng.standard_normal(shape)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype("float32")


def vectors(batch_size, views, negatives, seed=0):
    """Queries (B, D), keys (B, V, D), negatives (K, D)."""
    rng = np.random.default_rng(seed)
    return (
        unit_rows(rng, batch_size, DIM),
        unit_rows(rng, batch_size, views, DIM),
        unit_rows(rng, negatives, DIM),
    )


def gradients(function, *arrays) -> list[np.ndarray]:
    """Gradients of a scalar function for all its arguments, by the backend's own differentiation."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tensors = [tf.constant(a) for a in arrays]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        found = tape.gradient(value, tensors)
    elif backend == "jax":
        import jax

        found = jax.grad(function, argnums=tuple(range(len(arrays))))(*map(jax.numpy.asarray, arrays))
    else:
        import torch

        tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
        found = torch.autograd.grad(function(*tensors), tensors)
    return [to_numpy(g) for g in found]


def finite_differences(function, *arrays, step=1e-5) -> list[np.ndarray]:
    """Central differences in float64."""
    arrays = [a.astype("float64") for a in arrays]
    result = []
    for array in arrays:
        gradient = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + step
            above = function(*arrays)
            array[index] = kept - step
            below = function(*arrays)
            array[index] = kept
            gradient[index] = (above - below) / (2 * step)
        result.append(gradient)
    return result


def assert_contrast_equals(contrast, expected, temperature):
    losses, positives, hardest = expected
    # a similarity in float32 is off by some 1e-7, its logit by that over T
    np.testing.assert_allclose(to_numpy(contrast.loss), losses, rtol=1e-5, atol=5e-7 / temperature)
    np.testing.assert_allclose(to_numpy(contrast.positive_similarity), positives, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(to_numpy(contrast.hardest_negative), hardest, rtol=1e-5, atol=1e-6)


def assert_gradients_equal(found, expected):
    for gradient, numeric in zip(found, expected, strict=True):
        assert np.abs(numeric).max() > 0
        scale = np.abs(numeric).max()
        np.testing.assert_allclose(gradient / scale, numeric / scale, rtol=1e-4, atol=1e-5)


# === With a queue ===


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("views", [1, 2, 3])
@pytest.mark.parametrize("negatives", [1, 30])
@every_temperature
def test_info_nce_equals_its_equation(batch_size, views, negatives, temperature):
    inputs = vectors(batch_size, views, negatives)
    expected = slow_info_nce(*inputs, temperature)
    assert expected[1].shape == (batch_size, views)
    assert_contrast_equals(info_nce(*inputs, temperature), expected, temperature)


@pytest.mark.parametrize("views", [1, 3])
@every_temperature
def test_gradient_of_info_nce_equals_finite_differences(views, temperature):
    inputs = vectors(3, views, 8)
    found = gradients(lambda *x: keras.ops.sum(info_nce(*x, temperature).loss), *inputs)
    expected = finite_differences(lambda *x: slow_info_nce(*x, temperature)[0].sum(), *inputs)
    assert_gradients_equal(found, expected)


def test_gradient_of_info_nce_is_right_where_a_key_ties_with_the_only_negative():
    query, key, negative = np.float32([[1, 0, 0]]), np.float32([[[0, 1, 0]]]), np.float32([[0, 0, 1]])
    found = gradients(lambda *x: keras.ops.sum(info_nce(*x, 0.5).loss), query, key, negative)
    expected = finite_differences(lambda *x: slow_info_nce(*x, 0.5)[0].sum(), query, key, negative)
    np.testing.assert_allclose(expected[0], [[0, -1, 1]], atol=1e-8)
    assert_gradients_equal(found, expected)


@every_temperature
def test_info_nce_is_finite_at_the_extremes_of_similarity(temperature):
    """Key opposite to the query and a negative equal to it: the loss is 2 / T and a remainder."""
    query, negatives = np.float32([[1, 0]]), np.float32([[1, 0], [0, 1]])
    for sign in (-1, 1):
        inputs = (query, sign * query[:, None], negatives)
        assert_contrast_equals(
            info_nce(*inputs, temperature), slow_info_nce(*inputs, temperature), temperature
        )
        for gradient in gradients(lambda *x: keras.ops.sum(info_nce(*x, temperature).loss), *inputs):
            assert np.isfinite(gradient).all()


def test_positive_similarity_and_hardest_negative_are_cosines():
    query = np.float32([[1, 0], [0, 1]])
    keys = np.float32([[[1, 0], [0.6, 0.8]], [[0, -1], [1, 0]]])
    negatives = np.float32([[0.8, 0.6], [-1, 0], [0, -1]])
    contrast = info_nce(query, keys, negatives, 0.2)
    np.testing.assert_allclose(to_numpy(contrast.positive_similarity), [[1, 0.6], [-1, 0]], atol=1e-6)
    np.testing.assert_allclose(to_numpy(contrast.hardest_negative), [0.8, 0.6], atol=1e-6)


# === In the batch ===


@pytest.mark.parametrize("batch_size", [2, 7])
@pytest.mark.parametrize("views", [1, 2, 3])
@every_temperature
def test_info_nce_in_batch_equals_its_equation(batch_size, views, temperature):
    query, keys, _ = vectors(batch_size, views, 1)
    expected = slow_info_nce_in_batch(query, keys, temperature)
    assert_contrast_equals(info_nce_in_batch(query, keys, temperature), expected, temperature)


@pytest.mark.parametrize("views", [1, 3])
@every_temperature
def test_gradient_of_info_nce_in_batch_equals_finite_differences(views, temperature):
    query, keys, _ = vectors(4, views, 1)
    found = gradients(lambda *x: keras.ops.sum(info_nce_in_batch(*x, temperature).loss), query, keys)
    expected = finite_differences(lambda *x: slow_info_nce_in_batch(*x, temperature)[0].sum(), query, keys)
    assert_gradients_equal(found, expected)


def test_own_keys_are_no_negatives_in_the_batch():
    """Each query equals its own keys and is orthogonal to the others'."""
    query = np.eye(3, dtype="float32")
    contrast = info_nce_in_batch(query, np.repeat(query[:, None], 2, axis=1), 0.5)
    np.testing.assert_allclose(to_numpy(contrast.hardest_negative), 0, atol=1e-6)
    # 4 negatives of similarity 0: the two keys of each of the other two images
    expected = 2 * math.log((math.exp(2) + 4) / math.exp(2))
    np.testing.assert_allclose(to_numpy(contrast.loss), expected, rtol=1e-5)


def test_in_the_batch_only_its_own_loss_depends_on_a_query():
    query, keys, _ = vectors(4, 2, 1)
    before = to_numpy(info_nce_in_batch(query, keys, 0.2).loss)
    query[1] = -query[1]
    changed = np.abs(to_numpy(info_nce_in_batch(query, keys, 0.2).loss) - before) > 1e-3
    assert changed.tolist() == [False, True, False, False]


def test_an_image_alone_in_its_batch_has_no_loss():
    query, keys, _ = vectors(1, 2, 1)
    np.testing.assert_allclose(to_numpy(info_nce_in_batch(query, keys, 0.2).loss), [0])
    for gradient in gradients(lambda *x: keras.ops.sum(info_nce_in_batch(*x, 0.2).loss), query, keys):
        np.testing.assert_allclose(gradient, 0, atol=1e-5)


# === Chance ===


@pytest.fixture
def collapsed_model():
    """Makes models whose encoders map every image to the same direction."""

    def make(queue_size):
        backbone = keras.Sequential([keras.Input((4, 4, 3)), layers.Flatten(), layers.Dense(5)])
        model = kl.LeOCLR(backbone, projection_dim=DIM, queue_size=queue_size, temperature=0.1)
        direction = np.eye(1, DIM, dtype="float32")
        for encoder in (model.query_encoder, model.key_encoder):
            *weights, kernel, _ = encoder.get_weights()
            encoder.set_weights([*weights, np.zeros_like(kernel), 3 * direction[0]])
        if queue_size:
            model.key_queue.keys.assign(np.repeat(direction, queue_size, axis=0))
        model.compile(optimizer=kl.optimizers.SGD(0.1))
        return model

    return make


@pytest.mark.parametrize("views", [1, 2, 3])
@pytest.mark.parametrize("negatives", [1, 50])
@every_temperature
def test_loss_is_at_chance_where_all_similarities_are_equal(views, negatives, temperature):
    axis = np.eye(1, DIM, dtype="float32")
    keys, others = np.tile(axis, (4, views, 1)), np.tile(axis, (negatives, 1))
    losses = to_numpy(info_nce(np.tile(axis, (4, 1)), keys, others, temperature).loss)
    np.testing.assert_allclose(losses, views * math.log(negatives + 1), rtol=1e-5, atol=3e-5)


@pytest.mark.parametrize("views", [1, 2])
@every_temperature
def test_loss_in_the_batch_is_at_chance_where_all_similarities_are_equal(views, temperature):
    axis = np.eye(1, DIM, dtype="float32")
    losses = to_numpy(
        info_nce_in_batch(np.tile(axis, (4, 1)), np.tile(axis, (4, views, 1)), temperature).loss
    )
    np.testing.assert_allclose(losses, views * math.log(3 * views + 1), rtol=1e-5, atol=3e-5)


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize(("queue_size", "negatives"), [(30, 30), (0, None)])
def test_a_collapsed_model_is_at_its_chance_level(collapsed_model, queue_size, negatives, views):
    model = collapsed_model(queue_size)
    chance = views * math.log((negatives or views * 7) + 1)
    assert model.chance_level(views, 8) == pytest.approx(chance)
    rng = np.random.default_rng(0)
    batch = {
        "query": rng.standard_normal((8, 4, 4, 3)).astype("float32"),
        "keys": rng.standard_normal((8, views, 4, 4, 3)).astype("float32"),
    }
    logs = model.evaluate(batch, batch_size=8, return_dict=True, verbose=0)
    assert logs["loss"] == pytest.approx(chance, rel=1e-5)
    assert logs["loss_to_chance"] == pytest.approx(1, rel=1e-5)
    assert logs["positive_similarity"] == pytest.approx(1, abs=1e-6)
    assert logs["negative_similarity"] == pytest.approx(1, abs=1e-6)
    assert logs["feature_std"] == pytest.approx(0, abs=1e-6)
    assert logs["contrast_accuracy"] == 0


def test_chance_level_with_a_queue_needs_no_batch_size(collapsed_model):
    assert collapsed_model(12).chance_level(2) == pytest.approx(2 * math.log(13))


# === Diagnostics ===


@pytest.mark.parametrize("in_batch", [False, True])
@pytest.mark.parametrize("views", [1, 2])
def test_diagnostics_are_what_a_loop_over_queries_and_keys_finds(in_batch, views):
    rng = np.random.default_rng(3)
    query, keys = unit_rows(rng, 7, DIM), unit_rows(rng, 7, views, DIM)
    negatives = unit_rows(rng, 11, DIM)
    if in_batch:
        contrast = info_nce_in_batch(query, keys, 0.2)
        mean, size, count = keys.mean(axis=(0, 1)), 7, views * 6
        others = [[key for j, its in enumerate(keys) if j != i for key in its] for i in range(7)]
    else:
        contrast = info_nce(query, keys, negatives, 0.2)
        mean, size, count = negatives.mean(axis=0), None, 11
        others = [list(negatives)] * 7
    loss = to_numpy(contrast.loss).mean()
    found = diagnostics(
        query, contrast, mean, keras.ops.mean(contrast.loss), chance_level(views, count), size
    )
    positive = [[dot(q, k) for k in its] for q, its in zip(query, keys, strict=True)]
    hardest = [max(dot(q, n) for n in its) for q, its in zip(query, others, strict=True)]
    negative = [dot(q, n) for q, its in zip(query, others, strict=True) for n in its]
    won = [p > h for its, h in zip(positive, hardest, strict=True) for p in its]
    expected = {
        "positive_similarity": np.mean(positive),
        "negative_similarity": np.mean(negative),
        "contrast_accuracy": np.mean(won),
        "feature_std": np.mean([np.std(query[:, i].astype("float64")) for i in range(DIM)]),
        "loss_to_chance": loss / (views * math.log(count + 1)),
    }
    assert tuple(found) == DIAGNOSTICS == tuple(expected)
    for name, value in expected.items():
        assert float(to_numpy(found[name])) == pytest.approx(value, rel=2e-5, abs=2e-6), name


def test_a_batch_of_one_image_has_no_negatives():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="must hold two images or more. Received: a batch of 1 image"):
        check_batch_has_negatives(unit_rows(rng, 1, 2, DIM))
