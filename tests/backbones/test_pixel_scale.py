"""Preprocessing within a backbone, recognised by what it computes."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_leoclr as kl
from keras_leoclr.backbones.normalization import takes_raw
from keras_leoclr.backbones.pixel_scale import pixel_scale
from keras_leoclr.backbones.starting import starting_backbone

SHAPE = (16, 16, 3)
MEAN, VARIANCE = (123.0, 117.0, 104.0), (3400.0, 3300.0, 3300.0)


def network(x):
    x = layers.Conv2D(8, 3, name="stem")(x)
    return layers.GlobalAveragePooling2D()(layers.ReLU()(x))


def with_first(*first):
    images = x = keras.Input(SHAPE)
    for layer in first:
        x = layer(x)
    return keras.Model(images, network(x), name="network")


def within(*first):
    """The same, as a model within a model."""
    inner, images = with_first(*first), keras.Input(SHAPE)
    return keras.Model(images, inner(layers.ZeroPadding2D(0)(images)))


def normalization():
    return layers.Normalization(mean=MEAN, variance=VARIANCE)


def adapted(mean, std):
    layer = layers.Normalization()
    layer.adapt(np.random.default_rng(0).normal(mean, std, (64, *SHAPE)).astype("float32"))
    return layer


def application(name, **options):
    return getattr(keras.applications, name)(
        include_top=False, weights=None, input_shape=(32, 32, 3), **options
    )


SCALED = {
    "rescaling": lambda: with_first(layers.Rescaling(1 / 127.5, -1)),
    "normalization": lambda: with_first(normalization()),
    "adapted to pixels": lambda: with_first(adapted(110, 60)),
    "behind padding": lambda: with_first(layers.ZeroPadding2D(3), layers.RandomFlip(), normalization()),
    "lambda": lambda: with_first(layers.Lambda(lambda x: x / 255.0)),
    "caffe": lambda: with_first(layers.Lambda(lambda x: keras.ops.flip(x, -1) - np.array(MEAN, "float32"))),
    "arithmetic": lambda: with_first(lambda x: (x - 127.5) / 127.5),
    "ahead of a frozen layer": lambda: _frozen(with_first(normalization())),
    "a model first": lambda: with_first(keras.Sequential([keras.Input(SHAPE), normalization()])),
    "within": lambda: within(normalization()),
    "sequential": lambda: keras.Sequential(
        [keras.Input(SHAPE), layers.Dropout(0.1), layers.Rescaling(1 / 255), layers.Conv2D(4, 3)]
    ),
    "ConvNeXt": lambda: application("ConvNeXtTiny"),
    "MobileNetV3": lambda: application("MobileNetV3Small"),
}
PLAIN = {
    "plain": lambda: with_first(),
    "rearranged": lambda: with_first(
        layers.ZeroPadding2D(9), layers.Resizing(10, 10), layers.Reshape((5, 5, 12)), layers.GaussianNoise(1)
    ),
    "coordinates": lambda: with_first(
        lambda x: keras.ops.concatenate([x, 0.01 * keras.ops.ones_like(x[..., :1])], axis=-1)
    ),
    "adapted to views": lambda: with_first(adapted(0.02, 1.1)),
    "batch normalization": lambda: with_first(layers.BatchNormalization()),
    "no trained weights": lambda: keras.Sequential([keras.Input(SHAPE), layers.Flatten()]),
    "ResNet": lambda: kl.backbones.resnet_small(SHAPE, widths=(8, 16)),
    "ViT": lambda: kl.backbones.vit_tiny(8, 16),
    "ConvNeXt": lambda: application("ConvNeXtTiny", include_preprocessing=False),
    "MobileNet": lambda: application("MobileNetV2", alpha=0.35),
    "MobileNetV3": lambda: application("MobileNetV3Small", include_preprocessing=False),
}


def _frozen(model):
    model.trainable = False
    return model


@pytest.mark.parametrize("name", [*SCALED])
def test_a_backbone_with_preprocessing_is_refused_with_advice(name):
    backbone = SCALED[name]()
    black, grey, white = pixel_scale(backbone).values
    assert black < grey < white and takes_raw(backbone)
    with pytest.raises(ValueError, match="must take normalised images: the layer of views") as error:
        kl.LeOCLR(backbone, queue_size=8)
    taken_off = ("rescaling", "normalization", "adapted to pixels", "arithmetic", "ahead of a frozen layer")
    if name in (*taken_off, "a model first", "ConvNeXt", "MobileNetV3"):
        assert "without_normalization(backbone)" in str(error.value)
    else:
        assert "include_preprocessing=False" in str(error.value)
    with pytest.raises(ValueError, match="must yield raw images"):
        images = np.full((2, *backbone.input_shape[1:]), -1, "float32")
        kl.evaluation.extract_features(backbone, [(images, np.zeros(2, int))])


@pytest.mark.parametrize("name", [*PLAIN])
def test_other_backbones_raise_no_false_alarm(name):
    backbone = PLAIN[name]()
    assert pixel_scale(backbone) is None and not takes_raw(backbone)


def test_a_keras_cv_backbone_is_judged_by_its_rescaling():
    keras_cv = pytest.importorskip("keras_cv")
    for rescaled in (True, False):
        backbone = keras_cv.models.ResNetV2Backbone(
            stackwise_filters=[8, 16],
            stackwise_blocks=[2, 2],
            stackwise_strides=[1, 2],
            include_rescaling=rescaled,
            input_shape=(32, 32, 3),
        )
        assert takes_raw(backbone) == rescaled


def test_a_file_of_an_earlier_version_with_preprocessing_is_loaded_with_a_warning(tmp_path, monkeypatch):
    backbone = with_first(layers.ZeroPadding2D(1), normalization())
    with monkeypatch.context() as earlier:
        earlier.setattr("keras_leoclr.model.check_takes_normalised", lambda *args: None)
        model = kl.LeOCLR(backbone, projection_dim=4, queue_size=8)
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="`backbone` must take normalised images.*as -2.04, 0.174, 2.4"):
        loaded = keras.saving.load_model(tmp_path / "model.keras")
    images = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype("float32")
    np.testing.assert_allclose(
        loaded.predict(images, verbose=0), model.predict(images, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_a_task_starts_from_a_backbone_with_preprocessing_as_it_is(tmp_path):
    layer = layers.Normalization(mean=MEAN, variance=VARIANCE)
    with_first(layers.ZeroPadding2D(1), layer).save(tmp_path / "network.keras")
    assert len(starting_backbone(tmp_path / "network.keras").layers) == len(
        with_first(layers.ZeroPadding2D(1), layer).layers
    )
