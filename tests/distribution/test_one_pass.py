"""Groups and key views in one pass over the whole batch: the same numbers as in passes of their own."""

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr.backbones.kernels import takes_groups
from keras_leoclr.distribution import groups
from tests.case import batched, random_views, small_model, to_numpy

pytestmark = pytest.mark.method


def trained(one_pass, monkeypatch, **options):
    """Numbers and logs after three steps."""
    monkeypatch.setattr(groups, "ONE_PASS", one_pass)
    keras.utils.set_random_seed(0)
    model = small_model(**options)
    data = random_views(3)
    data["permutation"] = np.tile(np.roll(np.arange(8, dtype="int32"), 3), 3)
    logs = model.fit(batched(data), verbose=0, shuffle=False).history
    return [to_numpy(v) for v in model.variables], logs


@pytest.mark.parametrize("options", [{"bn_groups": 1}, {"bn_groups": 2, "enqueue": "first"}])
def test_one_pass_gives_the_numbers_of_many(options, monkeypatch):
    many, many_logs = trained(False, monkeypatch, **options)
    one, one_logs = trained(True, monkeypatch, **options)
    for a, b in zip(many, one, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for name, values in many_logs.items():
        np.testing.assert_allclose(values, one_logs[name], rtol=1e-5, atol=1e-6)


def test_layers_that_may_see_other_images_keep_passes_of_their_own():
    plain = small_model()._in_training(small_model().query_encoder)
    assert takes_groups(plain)
    images = keras.Input((8, 8, 3))
    for layer in (keras.layers.Dropout(0.5), keras.layers.BatchNormalization(scale=False)):
        maps = layer(keras.layers.Conv2D(8, 3)(images))
        model = kl.LeOCLR(keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps)), queue_size=8)
        assert not takes_groups(model._in_training(model.query_encoder))


def test_on_cpus_each_group_has_a_pass_of_its_own():
    assert not groups.in_one_pass()
