"""Images are (B, H, W, C), whatever keras.json says."""

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr.recipes import detection
from keras_leoclr.training.downstream import starting_pyramid
from tests.case import batched, random_views, small_model, to_numpy

IMAGES = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype("float32")


@pytest.fixture
def channels_first():
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


BACKBONES = {
    "resnet_small": lambda: kl.backbones.resnet_small((16, 16, 3), widths=(8, 16)),
    "resnet18": lambda: kl.backbones.resnet18((16, 16, 3), width=8),
    "resnet50": lambda: kl.backbones.resnet50((16, 16, 3), stem="cifar", width=8),
    "vit": lambda: kl.backbones.vit_tiny(8, 16),
    "vit, mean": lambda: kl.backbones.vit_tiny(8, 16, "mean"),
}


@pytest.mark.parametrize("name", [*BACKBONES])
def test_a_backbone_is_the_same_where_keras_json_says_channels_first(name, channels_first):
    backbone = BACKBONES[name]()
    keras.config.set_image_data_format("channels_last")
    expected = BACKBONES[name]()
    assert [w.shape for w in expected.get_weights()] == [w.shape for w in backbone.get_weights()]
    expected.set_weights(backbone.get_weights())
    np.testing.assert_array_equal(to_numpy(backbone(IMAGES)), to_numpy(expected(IMAGES)))


def test_training_and_features_are_the_same_where_keras_json_says_channels_first(channels_first):
    data, ended, weights = batched(random_views(2)), [], None
    maps = [(IMAGES[:, :8, :8], np.zeros(3, int))]
    for format_ in ("channels_first", "channels_last"):
        keras.config.set_image_data_format(format_)
        model = small_model()
        weights = weights or model.get_weights()
        model.set_weights(weights)
        model.fit(data, verbose=0, shuffle=False)
        pyramid = kl.backbones.pyramid(model.backbone)
        features, _ = kl.evaluation.extract_features(model.backbone, maps)
        ended.append([*model.get_weights(), features, *map(to_numpy, pyramid(maps[0][0]).values())])
    for one, other in zip(*ended, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_feature_maps_are_averaged_over_rows_and_columns(channels_first):
    convolution = keras.layers.Conv2D(5, 3, data_format="channels_last")
    maps = keras.Sequential([keras.Input((16, 16, 3)), convolution])
    model = kl.LeOCLR(maps, projection_dim=4, queue_size=8)
    features = to_numpy(model.backbone(IMAGES))
    np.testing.assert_allclose(features, to_numpy(maps(IMAGES)).mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)


def test_a_backbone_of_channels_first_is_refused(channels_first, tmp_path):
    backbone = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(4, 3, name="rows"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    backbone.save(tmp_path / "backbone.keras")
    uses = (
        lambda: kl.LeOCLR(backbone, queue_size=8),
        lambda: kl.evaluation.extract_features(backbone, [(IMAGES, np.zeros(3, int))]),
        lambda: kl.backbones.pyramid(backbone),
        lambda: kl.backbones.load(tmp_path / "backbone.keras", verbose=False),
        lambda: kl.export.write(backbone, tmp_path / "made.keras", "keras", IMAGES),
    )
    for use in uses:
        with pytest.raises(
            ValueError,
            match="must be made of layers with data_format=.*2 layers with channels_first, such as 'rows'",
        ):
            use()


def test_detection_and_segmentation_say_what_keras_json_must_say(channels_first):
    with pytest.raises(
        ValueError,
        match="must be \"channels_last\" for detection.*Received: image_data_format='channels_first'",
    ):
        starting_pyramid(detection.RECIPE, (3, 4, 5), ("P3", "P4", "P5"))
