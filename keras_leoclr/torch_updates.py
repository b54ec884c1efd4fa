"""Updates of many variables at once on torch, where each operation on a variable launches a GPU kernel.

torch's `_foreach` operations take lists of tensors, and launch a few kernels for a list instead of one for
each tensor. The formulas are those of `optimizers.py` and `encoders.py`, in the same order of operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def moving_average(keys: Sequence[Any], queries: Sequence[Any], momentum: Any) -> None:
    """Computes `k = momentum * k + (1 - momentum) * q` for every pair of variables.

    Args:
        keys: Keras variables k, which are changed.
        queries: Keras variables q of the same shapes.
        momentum: () tensor.
    """
    import torch

    with torch.no_grad():
        keys, parts = _values(keys), torch._foreach_mul(_values(queries), 1.0 - momentum)
        torch._foreach_mul_(keys, momentum)
        torch._foreach_add_(keys, parts)


def sgd(
    gradients: Sequence[Any],
    variables: Sequence[Any],
    buffers: Sequence[Any],
    decays: Sequence[bool],
    learning_rate: Any,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """Takes one step of `optimizers.SGD` for all variables; the formula is in its docstring.

    Args:
        gradients: tensors, one for each variable.
        variables: Keras variables, which are changed.
        buffers: Keras variables of the momentum, which are changed; empty without momentum.
        decays: for each variable, whether weight decay applies to it.
        learning_rate: () tensor.
        momentum: in [0, 1].
        nesterov: whether to use Nesterov momentum.
        weight_decay: >= 0.
    """
    import torch

    with torch.no_grad():
        weights, buffers = _values(variables), _values(buffers)
        steps = _with_decay(_as(gradients, weights), weights, decays, weight_decay)
        if buffers:
            torch._foreach_mul_(buffers, momentum)
            torch._foreach_add_(buffers, steps)
            steps = torch._foreach_add(steps, buffers, alpha=momentum) if nesterov else buffers
        torch._foreach_sub_(weights, torch._foreach_mul(steps, learning_rate))


def lars(
    gradients: Sequence[Any],
    variables: Sequence[Any],
    buffers: Sequence[Any],
    decays: Sequence[bool],
    learning_rate: Any,
    momentum: float,
    trust_coefficient: float,
    weight_decay: float,
) -> None:
    """Takes one step of `optimizers.LARS` for all variables; the arguments are those of `sgd`."""
    import torch

    with torch.no_grad():
        weights, buffers = _values(variables), _values(buffers)
        gradients = _as(gradients, weights)
        rates = [learning_rate] * len(weights)
        scaled = [number for number, decay in enumerate(decays) if decay]
        if scaled:
            weight_norms = torch.stack(torch._foreach_norm([weights[number] for number in scaled]))
            gradient_norms = torch.stack(torch._foreach_norm([gradients[number] for number in scaled]))
            scales = trust_coefficient * weight_norms
            scales = scales / (gradient_norms + weight_decay * weight_norms + 1e-30)
            scales = learning_rate * torch.where(weight_norms * gradient_norms > 0, scales, 1.0)
            for number, rate in zip(scaled, scales.unbind(), strict=True):
                rates[number] = rate
        steps = _with_decay(gradients, weights, decays, weight_decay)
        steps = torch._foreach_mul(steps, rates)
        if buffers:
            torch._foreach_mul_(buffers, momentum)
            torch._foreach_add_(buffers, steps)
            steps = buffers
        torch._foreach_sub_(weights, steps)


def _values(variables):
    return [variable.value.detach() for variable in variables]


def _as(gradients, weights):
    """Converts the gradients to the types of the weights."""
    return [gradient.to(weight.dtype) for gradient, weight in zip(gradients, weights, strict=True)]


def _with_decay(gradients, weights, decays, weight_decay):
    """Returns `gradient + weight_decay * w` for variables with weight decay, else the gradient."""
    import torch

    decayed = [number for number, decay in enumerate(decays) if decay and weight_decay]
    if not decayed:
        return gradients
    steps = torch._foreach_mul([weights[number] for number in decayed], weight_decay)
    torch._foreach_add_(steps, [gradients[number] for number in decayed])
    gradients = list(gradients)
    for number, step in zip(decayed, steps, strict=True):
        gradients[number] = step
    return gradients
