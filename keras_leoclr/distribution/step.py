"""Helpers for the training step: communication between replicas, and the state that JAX passes through it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras


def on_tensorflow_cpu() -> bool:
    """Whether the backend is TensorFlow and has no GPU."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_logical_devices("GPU")


def assign_rows(variable: keras.Variable, rows: Any, values: Any) -> None:
    """Overwrites rows of a TensorFlow variable in place; with several replicas, only in this replica's copy.

    Args:
        variable: (K, ...) variable that was made without an aggregation.
        rows: (N,) int tensor, numbers of the rows; none may occur twice.
        values: (N, ...) tensor, the new values of the rows.
    """
    import tensorflow as tf

    variable.value.scatter_update(tf.IndexedSlices(tf.cast(values, variable.dtype), rows))


def strategy_of(model: keras.Model) -> Any:
    """Returns the tf.distribute strategy that a model's variables belong to; None if there is none."""
    if keras.backend.backend() != "tensorflow" or not getattr(model, "variables", None):
        return None
    return getattr(model.variables[0].value, "distribute_strategy", None)


def scope_of(strategy: Any) -> contextlib.AbstractContextManager:
    """Returns the scope of a tf.distribute strategy; for None, a context that does nothing."""
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def in_scope() -> bool:
    """Whether the caller is inside the scope of a tf.distribute strategy."""
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

    Without this check, `fit` of such a model would fail with an error that does not name the cause: Keras
    would try to take the mean of the first batch over the workers.
    """
    if spans_workers(strategy) and in_scope():
        raise ValueError(
            "For several workers LeOCLR must be made outside of `strategy.scope()`, of a backbone that "
            "was made inside. Received: a LeOCLR made inside"
        )


def jit_compile_of(asked: bool | str, strategy: Any) -> bool | str:
    """Returns the value of `jit_compile` that is passed to `compile` of Keras.

    Args:
        asked: True, False or "auto", as the user chose it.
        strategy: a `tf.distribute` strategy, or None.

    Returns:
        False if `asked` is "auto" and TensorFlow runs on CPUs, where XLA's convolutions are slower, or with a
        strategy (Keras itself does so only for a model that is made inside the scope); otherwise `asked`.

    Raises:
        ValueError: if `asked` is True and there is a strategy. XLA compiles the step of one device, and has
            no operations by which replicas exchange their keys and gradients.
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


def inner_of(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Returns the optimizer that changes the weights, which Keras wraps in another one to scale the loss."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def check_optimizer(optimizer: keras.optimizers.Optimizer, strategy: Any) -> None:
    """Raises ValueError if an optimizer does not work with the strategy of the backbone."""
    accumulated = inner_of(optimizer).gradient_accumulation_steps
    if strategy is not None and accumulated:
        # Without this check, Keras would fail in the first step with an error that does not name the cause:
        # "merge_call called while defining a new graph".
        raise ValueError(
            "`gradient_accumulation_steps` must be None with a tf.distribute strategy: Keras decides within "
            "the step whether the weights change, and TensorFlow sums no gradients over replicas in such a "
            "branch. Take KERAS_BACKEND=jax, which accumulates on many devices. Received: "
            f"gradient_accumulation_steps={accumulated}, a {type(strategy).__name__}"
        )
    made_for = getattr(optimizer.iterations, "value", None)
    if strategy is not None and getattr(made_for, "distribute_strategy", None) is None:
        raise ValueError(
            "`optimizer` must be made inside `strategy.scope()`, as the backbone was. Received: an "
            "optimizer that was made outside"
        )


def _replicas() -> int:
    if keras.backend.backend() != "tensorflow":
        return 1  # on JAX, one program computes the step of all devices, with the whole batch
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def scale_loss(loss: Any) -> Any:
    """Divides a replica's mean loss by the number of replicas.

    tf.distribute sums gradients over the replicas. Keras corrects for that only in losses of its own classes.
    """
    replicas = _replicas()
    return loss if replicas == 1 else loss / replicas


def gather(values: Any) -> Any:
    """Concatenates the values of all replicas along axis 0, in the same order on every replica."""
    if _replicas() == 1:
        return values
    import tensorflow as tf

    gathered = tf.distribute.get_replica_context().all_gather(values, axis=0)
    return tf.ensure_shape(gathered, [None, *values.shape[1:]])


def after(done: Any, values: Any) -> Any:
    """Returns `values`, which TensorFlow then makes available only after `done` has been computed.

    TensorFlow runs operations that do not depend on each other at the same time, so that the intermediate
    results of both are in memory. The other backends compute in the order of the code.

    Args:
        done: a tensor that is computed first.
        values: the tensor that is returned.
    """
    if keras.backend.backend() != "tensorflow":
        return values
    import tensorflow as tf

    with tf.control_dependencies([done]):
        return tf.identity(values)


def first_row(local: Any, gathered: Any) -> Any:
    """Returns the number of the row of `gathered` where this replica's values begin.

    Args:
        local: (B, ...) tensor, the values of this replica.
        gathered: (R * B, ...) tensor, the values of all R replicas, as `gather` returns them.

    Raises:
        InvalidArgumentError: when the step runs, if the batches of the replicas differ in size.
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
    """Calls a function that changes variables of a model, also on JAX.

    Within a step of JAX, variables cannot be changed in place: their values are passed in as `state`, and the
    changed values are returned.

    Args:
        model: the model whose variables the function changes.
        state: on JAX [(trainable, non-trainable, ...)], the values of the variables as `train_step` and
            `test_step` take them; [] on the other backends.
        function: the function to call.
        *args: arguments of the function.

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
    """Splits what Keras' own `train_step` or `test_step` returned into logs and a state for `run`."""
    if keras.backend.backend() == "jax":
        logs, state = results
        return logs, [state]
    return results, []


def results_of(logs: dict[str, Any], state: list, strategy: Any) -> Any:
    """Combines logs and state into what a `train_step` or `test_step` has to return to `fit`.

    Args:
        logs: name -> scalar tensor.
        state: state of the step, see `run`.
        strategy: a `tf.distribute` strategy, or None. For several workers the logs get shape (1,), because
            Keras then takes their mean over axis 0, which scalars do not have.
    """
    if spans_workers(strategy):
        logs = {name: keras.ops.reshape(value, (1,)) for name, value in logs.items()}
    return (logs, *state) if state else logs


def no_gradient() -> contextlib.AbstractContextManager:
    """Context in which torch records nothing for the gradient.

    The other backends do not need it. TensorFlow's gradient tape is not open yet where this is used, and JAX
    differentiates only the function that it is given.
    """
    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()
    return contextlib.nullcontext()
