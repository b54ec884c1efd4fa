"""Many devices and many workers compute what one device computes."""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from case import batched, random_views, small_model, to_numpy
from worker import train

import keras_leoclr as kl
from keras_leoclr import distribution
from keras_leoclr.distribution import connect, wait_for_workers

BACKEND = keras.backend.backend()
distributed = pytest.mark.skipif(BACKEND == "torch", reason="the torch backend trains on one device")
only_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute")
only_jax = pytest.mark.skipif(BACKEND != "jax", reason="keras.distribution")


@contextlib.contextmanager
def replicas(count):
    """An engine over `count` logical devices, as `distribution.connect` makes it for all there are."""
    if BACKEND == "tensorflow":
        engine = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(count)])
        yield distribution.Devices("mirrored", count, engine=engine)
        return
    engine = keras.distribution.DataParallel(devices=keras.distribution.list_devices("cpu")[:count])
    keras.distribution.set_distribution(engine)
    try:
        yield distribution.Devices("data_parallel", count, engine=engine)
    finally:
        keras.distribution.set_distribution(None)


def model_on(devices, learning_rate=0.05, accumulated=None, weights=None, **options):
    with devices.scope():
        backbone = kl.backbones.resnet_small((8, 8, 3), widths=(8, 16))
        optimizer = kl.optimizers.SGD(
            learning_rate, momentum=0.9, weight_decay=1e-4, gradient_accumulation_steps=accumulated
        )
    options = {"projection_dim": 8, "queue_size": 40, "temperature": 0.5, "momentum": 0.9, **options}
    model = kl.LeOCLR(backbone, **options)
    model.compile(optimizer=optimizer)
    if weights is not None:
        model.set_weights(weights)
    return model


def fit(model, data, epochs=1):
    """Trains; returns the running mean of the loss after each step."""
    losses = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda _, logs: losses.append(float(logs["loss"]))
    )
    model.fit(data, epochs=epochs, verbose=0, shuffle=False, callbacks=[record])
    return losses


def with_permutation(views, batch_size, groups, seed=0):
    """Key views in another order than the queries, as `view_dataset(permute_keys=True)` makes them."""
    rng = np.random.default_rng(seed)
    count = len(views["query"])
    permutation = np.concatenate([rng.permutation(batch_size) for _ in range(count // batch_size)])
    rows = permutation + np.arange(count) // batch_size * batch_size
    return {**views, "keys": views["keys"][rows], "permutation": permutation.astype("int32")}


def copies(variable):
    """The values that the devices hold of a variable."""
    if BACKEND == "tensorflow":
        owner = variable.value.distribute_strategy
        return [v.numpy() for v in owner.experimental_local_results(variable.value)]
    return [np.asarray(shard.data) for shard in variable.value.addressable_shards]


# === The same mathematics ===


@distributed
@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize(
    "options",
    [{}, {"enqueue": "first"}, {"queue_size": 0, "momentum": 0.0}],
    ids=["queue", "first", "in batch"],
)
def test_replicas_compute_what_one_device_with_as_many_groups_computes(count, options):
    views = with_permutation(random_views(20, 16), 16, count)
    one = model_on(distribution.Devices(), bn_groups=count, **options)
    weights = one.get_weights()
    with replicas(count) as devices:
        many = model_on(devices, weights=weights, **options)
        many_losses = fit(many, batched(views, 16))
        many_weights = [to_numpy(v) for v in many.query_encoder.trainable_variables]
        keys = None if many.key_queue is None else to_numpy(many.key_queue.keys)
    one_losses = fit(one, batched(views, 16))
    np.testing.assert_allclose(many_losses, one_losses, rtol=1e-4)
    for ours, theirs in zip(many_weights, one.query_encoder.trainable_variables, strict=True):
        np.testing.assert_allclose(ours, to_numpy(theirs), atol=2e-4)
    if keys is not None:
        np.testing.assert_allclose(keys, to_numpy(one.key_queue.keys), atol=1e-3)


@distributed
@pytest.mark.parametrize("count", [2, 4])
def test_gradients_are_means_over_the_whole_batch(count):
    """One step of plain gradient descent: what the weights lose is the gradient."""
    views = with_permutation(random_views(1, 16), 16, count)
    one = model_on(distribution.Devices(), learning_rate=1.0, bn_groups=count)
    weights = one.get_weights()
    before = [to_numpy(v) for v in one.query_encoder.trainable_variables]
    with replicas(count) as devices:
        many = model_on(devices, learning_rate=1.0, weights=weights)
        fit(many, batched(views, 16))
        after = [to_numpy(v) for v in many.query_encoder.trainable_variables]
    fit(one, batched(views, 16))
    for start, ours, theirs in zip(before, after, one.query_encoder.trainable_variables, strict=True):
        gradient = start - to_numpy(theirs)
        np.testing.assert_allclose(start - ours, gradient, atol=1e-5 * max(1.0, np.abs(gradient).max()))


@distributed
def test_queue_pointer_and_encoders_are_the_same_bits_on_every_replica_after_50_steps():
    with replicas(4) as devices:
        model = model_on(devices)
        fit(model, batched(with_permutation(random_views(10, 16), 16, 4), 16), epochs=5)
        shared = [model.key_queue.keys, model.key_queue.pointer]
        shared += [v for pair in model._pairs for v in pair]
        for variable in shared:
            first, *others = copies(variable)
            assert len(others) == 3
            for other in others:
                np.testing.assert_array_equal(other, first, err_msg=variable.path)
        assert int(to_numpy(model.key_queue.pointer)) == 50 * 16 * 2 % 40


@only_tensorflow
def test_what_replicas_gather_is_keys_and_their_order_never_images(monkeypatch):
    gathered, reduced = [], []
    context = tf.distribute.ReplicaContext

    def recording(name, into):
        original = getattr(context, name)

        def call(self, *args, **kwargs):
            into.append([v.shape.as_list() for v in tf.nest.flatten([args, kwargs]) if tf.is_tensor(v)])
            return original(self, *args, **kwargs)

        monkeypatch.setattr(context, name, call)

    recording("all_gather", gathered)
    recording("all_reduce", reduced)
    with replicas(2) as devices:
        model = model_on(devices)
        fit(model, batched(with_permutation(random_views(1, 16), 16, 2), 16))
    # each replica's keys, two of 8 numbers per image, and where they belong
    assert sorted(gathered) == [[[8]], [[8]], [[8, 2, 8]], [[8, 2, 8]]]
    weights = sorted(list(v.shape) for v in model.query_encoder.trainable_variables)
    assert sorted(shape for call in reduced for shape in call) == sorted(weights * 2)


@only_jax
def test_what_devices_exchange_is_keys_and_gradients_never_images():
    """Reads the compiled program: each of its collectives and the size of what it moves."""
    import jax

    batch = 16
    with replicas(4) as devices:
        model = model_on(devices)
        data = with_permutation(random_views(1, batch), batch, 4)
        layout = {name: devices.engine.get_data_layout(v.shape).backend_layout for name, v in data.items()}
        placed = {name: jax.device_put(v, layout[name]) for name, v in data.items()}
        state = tuple(
            [v.value for v in variables]
            for variables in (
                model.trainable_variables,
                model.non_trainable_variables,
                model.optimizer.variables,
                model.metrics_variables,
            )
        )
        text = jax.jit(model.train_step).lower(state, placed).compile().as_text()
    moved = []
    for line in text.splitlines():
        match = re.search(r"= (.*?) (all-gather|all-to-all|collective-permute|all-reduce)(-start)?\(", line)
        if match:
            for shape in re.findall(r"[a-z]+[0-9]+\[([0-9,]*)\]", match[1]):
                moved.append((match[2], int(np.prod([int(n) for n in shape.split(",") if n]))))
    largest_weight = max(int(np.prod(v.shape)) for v in model.trainable_variables)
    keys = batch * 2 * 8
    assert any(size >= keys for kind, size in moved if kind != "all-reduce"), "keys must be exchanged"
    assert all(size <= keys for kind, size in moved if kind != "all-reduce"), moved
    assert all(size <= max(keys, largest_weight) for _, size in moved), moved
    assert keys < placed["query"].size / 4


@distributed
def test_a_batch_that_the_replicas_cannot_share_is_refused():
    with pytest.raises(ValueError, match="all 4 replicas .* divisible .*Received: batch_size=10"):
        distribution.Devices("mirrored", 4).check_batch_size(10)
    with replicas(4) as devices:
        model = model_on(devices)
        with pytest.raises(Exception, match="divisible"):
            fit(model, batched(random_views(1, 10), 10))


@only_tensorflow
def test_an_optimizer_from_outside_of_the_scope_is_refused():
    with replicas(2) as devices:
        with devices.scope():
            backbone = kl.backbones.resnet_small((8, 8, 3), widths=(8, 16))
        model = kl.LeOCLR(backbone, queue_size=8)
        with pytest.raises(ValueError, match="`optimizer` must be made inside `strategy.scope"):
            model.compile(optimizer=kl.optimizers.SGD(0.1))


@only_tensorflow
def test_a_model_made_inside_the_scope_trains_too():
    with replicas(2) as devices, devices.scope():
        model = small_model(queue_size=40)
    assert len(fit(model, batched(random_views(2, 16), 16))) == 2


@distributed
def test_features_are_those_of_one_device():
    images = np.random.default_rng(0).standard_normal((10, 8, 8, 3)).astype("float32")
    data = [(images[:6], np.zeros(6, int)), (images[6:], np.zeros(4, int))]
    one = model_on(distribution.Devices())
    with replicas(2) as devices:
        many = model_on(devices, weights=one.get_weights())
        features, labels = kl.evaluation.extract_features(many.backbone, data)
    assert features.shape[0] == labels.shape[0] == 10
    np.testing.assert_allclose(features, kl.evaluation.extract_features(one.backbone, data)[0], atol=1e-5)


# === Several processes ===


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("localhost", 0))) for _ in range(count)]
        return [s.getsockname()[1] for s in sockets]


def start_workers(count, **options):
    """Processes of worker.py that know of each other."""
    addresses = [f"localhost:{port}" for port in free_ports(count)]
    started = []
    for number in range(count):
        environment = {**os.environ, "KERAS_BACKEND": BACKEND, "XLA_FLAGS": "", "CUDA_VISIBLE_DEVICES": "-1"}
        if BACKEND == "tensorflow":
            task = {"type": "worker", "index": number}
            environment["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
        else:
            environment |= {
                "KERAS_DISTRIBUTION_JOB_ADDRESSES": ",".join(addresses),
                "KERAS_DISTRIBUTION_NUM_PROCESSES": str(count),
                "KERAS_DISTRIBUTION_PROCESS_ID": str(number),
            }
        script = pathlib.Path(__file__).with_name("worker.py")
        mine = {**options, "crash_after": options.get("crash_after") if number else None}
        started.append(
            subprocess.Popen(
                [sys.executable, script, json.dumps(mine)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return started


@distributed
def test_two_processes_compute_what_one_computes():
    workers = start_workers(2)
    outputs = [worker.communicate(timeout=300) for worker in workers]
    for worker, (_, errors) in zip(workers, outputs, strict=True):
        assert worker.returncode == 0, errors[-3000:]
    first, second = (json.loads(out.splitlines()[-1]) for out, _ in outputs)
    alone = train("none", bn_groups=2)
    assert first["replicas"] == 2
    assert first["weights"] == second["weights"]
    np.testing.assert_array_equal(first["losses"], second["losses"])
    np.testing.assert_allclose(first["losses"], alone["losses"], rtol=1e-4)
    np.testing.assert_allclose(first["queue"], alone["queue"], atol=1e-3)
    assert first["pointer"] == alone["pointer"]


@distributed
def test_when_a_worker_dies_the_other_stops_and_says_so():
    workers = start_workers(2, steps=2000, crash_after=3)
    try:
        _, errors = workers[0].communicate(timeout=300)
    finally:
        for worker in workers:
            worker.kill()
    assert workers[1].wait() in (9, -9)
    assert workers[0].returncode not in (0, None)
    assert "Another of the 2 workers stopped" in errors, errors[-3000:]


def test_a_worker_that_does_not_come_is_named():
    here, there = (f"localhost:{port}" for port in free_ports(2))
    with pytest.raises(TimeoutError, match=f"Waited 1 s for 1 of 2 workers .*{there}"):
        wait_for_workers([here, there], 0, timeout=1.0)


def test_an_own_port_in_use_is_named():
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(OSError, match=f"localhost:{port}, cannot be opened"):
            wait_for_workers([f"localhost:{port}", "localhost:1"], 0, timeout=1.0)


# === What is asked for ===


@pytest.mark.parametrize("name", ["mirrored", "multi_worker", "data_parallel", "sideways"])
def test_a_strategy_of_another_backend_is_refused(name):
    if name in distribution.STRATEGIES[BACKEND]:
        pytest.skip("this backend has it")
    with pytest.raises(ValueError, match=f"`strategy` must be one of .* on the {BACKEND} backend.*'{name}'"):
        connect(name)


@only_tensorflow
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "TF_CONFIG must be JSON"),
        ("[]", "TF_CONFIG must be JSON"),
        ('{"cluster": {"worker": []}, "task": {"type": "worker", "index": 0}}', "TF_CONFIG must be JSON"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "from 0 to 0.*index 1"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}', "must be a worker.*'ps'"),
        ('{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}', "host:port.*'a'"),
        (
            '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
            "Every task",
        ),
    ],
)
def test_a_tf_config_that_cannot_be_is_refused(monkeypatch, text, words):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=words):
        connect("multi_worker")


@only_tensorflow
def test_several_workers_need_tf_config(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="Received: no TF_CONFIG"):
        connect("multi_worker")


@only_jax
@pytest.mark.parametrize(
    ("addresses", "count", "number", "words"),
    [
        ("localhost:1", "2", None, "must be set together"),
        ("localhost:1", "two", "0", "must be whole numbers"),
        ("localhost:1", "2", "2", "from 0 to"),
        ("localhost:1,localhost:2", "3", "0", "all processes or the first"),
        ("localhost", "2", "0", "host:port"),
    ],
)
def test_processes_that_cannot_be_are_refused(monkeypatch, addresses, count, number, words):
    values = {"JOB_ADDRESSES": addresses, "NUM_PROCESSES": count, "PROCESS_ID": number}
    for name, value in values.items():
        if value is not None:
            monkeypatch.setenv(f"KERAS_DISTRIBUTION_{name}", value)
    with pytest.raises(ValueError, match=words):
        connect()


@pytest.mark.skipif(BACKEND != "torch", reason="torchrun")
def test_torch_on_several_processes_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="torch backend trains on one device.*WORLD_SIZE=2"):
        connect()


def test_auto_is_one_device_where_there_is_no_gpu(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert connect("auto") == distribution.Devices()
    assert connect("none").describe(32) == "One device, 32 images a step."


@only_tensorflow
def test_mirrored_takes_the_logical_cpus_where_there_is_no_gpu():
    devices = connect("mirrored")
    assert (devices.replicas, devices.workers, devices.worker) == (4, 1, 0)
    assert devices.describe(32) == "4 replicas (mirrored), 8 images each, 32 a step."


# === Accumulated gradients, compiled steps, several steps at once ===


def test_with_accumulated_gradients_every_batch_is_enqueued_and_encoders_move_at_updates():
    model = model_on(distribution.Devices(), accumulated=2)
    query, key = model._pairs[0]
    start = to_numpy(query)
    views = random_views(3, 8)
    steps = [{name: value[8 * i : 8 * i + 8] for name, value in views.items()} for i in range(3)]
    fit(model, batched(steps[0]))
    np.testing.assert_array_equal(to_numpy(query), start)
    np.testing.assert_array_equal(to_numpy(key), start)
    fit(model, batched(steps[1]))
    moved = to_numpy(query)
    assert np.abs(moved - start).max() > 0
    np.testing.assert_array_equal(to_numpy(key), start)
    fit(model, batched(steps[2]))
    np.testing.assert_array_equal(to_numpy(query), moved)
    np.testing.assert_allclose(to_numpy(key), 0.9 * start + 0.1 * moved, rtol=1e-5, atol=1e-7)
    assert int(to_numpy(model.key_queue.pointer)) == 3 * 16 % 40


def test_accumulated_gradients_are_the_mean_of_the_batches():
    """Keys of the first batch are among the second's negatives, so each is compared with its own queue."""
    accumulating = model_on(distribution.Devices(), learning_rate=1.0, accumulated=2)
    weights = {v.path: to_numpy(v) for v in accumulating.variables}
    views = random_views(2, 8)
    parts = [{name: value[8 * i : 8 * i + 8] for name, value in views.items()} for i in range(2)]
    fit(accumulating, batched(views))
    gradients, queue = [], None
    for part in parts:
        single = model_on(distribution.Devices(), learning_rate=1.0)
        for ours, theirs in zip(
            single.query_encoder.variables, accumulating.query_encoder.variables, strict=True
        ):
            ours.assign(weights[theirs.path])
        for ours, theirs in zip(
            single.key_encoder.variables, accumulating.key_encoder.variables, strict=True
        ):
            ours.assign(weights[theirs.path])
        single.key_queue.keys.assign(weights[accumulating.key_queue.keys.path] if queue is None else queue[0])
        single.key_queue.pointer.assign(0 if queue is None else queue[1])
        before = [to_numpy(v) for v in single.trainable_variables]
        fit(single, batched(part))
        queue = to_numpy(single.key_queue.keys), to_numpy(single.key_queue.pointer)
        gradients.append([b - to_numpy(v) for b, v in zip(before, single.trainable_variables, strict=True)])
    for variable, one, two in zip(accumulating.trainable_variables, *gradients, strict=True):
        moved = weights[variable.path] - to_numpy(variable)
        np.testing.assert_allclose(moved, (one + two) / 2, atol=1e-5 * max(1.0, np.abs(moved).max()))


VARIANTS = {
    "compiled": {"jit_compile": True},
    "two at once": {"steps_per_execution": 2},
    "both": {"jit_compile": True, "steps_per_execution": 2},
}


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("name", VARIANTS)
def test_ways_to_run_a_step_end_at_the_same_weights(name, policy):
    options = VARIANTS[name]
    if BACKEND == "torch":
        pytest.skip("Keras refuses steps_per_execution > 1 and compiles with torch.compile, if at all")
    ended = {}
    views = random_views(4, 8)
    keras.config.set_dtype_policy(policy)
    try:
        for kind, given in (("plain", {"jit_compile": False}), (name, options)):
            keras.utils.set_random_seed(0)
            model = small_model(queue_size=40)
            model.compile(optimizer=kl.optimizers.SGD(0.05, momentum=0.9), **given)
            model.fit(batched(views), verbose=0, shuffle=False)
            ended[kind] = to_numpy(model.key_queue.keys)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(ended[name], ended["plain"], atol=1e-4 if policy == "float32" else 0.05)


@pytest.mark.skipif(BACKEND != "torch", reason="what Keras has only on the other backends")
def test_torch_refuses_several_steps_at_once():
    with pytest.raises(ValueError, match="steps_per_execution"):
        small_model().compile(optimizer="sgd", steps_per_execution=2)
