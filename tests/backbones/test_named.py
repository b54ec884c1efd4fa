"""Networks of other libraries by name, and their preprocessing."""

import sys
import types

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr.backbones.initial import InitialWeightsError, read_initial_weights
from keras_leoclr.backbones.named import _with_deviation, named_backbone
from tests.case import to_numpy

SIZE = 32


def of_keras(name):
    make = getattr(keras.applications, name)
    network = make(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3), pooling="avg")
    return network, sys.modules[make.__module__].preprocess_input


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("MobileNetV3Small", 0.5, 0.5),  # Rescaling within
        ("MobileNet", 0.5, 0.5),  # preprocess_input to [-1, 1]
        ("VGG16", (0.4850196, 0.4579568, 0.4076039), 1 / 255),  # BGR, and the mean taken off
    ],
)
def test_a_network_of_keras_computes_what_keras_does_of_raw_images(name, mean, std):
    network, preprocess = of_keras(name)
    found = named_backbone(f"applications:{name}", SIZE)
    np.testing.assert_allclose(found.normalization[0], np.broadcast_to(mean, 3), rtol=1e-5)
    np.testing.assert_allclose(found.normalization[1], np.broadcast_to(std, 3), rtol=1e-5)
    assert kl.backbones.normalization_of(found.backbone) is None
    found.backbone.set_weights(network.get_weights())
    raw = kl.backbones.with_normalization(found.backbone, *found.normalization)
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype("float32")
    expected = to_numpy(network(preprocess(images.copy()), training=False))
    scale = max(np.abs(expected).max(), 1e-30)
    np.testing.assert_allclose(to_numpy(raw(images, training=False)) / scale, expected / scale, atol=1e-4)


@pytest.mark.backend_free
def test_weights_of_keras_are_taken_from_a_file(tmp_path):
    network, _ = of_keras("MobileNetV3Small")
    network.save_weights(tmp_path / "small.weights.h5")
    network.save(tmp_path / "small.keras")
    name = "applications:MobileNetV3Small"
    for path in ("small.weights.h5", "small.keras"):
        weights = read_initial_weights(tmp_path / path, image_size=SIZE, network=name)
        assert weights.settings == {"backbone": name} and weights.normalization[0] == (0.5,) * 3
        for one, other in zip(weights.backbone.get_weights(), network.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(
        ValueError, match="`initial_weights` must hold the weights of applications:MobileNet. "
    ):
        read_initial_weights(tmp_path / "small.weights.h5", image_size=SIZE, network="applications:MobileNet")
    with pytest.raises(
        InitialWeightsError, match="must hold the weights of applications:MobileNet. Received"
    ):
        read_initial_weights(tmp_path / "small.keras", network="applications:MobileNet")


@pytest.mark.backend_free
def test_an_efficientnet_with_weights_of_imagenet_has_their_deviation(tmp_path):
    """Files of these weights hold the deviation as variance, which `weights="imagenet"` alone makes good."""
    network, _ = of_keras("EfficientNetB0")
    (layer,) = (each for each in network.layers if isinstance(each, keras.layers.Normalization))
    layer.set_weights([np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225]), np.int32(0)])
    network.save_weights(tmp_path / "imagenet.weights.h5")
    name = "applications:EfficientNetB0"
    weights = read_initial_weights(tmp_path / "imagenet.weights.h5", image_size=SIZE, network=name)
    np.testing.assert_allclose(weights.normalization[0], [0.485, 0.456, 0.406], rtol=1e-5)
    np.testing.assert_allclose(weights.normalization[1], [0.229, 0.224, 0.225], rtol=1e-5)
    own = ((0.5,) * 3, (0.25, 0.5, 0.5))
    assert _with_deviation(own) == own  # Weights with a variance of their own keep its root.


@pytest.mark.backend_free
def test_a_resnet_of_keras_cv_needs_no_hub():
    pytest.importorskip("keras_cv")
    found = named_backbone("keras_cv:ResNet18V2", SIZE)
    assert found.backbone.output_shape == (None, 512) and found.normalization == ((0.0,) * 3, (1.0,) * 3)
    kl.LeOCLR(found.backbone, projection_dim=4, queue_size=8)


@pytest.mark.backend_free
def test_a_preset_of_keras_hub_brings_its_scaling(monkeypatch):
    class Backbone:
        @classmethod
        def from_preset(cls, preset, load_weights, image_shape):
            if preset != "resnet":
                raise FileNotFoundError(f"no preset {preset}")
            assert load_weights is False
            images = keras.Input(image_shape)
            return keras.Model(images, keras.layers.Conv2D(4, 3)(images), name=preset)

    class ImageConverter:
        scale, offset = [1 / 127.5] * 3, [-1.0] * 3

        @classmethod
        def from_preset(cls, preset):
            return cls()

    hub = types.ModuleType("keras_hub")
    hub.models, hub.layers = types.SimpleNamespace(Backbone=Backbone), types.SimpleNamespace()
    hub.layers.ImageConverter = ImageConverter
    monkeypatch.setitem(sys.modules, "keras_hub", hub)
    found = named_backbone("keras_hub:resnet", SIZE)
    assert found.backbone.output_shape == (None, 4)
    np.testing.assert_allclose(found.normalization, [[0.5] * 3] * 2)
    with pytest.raises(ValueError, match="its library can make here.*keras_hub:vit. Received: FileNotFound"):
        named_backbone("keras_hub:vit", SIZE)
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ImportError, match="`keras_hub:resnet` needs the package keras-hub: pip install"):
        named_backbone("keras_hub:resnet", SIZE)


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("applications:EfficientNetV3B0", r"keras.applications. Did you mean EfficientNetV2B0 or .*Received"),
        (
            "applications:InceptionV3",
            "`image_size` must be one that applications:InceptionV3 can take: .*75x75",
        ),
        ("keras_cv:ResNet18V3", "of keras_cv.models. Did you mean ResNet18V2Backbone"),
    ],
)
def test_an_unknown_name_and_a_wrong_size_are_named(name, words):
    with pytest.raises(ValueError, match=words):
        named_backbone(name, SIZE)
