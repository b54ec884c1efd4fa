"""LeOCLR as a Keras model: input, output, saving, freezing and errors."""

import math
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_leoclr as kl
from tests.case import batched, random_views, small_model, to_numpy

pytestmark = pytest.mark.method


def weights(model):
    return [np.array(w) for w in model.get_weights()]


def test_fit_reports_the_named_diagnostics():
    history = small_model().fit(batched(random_views()), epochs=2, verbose=0, shuffle=False).history
    assert set(history) == {
        "loss",
        "positive_similarity",
        "negative_similarity",
        "contrast_accuracy",
        "feature_std",
        "loss_to_chance",
    }
    assert all(len(values) == 2 and np.isfinite(values).all() for values in history.values())


def test_a_query_of_length_zero_has_a_finite_gradient():
    model = small_model()
    weights = model.query_encoder.get_weights()
    weights[-2:] = [np.zeros_like(w) for w in weights[-2:]]  # kernel and bias of the projection
    model.query_encoder.set_weights(weights)
    model.fit(batched(random_views()), verbose=0, shuffle=False)
    assert all(np.isfinite(np.asarray(w)).all() for w in model.get_weights())


def test_loss_falls_on_a_fixed_batch():
    # without a queue: in a queue, past keys of this very batch would be negatives
    model = small_model(queue_size=0, momentum=0.0, hidden_dim=32)
    images = random_views(batches=1)["query"]
    views = {"query": images, "keys": np.stack([images, images[:, :, ::-1]], axis=1)}
    loss = model.fit(batched(views).repeat(40), epochs=2, verbose=0, shuffle=False).history["loss_to_chance"]
    assert loss[1] < 0.7


@pytest.mark.parametrize("options", [{}, {"queue_size": 0, "momentum": 0.0}, {"bn_groups": 2}])
def test_saved_model_continues_bit_for_bit(tmp_path, options):
    views = batched(random_views())
    model = small_model(**options)
    model.fit(views, verbose=0, shuffle=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for before, after in zip(weights(model), weights(loaded), strict=True):
        np.testing.assert_array_equal(before, after)
    model.fit(views, verbose=0, shuffle=False)
    loaded.fit(views, verbose=0, shuffle=False)
    for before, after in zip(weights(model), weights(loaded), strict=True):
        np.testing.assert_array_equal(before, after)


def test_weights_file_restores_queue_pointer_and_key_encoder(tmp_path):
    model = small_model()
    model.fit(batched(random_views(batches=1)), verbose=0, shuffle=False)
    model.save_weights(tmp_path / "model.weights.h5")
    other = small_model()
    assert int(to_numpy(other.key_queue.pointer)) == 0
    other.load_weights(tmp_path / "model.weights.h5")
    assert int(to_numpy(other.key_queue.pointer)) == 16
    np.testing.assert_array_equal(to_numpy(other.key_queue.keys), to_numpy(model.key_queue.keys))
    for mine, theirs in zip(other.key_encoder.get_weights(), model.key_encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_config_round_trip():
    model = small_model(hidden_dim=12, enqueue="first", bn_groups=2, temperature=0.3)
    copy = kl.LeOCLR.from_config(model.get_config())
    for name in ("projection_dim", "hidden_dim", "queue_size", "temperature", "bn_groups", "enqueue"):
        assert getattr(copy, name) == getattr(model, name)
    assert copy.momentum == pytest.approx(model.momentum)
    assert [w.shape for w in weights(copy)] == [w.shape for w in weights(model)]


def test_evaluate_changes_nothing():
    model = small_model()
    views = batched(random_views())
    model.fit(views, verbose=0, shuffle=False)
    before = weights(model)
    first = model.evaluate(views, verbose=0, return_dict=True)
    second = model.evaluate(views, verbose=0, return_dict=True)
    assert first == second
    for old, new in zip(before, weights(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_predict_takes_images_and_views():
    model = small_model()
    views = random_views()
    from_images = model.predict(views["query"], batch_size=8, verbose=0)
    from_views = model.predict(batched(views), verbose=0)
    assert from_images.shape == (16, 8)
    np.testing.assert_allclose(from_images, from_views, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(from_images, axis=1), 1.0, rtol=1e-5)


def test_summary_names_the_parts(capsys):
    small_model().summary()
    text = capsys.readouterr().out
    assert all(name in text for name in ("query_encoder", "key_encoder", "key_queue"))


@pytest.mark.parametrize("trainable", [True, False])
def test_key_encoder_is_never_trained(trainable):
    model = small_model()
    model.trainable = trainable
    model.trainable = True
    trained = {id(v) for v in model.trainable_variables}
    assert trained == {id(v) for v in model.query_encoder.trainable_variables}
    assert not trained & {id(v) for v in model.key_encoder.variables}
    assert len(model.trainable_variables) + len(model.non_trainable_variables) == len(model.variables)


@pytest.mark.parametrize(("momentum", "moves"), [(1.0, False), (0.5, True)])
def test_momentum_decides_whether_the_key_encoder_moves(momentum, moves):
    model = small_model(momentum=momentum)
    before = [to_numpy(v).copy() for _, v in model._pairs]
    model.fit(batched(random_views()), verbose=0, shuffle=False)
    changed = [not np.array_equal(old, to_numpy(v)) for old, (_, v) in zip(before, model._pairs, strict=True)]
    assert all(changed) if moves else not any(changed)


def test_momentum_can_be_set_while_training():
    model = small_model(momentum=0.5)
    model.fit(batched(random_views()), verbose=0, shuffle=False)
    before = [to_numpy(v).copy() for _, v in model._pairs]
    model.momentum = 1.0
    model.fit(batched(random_views()), verbose=0, shuffle=False)
    for old, (_, v) in zip(before, model._pairs, strict=True):
        np.testing.assert_array_equal(old, to_numpy(v))


def test_permuted_keys_give_the_same_loss():
    views = random_views(batches=1)
    order = np.random.default_rng(1).permutation(8)
    permuted = {**views, "keys": views["keys"][order], "permutation": order.astype("int32")}
    plain, shuffled = small_model(), small_model()
    shuffled.set_weights(plain.get_weights())
    results = [
        model.train_on_batch(data, return_dict=True) for model, data in ((plain, views), (shuffled, permuted))
    ]
    assert float(results[0]["loss"]) == pytest.approx(float(results[1]["loss"]), rel=1e-5)
    np.testing.assert_allclose(to_numpy(plain.key_queue.keys), to_numpy(shuffled.key_queue.keys), atol=1e-5)


def test_mixed_precision_keeps_queue_and_loss_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small_model()
        history = model.fit(batched(random_views()), verbose=0, shuffle=False).history
        assert np.isfinite(history["loss"]).all()
        assert model.key_queue.keys.dtype == "float32"
        assert model.predict(random_views()["query"], verbose=0).dtype == np.float32
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    "backbone",
    [
        lambda: keras.applications.MobileNet((32, 32, 3), include_top=False, weights=None, alpha=0.25),
        lambda: keras.Sequential([keras.Input((32, 32, 3)), layers.Conv2D(5, 3), layers.ReLU()]),
        lambda: keras.Sequential([keras.Input((32, 32, 3)), layers.Flatten(), layers.Dense(5)]),
    ],
    ids=["keras.applications", "feature maps", "features"],
)
def test_any_keras_backbone_trains(backbone):
    model = kl.LeOCLR(backbone(), projection_dim=8, queue_size=16)
    model.compile(optimizer=kl.optimizers.SGD(0.01))
    history = model.fit(batched(random_views(batches=1, size=32)), verbose=0, shuffle=False).history
    assert np.isfinite(history["loss"]).all()
    assert len(model.backbone.output_shape) == 2


def test_keras_cv_backbone_is_accepted():
    from keras_cv.models import ResNetV2Backbone

    backbone = ResNetV2Backbone(
        stackwise_filters=[8, 16],
        stackwise_blocks=[2, 2],
        stackwise_strides=[1, 2],
        input_shape=(32, 32, 3),
        include_rescaling=False,
    )
    model = kl.LeOCLR(backbone, projection_dim=8, queue_size=16)
    assert model.predict(random_views(size=32)["query"], verbose=0).shape == (16, 8)


def test_penalties_of_the_backbone_are_part_of_the_loss():
    def model(penalty):
        keras.utils.set_random_seed(0)
        backbone = keras.Sequential(
            [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(4, kernel_regularizer=penalty)]
        )
        model = kl.LeOCLR(backbone, projection_dim=8, queue_size=16)
        model.compile(optimizer=kl.optimizers.SGD(0.0))
        return model

    data = batched(random_views(batches=1))
    plain = model(None).evaluate(data, verbose=0, return_dict=True)
    penalised = model(keras.regularizers.L2(0.1))
    kernel = to_numpy(penalised.backbone.layers[-1].kernel)
    with_penalty = penalised.evaluate(data, verbose=0, return_dict=True)
    expected = plain["loss"] + 0.1 * float((kernel**2).sum())
    assert with_penalty["loss"] == pytest.approx(expected, rel=1e-4)
    assert with_penalty["loss_to_chance"] == pytest.approx(plain["loss_to_chance"], rel=1e-5)


# === Bad input ===


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"queue_size": -1}, r"`queue_size` must be a whole number >= 0. Received: queue_size=-1"),
        ({"queue_size": 2.5}, r"`queue_size` must be a whole number"),
        ({"momentum": 1.5}, r"`momentum` must be a number in \[0, 1\]. Received: momentum=1.5"),
        ({"momentum": -0.1}, r"`momentum` must be a number in \[0, 1\]"),
        ({"momentum": None}, r"`momentum` must be a number in \[0, 1\]. Received: momentum=None"),
        ({"momentum": "0.9"}, r"`momentum` must be a number in \[0, 1\]. Received: momentum='0.9'"),
        ({"momentum": lambda updates: 0.9}, r"`momentum` must be a number in \[0, 1\]"),
        ({"temperature": 0}, r"`temperature` must be a number > 0. Received: temperature=0"),
        ({"temperature": None}, r"`temperature` must be a number > 0. Received: temperature=None"),
        ({"temperature": float("nan")}, r"`temperature` must be a number > 0"),
        ({"bn_groups": 0}, r"`bn_groups` must be a whole number >= 1. Received: bn_groups=0"),
        ({"projection_dim": 0}, r"`projection_dim` must be a whole number >= 1"),
        ({"hidden_dim": 0}, r"`hidden_dim` must be a whole number >= 1"),
        ({"enqueue": "last"}, r"`enqueue` must be \"both\" or \"first\". Received: enqueue='last'"),
    ],
)
def test_bad_option_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        small_model(**options)


def test_bn_groups_must_divide_the_batch():
    model = small_model(bn_groups=3)
    with pytest.raises(ValueError, match=r"`bn_groups` must divide the batch size. Received: bn_groups=3"):
        model.fit(batched(random_views()), verbose=0, shuffle=False)


def test_bn_groups_must_divide_a_smaller_last_batch():
    """TensorFlow knows its size only when the step runs."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        error, sizes = tf.errors.InvalidArgumentError, r".*\[3\]"
    else:
        error, sizes = ValueError, " 3 images"
    with pytest.raises(error, match=f"`bn_groups` must divide.*bn_groups=2, a batch of{sizes}"):
        small_model(bn_groups=2).fit(random_views(1, 7), batch_size=4, verbose=0, shuffle=False)


@pytest.mark.parametrize("groups", [1, 2])
def test_batchnorm_takes_a_single_value_of_each_channel(groups):
    """Its output is then its bias. The kernel of torch refuses that."""
    norm = keras.layers.BatchNormalization()
    layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(8, 8), norm, keras.layers.ReLU()]
    model = kl.LeOCLR(keras.Sequential(layers), projection_dim=8, queue_size=8, bn_groups=groups)
    model.compile(kl.optimizers.SGD(0.1))
    norm.beta.assign(np.arange(8) - 4.0)
    views = random_views(1, groups)
    expected = model(views["query"] * 0)  # the bias alone, since the moving mean is 0
    outputs = model._encode(model.query_encoder, keras.ops.convert_to_tensor(views["query"]), True)
    np.testing.assert_allclose(to_numpy(outputs), to_numpy(expected), atol=1e-5)
    np.testing.assert_allclose(to_numpy(norm.moving_variance), 0.99**groups, rtol=1e-6)
    assert np.isfinite(model.fit(views, batch_size=groups, verbose=0).history["loss"][0])


def test_one_image_without_a_queue_is_refused():
    model = small_model(queue_size=0, momentum=0.0)
    with pytest.raises(ValueError, match="takes the negatives from the batch, which must hold two images"):
        model.fit(batched(random_views(), batch_size=1), verbose=0, shuffle=False)


def batchless():
    images = keras.Input((8, 8, 3))
    return keras.Model(images, keras.ops.mean(layers.Flatten()(images), axis=0))


def fixed_batch():
    images = keras.Input(batch_shape=(4, 8, 8, 3))
    return keras.Model(images, layers.Flatten()(images))


@pytest.mark.parametrize(
    ("backbone", "words"),
    [
        (batchless, r"`backbone` must return features \(None, F\).*Received: backbone.output_shape="),
        (fixed_batch, r"`backbone` must take images.*free batch dimension. Received: backbone.input_shape="),
        (lambda: keras.Sequential([layers.Flatten()]), r"`backbone` must be a Keras model with known inputs"),
        (lambda: layers.Flatten(), r"`backbone` must be a Keras model with known inputs"),
        (lambda: None, r"`backbone` must be a Keras model with known inputs.*Received: backbone=None"),
        (
            lambda: keras.Sequential([keras.Input((8,)), layers.Dense(2)]),
            r"`backbone` must take images of shape \(None, H, W, C\)",
        ),
    ],
)
def test_backbone_that_does_not_fit_is_refused(backbone, words):
    with pytest.raises(ValueError, match=words):
        kl.LeOCLR(backbone(), queue_size=8)


def test_batch_without_keys_is_refused():
    model = small_model()
    data = tf.data.Dataset.from_tensors({"query": np.zeros((4, 8, 8, 3), "float32")})
    with pytest.raises(ValueError, match='A batch must be a dictionary with "query" and "keys"'):
        model.fit(data, verbose=0, shuffle=False)


def test_loss_of_ones_own_is_refused():
    with pytest.raises(
        ValueError, match="`loss` must be None: the model computes its own. Received: loss=mse"
    ):
        small_model().compile(optimizer="sgd", loss="mse")


# === Momentum that follows a schedule ===


def test_a_momentum_schedule_is_followed_step_by_step_and_recorded():
    schedule = kl.schedules.CosineMomentum(0.5, steps=8)
    model = small_model(momentum=schedule)
    history = model.fit(batched(random_views(4)), epochs=3, shuffle=False, verbose=0).history
    steps = [1 - 0.5 * (math.cos(math.pi * min(step / 8, 1)) + 1) / 2 for step in range(12)]
    np.testing.assert_allclose(history["momentum"], np.reshape(steps, (3, 4)).mean(axis=1), rtol=1e-6)
    assert model.momentum == 1.0


def test_a_schedule_moves_the_key_encoder_by_the_momentum_of_its_step():
    model = small_model(momentum=kl.schedules.CosineMomentum(0.2, steps=2))
    for step in range(2):
        before = [to_numpy(k).copy() for _, k in model._pairs]
        queries = [to_numpy(q).copy() for q, _ in model._pairs]
        model.train_on_batch(random_views(1, seed=step))
        m = [0.2, 0.6][step]
        for (_, key), old, query in zip(model._pairs, before, queries, strict=True):
            np.testing.assert_allclose(to_numpy(key), m * old + (1 - m) * query, rtol=1e-5, atol=1e-6)


def test_a_saved_schedule_goes_on(tmp_path):
    model = small_model(momentum=kl.schedules.CosineMomentum(0.5, steps=8))
    dataset = batched(random_views(2))
    model.fit(dataset, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    histories = [m.fit(dataset, shuffle=False, verbose=0).history for m in (model, copy)]
    assert histories[0]["momentum"] == histories[1]["momentum"]
    assert histories[0]["momentum"][0] > 0.5


def test_a_schedule_and_a_value_of_ones_own_exclude_each_other():
    model = small_model(momentum=kl.schedules.CosineMomentum(0.5, steps=8))
    with pytest.raises(
        ValueError, match="`momentum` follows a schedule and cannot be set. Received: momentum="
    ):
        model.momentum = 0.9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start": 0.9, "steps": 9, "end": 0.8}, "0 <= start <= end <= 1. Received: start=0.9, end=0.8"),
        ({"start": 0.9, "steps": 0}, "`steps` must be a whole number >= 1. Received: steps=0"),
        ({"start": 0.9, "steps": 100.7}, "`steps` must be a whole number >= 1. Received: steps=100.7"),
        ({"start": 0.9, "steps": "10"}, "`steps` must be a whole number >= 1. Received: steps='10'"),
        ({"start": None, "steps": 10}, r"`start` must be a number in \[0, 1\]. Received: start=None"),
    ],
)
def test_bad_schedule_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        kl.schedules.CosineMomentum(**options)


# === BatchNorm across devices, and precision ===


def synchronized_backbone():
    norm = keras.layers.BatchNormalization(synchronized=True)
    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(8), norm])


no_synchronized = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Keras synchronizes BatchNormalization on TensorFlow only"
)


@no_synchronized
def test_groups_with_synchronized_batchnorm_warn_and_say_why():
    with pytest.warns(UserWarning, match="bn_groups > 1 does not hide .* taken over all devices"):
        kl.LeOCLR(synchronized_backbone(), queue_size=8, bn_groups=2)


@no_synchronized
def test_permuted_keys_with_synchronized_batchnorm_warn_once():
    model = kl.LeOCLR(synchronized_backbone(), projection_dim=8, queue_size=8)
    views = {k: keras.ops.convert_to_tensor(v) for k, v in random_views(1).items()}
    views["permutation"] = keras.ops.arange(8)
    with pytest.warns(UserWarning, match='"permutation" of the keys does not hide'):
        model._encode_keys(views, training=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model._encode_keys(views, training=True)


@pytest.mark.parametrize(("groups", "shuffled"), [(2, False), (2, True), (1, False)])
def test_groups_without_shuffled_keys_warn_once_and_say_what_to_do(groups, shuffled):
    backbone = kl.backbones.resnet_small((8, 8, 3), widths=(4, 8))
    model = kl.LeOCLR(backbone, projection_dim=8, queue_size=8, bn_groups=groups)
    views = {k: keras.ops.convert_to_tensor(v) for k, v in random_views(1).items()}
    if shuffled:
        views["permutation"] = keras.ops.arange(8)
    for warns in (groups > 1 and not shuffled, False):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            model._encode_keys(views, training=True)
        assert [str(each.message) for each in found if "the order of the queries" in str(each.message)] == (
            [
                "BatchNorm takes its statistics over 2 parts of the batch, and the keys are in the order of "
                "the queries: a query and its key then have statistics of the same images, which tell them "
                "from the negatives. `view_dataset(..., permute_keys=True)` shuffles the keys; batches of "
                'your own need a "permutation".'
            ]
            if warns
            else []
        )


def test_weights_in_half_precision_are_refused():
    backbone = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(8, dtype="bfloat16")]
    )
    with pytest.raises(ValueError, match="must keep its weights in float32.*mixed_bfloat16"):
        kl.LeOCLR(backbone, queue_size=8)


@pytest.mark.parametrize("accumulated", [None, 2])
def test_no_variable_is_of_a_type_that_gpus_of_tensorflow_keep_on_the_host(accumulated):
    backbone = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Dropout(0.1), keras.layers.Flatten()]
    )
    momentum = kl.schedules.CosineMomentum(0.9, 12)
    model = kl.LeOCLR(backbone, projection_dim=4, queue_size=8, momentum=momentum)
    model.compile(optimizer=kl.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=accumulated))
    everything = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    names = {v.name for v in everything}
    assert {"pointer", "iteration", "seed_generator_state"} <= names
    assert ("moved_at" in names) == bool(accumulated)
    if keras.backend.backend() == "tensorflow":
        assert not [v.path for v in everything if v.dtype == "int32"]
    counters = [v for v in everything if v.name in ("pointer", "moved_at")]
    assert {v.dtype for v in counters} == {model.optimizer.variables[0].dtype}


def partly_frozen():
    """A model within the model, BatchNorm, a layer that is frozen for good, and all of it frozen at first."""
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(8, 3), layers.BatchNormalization()])
    backbone = keras.Sequential([inner, layers.ReLU(), layers.Conv2D(8, 3, name="last"), layers.Flatten()])
    backbone.trainable = False
    return backbone


@pytest.mark.parametrize("loaded", [False, True], ids=["as it is", "saved, loaded"])
def test_the_key_encoder_follows_a_backbone_that_is_trained_later(loaded, tmp_path):
    model = kl.LeOCLR(partly_frozen(), projection_dim=4, queue_size=8, momentum=0.5)
    model.compile(optimizer=kl.optimizers.SGD(0.1))
    data = batched(random_views(1))
    start = {v.path: to_numpy(v).copy() for v in model.key_encoder.variables}
    model.fit(data, epochs=2, verbose=0, shuffle=False)
    for variable in model.key_encoder.variables:  # the heads alone were trained
        assert np.allclose(to_numpy(variable), start[variable.path]) != ("head" in variable.path)
    if loaded:
        model.save(tmp_path / "model.keras")
        model = keras.saving.load_model(tmp_path / "model.keras")
    for layer in model.backbone._flatten_layers():  # of a loaded model, Keras does not pass the flag on
        layer.trainable = True
    model.backbone.get_layer("last").trainable = False
    model.compile(optimizer=kl.optimizers.SGD(0.1))
    query, key = (list(e._flatten_layers()) for e in (model.query_encoder, model.key_encoder))
    assert [layer.trainable for layer in query] == [layer.trainable for layer in key]
    assert not model.key_encoder.trainable_variables
    assert not {id(v) for v in model.trainable_variables} & {id(v) for v in model.key_encoder.variables}
    model.fit(data, verbose=0, shuffle=False)
    pairs = [*zip(model.query_encoder.weights, model.key_encoder.weights, strict=True)]
    before = [[to_numpy(v).copy() for v in pair] for pair in pairs]
    model.fit(data, verbose=0, shuffle=False)
    names = set()
    for (one, other), (query, key) in zip(pairs, before, strict=True):
        if "moving" in one.path:  # each encoder's own, of the views that it sees
            assert not np.array_equal(to_numpy(other), key) and not np.array_equal(key, query)
            continue
        np.testing.assert_allclose(to_numpy(other), 0.5 * key + 0.5 * query, rtol=1e-5, atol=1e-7)
        assert np.array_equal(to_numpy(one), query) == ("last" in one.path)
        names.add(one.name)
    assert names == {"kernel", "bias", "gamma", "beta"}


def test_a_frozen_backbone_has_batchnorm_in_inference_mode_in_both_encoders():
    model = kl.LeOCLR(partly_frozen(), projection_dim=4, queue_size=8)
    model.compile(optimizer=kl.optimizers.SGD(0.1))
    before = [to_numpy(v).copy() for v in model.variables if "moving" in v.path]
    model.fit(batched(random_views(1)), verbose=0, shuffle=False)
    after = [to_numpy(v) for v in model.variables if "moving" in v.path]
    assert len(before) == 4
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
