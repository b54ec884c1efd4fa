"""SGD with coupled weight decay."""

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from tests.case import to_numpy


def reference(weights, gradients, rates, momentum, weight_decay, nesterov):
    """The update rule of torch.optim.SGD, step by step."""
    buffer = np.zeros_like(weights)
    for gradient, rate in zip(gradients, rates, strict=True):
        step = gradient + weight_decay * weights
        if momentum:
            buffer = momentum * buffer + step
            step = step + momentum * buffer if nesterov else buffer
        weights = weights - rate * step
    return weights


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_sgd_follows_torchs_rule_while_the_rate_changes(momentum, nesterov, weight_decay):
    rng = np.random.default_rng(0)
    start = rng.standard_normal(7)
    gradients = rng.standard_normal((100, 7))
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    rates = [0.05 * (1 + np.cos(np.pi * step / 100)) for step in range(100)]
    variable = keras.Variable(start.astype("float32"))
    optimizer = kl.optimizers.SGD(schedule, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient.astype("float32"))], [variable])
    expected = reference(start, gradients, rates, momentum, weight_decay, nesterov)
    np.testing.assert_allclose(to_numpy(variable), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="compares with torch itself")
def test_sgd_matches_torch():
    import torch

    rng = np.random.default_rng(0)
    start = rng.standard_normal(7).astype("float32")
    theirs = torch.nn.Parameter(torch.tensor(start))
    reference_optimizer = torch.optim.SGD([theirs], lr=0.05, momentum=0.9, weight_decay=0.01)
    ours = keras.Variable(start)
    optimizer = kl.optimizers.SGD(0.05, momentum=0.9, weight_decay=0.01)
    for gradient in rng.standard_normal((100, 7)).astype("float32"):
        theirs.grad = torch.tensor(gradient)
        reference_optimizer.step()
        optimizer.apply([torch.tensor(gradient)], [ours])
    np.testing.assert_allclose(to_numpy(ours), theirs.detach().numpy(), atol=1e-6)


def test_excluded_variables_do_not_decay():
    kernel = keras.Variable(np.ones(2, "float32"), name="kernel")
    bias = keras.Variable(np.ones(2, "float32"), name="bias")
    optimizer = kl.optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.apply([keras.ops.zeros(2), keras.ops.zeros(2)], [kernel, bias])
    np.testing.assert_allclose(to_numpy(kernel), 0.95, rtol=1e-6)
    np.testing.assert_array_equal(to_numpy(bias), 1.0)


def test_config_round_trip():
    optimizer = kl.optimizers.SGD(0.1, momentum=0.8, nesterov=True, weight_decay=0.02)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(copy, kl.optimizers.SGD)
    assert copy.get_config() == optimizer.get_config()
    assert copy.coupled_weight_decay == 0.02


def test_negative_weight_decay_is_refused():
    with pytest.raises(ValueError, match=r"`weight_decay` must be >= 0. Received: weight_decay=-1"):
        kl.optimizers.SGD(0.1, weight_decay=-1)
