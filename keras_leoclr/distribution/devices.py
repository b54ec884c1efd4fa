"""Devices and machines that a training is distributed over, and the engine that distributes it."""

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
        """Training within ends with `WorkerLostError` where another worker is gone.

        Errors of GPUs have a note that says what to do, from Python 3.11 on.
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
        """A dataset of this worker's part of the batches, as `fit` takes it; on GPUs one batch ahead.

        Args:
            dataset: tf.data of batches, `view_dataset(..., shard=devices.shard)`.
            batch_size: images per step, of all replicas.
        """
        if self.strategy == "mirrored":
            return dataset  # tf.distribute puts batches onto its devices ahead
        if self.strategy != "multi_worker":
            return ahead(dataset)
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
        ValueError: if the backend does not have the strategy, there is but one CPU to divide a batch
            among, or the workers are not named as they should be.
        TimeoutError: if a worker does not come; its address is named.

    Warns:
        UserWarning: if there is an NVIDIA GPU which the backend does not see, with what to install.
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
    from keras_leoclr.tensorflow_host import tf  # before TensorFlow takes all memory of the GPUs

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
    # every worker makes its own part of the batches, see Devices.dataset
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
    """The model for use by this process alone: a copy on one device where the model is on many.

    Every worker has to take part in what a distributed model computes, and `predict` hands a batch to
    each replica. Evaluation by one worker needs neither.

    Args:
        model: built, of layers that can be cloned.
        copied: makes the copy, or has one already.
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
