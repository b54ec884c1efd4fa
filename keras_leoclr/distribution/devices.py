"""Finds the devices and machines that a training is distributed over, and the engine that distributes it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Callable
from typing import Any

import keras

from keras_leoclr.backbones.copying import copy_of
from keras_leoclr.distribution.ahead import ahead
from keras_leoclr.distribution.groups import data_axis
from keras_leoclr.distribution.step import strategy_of
from keras_leoclr.distribution.strategies import STRATEGIES
from keras_leoclr.distribution.workers import (
    WorkerLostError,
    checked_address,
    says_that_a_worker_is_gone,
    tensorflow_workers,
    wait_for_workers,
)
from keras_leoclr.gpu_errors import advice
from keras_leoclr.nvidia import is_hidden, unused_gpu


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices and workers that a training is distributed over; `connect` makes this object.

    Attributes:
        strategy: "none", "mirrored", "multi_worker" or "data_parallel".
        replicas: number of devices that a batch is divided among, counted over all workers.
        workers: number of processes that train together.
        worker: number of this process, from 0; worker 0 writes the files.
        engine: the `tf.distribute.Strategy` or `keras.distribution.Distribution`; None for one device.

    Example:
        ```python
        import keras_leoclr as kl

        with kl.distribution.connect("auto") as devices:
            print(devices.describe(batch_size=256))
            with devices.scope():
                backbone = kl.backbones.resnet18((32, 32, 3), stem="cifar")
        ```
    """

    strategy: str = "none"
    replicas: int = 1
    workers: int = 1
    worker: int = 0
    engine: Any = None

    @contextlib.contextmanager
    def scope(self):
        """Context in which the variables of a model are made for all devices."""
        with self.engine.scope() if self.engine is not None else contextlib.nullcontext():
            yield

    def __enter__(self) -> Devices:
        return self

    def __exit__(self, *_: object) -> None:
        """Removes the distribution that `connect` has set for the whole of Keras on JAX."""
        if self.strategy == "data_parallel":
            keras.distribution.set_distribution(None)

    def meet(self) -> None:
        """Waits until all workers have called this method."""
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
        """Context for the training, in which the loss of another worker raises `WorkerLostError`.

        Errors of GPUs get a note that says what to do (from Python 3.11 on).
        """
        try:
            yield
        except Exception as error:
            if (what_to_do := advice(error)) and hasattr(error, "add_note"):  # Python 3.11
                error.add_note(what_to_do)
            if self.workers == 1 or not says_that_a_worker_is_gone(error):
                raise
            raise WorkerLostError(
                f"Another of the {self.workers} workers stopped, so worker {self.worker} cannot go on. "
                "Start all of them again: a run with checkpoints goes on from the last one."
            ) from error

    def check_batch_size(self, batch_size: int, bn_groups: int = 1) -> None:
        """Raises ValueError unless the replicas can share a batch evenly, and each its part among groups."""
        if batch_size % self.replicas:
            raise ValueError(
                f"`batch_size` is that of all {self.replicas} replicas and must be divisible by them. "
                f"Received: batch_size={batch_size}"
            )
        if batch_size // self.replicas % bn_groups:
            raise ValueError(
                f"`bn_groups` must divide the number of images that each device gets of a batch, "
                f"{batch_size // self.replicas}. Received: bn_groups={bn_groups}, batch_size={batch_size}"
            )

    @property
    def shard(self) -> tuple[int, int]:
        """`(worker, workers)`, as `data.view_dataset` takes them."""
        return self.worker, self.workers

    def distribute(self, dataset: Any, batch_size: int) -> Any:
        """Returns a dataset for `fit`, from the batches of this worker; on GPUs one batch is prefetched.

        Args:
            dataset: dataset of this worker's part of every batch, as `view_dataset(..., shard=devices.shard)`
                makes it.
            batch_size: number of images per step, counted over all replicas.
        """
        if self.strategy == "mirrored":
            return dataset  # tf.distribute prefetches batches to its devices by itself
        if self.strategy != "multi_worker":
            return ahead(dataset)
        if self.replicas > self.workers:
            dataset = dataset.rebatch(batch_size // self.replicas, drop_remainder=True)
        return self.engine.distribute_datasets_from_function(lambda context: dataset)

    def describe(self, batch_size: int) -> str:
        """Describes devices and batch size in one line, which a run prints when it starts."""
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
    except RuntimeError:  # JAX raises this error if there is no GPU
        return ()


def connect(strategy: str = "auto", timeout: float = 300.0) -> Devices:
    """Finds the devices of this process, and connects to the other workers if there are any.

    On TensorFlow the environment variable TF_CONFIG names the workers. On JAX the environment variables
    KERAS_DISTRIBUTION_JOB_ADDRESSES, KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID name
    them, see `keras.distribution.initialize`. Call this function before anything is computed. On JAX it
    makes the distribution the global one of Keras.

    Args:
        strategy: "none" for one device; "mirrored" (TensorFlow) for all GPUs of this machine, or all its
            logical CPUs if it has no GPU; "multi_worker" (TensorFlow) for the workers that TF_CONFIG names;
            "data_parallel" (JAX) for all devices of all processes. "auto", the default, chooses the strategy
            of the backend if there is more than one GPU or worker, else "none".
        timeout: how many seconds to wait for the other workers; 300 by default.

    Raises:
        ValueError: if the backend does not have the strategy, if there is only one CPU to divide a batch
            among, or if an environment variable does not name the workers correctly.
        TimeoutError: if a worker does not answer in time; the message names its address.

    Warns:
        UserWarning: if the machine has an NVIDIA GPU that the backend does not see; it says what to install.
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
    engines = {"tensorflow": _connect_tensorflow, "jax": _connect_jax, "torch": _connect_torch}
    devices = engines[backend](strategy, timeout)
    if not gpus() and not is_hidden(backend) and (sentence := unused_gpu(backend)):
        warnings.warn(sentence, stacklevel=2)
    return devices


def _connect_tensorflow(strategy, timeout):
    # This import sets memory growth, and so must come before TensorFlow reserves all memory of the GPUs.
    from keras_leoclr.tensorflow_host import tf

    cluster = tensorflow_workers() if strategy in ("auto", "multi_worker") else None
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
    if len(names) == 1 and "GPU" not in names[0]:
        raise ValueError(_one_cpu(strategy, "tensorflow"))
    engine = tf.distribute.MirroredStrategy([name.split("device:")[-1] for name in names])
    return Devices("mirrored", engine.num_replicas_in_sync, engine=engine)


def _connect_jax(strategy, timeout):
    import jax

    keys = [f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")]
    given = {key: os.environ[key] for key in keys if key in os.environ}
    if strategy != "none" and given and not jax.distributed.is_initialized():
        if len(given) < 3:
            raise ValueError(f"{' and '.join(keys)} must be set together. Received: {given}")
        addresses = [checked_address(a, keys[0]) for a in given[keys[0]].split(",")]
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
    if len(devices) == 1 and devices[0].platform == "cpu":
        raise ValueError(_one_cpu(strategy, "jax"))
    # No automatic sharding of the data set: every worker makes only its own part of each batch already.
    engine = keras.distribution.DataParallel(auto_shard_dataset=False)
    keras.distribution.set_distribution(engine)
    return Devices("data_parallel", len(devices), jax.process_count(), jax.process_index(), engine)


def _one_cpu(strategy, backend):
    why = unused_gpu(backend) or "This machine has no NVIDIA GPU that the system names; take strategy='auto'."
    return (
        f"`strategy` must be 'auto' or 'none' where {backend} sees no GPU: there is but one CPU to divide a "
        f"batch among. {why} Received: strategy={strategy!r}"
    )


def _connect_torch(strategy, timeout):
    processes = os.environ.get("WORLD_SIZE", "1")
    if processes not in ("", "1"):
        raise ValueError(
            "The torch backend trains on one device: `fit` of Keras does not know DistributedDataParallel, "
            "each process would train a model of its own. Take KERAS_BACKEND=jax or tensorflow. "
            f"Received: WORLD_SIZE={processes}"
        )
    return Devices()


@contextlib.contextmanager
def on_one_device(model: keras.Model, copied: Callable[[keras.Model], keras.Model] = copy_of):
    """Gives a model that this process can use alone: a copy on one device if the model is distributed.

    What a distributed model computes needs all workers, and `predict` divides batches among the replicas. An
    evaluation that only one worker runs would therefore wait for the others for ever.

    Args:
        model: a built model of layers that can be cloned. It is given as it is if it is not distributed.
        copied: function that makes the copy; `copy_of` by default.
    """
    if strategy_of(model) is None and data_axis() is None:
        yield model
        return
    current = keras.distribution.distribution()
    if current is not None:
        keras.distribution.set_distribution(None)
    try:
        yield copied(model)
    finally:
        if current is not None:
            keras.distribution.set_distribution(current)
