"""Every sickness is noticed, once, and a healthy run is left in peace."""

import math
import time
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr import callbacks
from keras_leoclr.runs.results import Results
from tests.case import batched, fresh_model, random_views, small_model

HEALTHY = {"loss": 1.0, "feature_std": 0.3, "loss_to_chance": 0.5}


def logs_of(values):
    """Logs of an epoch's steps: means so far, as Keras gives them."""
    total = {name: 0.0 for name in HEALTHY}
    for step, value in enumerate(values):
        total = {name: total[name] + {**HEALTHY, **value}[name] for name in HEALTHY}
        yield step, {name: total[name] / (step + 1) for name in HEALTHY}


def watch(health, *epochs, model=None):
    """The callback through epochs of a model that logs these values."""
    health.set_model(model or small_model())
    health.on_train_begin()
    for epoch, values in enumerate(epochs):
        health.on_epoch_begin(epoch)
        for step, logs in logs_of(values):
            health.on_train_batch_end(step, logs)
        health.on_epoch_end(epoch, {})
    return health


def found(path):
    return [line["name"] for line in Results(path).read() if line["name"].startswith("health/")]


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("sick", "name", "words"),
    [
        ({"feature_std": 0.01}, "collapse", "queries of a batch are nearly the same.*lower learning rate"),
        (
            {"loss_to_chance": 0.999},
            "chance",
            "loss is that of guessing since 5 steps.*another learning rate",
        ),
    ],
)
def test_a_sickness_that_lasts_is_reported_once(tmp_path, sick, name, words):
    results = Results(tmp_path / "results.jsonl")
    health = callbacks.Health(results=results, patience=5)
    with pytest.warns(callbacks.HealthWarning, match=words) as warned:
        watch(health, [{}, *[sick] * 4], [sick] * 12)  # it lasts from one epoch to the next
    assert [each.category for each in warned].count(callbacks.HealthWarning) == 1
    (line,) = results.read()
    assert line["name"] == f"health/{name}" and line["epoch"] == 2 and line["advice"]
    assert line["value"] == pytest.approx(next(iter(sick.values())))


@pytest.mark.backend_free
@pytest.mark.parametrize("sick", [{"feature_std": 0.01}, {"loss_to_chance": 0.999}])
def test_a_sickness_that_passes_is_not_reported(tmp_path, sick):
    path = tmp_path / "results.jsonl"
    watch(callbacks.Health(results=Results(path), patience=5), [*[sick] * 4, {}] * 5)
    assert found(path) == []


@pytest.mark.backend_free
def test_what_health_remembers_survives_a_restart(tmp_path):
    sick, path = {"feature_std": 0.01}, tmp_path / "results.jsonl"
    first = watch(callbacks.Health(results=Results(path), patience=5), [sick] * 4)
    second = callbacks.Health(results=Results(path), patience=5)
    second.restore(first.state())
    with pytest.warns(callbacks.HealthWarning):
        watch(second, [sick])
    third = callbacks.Health(results=Results(path), patience=5)
    third.restore(second.state())
    watch(third, [sick] * 9)
    assert found(path) == ["health/collapse"]


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("momentum", "queue_size", "steps", "words"),
    [
        # 16 keys a step
        (0.0, 400, 100, "stays in the queue 25 steps, 25 times as long"),
        (0.99, 33, 2, "queue's 33 keys are more than the 32 of an epoch"),
        (0.99, 32, 2, None),
        (0.9, 160 * 9, 1000, None),  # 90 steps, 9 times as long
        (0.9, 160 * 11, 1000, "110 steps, 11 times as long"),
    ],
)
def test_a_queue_of_stale_keys_is_reported(momentum, queue_size, steps, words):
    model = small_model(momentum=momentum, queue_size=queue_size)
    health = callbacks.Health(callbacks.Feed(batch_size=8, num_key_views=2, steps=steps))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        watch(health, model=model)
    said = [str(each.message) for each in warned if each.category is callbacks.HealthWarning]
    assert len(said) == (words is not None)
    assert words is None or words in said[0]


def test_a_queue_is_fresh_enough_where_the_key_encoder_moves_once_in_several_steps():
    with warnings.catch_warnings():
        warnings.simplefilter("error", callbacks.HealthWarning)
        for accumulated, size in ((None, 160 * 9), (4, 160 * 39)):
            model = small_model(momentum=0.9, queue_size=size)
            model.compile(kl.optimizers.SGD(0.05, gradient_accumulation_steps=accumulated))
            watch(callbacks.Health(callbacks.Feed(8, 2, 1000)), model=model)
    with pytest.warns(callbacks.HealthWarning, match="in the queue 410 steps, 10 times as long"):
        model.key_queue.size = 160 * 41
        watch(callbacks.Health(callbacks.Feed(8, 2, 1000)), model=model)


def slow(dataset, seconds):
    def wait(batch):
        waited = tf.numpy_function(lambda: time.sleep(seconds) or 0.0, [], tf.float64)
        with tf.control_dependencies([waited]):
            return tf.nest.map_structure(tf.identity, batch)

    return dataset.map(wait)


@pytest.mark.parametrize("starved", [True, False])
def test_a_device_that_waits_for_data_is_reported(tmp_path, starved):
    """Waiting is measured within tf.data, so that it is seen on every backend."""
    path = tmp_path / "results.jsonl"
    waiting = kl.data.Waiting()
    dataset = batched(random_views(batches=12))
    dataset = waiting.watch(slow(dataset, 0.2) if starved else dataset.cache())

    class Step(keras.callbacks.Callback):  # a step takes longer than a batch from memory
        def on_train_batch_end(self, batch, logs=None):
            time.sleep(0 if starved else 0.05)

    feed = callbacks.Feed(8, 2, 12, waiting.seconds)
    health = callbacks.Health(feed, Results(path), starved=0.01 if starved else 0.2)
    fresh_model().fit(dataset, epochs=1, verbose=0, shuffle=False, callbacks=[Step(), health])
    assert found(path) == (["health/starved"] if starved else [])
    speeds = {line["name"]: line["value"] for line in Results(path).read()}
    assert speeds["speed/images_per_second"] > 0
    assert 0 <= speeds["speed/waiting_share"] <= 1
    if starved:
        assert waiting.seconds() >= 12 * 0.2


def test_a_healthy_run_stays_quiet(tmp_path):
    path = tmp_path / "results.jsonl"
    health = callbacks.Health(callbacks.Feed(8, 2, 3), Results(path), patience=2)
    model = fresh_model()
    with warnings.catch_warnings():
        warnings.simplefilter("error", callbacks.HealthWarning)
        history = model.fit(
            batched(random_views(batches=3)), epochs=4, verbose=0, shuffle=False, callbacks=[health]
        ).history
    assert found(path) == []
    assert max(history["loss_to_chance"]) < 0.99 and min(history["feature_std"]) > 0.1 / math.sqrt(8)


def test_non_finite_loss_stops_at_its_step_and_keeps_the_last_checkpoint(tmp_path):
    class Poison(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                bias = self.model.query_encoder.trainable_variables[-1]
                bias.assign(np.full(bias.shape, np.nan))

    model = fresh_model()
    checkpoint = callbacks.Checkpoint(tmp_path, minutes=0, budget=1)
    with pytest.raises(callbacks.NonFiniteLossError, match="The loss is nan at step 1 of epoch 2"):
        checkpoint.fit(
            model, lambda *_: batched(random_views()), 3, [Poison(), callbacks.Health()], verbose=0
        )
    assert callbacks.Checkpoint(tmp_path).restore(model) == (1, 0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"collapse": 0}, r"`collapse` must be a number in \(0, 1\]. Received: collapse=0"),
        ({"collapse": "0.1"}, r"`collapse` must be a number in \(0, 1\]. Received: collapse='0.1'"),
        ({"starved": 1.5}, r"`starved` must be a number in \(0, 1\]. Received: starved=1.5"),
        ({"patience": 0}, "`patience` must be a whole number >= 1. Received: patience=0"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        callbacks.Health(**options)


@pytest.mark.backend_free
@pytest.mark.parametrize("at_once", [1, 3, 4])
def test_steps_that_run_at_once_count_as_so_many(tmp_path, at_once, monkeypatch):
    """Keras tells the last step of an execution, which may lie behind the end of the epoch."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    results = Results(tmp_path / "results.jsonl")
    health = callbacks.Health(callbacks.Feed(8, 2, 10), results, patience=5)
    health.set_model(small_model())
    health.set_params({"steps": 10})
    spreads = [0.01 + 0.001 * step for step in range(10)]  # of one step each
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        health.on_train_begin()
        for epoch in range(2):
            health.on_epoch_begin(epoch)
            for first in range(0, 10, at_once):
                done = min(10, first + at_once)
                clock[0] += done - first
                health.on_train_batch_begin(first)
                health.on_train_batch_end(
                    first + at_once - 1, HEALTHY | {"feature_std": np.mean(spreads[:done])}
                )
                assert health._means["feature_std"] * done == pytest.approx(sum(spreads[:done]))
            health.on_epoch_end(epoch, {})
    assert health._in_a_row == {"collapse": 20, "chance": 0}
    speeds = [line for line in results.read() if line["name"] == "speed/images_per_second"]
    assert [line["value"] for line in speeds] == [pytest.approx(8.0)] * 2
    assert [line["steps"] for line in speeds] == [10 - at_once] * 2
    assert "collapse" in health.warned
    with pytest.raises(callbacks.NonFiniteLossError, match="steps 1 to 3" if at_once == 3 else "step"):
        health.on_train_batch_begin(0)
        health.on_train_batch_end(at_once - 1, {"loss": math.nan})


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras runs single steps on torch")
def test_a_real_fit_of_several_steps_per_execution_has_the_right_steps(tmp_path):
    model, results = small_model(), Results(tmp_path / "results.jsonl")
    model.compile(optimizer=model.optimizer, steps_per_execution=2)
    feed = callbacks.Feed(8, 2, 5)
    health = callbacks.Health(feed, results)
    progress = callbacks.Progress(feed, verbose=0)
    model.fit(
        batched(random_views(batches=5)), epochs=2, verbose=0, shuffle=False, callbacks=[health, progress]
    )
    assert model.optimizer.iterations == 10
    assert progress.status["step"] == 5 and progress.status["seconds_left"] == 0
    steps = [line["steps"] for line in results.read() if line["name"] == "speed/images_per_second"]
    assert steps == [3, 3]
