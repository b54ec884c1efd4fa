"""Vision transformers; their parity with timm is tested in test_torch_weights.py."""

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr.backbones.vit import build_vit
from tests.case import batched, random_views

# Parameters of timm's models without classifier.
PARAMETERS = {"vit_tiny": 5_524_416, "vit_small": 21_665_664, "vit_base": 85_798_656}
FEATURES = {"vit_tiny": 192, "vit_small": 384, "vit_base": 768}


def small_vit(**options):
    return build_vit(4, 8, **{"dim": 16, "depth": 1, "num_heads": 2, **options})


@pytest.mark.parametrize("name", PARAMETERS)
def test_vit_has_timms_parameters(name):
    model = kl.backbones.BUILDERS[name](16, 224)
    assert sum(int(np.prod(v.shape)) for v in model.variables) == PARAMETERS[name]
    assert model.output_shape == (None, FEATURES[name])


@pytest.mark.parametrize("pool", ["token", "mean"])
def test_leoclr_trains_with_a_vit(pool):
    model = kl.LeOCLR(small_vit(pool=pool), projection_dim=8, queue_size=16)
    model.compile(optimizer=kl.optimizers.SGD(0.1, momentum=0.9))
    before = [np.array(w) for w in model.query_encoder.get_weights()]
    history = model.fit(batched(random_views(2)), epochs=2, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert all((a != b).any() for a, b in zip(before, model.query_encoder.get_weights(), strict=True))


def test_saved_vit_gives_the_same_features(tmp_path):
    model = small_vit()
    images = np.random.default_rng(0).random((3, 8, 8, 3)).astype("float32")
    model.save(tmp_path / "vit.keras")
    copy = keras.saving.load_model(tmp_path / "vit.keras")
    np.testing.assert_array_equal(copy.predict(images, verbose=0), model.predict(images, verbose=0))


def test_a_vit_sees_where_a_patch_is():
    model = small_vit(pool="mean")
    model.get_layer("pos_embed").set_weights([np.random.default_rng(0).standard_normal((4, 16))])
    images = np.random.default_rng(0).random((1, 8, 8, 3)).astype("float32")
    turned = images[:, ::-1]
    assert np.abs(model.predict(images, verbose=0) - model.predict(turned, verbose=0)).max() > 1e-3


def test_a_vit_is_made_of_stock_layers():
    assert {type(layer).__module__.split(".")[0] for layer in small_vit().layers} == {"keras"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pool": "max"}, "`pool` must be one of 'token', 'mean'. Received: pool='max'"),
        ({"num_heads": 3}, "`dim` must be a multiple of `num_heads`. Received: dim=16, num_heads=3"),
    ],
)
def test_bad_option_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        small_vit(**options)


def test_patches_must_fill_the_image():
    with pytest.raises(ValueError, match="`image_size` must be a multiple of `patch_size`.*image_size=30"):
        kl.backbones.vit_tiny(16, 30)
