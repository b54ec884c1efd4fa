"""The content of a checkpoint: variables of the model, random states, files of the run and other objects."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from keras_leoclr.checkpointing.state import arrays_of, random_states, restore, restore_random_states
from keras_leoclr.runs.files import whole_file


def collected(
    model: keras.Model, files: Iterable[pathlib.Path], stateful: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Collects arrays and state of a checkpoint, as `checkpoint_file.write` takes them.

    Args:
        model: a compiled model.
        files: paths of text files whose content is saved with the checkpoint; missing ones are left out.
        stateful: name -> object with a method `state() -> dict` whose values are NumPy arrays or something
            that JSON can hold.
    """
    generators, random_state = random_states()
    arrays = arrays_of(model) | generators
    for path in files:
        if path.is_file():
            arrays[f"file/{path.name}"] = np.frombuffer(path.read_bytes(), np.uint8)
    states = {}
    for name, each in stateful.items():
        own = each.state()
        states[name] = {key: value for key, value in own.items() if not isinstance(value, np.ndarray)}
        arrays |= {f"stateful/{name}/{key}": own[key] for key in own.keys() - states[name].keys()}
    return arrays, {"random": random_state, "stateful": states, "backend": keras.backend.backend()}


def put_back(
    model: keras.Model,
    arrays: Mapping[str, np.ndarray],
    state: Mapping[str, Any],
    files: Iterable[pathlib.Path],
    stateful: Mapping[str, Any],
) -> None:
    """Restores what `collected` returned, except metrics, which Keras resets when an epoch begins.

    Args:
        model: a compiled model of the same architecture.
        arrays: arrays of the checkpoint.
        state: state of the checkpoint.
        files: paths of the text files to restore; a file that did not exist when the checkpoint was written
            is deleted.
        stateful: name -> object with a method `restore(dict)`; an object that the checkpoint does not hold is
            left unchanged.

    Raises:
        ValueError: if the model has other variables than the checkpoint; nothing is changed then.
    """
    restore(model, arrays, ("model", "optimizer"))
    restore_random_states(arrays, state["random"])
    for name, each in stateful.items():
        if name in state["stateful"]:
            prefix = f"stateful/{name}/"
            own = {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}
            each.restore({**state["stateful"][name], **own})
    for path in files:
        content = arrays.get(f"file/{path.name}")
        if content is None:
            path.unlink(missing_ok=True)
        else:
            with whole_file(path) as file:
                file.write(content)
