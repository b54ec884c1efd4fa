"""Devices and machines: which engine distributes the training, and what a step has to know of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import keras

from keras_leoclr.backbones.copying import copy_of
from keras_leoclr.distribution.strategies import STRATEGIES


class WorkerLostError(RuntimeError):
    """Another worker stopped, so that this one cannot go on."""


@dataclasses.dataclass(frozen=True)
class Devices:
    """What a run is distributed over; made by `connect`.

    Attributes:
        strategy: "none", "mirrored", "multi_worker" or "data_parallel".
        replicas: devices that a batch is divided among, of all workers.
        workers: processes.
        worker: number of this process; 0 is the one that writes files.
        engine: the `tf.distribute.Strategy` or `keras.distribution.Distribution`, None for one device.
    """

    strategy: str = "none"
    replicas: int = 1
    workers: int = 1
    worker: int = 0
    engine: Any = None

    @contextlib.contextmanager
    def scope(self):
        """Variables made within belong to all devices."""
        with self.engine.scope() if self.engine is not None else contextlib.nullcontext():
            yield

    def __enter__(self) -> Devices:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends what `connect` has set for the whole of Keras."""
        if self.strategy == "data_parallel":
            keras.distribution.set_distribution(None)

    def meet(self) -> None:
        """Returns when all workers have come here."""
        if self.strategy == "data_parallel" and self.workers > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices("keras_leoclr")
        if self.strategy == "multi_worker":
            import tensorflow as tf

            def count():
                return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, 1.0)

            tf.function(lambda: self.engine.run(count))()

    @contextlib.contextmanager
    def together(self):
        """Training within ends with `WorkerLostError` where another worker is gone."""
        try:
            yield
        except Exception as error:
            if self.workers == 1 or not _says_that_a_worker_is_gone(error):
                raise
            raise WorkerLostError(
                f"Another of the {self.workers} workers stopped, so worker {self.worker} cannot go on. "
                "Start all of them again: a run with checkpoints goes on from the last one."
            ) from error

    def check_batch_size(self, batch_size: int) -> None:
        """Raises ValueError unless the replicas can share a batch evenly."""
        if batch_size % self.replicas:
            raise ValueError(
                f"`batch_size` is that of all {self.replicas} replicas and must be divisible by them. "
                f"Received: batch_size={batch_size}"
            )

    @property
    def shard(self) -> tuple[int, int]:
        """`(worker, workers)`, as `data.view_dataset` takes them."""
        return self.worker, self.workers

    def distribute(self, dataset: Any, batch_size: int) -> Any:
        """A dataset of this worker's part of the batches, as `fit` takes it.

        Args:
            dataset: tf.data of batches, `view_dataset(..., shard=devices.shard)`.
            batch_size: images per step, of all replicas.
        """
        if self.strategy != "multi_worker":
            return dataset
        if self.replicas > self.workers:
            dataset = dataset.rebatch(batch_size // self.replicas, drop_remainder=True)
        return self.engine.distribute_datasets_from_function(lambda context: dataset)

    def describe(self, batch_size: int) -> str:
        """One line for the start of a run."""
        each = f"{batch_size // self.replicas} images each"
        if self.replicas == 1:
            return f"One device, {batch_size} images a step."
        places = f", {self.workers} workers" if self.workers > 1 else ""
        return f"{self.replicas} replicas{places} ({self.strategy}), {each}, {batch_size} a step."


def gpus() -> tuple[str, ...]:
    """Names of the GPUs that the backend sees, as `keras.device` takes them."""
    if keras.backend.backend() == "torch":
        import torch

        return tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))
    try:
        return tuple(keras.distribution.list_devices("gpu"))
    except RuntimeError:  # JAX, where there is none
        return ()


def on_tensorflow_cpu() -> bool:
    """Whether TensorFlow computes, and on CPUs."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_logical_devices("GPU")


def on_one_tensorflow_device() -> bool:
    """Whether a step of TensorFlow is being made, of no `tf.distribute.Strategy`."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.distribute.has_strategy()


def connect(strategy: str = "auto", timeout: float = 300.0) -> Devices:
    """Finds the devices, and the other workers where there are any.

    TensorFlow's workers are named in the environment variable TF_CONFIG, JAX's in
    KERAS_DISTRIBUTION_JOB_ADDRESSES, KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID,
    see `keras.distribution.initialize`. To be called before anything is computed. On JAX the
    distribution is made the global one of Keras.

    Args:
        strategy: "none" for one device; "mirrored" (TensorFlow) for all GPUs of this machine, or all
            its logical CPUs where it has no GPU; "multi_worker" (TensorFlow) for the workers of TF_CONFIG;
            "data_parallel" (JAX) for all devices of all processes. "auto" takes those where there is
            more than one GPU or worker, else "none".
        timeout: seconds to wait for the other workers.

    Raises:
        ValueError: if the backend does not have the strategy, or the workers are not named as they
            should be.
        TimeoutError: if a worker does not come; its address is named.
    """
    backend = keras.backend.backend()
    known = STRATEGIES[backend]
    if strategy not in known:
        elsewhere = [name for name, strategies in STRATEGIES.items() if strategy in strategies]
        raise ValueError(
            f"`strategy` must be one of {', '.join(known)} on the {backend} backend"
            + (f"; {strategy} is one of {' and '.join(elsewhere)}. " if elsewhere else ". ")
            + f"Received: strategy={strategy!r}"
        )
    return {"tensorflow": _connect_tensorflow, "jax": _connect_jax, "torch": _connect_torch}[backend](
        strategy, timeout
    )


def _connect_tensorflow(strategy, timeout):
    import tensorflow as tf

    cluster = _tf_config() if strategy in ("auto", "multi_worker") else None
    if strategy == "multi_worker" and cluster is None:
        raise ValueError(
            "`strategy='multi_worker'` needs the workers' addresses in the environment variable TF_CONFIG, "
            "and this worker's number. Received: no TF_CONFIG"
        )
    if cluster is not None:
        addresses, worker = cluster
        wait_for_workers(addresses, worker, timeout)
        engine = tf.distribute.MultiWorkerMirroredStrategy()
        return Devices("multi_worker", engine.num_replicas_in_sync, len(addresses), worker, engine)
    names = [d.name for d in tf.config.list_logical_devices("GPU")]
    if strategy == "mirrored":
        names = names or [d.name for d in tf.config.list_logical_devices("CPU")]
    if strategy == "none" or (strategy == "auto" and len(names) < 2):
        return Devices()
    engine = tf.distribute.MirroredStrategy([name.split("device:")[-1] for name in names])
    return Devices("mirrored", engine.num_replicas_in_sync, engine=engine)


def _tf_config():
    """Addresses of all workers and the number of this one, from TF_CONFIG; None without it."""
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return None
    rule = (
        'TF_CONFIG must be JSON such as {"cluster": {"worker": ["a:1", "b:1"]}, '
        '"task": {"type": "worker", "index": 0}}. '
    )
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{rule}Received: {text!r}, {error}") from error
    try:
        addresses = config["cluster"]["worker"]
        kind, index = config["task"]["type"], config["task"]["index"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{rule}Received: {text!r}") from error
    if not isinstance(addresses, list) or not addresses or set(config["cluster"]) != {"worker"}:
        raise ValueError(f"{rule}Every task must be a worker. Received: {text!r}")
    if kind != "worker" or not isinstance(index, int) or not 0 <= index < len(addresses):
        raise ValueError(
            f"The task of TF_CONFIG must be a worker from 0 to {len(addresses) - 1}. "
            f"Received: type {kind!r}, index {index!r}"
        )
    return [_checked_address(address, "TF_CONFIG") for address in addresses], index


def _connect_jax(strategy, timeout):
    import jax

    keys = [f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")]
    given = {key: os.environ[key] for key in keys if key in os.environ}
    if strategy != "none" and given and not jax.distributed.is_initialized():
        if len(given) < 3:
            raise ValueError(f"{' and '.join(keys)} must be set together. Received: {given}")
        addresses = [_checked_address(a, keys[0]) for a in given[keys[0]].split(",")]
        try:
            workers, worker = int(given[keys[1]]), int(given[keys[2]])
        except ValueError as error:
            raise ValueError(f"{keys[1]} and {keys[2]} must be whole numbers. Received: {given}") from error
        if not 0 <= worker < workers or len(addresses) not in (1, workers):
            raise ValueError(
                f"{keys[2]} must be from 0 to {keys[1]} - 1, and {keys[0]} must name all processes or the "
                f"first. Received: {given}"
            )
        wait_for_workers(addresses, worker if worker < len(addresses) else None, timeout)
        keras.distribution.initialize()
    devices = jax.devices()
    gpus = len(devices) > 1 and devices[0].platform != "cpu"
    if strategy == "none" or (strategy == "auto" and not gpus and jax.process_count() == 1):
        return Devices()
    # every worker makes its own part of the batches, see Devices.dataset
    engine = keras.distribution.DataParallel(auto_shard_dataset=False)
    keras.distribution.set_distribution(engine)
    return Devices("data_parallel", len(devices), jax.process_count(), jax.process_index(), engine)


def _connect_torch(strategy, timeout):
    processes = os.environ.get("WORLD_SIZE", "1")
    if processes not in ("", "1"):
        raise ValueError(
            "The torch backend trains on one device: `fit` of Keras does not know DistributedDataParallel, "
            "each process would train a model of its own. Take KERAS_BACKEND=jax or tensorflow. "
            f"Received: WORLD_SIZE={processes}"
        )
    return Devices()


def _checked_address(address, source):
    host, _, port = str(address).strip().rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"Workers in {source} must be host:port. Received: {address!r}")
    return f"{host}:{port}"


def wait_for_workers(addresses: list[str], worker: int | None, timeout: float) -> None:
    """Returns as soon as every other worker has been reached.

    The engines themselves wait for a missing worker without saying which one it is.

    Args:
        addresses: "host:port" of every worker that can be reached, in the order of their numbers.
        worker: number of this one, whose port is opened meanwhile; None if it is not among them.
        timeout: seconds.

    Raises:
        TimeoutError: naming the addresses that did not answer.
        OSError: if the own port is in use.
    """
    others = [number for number in range(len(addresses)) if number != worker]
    # Whoever has been reached by all others and has reached them may go: none of them still looks for it.
    to_reach, to_hear = set(others), set(others if worker is not None else ())
    done = threading.Event()
    with contextlib.ExitStack() as stack:
        if worker is not None:
            server = stack.enter_context(_listen(addresses[worker]))
            listening = threading.Thread(target=_listen_to, args=(server, to_hear, done), daemon=True)
            listening.start()
            stack.callback(listening.join)
            stack.callback(done.set)
        ends = time.monotonic() + timeout
        while to_reach or to_hear:
            to_reach = {number for number in to_reach if not _reach(addresses[number], worker)}
            missing = sorted(to_reach | to_hear)
            if missing and time.monotonic() > ends:
                raise TimeoutError(
                    f"Waited {timeout:.0f} s for {len(missing)} of {len(addresses)} workers that did not "
                    f"answer: {', '.join(addresses[number] for number in missing)}"
                )
            time.sleep(0.1 if missing else 0)


def _listen(address):
    host, _, port = address.rpartition(":")
    try:
        return socket.create_server(("", int(port)))
    except OSError as error:
        raise OSError(f"The port of this worker, {host}:{port}, cannot be opened: {error}") from error


def _listen_to(server, to_hear, done):
    server.settimeout(0.1)
    while not done.is_set():
        with contextlib.suppress(OSError, ValueError):
            connection, _ = server.accept()
            with connection:
                connection.settimeout(2)
                to_hear.discard(int(connection.recv(16)))


def _reach(address, worker):
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2) as connection:
            connection.sendall(f"{-1 if worker is None else worker}\n".encode())
    except OSError:
        return False
    return True


def _says_that_a_worker_is_gone(error):
    name, text = type(error).__name__, str(error)
    if name in ("UnavailableError", "AbortedError", "CancelledError", "DeadlineExceededError"):
        return True
    signs = ("Connection closed by peer", "Connection reset by peer", "Gloo", "heartbeat", "NCCL")
    return name in ("InternalError", "JaxRuntimeError", "XlaRuntimeError") and any(s in text for s in signs)


@contextlib.contextmanager
def on_one_device(model: keras.Model):
    """The model for use by this process alone: a copy on one device where the model is on many.

    Every worker has to take part in what a distributed model computes, and `predict` hands a batch to
    each replica. Evaluation by one worker needs neither.

    Args:
        model: built, of layers that can be cloned.
    """
    if strategy_of(model) is None and data_axis() is None:
        yield model
        return
    current = keras.distribution.distribution()
    if current is not None:
        keras.distribution.set_distribution(None)
    try:
        yield copy_of(model)
    finally:
        if current is not None:
            keras.distribution.set_distribution(current)


# === Within a step ===


def strategy_of(model: keras.Model) -> Any:
    """The tf.distribute strategy that a model's variables belong to; None if there is none."""
    if keras.backend.backend() != "tensorflow" or not model.variables:
        return None
    return getattr(model.variables[0].value, "distribute_strategy", None)


def in_scope() -> bool:
    """Whether a tf.distribute strategy is in force."""
    import tensorflow as tf

    return tf.distribute.has_strategy()


def spans_workers(strategy: Any) -> bool:
    """Whether a tf.distribute strategy is one for several processes."""
    if strategy is None:
        return False
    import tensorflow as tf

    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def _replicas() -> int:
    if keras.backend.backend() != "tensorflow":
        return 1  # JAX sees the global batch in one program
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def scale_loss(loss: Any) -> Any:
    """Divides a replica's mean loss by the number of replicas.

    tf.distribute sums gradients over replicas; Keras scales for that only losses of its own classes.
    """
    replicas = _replicas()
    return loss if replicas == 1 else loss / replicas


def gather(values: Any) -> Any:
    """Concatenates the values of all replicas along axis 0, in the same order on each."""
    if _replicas() == 1:
        return values
    import tensorflow as tf

    gathered = tf.distribute.get_replica_context().all_gather(values, axis=0)
    return tf.ensure_shape(gathered, [None, *values.shape[1:]])


def after(done: Any, values: Any) -> Any:
    """The values, once `done` is computed.

    TensorFlow runs what does not depend on each other at the same time, and then holds the intermediate
    results of both in memory; the other backends compute in the order of the code.

    Args:
        done: a tensor.
        values: a tensor.
    """
    if keras.backend.backend() != "tensorflow":
        return values
    import tensorflow as tf

    with tf.control_dependencies([done]):
        return tf.identity(values)


def first_row(local: Any, gathered: Any) -> Any:
    """Row of `gathered` where this replica's values begin.

    Raises:
        InvalidArgumentError: within the step, if the replicas' batches differ in size.
    """
    replicas = _replicas()
    if replicas == 1:
        return 0
    import tensorflow as tf

    size = tf.shape(local)[0]
    rule = "The batch size must be divisible by the number of replicas."
    with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(gathered)[0], replicas * size, rule)]):
        return tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, "int32") * size


def own_rows(local: Any, gathered: Any) -> Any:
    """The rows of `gathered` that belong to this replica."""
    if _replicas() == 1:
        return gathered
    start = first_row(local, gathered)
    return gathered[start : start + keras.ops.shape(local)[0]]


def data_axis() -> tuple[Any, str] | None:
    """JAX' mesh and the name of its batch axis where a batch is divided among devices, else None."""
    if keras.backend.backend() != "jax":
        return None
    current = keras.distribution.distribution()
    if current is None or current.num_model_replicas == 1:
        return None
    return current.device_mesh.backend_mesh, current.batch_dim_name


def per_device(function: Callable, model: keras.Model, images: Any) -> Any:
    """Runs `function(trainable, non_trainable, images)` on every device's part of the images (JAX).

    What the model's layers take statistics of are then the images of one device, as under tf.distribute.
    The non-trainable values that it changes, BatchNorm's moving statistics, become the devices' means.

    Args:
        function: returns outputs, one row per image, and the new non-trainable values.
        model: whose variables are passed to it.
        images: (B, ...), divided among the devices.
    """
    import jax
    from jax.sharding import PartitionSpec

    mesh, axis = data_axis()
    trainable = [keras.ops.convert_to_tensor(v) for v in model.trainable_variables]
    before = [keras.ops.convert_to_tensor(v) for v in model.non_trainable_variables]
    changed = []

    def part(trainable, non_trainable, images):
        outputs, after = function(trainable, non_trainable, images)
        pairs = zip(non_trainable, after, strict=True)
        changed[:] = [number for number, (old, new) in enumerate(pairs) if new is not old]
        return outputs, [jax.lax.pmean(after[number], axis) for number in changed]

    shared, divided = PartitionSpec(), PartitionSpec(axis)
    mapped = jax.shard_map(
        part,
        mesh=mesh,
        in_specs=(shared, shared, divided),
        out_specs=(divided, shared),
        check_vma=False,
    )
    outputs, means = mapped(trainable, before, images)
    for number, value in zip(changed, means, strict=True):
        model.non_trainable_variables[number].assign(value)
    return outputs
