"""Whole training steps of every backend against one slow NumPy transcription of the method.

The reference is written from the definition (arXiv 2403.06813, 2003.04297, 1911.05722), in float64 and
with loops. A step: the key encoder moves, encodes the keys, the queries are compared with the keys and the
queue as it was before the step, SGD moves the query encoder, the keys enter the queue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_leoclr as kl
from tests.case import to_numpy

IMAGE_SHAPE = (5, 4, 2)
BATCH_SIZE = 8
FEATURES, HIDDEN, DIM = 6, 7, 5
LEARNING_RATE, SGD_MOMENTUM, WEIGHT_DECAY = 0.2, 0.9, 0.05  # large, so that each of them shows
NORM_MOMENTUM, NORM_EPSILON = 0.8, 1e-3
STEPS = 3


# === Encoders of the reference: (weights, images) -> outputs (B, D), not yet normalised ===


def head(weights, features):
    kernel_1, bias_1, kernel_2, bias_2 = weights
    return np.maximum(features @ kernel_1 + bias_1, 0) @ kernel_2 + bias_2


class Linear:
    """Flatten and Dense; the gradient is written by hand."""

    shapes = (
        (math.prod(IMAGE_SHAPE), FEATURES),
        (FEATURES,),
        (FEATURES, HIDDEN),
        (HIDDEN,),
        (HIDDEN, DIM),
        (DIM,),
    )
    has_norm = False

    def backbone(self) -> keras.Model:
        return keras.Sequential([keras.Input(IMAGE_SHAPE), layers.Flatten(), layers.Dense(FEATURES)])

    def outputs(self, weights, images):
        kernel, bias, *rest = weights
        return head(rest, images.reshape(len(images), -1) @ kernel + bias)

    def gradient(self, weights, images, output_gradient):
        """Gradient for the weights from the gradient for the outputs, layer by layer."""
        kernel_0, bias_0, kernel_1, bias_1, kernel_2, _ = weights
        pixels = images.reshape(len(images), -1)
        features = pixels @ kernel_0 + bias_0
        hidden = features @ kernel_1 + bias_1
        hidden_gradient = (output_gradient @ kernel_2.T) * (hidden > 0)
        feature_gradient = hidden_gradient @ kernel_1.T
        return [
            pixels.T @ feature_gradient,
            feature_gradient.sum(axis=0),
            features.T @ hidden_gradient,
            hidden_gradient.sum(axis=0),
            np.maximum(hidden, 0).T @ output_gradient,
            output_gradient.sum(axis=0),
        ]


class Normalised:
    """Dense or convolution, then BatchNorm over each of `groups` equal parts of the batch."""

    has_norm = True

    def __init__(self, kind: str, groups: int = 1):
        self.kind = kind
        self.groups = groups
        first = (math.prod(IMAGE_SHAPE), FEATURES) if kind == "dense" else (3, 3, IMAGE_SHAPE[-1], FEATURES)
        self.shapes = (first, (FEATURES,), (FEATURES,), *Linear.shapes[2:])

    def backbone(self) -> keras.Model:
        norm = layers.BatchNormalization(momentum=NORM_MOMENTUM, epsilon=NORM_EPSILON)
        if self.kind == "dense":
            middle = [layers.Flatten(), layers.Dense(FEATURES, use_bias=False), norm]
        else:
            middle = [layers.Conv2D(FEATURES, 3, use_bias=False), norm, layers.ReLU()]
        return keras.Sequential([keras.Input(IMAGE_SHAPE), *middle])

    def before_norm(self, kernel, images):
        if self.kind == "dense":
            return images.reshape(len(images), -1) @ kernel
        height, width = images.shape[1] - 2, images.shape[2] - 2
        maps = np.zeros((len(images), height, width, FEATURES))
        for row in range(3):
            for column in range(3):
                maps += images[:, row : row + height, column : column + width] @ kernel[row, column]
        return maps

    def normalise(self, values, gamma, beta, mean, variance):
        values = (values - mean) / np.sqrt(variance + NORM_EPSILON) * gamma + beta
        return values if self.kind == "dense" else np.maximum(values, 0).mean(axis=(1, 2))

    def outputs(self, weights, images):
        kernel, gamma, beta, *rest = weights
        features = []
        for part in np.split(images, self.groups):
            values = self.before_norm(kernel, part)
            axes = tuple(range(values.ndim - 1))
            features.append(
                self.normalise(values, gamma, beta, values.mean(axis=axes), values.var(axis=axes))
            )
        return head(rest, np.concatenate(features))

    def inference_outputs(self, weights, statistics, images):
        kernel, gamma, beta, *rest = weights
        return head(rest, self.normalise(self.before_norm(kernel, images), gamma, beta, *statistics))

    def moved(self, statistics, weights, images):
        """The moving mean and variance after the images went through in training mode."""
        mean, variance = statistics
        for part in np.split(images, self.groups):
            values = self.before_norm(weights[0], part).reshape(-1, FEATURES)
            mean = NORM_MOMENTUM * mean + (1 - NORM_MOMENTUM) * values.mean(axis=0)
            variance = NORM_MOMENTUM * variance + (1 - NORM_MOMENTUM) * values.var(axis=0)
        return [mean, variance]


# === The reference ===


def unit_rows(values):
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def negatives_of(image, keys, queue):
    """The queue, or without one the keys of all views of all other images."""
    if queue is not None:
        return list(queue)
    return [key for other, its_keys in enumerate(keys) if other != image for key in its_keys]


def mean_loss(queries, keys, queue, temperature):
    total = 0.0
    for image, query in enumerate(queries):
        negatives = sum(math.exp(query @ n / temperature) for n in negatives_of(image, keys, queue))
        for key in keys[image]:
            positive = math.exp(query @ key / temperature)
            total -= math.log(positive / (positive + negatives))
    return total / len(queries)


def query_gradient(queries, keys, queue, temperature):
    """Gradient of `mean_loss` for the unit queries; keys and queue are constants."""
    gradient = np.zeros_like(queries)
    for image, query in enumerate(queries):
        negatives = negatives_of(image, keys, queue)
        for key in keys[image]:
            candidates = np.array([key, *negatives])
            shares = np.exp(candidates @ query / temperature)
            shares /= shares.sum()
            gradient[image] += (shares @ candidates - key) / temperature
    return gradient / len(queries)


def diagnostics(queries, keys, queue, temperature):
    positives, negative_means, hits = [], [], []
    for image, query in enumerate(queries):
        similarities = [query @ n for n in negatives_of(image, keys, queue)]
        negative_means.append(np.mean(similarities))
        for key in keys[image]:
            positives.append(query @ key)
            hits.append(query @ key > max(similarities))
    loss = mean_loss(queries, keys, queue, temperature)
    chance = keys.shape[1] * math.log(len(negatives_of(0, keys, queue)) + 1)
    return {
        "loss": loss,
        "positive_similarity": np.mean(positives),
        "negative_similarity": np.mean(negative_means),
        "contrast_accuracy": np.mean(hits),
        "feature_std": np.mean(np.sqrt(np.mean((queries - queries.mean(axis=0)) ** 2, axis=0))),
        "loss_to_chance": loss / chance,
    }


def finite_differences(function, weights, step=1e-5):
    """Central differences of a scalar function of a list of arrays."""
    gradients = []
    for array in weights:
        gradient = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + step
            above = function(weights)
            array[index] = kept - step
            below = function(weights)
            array[index] = kept
            gradient[index] = (above - below) / (2 * step)
        gradients.append(gradient)
    return gradients


@dataclass(frozen=True)
class Case:
    views: int = 2
    queue_size: int = 20
    momentum: float = 0.7
    temperature: float = 0.3
    enqueue: str = "both"
    permuted: bool = False


@dataclass
class Reference:
    """The state of a training run and its step."""

    case: Case
    encoder: Linear | Normalised
    query_weights: list
    key_weights: list
    queue: np.ndarray | None
    query_statistics: list | None = None
    key_statistics: list | None = None
    pointer: int = 0
    buffers: list = field(default_factory=list)

    def keys_of(self, views):
        keys = [
            unit_rows(self.encoder.outputs(self.key_weights, views["keys"][:, view]))
            for view in range(self.case.views)
        ]
        keys = np.stack(keys, axis=1)
        if "permutation" in views:
            in_order = np.zeros_like(keys)
            for row, image in enumerate(views["permutation"]):
                in_order[image] = keys[row]
            keys = in_order
        return keys

    def loss(self, weights, images, keys):
        queries = unit_rows(self.encoder.outputs(weights, images))
        return mean_loss(queries, keys, self.queue, self.case.temperature)

    def numeric_gradient(self, images, keys):
        return finite_differences(lambda weights: self.loss(weights, images, keys), self.query_weights)

    def gradient(self, images, keys):
        if self.encoder.has_norm:
            return self.numeric_gradient(images, keys)
        outputs = self.encoder.outputs(self.query_weights, images)
        queries = unit_rows(outputs)
        gradient = query_gradient(queries, keys, self.queue, self.case.temperature)
        # through x / |x|: what is parallel to x is lost
        gradient -= np.sum(gradient * queries, axis=1, keepdims=True) * queries
        gradient /= np.linalg.norm(outputs, axis=1, keepdims=True)
        return self.encoder.gradient(self.query_weights, images, gradient)

    def move_key_encoder(self):
        m = self.case.momentum
        self.key_weights = [
            m * k + (1 - m) * q for k, q in zip(self.key_weights, self.query_weights, strict=True)
        ]

    def report(self, views):
        """What `evaluate` reports, for an encoder that does not know training from inference."""
        queries = unit_rows(self.encoder.outputs(self.query_weights, views["query"]))
        return diagnostics(queries, self.keys_of(views), self.queue, self.case.temperature)

    def step(self, views):
        self.move_key_encoder()
        report = self.report(views)
        keys = self.keys_of(views)
        gradients = self.gradient(views["query"], keys)
        if self.encoder.has_norm:
            for view in range(self.case.views):
                images = views["keys"][:, view]
                self.key_statistics = self.encoder.moved(self.key_statistics, self.key_weights, images)
            self.query_statistics = self.encoder.moved(
                self.query_statistics, self.query_weights, views["query"]
            )
        self.descend(gradients)
        if self.queue is not None:
            self.put(keys)
        return report

    def descend(self, gradients):
        gradients = [g + WEIGHT_DECAY * w for g, w in zip(gradients, self.query_weights, strict=True)]
        if self.buffers:
            gradients = [SGD_MOMENTUM * b + g for b, g in zip(self.buffers, gradients, strict=True)]
        self.buffers = gradients
        self.query_weights = [
            w - LEARNING_RATE * b for w, b in zip(self.query_weights, self.buffers, strict=True)
        ]

    def put(self, keys):
        self.queue = self.queue.copy()
        for view in range(1 if self.case.enqueue == "first" else self.case.views):
            for key in keys[:, view]:
                self.queue[self.pointer] = key
                self.pointer = (self.pointer + 1) % len(self.queue)


# === Setting up, and comparing ===

CASES = {
    "two key views": Case(),
    "one key view": Case(views=1),
    "three key views": Case(views=3, queue_size=29),
    "only the first view enqueued": Case(enqueue="first"),
    "a queue shorter than the keys of a batch": Case(queue_size=10),
    "end to end": Case(queue_size=0, momentum=0.0),
    "permuted keys": Case(permuted=True),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def draw(rng, *shape):
    """Normal numbers that float32 holds exactly."""
    return rng.standard_normal(shape).astype("float32").astype("float64")


def drawn_weights(rng, shapes):
    return [np.float64(np.float32((0.5 if len(shape) > 1 else 0.1) * draw(rng, *shape))) for shape in shapes]


def a_reference(case, encoder) -> Reference:
    """Key weights differ from the query weights from the start."""
    rng = np.random.default_rng(1)
    query_weights, key_weights = drawn_weights(rng, encoder.shapes), drawn_weights(rng, encoder.shapes)
    queue = np.float64(np.float32(unit_rows(draw(rng, case.queue_size, DIM)))) if case.queue_size else None
    statistics = [None, None]
    if encoder.has_norm:
        for weights in (query_weights, key_weights):
            weights[1] = np.abs(draw(rng, FEATURES))  # gamma
        statistics = [[draw(rng, FEATURES), 1 + np.abs(draw(rng, FEATURES))] for _ in range(2)]
    return Reference(case, encoder, query_weights, key_weights, queue, *statistics)


def batches(case) -> list[dict]:
    rng = np.random.default_rng(2)
    result = []
    for _ in range(STEPS):
        # views of an image are alike, so that some positives beat all negatives
        noise = draw(rng, BATCH_SIZE, 1 + case.views, *IMAGE_SHAPE)
        all_views = np.float64(np.float32(draw(rng, BATCH_SIZE, 1, *IMAGE_SHAPE) + 0.3 * noise))
        views = {"query": all_views[:, 0], "keys": all_views[:, 1:]}
        if case.permuted:
            views["permutation"] = rng.permutation(BATCH_SIZE)
            views["keys"] = views["keys"][views["permutation"]]
        result.append(views)
    return result


def as_input(views: dict) -> dict:
    return {k: v.astype("int32" if k == "permutation" else "float32") for k, v in views.items()}


def weights_of(encoder) -> list:
    return [v for v in encoder.variables if "moving_" not in v.path]


def statistics_of(encoder) -> list:
    return [v for v in encoder.variables if "moving_" in v.path]


def assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        assert variable.shape == value.shape
        variable.assign(value.astype("float32"))


def a_model(reference: Reference) -> kl.LeOCLR:
    """The model in the state of the reference."""
    case, encoder = reference.case, reference.encoder
    model = kl.LeOCLR(
        encoder.backbone(),
        projection_dim=DIM,
        hidden_dim=HIDDEN,
        queue_size=case.queue_size,
        momentum=case.momentum,
        temperature=case.temperature,
        bn_groups=getattr(encoder, "groups", 1),
        enqueue=case.enqueue,
    )
    assign(weights_of(model.query_encoder), reference.query_weights)
    assign(weights_of(model.key_encoder), reference.key_weights)
    if encoder.has_norm:
        assign(statistics_of(model.query_encoder), reference.query_statistics)
        assign(statistics_of(model.key_encoder), reference.key_statistics)
    if model.key_queue is not None:
        assign([model.key_queue.keys], [reference.queue])
    optimizer = kl.optimizers.SGD(LEARNING_RATE, momentum=SGD_MOMENTUM, weight_decay=WEIGHT_DECAY)
    model.compile(optimizer=optimizer)
    return model


def assert_close(actual, expected, what):
    np.testing.assert_allclose(to_numpy(actual), expected, rtol=1e-5, atol=2e-6, err_msg=what)


def assert_all_close(variables, values):
    for variable, value in zip(variables, values, strict=True):
        assert_close(variable, value, variable.path)


def assert_same_state(model, reference):
    assert_all_close(weights_of(model.query_encoder), reference.query_weights)
    assert_all_close(weights_of(model.key_encoder), reference.key_weights)
    if reference.encoder.has_norm:
        assert_all_close(statistics_of(model.query_encoder), reference.query_statistics)
        assert_all_close(statistics_of(model.key_encoder), reference.key_statistics)
    if reference.queue is None:
        assert model.key_queue is None
    else:
        assert_close(model.key_queue.keys, reference.queue, "queue")
        assert int(to_numpy(model.key_queue.pointer)) == reference.pointer


def assert_same_report(logs, expected):
    assert set(logs) == set(expected)
    for name, value in expected.items():
        assert_close(logs[name], value, name)


# === The reference itself ===


@every_case
def test_the_gradient_of_the_reference_equals_finite_differences(case):
    reference = a_reference(case, Linear())
    views = batches(case)[0]
    keys = reference.keys_of(views)
    by_hand = reference.gradient(views["query"], keys)
    for hand, numeric in zip(by_hand, reference.numeric_gradient(views["query"], keys), strict=True):
        assert np.abs(numeric).max() > 1e-3
        np.testing.assert_allclose(hand, numeric, rtol=1e-6, atol=1e-8)


# === Steps without BatchNorm ===


@every_case
def test_every_step_equals_the_reference(case):
    reference = a_reference(case, Linear())
    model = a_model(reference)
    for views in batches(case):
        expected = reference.step(views)
        model.reset_metrics()  # older Keras goes on with the mean of the steps before
        assert_same_report(model.train_on_batch(as_input(views), return_dict=True), expected)
        assert_same_state(model, reference)


@pytest.mark.parametrize("name", ["two key views", "end to end"])
def test_fit_reports_the_mean_of_its_steps(name):
    reference = a_reference(CASES[name], Linear())
    model = a_model(reference)
    all_views = batches(CASES[name])
    together = {k: np.concatenate([as_input(views)[k] for views in all_views]) for k in all_views[0]}
    history = model.fit(together, batch_size=BATCH_SIZE, shuffle=False, verbose=0).history
    reports = [reference.step(views) for views in all_views]
    expected = {k: np.mean([report[k] for report in reports]) for k in reports[0]}
    assert_same_report({k: v[0] for k, v in history.items()}, expected)
    assert_same_state(model, reference)


@pytest.mark.parametrize("name", ["two key views", "end to end"])
def test_a_dataset_may_leave_the_batch_size_open(name):
    reference = a_reference(CASES[name], Linear())
    model = a_model(reference)
    views = batches(CASES[name])[0]
    dataset = tf.data.Dataset.from_tensor_slices(as_input(views)).batch(BATCH_SIZE)
    assert dataset.element_spec["query"].shape[0] is None
    history = model.fit(dataset, shuffle=False, verbose=0).history
    assert_same_report({k: v[0] for k, v in history.items()}, reference.step(views))
    assert_same_state(model, reference)


@pytest.mark.parametrize("name", ["two key views", "end to end", "permuted keys"])
def test_evaluate_reports_the_reference_and_changes_nothing(name):
    reference = a_reference(CASES[name], Linear())
    model = a_model(reference)
    views = batches(CASES[name])[0]
    logs = model.evaluate(as_input(views), batch_size=BATCH_SIZE, return_dict=True, verbose=0)
    assert_same_report(logs, reference.report(views))
    assert_same_state(model, reference)


# === Steps with BatchNorm ===

every_norm = pytest.mark.parametrize(
    "encoder",
    [Normalised("dense"), Normalised("dense", 2), Normalised("conv"), Normalised("conv", 2)],
    ids=["dense", "dense, two groups", "conv", "conv, two groups"],
)


@every_norm
def test_training_queries_are_normalised_by_the_statistics_of_their_group(encoder):
    reference = a_reference(Case(), encoder)
    model = a_model(reference)
    images = batches(reference.case)[0]["query"]
    expected = unit_rows(encoder.outputs(reference.query_weights, images))
    assert_close(model(images.astype("float32"), training=True), expected, "queries")


@every_norm
def test_inference_queries_are_normalised_by_the_moving_statistics(encoder):
    reference = a_reference(Case(), encoder)
    model = a_model(reference)
    images = batches(reference.case)[0]["query"]
    outputs = encoder.inference_outputs(reference.query_weights, reference.query_statistics, images)
    assert_close(model(images.astype("float32"), training=False), unit_rows(outputs), "queries")
    assert_same_state(model, reference)


@every_norm
def test_every_step_with_batchnorm_equals_the_reference(encoder):
    """The key encoder normalises by its batches, and its moving statistics are its own, not averaged."""
    reference = a_reference(Case(), encoder)
    model = a_model(reference)
    for views in batches(reference.case):
        expected = reference.step(views)
        model.reset_metrics()  # older Keras goes on with the mean of the steps before
        assert_same_report(model.train_on_batch(as_input(views), return_dict=True), expected)
        assert_same_state(model, reference)


def test_keys_are_encoded_in_training_mode():
    encoder = Normalised("conv")
    reference = a_reference(Case(queue_size=2 * BATCH_SIZE), encoder)
    statistics = reference.key_statistics
    model = a_model(reference)
    views = batches(reference.case)[0]
    model.train_on_batch(as_input(views))
    reference.move_key_encoder()
    images = np.concatenate([views["keys"][:, 0], views["keys"][:, 1]])
    training = reference.keys_of(views).transpose(1, 0, 2).reshape(-1, DIM)
    inference = unit_rows(encoder.inference_outputs(reference.key_weights, statistics, images))
    assert_close(model.key_queue.keys, training, "queue")
    assert np.abs(to_numpy(model.key_queue.keys) - inference).max() > 0.1


# === Equal losses on all backends ===

# what `five_losses` returned on the tensorflow backend (2.21, CPU)
GOLDEN_LOSSES = (2.5969596, 6.6662583, 8.0831261, 8.7541056, 9.2192659)


def five_losses() -> list[float]:
    """Losses of five steps of a ResNet whose weights, queue and views NumPy drew."""
    rng = np.random.default_rng(3)
    backbone = kl.backbones.resnet_small((16, 16, 3), widths=(8, 16))
    model = kl.LeOCLR(backbone, projection_dim=16, queue_size=128, momentum=0.99)
    weights = []
    for variable in model.query_encoder.variables:
        shape, name = tuple(variable.shape), variable.name
        if name == "kernel":
            weights.append(rng.standard_normal(shape) * math.sqrt(2 / math.prod(shape[:-1])))
        elif name in ("gamma", "moving_variance"):
            weights.append(rng.uniform(0.5, 1.5, shape))
        else:
            weights.append(0.1 * rng.standard_normal(shape))
    model.query_encoder.set_weights(weights)
    model.key_encoder.set_weights(weights)
    model.key_queue.keys.assign(unit_rows(rng.standard_normal((128, 16))).astype("float32"))
    model.compile(optimizer=kl.optimizers.SGD(0.03, momentum=0.9, weight_decay=1e-4))
    losses = []
    for _ in range(5):
        images = rng.standard_normal((16, 1, 16, 16, 3))
        views = images + 0.5 * rng.standard_normal((16, 3, 16, 16, 3))  # views of an image are alike
        views = views.astype("float32")
        batch = {"query": views[:, 0], "keys": views[:, 1:]}
        model.reset_metrics()
        losses.append(float(model.train_on_batch(batch, return_dict=True)["loss"]))
    return losses


def test_five_losses_of_a_resnet_are_the_same_on_every_backend():
    np.testing.assert_allclose(five_losses(), GOLDEN_LOSSES, rtol=1e-4)
