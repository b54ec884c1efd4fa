"""The graph of a functional model: listing its operations in order, and connecting its layers in a new way.

This uses two private parts of Keras: `_keras_history` of a symbolic tensor, `_inbound_nodes` of an operation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras


def in_order(outputs: Sequence[Any]) -> list[tuple[Any, list[Any], list[Any]]]:
    """Lists (operation, inputs, outputs) of all operations behind some tensors, in order of computation.

    The search follows tensors and not `layer.output`, because a layer that several models share has a
    different output in each of them.

    Args:
        outputs: symbolic tensors of Keras, such as `model.outputs`.
    """
    done: dict[int, tuple[Any, list[Any], list[Any]]] = {}
    waiting = list(outputs)
    while waiting:
        tensor = waiting[-1]
        operation, node = tensor._keras_history[0], _node_of(tensor)
        missing = [t for t in node.input_tensors if id(_node_of(t)) not in done]
        if missing:
            waiting.extend(missing)
            continue
        waiting.pop()
        done.setdefault(id(node), (operation, list(node.input_tensors), list(node.output_tensors)))
    return list(done.values())


def _node_of(tensor: Any) -> Any:
    operation, number, _ = tensor._keras_history
    return operation._inbound_nodes[number]


def rewired(
    model: keras.Model,
    exchange: Callable[[Any], Any] | None = None,
    inputs: Any = None,
    call: Callable[..., Any] | None = None,
) -> keras.Model:
    """Makes a model from the same layers (not from copies of them), connected in a new way.

    Args:
        model: functional or Sequential model.
        exchange: function layer -> layer that takes its place; by default every layer stays.
        inputs: symbolic tensors in the structure of the model's inputs; by default new ones.
        call: function `call(operation, *args, **kwargs)` which returns the output of an operation on the new
            tensors; by default the operation is called. Only for functional models.
    """
    return keras.models.clone_model(
        model, input_tensors=inputs, clone_function=exchange or (lambda layer: layer), call_function=call
    )
