"""Backbones that take raw images: normalisation within the network; files that open without the package."""

import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr.backbones.vit import build_vit
from tests.case import random_images, to_numpy
from tests.export.raw_images import MEAN, STD, normalised

BACKEND = keras.backend.backend()


def test_raw_images_give_the_features_of_normalised_ones(backbone, raw):
    images = random_images(4, 8, 8)
    expected = to_numpy(backbone(normalised(images), training=False))
    found = to_numpy(raw(images, training=False))  # uint8
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert [layer.name for layer in raw.layers[:3]] == ["images", "normalization", "stem_pad"]
    assert raw.get_layer("stem_conv") is backbone.get_layer("stem_conv")


def test_normalisation_is_seen_from_the_model_and_comes_off_again(backbone, raw):
    assert kl.backbones.normalization_of(raw) == (MEAN, STD)
    assert kl.backbones.normalization_of(backbone) is None
    back = kl.backbones.without_normalization(raw)
    images = normalised(random_images(3, 8, 8))
    np.testing.assert_array_equal(
        to_numpy(back(images, training=False)), to_numpy(backbone(images, training=False))
    )
    assert kl.backbones.without_normalization(back) is back
    with pytest.raises(ValueError, match="must not normalise already"):
        kl.backbones.with_normalization(raw, MEAN, STD)


@pytest.mark.backend_free
@pytest.mark.parametrize(("mean", "std"), [((0.5,), STD), (MEAN, (0.2, 0.0, 0.3)), ((0.1, np.nan, 0.2), STD)])
def test_numbers_that_do_not_fit_the_channels_are_refused(backbone, mean, std):
    with pytest.raises(ValueError, match="must be 3 finite numbers"):
        kl.backbones.with_normalization(backbone, mean, std)


def test_nothing_is_normalised_twice(raw):
    with pytest.raises(ValueError, match="without_normalization"):
        kl.LeOCLR(raw, queue_size=8)
    batches = [(normalised(random_images(4, 8, 8)), np.zeros(4, int))]
    with pytest.raises(ValueError, match="must yield raw images"):
        kl.evaluation.extract_features(raw, batches)
    from keras_leoclr.evaluation.supervised import classifier_on

    with pytest.raises(ValueError, match="must take normalised images"):
        classifier_on(raw, 3, True, 0.01, 0)


# === Without this package ===

ALONE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("keras_leoclr", "keras_cv"):
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
import keras
import numpy as np

try:
    import keras_leoclr
    raise SystemExit("the package can be imported")
except ImportError:
    pass
for name in sys.argv[1].split(","):
    model = keras.saving.load_model(f"{name}.keras", safe_mode=True)
    images = np.load(f"{name}-images.npy")
    np.save(f"{name}-found.npy", keras.ops.convert_to_numpy(model(images, training=False)))
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)
print(keras.backend.backend())
"""


@pytest.mark.slow
def test_the_file_opens_without_this_package(raw, tmp_path):
    vit = kl.backbones.with_normalization(build_vit(8, 16, 8, 1, 1, "token"), MEAN, STD)
    for name, model in (("resnet", raw), ("vit", vit)):
        images = random_images(2, *model.input_shape[1:3])
        model.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}-images.npy", images)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, "resnet,vit"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == BACKEND
    for name, model in (("resnet", raw), ("vit", vit)):
        images = np.load(tmp_path / f"{name}-images.npy")
        found = np.load(tmp_path / f"{name}-found.npy")
        np.testing.assert_allclose(found, to_numpy(model(images, training=False)), atol=1e-5)


def test_images_of_another_range_or_with_nan_are_refused_for_features(raw, backbone):
    pixels = random_images(40, 8, 8).astype("float32")
    batches = [(pixels[:20] / 255, np.zeros(20, int)), (pixels[20:] / 255, np.zeros(20, int))]
    with pytest.raises(
        ValueError, match=r"`dataset` must have pixels in \[0, 255\]; multiply images in .* by 255"
    ):
        kl.evaluation.extract_features(raw, batches)
    with pytest.raises(
        ValueError, match="Received: values from 0 to 1 in 20 images"
    ):  # fewer than are judged by
        kl.evaluation.extract_features(raw, batches[:1])
    with_nan = pixels.copy()
    with_nan[30, 0, 0, 0] = np.nan
    batches = [(with_nan[:20], np.zeros(20, int)), (with_nan[20:], np.zeros(20, int))]
    for model in (raw, backbone):
        with pytest.raises(
            ValueError, match="`dataset` must have finite pixels. Received: NaN .* in image 30"
        ):
            kl.evaluation.extract_features(model, batches)


def test_an_export_is_not_compared_on_images_of_another_range(raw, tmp_path):
    from keras_leoclr.export.writing import write

    with pytest.raises(ValueError, match=r"`images` must have pixels in \[0, 255\]; multiply images"):
        write(raw, tmp_path / "a.keras", "keras", random_images(4, 8, 8) / 255)
    assert not list(tmp_path.iterdir())
