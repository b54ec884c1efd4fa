"""Updates of all variables at once on torch are those of one variable after the other."""

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr.backbones import kernels
from tests.case import random_views, small_model, to_numpy

pytestmark = [
    pytest.mark.method,
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="of torch alone"),
]
SHAPES = [(3, 3, 2, 4), (4,), (5, 3), (), (4,)]


def drawn(seed):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype("float32") for shape in SHAPES]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (kl.optimizers.SGD, {"weight_decay": 0.05}),
        (kl.optimizers.SGD, {"weight_decay": 0.0}),
        (kl.optimizers.SGD, {"weight_decay": 0.05, "nesterov": True}),
        (kl.optimizers.LARS, {"weight_decay": 0.05}),
    ],
)
def test_all_variables_at_once_are_updated_as_one_by_one(kind, options, momentum):
    rate = keras.optimizers.schedules.CosineDecay(0.1, 20)
    made = []
    for _ in range(2):
        optimizer = kind(rate, momentum=momentum, **options)
        optimizer.exclude_from_weight_decay(max_rank=1)
        variables = [keras.Variable(value) for value in drawn(0)]
        optimizer.build(variables)
        made.append((optimizer, variables))
    (together, ours), (alone, theirs) = made
    for number in range(1, 6):
        gradients = [keras.ops.convert_to_tensor(value) for value in drawn(number)]
        together.apply(gradients, ours)
        for gradient, variable in zip(gradients, theirs, strict=True):
            alone.update_step(gradient, variable, alone.learning_rate)
        alone.iterations.assign_add(1)
        for one, other in zip([*ours, *together.momentums], [*theirs, *alone.momentums], strict=True):
            np.testing.assert_allclose(to_numpy(one), to_numpy(other), rtol=3e-7, atol=1e-7)


def test_a_step_on_torch_asks_for_few_launches_and_waits_for_nothing():
    import torch
    from torch.profiler import ProfilerActivity, profile

    model = small_model()
    data = {name: keras.ops.convert_to_tensor(value) for name, value in random_views(1).items()}
    model.train()
    model.train_step((data,))
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        model.train_step((data,))
    names = [event.name for event in recorded.events()]
    assert "aten::_local_scalar_dense" not in names, "Python waits for a number"
    # two lists are multiplied and one is added for the average, and likewise for weights and statistics
    lists = [name for name in names if name.startswith("aten::_foreach_")]
    norms = sum(isinstance(n, keras.layers.BatchNormalization) for n in model.query_encoder._flatten_layers())
    assert norms > 2
    assert len(lists) == 3 + 6 + 3 * 3, lists  # whatever the number of variables and layers
    assert torch.is_grad_enabled()


def test_cudnn_measures_its_kernels_unless_the_same_bits_are_wanted(monkeypatch):
    import torch

    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    kernels._choose_kernels()
    assert torch.backends.cudnn.benchmark
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    kernels._choose_kernels()
    assert not torch.backends.cudnn.benchmark
