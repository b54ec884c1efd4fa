"""The state of a training as arrays: all variables of the model, and the global random generators."""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np

from keras_leoclr import distribution


def _groups(model: keras.Model) -> dict[str, list]:
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    # Reading a metric that several workers share computes a sum over all of them. It would wait for ever
    # here, because only one worker writes checkpoints.
    alone = not distribution.spans_workers(distribution.strategy_of(model))
    return {
        "model": model.variables,
        "optimizer": [] if model.optimizer is None else model.optimizer.variables,
        "metrics": model.metrics_variables if alone else [],
    }


def arrays_of(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns all variables of a model in training as `{"model/0003/path": array}`.

    These are the weights of both encoders, the moving statistics of BatchNorm, the queue and its pointer, the
    variables of the optimizer, the states of seed generators, and the totals of the metrics.
    """
    if keras.backend.backend() == "jax":
        model.jax_state_sync()  # on JAX, Keras does not keep the variables up to date within an epoch
    return {
        f"{group}/{number:04d}/{variable.path}": np.asarray(keras.ops.convert_to_numpy(variable))
        for group, variables in _groups(model).items()
        for number, variable in enumerate(variables)
    }


def restore(model: keras.Model, arrays: dict[str, np.ndarray], groups: tuple[str, ...]) -> None:
    """Puts the values that `arrays_of` returned back into the variables, if all of them fit.

    Args:
        model: compiled model of the architecture that was saved.
        arrays: what `arrays_of` returned. Integers may have another type than in the model, as other backends
            and earlier versions save them, if the model's type can hold their values.
        groups: groups of variables to restore, of "model", "optimizer" and "metrics".

    Raises:
        ValueError: if the model has other variables; nothing is changed then.
    """
    pairs = []
    for group, variables in _groups(model).items():
        if group not in groups:
            continue
        # Variables are matched by number and not by path: Keras numbers the names of layers within a process,
        # so that the second model of a process has other paths.
        saved = sorted(name for name in arrays if name.startswith(f"{group}/"))
        if not any(name.endswith("/moved_at") for name in saved):
            # Version 0.1.0 did not have it with loss scaling. The key encoder then moves in the next step.
            variables = [variable for variable in variables if variable.name != "moved_at"]
        if len(saved) != len(variables):
            raise ValueError(
                f"`model` must have the variables that were saved. Received: {len(variables)} variables "
                f"({group}), {len(saved)} in the checkpoint"
            )
        for name, variable in zip(saved, variables, strict=True):
            array = arrays[name]
            here = (tuple(variable.shape), str(variable.dtype))
            fitting = _whole_numbers_as(variable, array)
            if (fitting.shape, str(fitting.dtype)) != here:
                raise ValueError(
                    "`model` must have the variables that were saved. "
                    f"Received: {variable.path} {here}, in the checkpoint {array.shape, str(array.dtype)}"
                )
            pairs.append((variable, fitting))
    for variable, array in pairs:
        variable.assign(array)


def _whole_numbers_as(variable: keras.Variable, array: np.ndarray) -> np.ndarray:
    """Converts integers to the integer type of the variable, if it can hold them; else returns the array."""
    wanted = variable.dtype
    if array.dtype.kind not in "iu" or not keras.backend.is_int_dtype(wanted):
        return array
    limits = np.iinfo(wanted)
    fits = not array.size or (array.min() >= limits.min and array.max() <= limits.max)
    return array.astype(wanted) if fits else array


def has_metrics(model: keras.Model, arrays: dict[str, np.ndarray]) -> bool:
    """Whether the metrics were saved, and the model has all of them.

    Keras makes some of them only in the first step. Those of several workers of TensorFlow are not saved.
    """
    saved = sum(name.startswith("metrics/") for name in arrays)
    return saved <= len(_groups(model)["metrics"]) and (saved > 0 or not model.metrics_variables)


# === Random states outside of the model ===


def random_states() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the states of the global random generators of Python, NumPy and torch, as arrays and JSON."""
    _, keys, *numpy_rest = np.random.get_state()
    arrays = {"random/numpy": np.asarray(keys)}
    if keras.backend.backend() == "torch":
        import torch

        arrays["random/torch"] = torch.get_rng_state().numpy()
    version, numbers, gauss = random.getstate()
    return arrays, {"python": [version, list(numbers), gauss], "numpy": numpy_rest}


def restore_random_states(arrays: dict[str, np.ndarray], state: dict[str, Any]) -> None:
    """Puts back what `random_states` returned."""
    np.random.set_state(("MT19937", arrays["random/numpy"], *state["numpy"]))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    if keras.backend.backend() == "torch" and "random/torch" in arrays:
        import torch

        torch.set_rng_state(torch.tensor(arrays["random/torch"]))
