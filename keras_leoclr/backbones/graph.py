"""The graph of a functional model: what its outputs are computed from, and the same layers connected anew.

Needs two private parts of Keras: `_keras_history` of a symbolic tensor and `_inbound_nodes` of an operation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras


def in_order(outputs: Sequence[Any]) -> list[tuple[Any, list[Any], list[Any]]]:
    """(operation, inputs, outputs) of all that some tensors are computed from, each after what it needs.

    Tensors are followed, not `layer.output`: a layer that several models share has an output in each.

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
    """A model of the same layers, not of copies of them, that are connected in another way.

    Args:
        model: functional or Sequential.
        exchange: layer -> layer that takes its place; by default every layer keeps it.
        inputs: symbolic tensors in the structure of the model's inputs; by default new ones.
        call: `call(operation, *args, **kwargs)`, the output of an operation on the new tensors; by default
            that of the operation itself. For functional models.
    """
    return keras.models.clone_model(
        model, input_tensors=inputs, clone_function=exchange or (lambda layer: layer), call_function=call
    )
