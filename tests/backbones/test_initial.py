"""Weights to start from: read from runs, .keras files, whole models and torch files."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import keras_leoclr as kl
from keras_leoclr.backbones.initial import InitialWeightsError, read_initial_weights
from keras_leoclr.backbones.loading import BackboneFileError
from keras_leoclr.backbones.recognising import settings_of
from tests.case import to_numpy

SHAPE, SIZE = (16, 16, 3), 16
MEAN, STD = (0.4, 0.45, 0.5), (0.2, 0.25, 0.3)
SETTINGS = {"backbone": "resnet_small", "widths": (8, 16), "stem": "cifar"}


def backbone(**options):
    return kl.backbones.resnet_small(**{"input_shape": SHAPE, "widths": (8, 16), "stem": "cifar", **options})


def own_network(size=SIZE, filters=8):
    images = keras.Input((size, size, 3))
    x = layers.Normalization(mean=[100.0] * 3, variance=[2500.0] * 3)(images)
    x = layers.BatchNormalization()(layers.Conv2D(filters, 3, name="stem")(x))
    return keras.Model(images, layers.GlobalAveragePooling2D()(layers.ReLU()(x)), name="own")


def written(kind, folder):
    """A file of a kind, with the backbone in it."""
    made = backbone()
    if kind == "LeOCLR":
        model = kl.LeOCLR(made, projection_dim=6, hidden_dim=12, queue_size=20)
        model.save(folder / "model.keras")
        return folder / "model.keras", model.backbone
    raw = kl.backbones.with_normalization(made, MEAN, STD)
    if kind == "torch weights":
        kl.backbones.to_torch(raw, folder / "weights.safetensors")
        return folder / "weights.safetensors", made
    raw.save(folder / "backbone.keras")
    if kind == "run":
        (folder / "recipe.json").write_text(json.dumps({"mean": MEAN, "std": STD}))
        return folder, made
    return folder / "backbone.keras", made


@pytest.mark.parametrize("kind", ["backbone", "run", "torch weights", "LeOCLR"])
def test_a_file_gives_its_network_with_its_weights(tmp_path, kind):
    path, made = written(kind, tmp_path)
    weights = read_initial_weights(path, image_size=SIZE)
    images = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype("float32")
    np.testing.assert_allclose(to_numpy(weights.backbone(images)), to_numpy(made(images)), atol=1e-5)
    assert weights.settings == SETTINGS and weights.any_size
    assert weights.normalization == (None if kind == "LeOCLR" else (MEAN, STD))
    assert weights.about["kind"] == ("backbone" if kind == "run" else kind)
    assert weights.about["path"] == str(path) and len(weights.about["sha256"]) == 64
    assert weights.at_size(8).backbone.input_shape == (None, 8, 8, 3)
    assert weights.sized


def test_both_encoders_and_the_queue_begin_with_those_of_a_whole_model(tmp_path):
    path, _ = written("LeOCLR", tmp_path)
    weights, saved = read_initial_weights(path), keras.saving.load_model(path)
    model = kl.LeOCLR(weights.backbone, projection_dim=6, hidden_dim=12, queue_size=20)
    assert weights.fill(model) == []
    for one, other, first in zip(
        model.query_encoder.get_weights(),
        model.key_encoder.get_weights(),
        saved.query_encoder.get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, first)
    np.testing.assert_array_equal(to_numpy(model.key_queue.keys), to_numpy(saved.key_queue.keys))
    other = kl.LeOCLR(weights.backbone, projection_dim=5, queue_size=20)
    assert [line.split(" of")[0] for line in weights.fill(other)] == [
        "The projection head has another size than that",
        "The queue has another size than that",
    ]


def test_networks_are_recognised_by_what_they_are_made_of():
    assert settings_of(backbone(stem="patch")) == {**SETTINGS, "stem": "patch"}
    assert settings_of(kl.backbones.resnet18((32, 32, 3))) == {"backbone": "resnet18", "stem": "imagenet"}
    assert settings_of(kl.backbones.vit_tiny(8, 16)) == {"backbone": "vit_tiny", "patch_size": 8}
    other = {"backbone": "initial_weights"}
    assert settings_of(kl.backbones.vit_tiny(8, 16, pool="mean")) == other
    assert settings_of(own_network()) == other
    assert settings_of(kl.backbones.resnet18((32, 32, 3), width=8)) == {**other, "stem": "imagenet"}
    assert settings_of(backbone(blocks=2)) == {**other, "stem": "cifar"}


def test_a_network_of_ones_own_loses_its_normalization_once(tmp_path):
    own_network().save(tmp_path / "own.keras")
    weights = read_initial_weights(tmp_path / "own.keras")
    assert weights.settings == {"backbone": "initial_weights"}
    assert weights.normalization[1] == pytest.approx([50 / 255] * 3)
    assert not any(isinstance(layer, layers.Normalization) for layer in weights.backbone.layers)


def test_a_vit_belongs_to_the_size_of_its_images(tmp_path):
    kl.backbones.vit_tiny(8, 16).save(tmp_path / "vit.keras")
    weights = read_initial_weights(tmp_path / "vit.keras")
    assert not weights.any_size and weights.at_size(16) is weights
    with pytest.raises(
        InitialWeightsError, match=r"`image_size` must be .* 16: .* takes no other. Received: im"
    ):
        weights.at_size(24)


@pytest.mark.backend_free
def test_what_is_no_weights_to_start_from_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`initial_weights` must be the folder of a run.*not exist"):
        read_initial_weights(tmp_path / "missing.keras")
    with pytest.raises(InitialWeightsError, match=r"finished run, with backbone.keras. Received: .*no run"):
        read_initial_weights(tmp_path)
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(InitialWeightsError, match="a run that is not finished"):
        read_initial_weights(tmp_path)
    (tmp_path / "damaged.keras").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(BackboneFileError, match="must be a whole .keras file"):
        read_initial_weights(tmp_path / "damaged.keras")
    (tmp_path / "damaged.pth").write_bytes(b"cut")
    with pytest.raises(
        kl.backbones.TorchWeightsError, match="must hold tensors only|must be a whole file of torch.save"
    ):
        read_initial_weights(tmp_path / "damaged.pth")
    (tmp_path / "alone.weights.h5").write_bytes(b"")
    with pytest.raises(InitialWeightsError, match="need `backbone` to name their network"):
        read_initial_weights(tmp_path / "alone.weights.h5")
    frozen = backbone()
    frozen.trainable = False
    frozen.save(tmp_path / "frozen.keras")
    with pytest.raises(InitialWeightsError, match="'resnet_small', which is frozen"):
        read_initial_weights(tmp_path / "frozen.keras")
    images = keras.Input(SHAPE)
    x = layers.Normalization(mean=[100.0] * 3, variance=[2500.0] * 3)(layers.ZeroPadding2D()(images))
    keras.Model(images, layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(x))).save(tmp_path / "p.keras")
    with pytest.raises(InitialWeightsError, match="whose preprocessing can be taken off"):
        read_initial_weights(tmp_path / "p.keras")
