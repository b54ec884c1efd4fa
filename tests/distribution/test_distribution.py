"""Many devices and many workers compute what one device computes."""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr import distribution
from keras_leoclr.distribution import step
from keras_leoclr.distribution.devices import connect
from keras_leoclr.distribution.workers import wait_for_workers
from keras_leoclr.recipes import fashion_mnist, pretrain
from tests.case import batched, random_views, small_model, to_numpy
from tests.distribution.replicas import REPLICAS, mirrored
from tests.distribution.worker import train

BACKEND = keras.backend.backend()
distributed = pytest.mark.skipif(BACKEND == "torch", reason="the torch backend trains on one device")
only_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute")
only_jax = pytest.mark.skipif(BACKEND != "jax", reason="keras.distribution")


@contextlib.contextmanager
def replicas():
    """An engine over logical devices, as `distribution.connect` makes it."""
    if BACKEND == "tensorflow":
        yield distribution.Devices("mirrored", REPLICAS, engine=mirrored())
        return
    engine = keras.distribution.DataParallel(devices=keras.distribution.list_devices("cpu")[:REPLICAS])
    keras.distribution.set_distribution(engine)
    try:
        yield distribution.Devices("data_parallel", REPLICAS, engine=engine)
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


class Record(keras.callbacks.Callback):
    """The running mean of the loss after each step, and what the first step adds to the weights."""

    def on_train_begin(self, logs=None):
        self.losses, self.first = [], None
        self.start = [to_numpy(v) for v in self.model.query_encoder.trainable_variables]

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))
        if batch == 0:
            if BACKEND == "jax":
                self.model.jax_state_sync()
            now = [to_numpy(v) for v in self.model.query_encoder.trainable_variables]
            self.first = [after - before for before, after in zip(self.start, now, strict=True)]


def fit(model, data):
    record = Record()
    model.fit(data, verbose=0, shuffle=False, callbacks=[record])
    return record.losses, record.first


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
def test_replicas_without_shuffled_keys_are_warned_of():
    said = f"statistics over {REPLICAS} parts of the batch.*in the order of the queries"
    with replicas() as devices:
        model = model_on(devices)
        views = random_views(2, 16)
        with pytest.warns(UserWarning, match=said):
            fit(model, batched(views, 16))
        model = model_on(devices)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*in the order of the queries")
            fit(model, batched(with_permutation(views, 16, REPLICAS), 16))


@distributed
@pytest.mark.parametrize(
    "options", [{}, {"queue_size": 0, "momentum": 0.0}], ids=["queue", "negatives in the batch"]
)
def test_replicas_compute_what_one_device_with_as_many_groups_computes(options, monkeypatch):
    views = with_permutation(random_views(20, 16), 16, REPLICAS)
    one = model_on(distribution.Devices(), bn_groups=REPLICAS, **options)
    weights = one.get_weights()
    with replicas() as devices:
        many = model_on(devices, weights=weights, **options)
        exchanged = recorded_collectives(monkeypatch)
        many_losses, many_first = fit(many, batched(views, 16))
        many_end = [to_numpy(v) for v in many.query_encoder.trainable_variables]
        many_keys = None if many.key_queue is None else to_numpy(many.key_queue.keys)
        if not options:
            fit(many, batched(views, 16))
            fit(many, batched({name: value[:160] for name, value in views.items()}, 16))
            assert_the_same_bits_everywhere(many)
            assert int(to_numpy(many.key_queue.pointer)) == 50 * 16 * 2 % 40
            assert_no_image_is_exchanged(exchanged, many)
    one_losses, one_first = fit(one, batched(views, 16))
    # the first update of SGD, from a velocity of 0: learning rate times gradient
    for ours, theirs in zip(many_first, one_first, strict=True):
        np.testing.assert_allclose(
            ours / 0.05, theirs / 0.05, atol=1e-5 * max(1.0, np.abs(theirs).max() / 0.05)
        )
    np.testing.assert_allclose(many_losses, one_losses, rtol=1e-4)
    for ours, theirs in zip(many_end, one.query_encoder.trainable_variables, strict=True):
        np.testing.assert_allclose(ours, to_numpy(theirs), atol=2e-4)
    if many_keys is not None:
        np.testing.assert_allclose(many_keys, to_numpy(one.key_queue.keys), atol=1e-3)


def assert_the_same_bits_everywhere(model):
    for variable in (
        model.key_queue.keys,
        model.key_queue.pointer,
        *(v for pair in model._pairs for v in pair),
    ):
        first, *others = copies(variable)
        assert len(others) == REPLICAS - 1
        for other in others:
            np.testing.assert_array_equal(other, first, err_msg=variable.path)


def recorded_collectives(monkeypatch):
    """Shapes of what replicas hand to tf.distribute's collectives; filled while a step is traced."""
    recorded = {"all_gather": [], "all_reduce": []}
    if BACKEND != "tensorflow":
        return None  # see test_what_devices_exchange
    for name, shapes in recorded.items():
        original = getattr(tf.distribute.ReplicaContext, name)

        def call(self, *args, original=original, shapes=shapes, **kwargs):
            shapes += [v.shape.as_list() for v in tf.nest.flatten([args, kwargs]) if tf.is_tensor(v)]
            return original(self, *args, **kwargs)

        monkeypatch.setattr(tf.distribute.ReplicaContext, name, call)
    return recorded


def assert_no_image_is_exchanged(recorded, model):
    if recorded is None:
        return
    # each replica's keys, two of 8 numbers per image, and the queries that they belong to
    each = 16 // REPLICAS
    shapes = {tuple(shape) for shape in recorded["all_gather"]}
    assert shapes == {(each,), (each, 2, 8)}
    weights = {tuple(v.shape) for v in model.query_encoder.trainable_variables}
    assert {tuple(shape) for shape in recorded["all_reduce"]} <= weights


@only_jax
def test_what_devices_exchange_is_keys_and_gradients_never_images():
    """Reads the compiled program: each of its collectives and the size of what it moves."""
    import jax

    batch = 16
    with replicas() as devices:
        model = model_on(devices)
        data = with_permutation(random_views(1, batch), batch, REPLICAS)
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


@only_tensorflow
def test_besides_keys_and_gradients_replicas_exchange_single_numbers():
    """Counts the bytes that cross in the graph of a step, also those of assignments."""
    from tools.kernel_audit import audit, without_kernel
    from tools.traffic import crossings, graph_of_a_step

    batch = with_permutation(random_views(1, 16), 16, REPLICAS)
    with replicas() as devices:
        model = model_on(devices, momentum=kl.schedules.CosineMomentum(0.9, 6))
        graph = graph_of_a_step(model, devices.engine, batch)
        found = crossings(graph)
        with devices.scope():
            first_sends = tf.Variable(
                tf.zeros((40, 8)), trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
            )
        engine = devices.engine
        broadcast = tf.function(lambda: engine.run(lambda: first_sends.assign(first_sends + 1.0)))
        sent = crossings(broadcast.get_concrete_function().graph)
    total = {way: sum(each.number for each in found if each.way == way) for way in ("gathered", "summed")}
    keys, shapes = 16 * 2 * 8 * 4, 3 * 4 * REPLICAS
    assert keys <= total["gathered"] <= keys + shapes
    weights = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert total["summed"] == 4 * weights * REPLICAS
    assert all(each.number <= 8 for each in found if each.way == "copied"), found
    assert {"CollectiveGatherV2", "CollectiveReduceV2"} <= {each.kind for each in audit(graph, small=100)}
    assert without_kernel(graph, small=100) == []
    # a queue that the first replica assigned for all would be seen
    assert [each.number for each in sent if each.way == "copied"] == [40 * 8 * 4] * (REPLICAS - 1)


@distributed
def test_a_batch_that_the_replicas_cannot_share_is_refused():
    with pytest.raises(ValueError, match="all 4 replicas .* divisible .*Received: batch_size=10"):
        distribution.Devices("mirrored", 4).check_batch_size(10)
    with pytest.raises(
        ValueError, match="`bn_groups` must divide .* gets of a batch, 4. Received: bn_groups=3"
    ):
        distribution.Devices("mirrored", 2).check_batch_size(8, bn_groups=3)
    distribution.Devices("mirrored", 2).check_batch_size(8, bn_groups=2)
    with replicas() as devices:
        model = model_on(devices)
        with pytest.raises(Exception, match="divisible|dimension size is"):
            count = 4 * REPLICAS - 1
            fit(model, batched(random_views(1, count), count))


@only_tensorflow
def test_an_optimizer_from_outside_of_the_scope_is_refused():
    with replicas() as devices:
        with devices.scope():
            backbone = kl.backbones.resnet_small((8, 8, 3), widths=(8, 16))
        model = kl.LeOCLR(backbone, queue_size=8)
        with pytest.raises(ValueError, match="`optimizer` must be made inside `strategy.scope"):
            model.compile(optimizer=kl.optimizers.SGD(0.1))


@only_tensorflow
def test_accumulated_gradients_on_replicas_are_refused():
    with replicas() as devices:
        with pytest.raises(ValueError, match="sums no gradients over replicas.*steps=2, a MirroredStrategy"):
            model_on(devices, accumulated=2)


@only_jax
def test_accumulated_gradients_on_replicas_are_those_of_one_device():
    data = batched(with_permutation(random_views(4, 16), 16, REPLICAS), 16)
    one = model_on(distribution.Devices(), accumulated=2, bn_groups=REPLICAS)
    weights = one.get_weights()
    fit(one, data)
    with replicas() as devices:
        many = model_on(devices, accumulated=2, weights=weights)
        fit(many, data)
        ended = [[to_numpy(v) for v in pair] for pair in many._pairs]
    for mine, theirs in zip(ended, one._pairs, strict=True):
        for ours, variable in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(ours, to_numpy(variable), atol=2e-4)


@only_tensorflow
def test_a_model_made_inside_the_scope_is_the_model_made_outside(monkeypatch):
    """The usual way of Keras, where everything is made inside, as on a machine with GPUs."""
    monkeypatch.setattr(step, "on_tensorflow_cpu", lambda: False)
    data = with_permutation(random_views(3, 16), 16, REPLICAS)
    with replicas() as devices:
        outside = model_on(devices, momentum=kl.schedules.CosineMomentum(0.9, 6))
        with devices.scope():
            inside = small_model(
                queue_size=40,
                momentum=kl.schedules.CosineMomentum(0.9, 6),
            )
        inside.set_weights(outside.get_weights())
        assert not inside.jit_compile and not outside.jit_compile
        expected, actual = (fit(model, batched(data, 16))[0] for model in (outside, inside))
        assert_the_same_bits_everywhere(inside)
    np.testing.assert_array_equal(actual, expected)
    for ours, theirs in zip(inside.variables, outside.variables, strict=True):
        np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs), err_msg=ours.path)


@only_tensorflow
def test_a_step_of_replicas_is_not_compiled_with_xla(monkeypatch):
    monkeypatch.setattr(step, "on_tensorflow_cpu", lambda: False)
    with replicas() as devices:
        model = model_on(devices)
        assert model.jit_compile is False
        with pytest.raises(ValueError, match="between replicas. Received: jit_compile=True, a MirroredStr"):
            model.compile(optimizer=model.optimizer, jit_compile=True)
    assert step.jit_compile_of("auto", None) == "auto" and step.jit_compile_of(True, None) is True


@distributed
def test_features_are_those_of_one_device():
    images = np.random.default_rng(0).standard_normal((10, 8, 8, 3)).astype("float32")
    data = [(images[:6], np.zeros(6, int)), (images[6:], np.zeros(4, int))]
    one = model_on(distribution.Devices())
    with replicas() as devices:
        many = model_on(devices, weights=one.get_weights())
        features, labels = kl.evaluation.extract_features(many.backbone, data)
    assert features.shape[0] == labels.shape[0] == 10
    np.testing.assert_allclose(features, kl.evaluation.extract_features(one.backbone, data)[0], atol=1e-5)


@distributed
@pytest.mark.slow
def test_a_recipe_on_replicas_trains_measures_saves_and_goes_on(tmp_path, monkeypatch):
    if BACKEND == "tensorflow":
        engine = mirrored()
        monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda names: engine)
    recipe = dataclasses.replace(
        fashion_mnist.RECIPE.smoke(),
        strategy={"tensorflow": "mirrored", "jax": "data_parallel"}[BACKEND],
        max_images=128,
        knn_bank=60,
        knn_queries=30,
        image_size=16,
        widths=(8, 16),
        epochs=1,
        evaluate=False,
    )
    pretrain(recipe, tmp_path, verbose=0, tensorboard="off")
    pretrain(dataclasses.replace(recipe, epochs=2), tmp_path, verbose=0, override=True, tensorboard="on")
    assert len((tmp_path / "logs" / "features.tsv").read_text().splitlines()) == 128
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 3
    backbone = keras.saving.load_model(tmp_path / "backbone.keras")
    assert backbone.predict(np.zeros((2, 16, 16, 3)), verbose=0).shape == (2, 16)
    if BACKEND == "jax":
        assert keras.distribution.distribution() is None


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
@pytest.mark.skipif(
    BACKEND == "jax" and REPLICAS < 4, reason="JAX notices after 100 s without a heartbeat: make test-slow"
)
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
    assert (devices.replicas, devices.workers, devices.worker) == (REPLICAS, 1, 0)
    each = 32 // REPLICAS
    assert devices.describe(32) == f"{REPLICAS} replicas (mirrored), {each} images each, 32 a step."


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


VARIANTS = {
    "compiled": {"jit_compile": True},
    "two at once": {"steps_per_execution": 2},
    "both": {"jit_compile": True, "steps_per_execution": 2},
}


@pytest.mark.parametrize(
    ("name", "policy"), [*((name, "float32") for name in VARIANTS), ("both", "mixed_bfloat16")]
)
def test_ways_to_run_a_step_end_at_the_same_weights(name, policy):
    options = VARIANTS[name]
    if BACKEND == "torch":
        pytest.skip("Keras refuses steps_per_execution > 1 and compiles with torch.compile, if at all")
    if BACKEND == "jax" and name == "compiled":
        pytest.skip("JAX compiles every step")
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
    model = small_model()
    model.compile(optimizer="sgd", steps_per_execution=2)
    with pytest.raises(ValueError, match="steps_per_execution"):
        fit(model, batched(random_views()))
