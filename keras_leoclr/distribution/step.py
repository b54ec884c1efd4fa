"""Within a step: the devices that it runs on, and the state that JAX passes through it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras


def on_tensorflow_cpu() -> bool:
    """Whether TensorFlow computes, and on CPUs."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_logical_devices("GPU")


def assign_rows(variable: keras.Variable, rows: Any, values: Any) -> None:
    """Overwrites rows of a TensorFlow variable in its own memory; of several replicas, this one's alone.

    Args:
        variable: (K, ...), made without an aggregation.
        rows: (N,) int tensor, numbers of the rows, each once.
        values: (N, ...), what they become.
    """
    import tensorflow as tf

    variable.value.scatter_update(tf.IndexedSlices(tf.cast(values, variable.dtype), rows))


def strategy_of(model: keras.Model) -> Any:
    """The tf.distribute strategy that a model's variables belong to; None if there is none."""
    if keras.backend.backend() != "tensorflow" or not model.variables:
        return None
    return getattr(model.variables[0].value, "distribute_strategy", None)


def scope_of(strategy: Any) -> contextlib.AbstractContextManager:
    """The scope of a tf.distribute strategy; without a strategy, one that does nothing."""
    return contextlib.nullcontext() if strategy is None else strategy.scope()


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


def check_made_outside(strategy: Any) -> None:
    """Raises ValueError if a model for several workers is being made inside the scope of its strategy.

    `fit` of such a model takes the mean of the first batch over the workers, and fails.
    """
    if spans_workers(strategy) and in_scope():
        raise ValueError(
            "For several workers LeOCLR must be made outside of `strategy.scope()`, of a backbone that "
            "was made inside. Received: a LeOCLR made inside"
        )


def jit_compile_of(asked: bool | str, strategy: Any) -> bool | str:
    """What `compile` of Keras is given as `jit_compile`.

    Args:
        asked: True, False or "auto".
        strategy: of `tf.distribute`, or None.

    Returns:
        `asked`, but False for "auto" on CPUs of TensorFlow, where XLA's convolutions are slower, and with a
        strategy, as Keras does itself for a model that is made inside the scope.

    Raises:
        ValueError: for True with a strategy: XLA compiles one device's step, and does not know the operations
            by which replicas exchange their keys and gradients.
    """
    if asked == "auto" and (strategy is not None or on_tensorflow_cpu()):
        return False
    if asked and asked != "auto" and strategy is not None:
        raise ValueError(
            '`jit_compile` must be False or "auto" with a tf.distribute strategy: XLA compiles the step of '
            "one device, and cannot compile the exchange of keys and gradients between replicas. "
            f"Received: jit_compile={asked}, a {type(strategy).__name__}"
        )
    return asked


def check_optimizer(optimizer: keras.optimizers.Optimizer, strategy: Any) -> None:
    """Raises ValueError if an optimizer does not work with the strategy of the backbone."""
    if strategy is not None and optimizer.gradient_accumulation_steps:
        # Keras would end the first step with "merge_call called while defining a new graph"
        raise ValueError(
            "`gradient_accumulation_steps` must be None with a tf.distribute strategy: Keras decides within "
            "the step whether the weights change, and TensorFlow sums no gradients over replicas in such a "
            "branch. Take KERAS_BACKEND=jax, which accumulates on many devices. Received: "
            f"gradient_accumulation_steps={optimizer.gradient_accumulation_steps}, "
            f"a {type(strategy).__name__}"
        )
    made_for = getattr(optimizer.iterations, "value", None)
    if strategy is not None and getattr(made_for, "distribute_strategy", None) is None:
        raise ValueError(
            "`optimizer` must be made inside `strategy.scope()`, as the backbone was. Received: an "
            "optimizer that was made outside"
        )


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


# === State ===


def run(model: keras.Model, state: list, function: Callable, *args: Any) -> tuple[Any, list]:
    """Calls a function that changes variables; on JAX, on a state that is passed and returned.

    Args:
        model: whose variables these are.
        state: [(trainable, non-trainable, ...)] on JAX, the values of the variables as `train_step` and
            `test_step` take them; [] on the other backends, whose variables hold their values.
        function: what to call.
        *args: its arguments.

    Returns:
        What the function returns, and the new state.
    """
    if not state:
        return function(*args), state
    trainable, non_trainable, *others = state[0]
    mapping = [
        *zip(model.trainable_variables, trainable, strict=True),
        *zip(model.non_trainable_variables, non_trainable, strict=True),
    ]
    if len(others) == 2:  # in training, the optimizer's variables and the metrics'
        mapping += zip(model.optimizer.variables, others[0], strict=True)
    with keras.StatelessScope(state_mapping=mapping) as scope:
        outputs = function(*args)
    changed = [scope.get_current_value(v) for v in model.non_trainable_variables]
    non_trainable = [old if new is None else new for old, new in zip(non_trainable, changed, strict=True)]
    return outputs, [(trainable, non_trainable, *others)]


def logs_and_state(results: Any) -> tuple[Any, list]:
    """What Keras' own `train_step` or `test_step` returned, as logs and a state for `run`."""
    if keras.backend.backend() == "jax":
        logs, state = results
        return logs, [state]
    return results, []


def results_of(logs: dict[str, Any], state: list, strategy: Any) -> Any:
    """What a `train_step` or `test_step` returns to `fit`, from logs and the state of `run`.

    Args:
        logs: a scalar by name.
        state: see `run`.
        strategy: of `tf.distribute`, or None. Keras takes the mean over axis 0 of the logs of several
            workers, which scalars do not have.
    """
    if spans_workers(strategy):
        logs = {name: keras.ops.reshape(value, (1,)) for name, value in logs.items()}
    return (logs, *state) if state else logs


def no_gradient() -> contextlib.AbstractContextManager:
    """A context within which nothing is recorded for a gradient.

    Only torch needs it: TensorFlow's tape is not open yet where it is used, and JAX differentiates functions.
    """
    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()
    return contextlib.nullcontext()
