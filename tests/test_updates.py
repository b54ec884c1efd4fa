"""The key encoder moves after an update of the weights only, and files of such models open in every way."""

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr.checkpointing.state import arrays_of, restore
from tests.case import random_views, to_numpy

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def tiny_model(policy="float32", **options) -> kl.LeOCLR:
    """A model whose encoder has one convolution, so that its step is compiled quickly."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    try:
        layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(8, 3), keras.layers.ReLU()]
        options = {"projection_dim": 8, "queue_size": 24, "temperature": 0.5, "momentum": 0.9, **options}
        return kl.LeOCLR(keras.Sequential(layers), **options)
    finally:
        keras.config.set_dtype_policy("float32")


def accumulating(policy="float32", accumulated=2) -> kl.LeOCLR:
    model = tiny_model(policy)
    model.compile(kl.optimizers.SGD(0.05, gradient_accumulation_steps=accumulated))
    return model


def changes(model, scales=(None,) * 4) -> list[list[bool]]:
    """Whether the query encoder and the key encoder changed in each step, with these loss scales."""
    found = []
    for scale in scales:
        if scale is not None:
            model.optimizer.dynamic_scale.assign(scale)
        before = [[to_numpy(v).copy() for v in pair] for pair in model._pairs]
        model.train_on_batch(random_views(1))
        after = [[to_numpy(v) for v in pair] for pair in model._pairs]
        both = zip(before, after, strict=True)
        moved = [[np.any(old != new) for old, new in zip(*pair, strict=True)] for pair in both]
        found.append(np.any(moved, axis=0).tolist())
    return found


FITS, TOO_LARGE = 2.0**8, 2.0**126  # loss scales; the second makes gradients that are not finite


@pytest.mark.parametrize(
    ("policy", "accumulated", "scales", "updates"),
    [
        ("float32", 2, [None] * 4, [False, True, False, True]),
        ("mixed_float16", 2, [FITS, TOO_LARGE, FITS, FITS], [False, False, True, False]),
        ("mixed_float16", None, [FITS, TOO_LARGE, FITS, FITS], [True, False, True, True]),
    ],
)
def test_the_key_encoder_moves_only_after_an_update(policy, accumulated, scales, updates):
    query, key = zip(*changes(accumulating(policy, accumulated), scales), strict=True)
    assert list(query) == updates
    assert list(key)[1:] == updates[:-1]


def test_an_optimizer_that_is_taken_later_moves_the_key_encoder_too():
    """It begins to count its updates at 0."""
    model = accumulating()
    changes(model)
    model.compile(kl.optimizers.SGD(0.05, gradient_accumulation_steps=2))
    assert [key for _, key in changes(model)] == [True, False, True, False]


def test_the_file_of_a_model_that_accumulates_opens_without_being_compiled(tmp_path):
    model = accumulating()
    model._average.moved_at.assign(3)
    for variable in model.key_encoder.trainable_variables + model.key_encoder.variables:
        variable.assign(to_numpy(variable) + 0.5)
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.saving.load_model(path, compile=False)
    for one, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert int(to_numpy(loaded._average.moved_at)) == 3
    images = random_views(1)["query"]
    for encoder in ("query", "key"):
        whole = getattr(model, f"{encoder}_encoder")
        for projection, expected in ((False, whole.layers[1]), (True, whole)):
            part = kl.backbones.load(path, encoder, projection, verbose=False)
            np.testing.assert_allclose(to_numpy(part(images)), to_numpy(expected(images)), rtol=1e-5)
    model.save_weights(tmp_path / "model.weights.h5")
    uncompiled = tiny_model()
    uncompiled.load_weights(tmp_path / "model.weights.h5")
    assert int(to_numpy(uncompiled._average.moved_at)) == 3


def test_files_without_the_number_of_updates_open(tmp_path):
    """As version 0.1.0 wrote them in mixed_float16."""
    plain = tiny_model()
    plain._average.set_momentum(0.25)
    plain.save_weights(tmp_path / "model.weights.h5")
    model = accumulating("mixed_float16")
    names = [name for name in arrays_of(model) if not name.endswith("moved_at")]
    assert len(names) == len(arrays_of(model)) - 1
    restore(model, {name: arrays_of(model)[name] + 1 for name in names}, ("model",))
    for (query, _), (query_before, _) in zip(model._pairs, plain._pairs, strict=True):
        np.testing.assert_array_equal(to_numpy(query), to_numpy(query_before) + 1)
    model.load_weights(tmp_path / "model.weights.h5")
    assert model.momentum == 0.25
    for one, other in zip(model._pairs, plain._pairs, strict=True):
        np.testing.assert_array_equal(to_numpy(one[1]), to_numpy(other[1]))


def test_momentum_is_set_within_its_limits():
    model = tiny_model()
    with pytest.raises(ValueError, match=r"`momentum` must be a number in \[0, 1\]. Received: momentum=5.0"):
        model.momentum = 5.0
    model.momentum = np.float32(0.5)
    assert model.momentum == 0.5


def test_the_chance_level_without_a_queue_needs_the_batch():
    assert tiny_model().chance_level(2) == 2 * np.log(25)
    model = tiny_model(queue_size=0)
    assert model.chance_level(2, 3) == 2 * np.log(5)
    with pytest.raises(ValueError, match="`batch_size` must be given for a model without a queue"):
        model.chance_level(2)


def test_a_queue_has_a_size():
    for name, sizes in {"size": (0, 4), "dim": (4, 2.5)}.items():
        with pytest.raises(ValueError, match=f"`{name}` must be a whole number >= 1. Received: {name}="):
            kl.key_queue.KeyQueue(*sizes)
