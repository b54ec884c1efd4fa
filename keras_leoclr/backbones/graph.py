"""The graph of a functional model: what its outputs are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


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
