"""SGD with coupled weight decay, and LARS."""

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from tests.case import batched, random_views, small_model, to_numpy

pytestmark = pytest.mark.method

torch = pytest.importorskip("torch")  # an environment with the lowest versions may be without


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


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_matches_torch_for_a_hundred_steps_of_changing_rate(momentum, nesterov):
    rng = np.random.default_rng(0)
    start = rng.standard_normal(7).astype("float32")
    theirs = torch.nn.Parameter(torch.tensor(start))
    reference_optimizer = torch.optim.SGD(
        [theirs], lr=0.05, momentum=momentum, nesterov=nesterov, weight_decay=0.01
    )
    ours = keras.Variable(start)
    schedule = keras.optimizers.schedules.CosineDecay(0.05, 100)
    optimizer = kl.optimizers.SGD(schedule, momentum=momentum, nesterov=nesterov, weight_decay=0.01)
    for step, gradient in enumerate(rng.standard_normal((100, 7)).astype("float32")):
        reference_optimizer.param_groups[0]["lr"] = 0.025 * (1 + np.cos(np.pi * step / 100))
        theirs.grad = torch.tensor(gradient)
        reference_optimizer.step()
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [ours])
    expected = theirs.detach().numpy()
    np.testing.assert_allclose(to_numpy(ours), expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("how", [{"var_names": ["bias"]}, {"max_rank": 1}])
def test_excluded_variables_do_not_decay(how):
    kernel = keras.Variable(np.ones((2, 2), "float32"), name="kernel")
    bias = keras.Variable(np.ones(2, "float32"), name="bias")
    optimizer = kl.optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(**how)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))  # as a saved model does
    for chosen in (optimizer, copy):
        kernel.assign(np.ones((2, 2)))
        chosen.apply([keras.ops.zeros((2, 2)), keras.ops.zeros(2)], [kernel, bias])
        np.testing.assert_allclose(to_numpy(kernel), 0.95, rtol=1e-6)
        np.testing.assert_array_equal(to_numpy(bias), 1.0)


def test_a_variable_itself_can_be_excluded():
    kernel = keras.Variable(np.ones((2, 2), "float32"))
    optimizer = kl.optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[kernel])
    optimizer.apply([keras.ops.zeros((2, 2))], [kernel])
    np.testing.assert_array_equal(to_numpy(kernel), 1.0)


def test_max_rank_1_excludes_biases_and_batchnorm_of_a_backbone():
    backbone = kl.backbones.resnet_small((8, 8, 3), widths=(8,))
    optimizer = kl.optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(max_rank=1)
    decays = {v.name for v in backbone.trainable_variables if optimizer._use_weight_decay(v)}
    assert decays == {"kernel"}


# === LARS ===


def lars_reference(weights, gradients, rates, momentum, weight_decay, trust, excluded):
    """Algorithm 1 of arXiv 1708.03888; excluded layers take plain momentum steps."""
    velocity = np.zeros_like(weights)
    for gradient, rate in zip(gradients, rates, strict=True):
        local = 1.0
        if not excluded:
            norm = np.linalg.norm(weights)
            local = trust * norm / (np.linalg.norm(gradient) + weight_decay * norm)
            gradient = gradient + weight_decay * weights
        velocity = momentum * velocity + rate * local * gradient
        weights = weights - velocity
    return weights


@pytest.mark.parametrize("excluded", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_lars_follows_its_papers_formula(momentum, excluded):
    rng = np.random.default_rng(0)
    start, gradients = rng.standard_normal((3, 4)), rng.standard_normal((50, 3, 4))
    schedule = keras.optimizers.schedules.CosineDecay(0.5, 50)
    rates = [0.25 * (1 + np.cos(np.pi * step / 50)) for step in range(50)]
    variable = keras.Variable(start.astype("float32"), name="kernel")
    optimizer = kl.optimizers.LARS(schedule, momentum, weight_decay=0.02, trust_coefficient=0.1)
    if excluded:
        optimizer.exclude_from_weight_decay(var_names=["kernel"])
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient.astype("float32"))], [variable])
    expected = lars_reference(start, gradients, rates, momentum, 0.02, 0.1, excluded)
    np.testing.assert_allclose(to_numpy(variable), expected, rtol=2e-5, atol=2e-6)


def test_lars_moves_a_variable_that_starts_at_zero():
    variable = keras.Variable(np.zeros((2, 2), "float32"))
    kl.optimizers.LARS(0.1, 0.0).apply([keras.ops.ones((2, 2))], [variable])
    np.testing.assert_allclose(to_numpy(variable), -0.1, rtol=1e-6)


def test_lars_stays_finite_without_a_gradient():
    variable = keras.Variable(np.ones((2, 2), "float32"))
    kl.optimizers.LARS(0.1, 0.0, weight_decay=0.0).apply([keras.ops.zeros((2, 2))], [variable])
    np.testing.assert_array_equal(to_numpy(variable), 1.0)


def test_lars_trains_a_model():
    model = small_model()
    optimizer = kl.optimizers.LARS(0.5)
    optimizer.exclude_from_weight_decay(max_rank=1)
    model.compile(optimizer=optimizer)
    history = model.fit(batched(random_views(1)), epochs=2, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_lars_config_round_trip():
    optimizer = kl.optimizers.LARS(0.1, weight_decay=0.02, trust_coefficient=0.01)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(copy, kl.optimizers.LARS)
    assert copy.get_config() == optimizer.get_config()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"trust_coefficient": 0.0},
            r"`trust_coefficient` must be a number > 0. Received: trust_coefficient=0",
        ),
        ({"nesterov": True}, r"`nesterov` must be False: LARS has no Nesterov momentum"),
    ],
)
def test_bad_options_of_lars_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        kl.optimizers.LARS(0.1, **options)


def test_config_round_trip():
    optimizer = kl.optimizers.SGD(0.1, momentum=0.8, nesterov=True, weight_decay=0.02)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(copy, kl.optimizers.SGD)
    assert copy.get_config() == optimizer.get_config()
    assert copy.coupled_weight_decay == 0.02


@pytest.mark.parametrize("kind", [kl.optimizers.SGD, kl.optimizers.LARS])
def test_weight_decay_is_a_number_or_none(kind):
    for value in (-1, "1e-4", float("nan")):
        words = f"`weight_decay` must be a number >= 0. Received: weight_decay={value!r}"
        with pytest.raises(ValueError, match=words):
            kind(0.1, weight_decay=value)
    assert kind(0.1, weight_decay=None).coupled_weight_decay == 0


@pytest.mark.parametrize("kind", [kl.optimizers.SGD, kl.optimizers.LARS])
def test_momentum_is_a_number(kind):
    for value in (-0.1, 2, "0.9", None):
        with pytest.raises(
            ValueError, match=rf"`momentum` must be a number in \[0, 1\]. Received: momentum={value!r}"
        ):
            kind(0.1, momentum=value)


def test_a_single_name_is_not_taken_for_its_letters():
    kernel = keras.Variable(np.ones((2, 2), "float32"), name="weights")
    bias = keras.Variable(np.ones(2, "float32"), name="bias")
    optimizer = kl.optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names="bias")
    assert [v.name for v in (kernel, bias) if optimizer._use_weight_decay(v)] == ["weights"]


def test_variables_are_excluded_by_several_calls_and_in_the_saved_optimizer():
    kernel, bias, scalar = (
        keras.Variable(np.ones(shape, "float32"), name=name)
        for name, shape in {"kernel": (2, 2), "bias": (2,), "scalar": ()}.items()
    )

    def left(optimizer):
        return [v.name for v in (kernel, bias, scalar) if optimizer._use_weight_decay(v)]

    def copy(optimizer):
        return keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))

    optimizer = kl.optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(max_rank=0)
    assert left(optimizer) == left(copy(optimizer)) == ["kernel", "bias"]
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    assert left(optimizer) == left(copy(optimizer)) == ["kernel"]
    optimizer.exclude_from_weight_decay(var_list=[kernel])
    assert left(optimizer) == []
    optimizer.exclude_from_weight_decay(max_rank=0)
    assert left(optimizer) == []
    with pytest.raises(ValueError, match="`max_rank` must be a whole number >= 0. Received: max_rank=1.5"):
        optimizer.exclude_from_weight_decay(max_rank=1.5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow chooses the order of a step")
@pytest.mark.parametrize("kind", [kl.optimizers.SGD, kl.optimizers.LARS])
def test_no_copy_of_the_weights_is_held_until_the_gradient_is_there(kind):
    import tensorflow as tf

    weights = keras.Variable(np.ones((3, 4), "float32"))
    optimizer = kind(0.1, momentum=0.9, weight_decay=1e-4)
    optimizer.build([weights])
    step = tf.function(lambda gradient: optimizer.apply([gradient], [weights]))
    graph = step.get_concrete_function(tf.TensorSpec((3, 4))).graph
    (gradient,) = (x for x in graph.inputs if x.shape == (3, 4))
    after = {gradient.op}
    sums = set()
    for operation in graph.get_operations():  # each after its inputs
        sources = [x.op for x in operation.inputs]
        if after & {*sources, *operation.control_inputs}:
            after.add(operation)
        if operation.type in ("Mul", "AddV2") and operation.outputs[0].shape == (3, 4):
            assert operation in after, operation.name
        if operation.type == "AddV2" and operation.outputs[0].shape == (3, 4):
            # a sum of sums is turned into an accumulator with zeros of its own
            assert not sums & set(sources)
            sums.add(operation)
    assert sums
