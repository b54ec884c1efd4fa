"""Stage outputs of a backbone, and what a task can start from."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import keras_leoclr as kl
from keras_leoclr.backbones import pyramid
from keras_leoclr.backbones.starting import starting_backbone
from tests.case import to_numpy

pytestmark = pytest.mark.usefixtures("one_torch_thread")
IMAGENET = {1: 16, 2: 8, 3: 4, 4: 2, 5: 1}


def sides(model):
    return {int(name[1:]): tensor.shape[1] for name, tensor in model.output.items()}


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("imagenet", IMAGENET),
        ("cifar", {0: 32, 1: 16, 2: 8, 3: 4}),
        ("lightly", {0: 32, 1: 16, 2: 8, 3: 4}),
        ("patch", {1: 16, 2: 8, 3: 4, 4: 2}),
        ("solo_learn", {0: 34, 1: 17, 2: 9, 3: 5}),
    ],
)
def test_every_stem_has_its_stages(stem, expected):
    backbone = kl.backbones.resnet18((32, 32, 3), stem=stem, width=8)
    model = pyramid(backbone)
    assert sides(model) == expected
    stages = [f"stage{n}_block2_relu" for n in (1, 2, 3, 4)]
    for name, tensor in zip(stages, list(model.output.values())[-4:], strict=True):
        assert tensor.shape == backbone.get_layer(name).output.shape


@pytest.mark.backend_free
def test_tiny_images_do_not_merge_stages():
    assert sides(pyramid(kl.backbones.resnet_small((8, 8, 3), widths=(8, 8, 8)))) == {1: 4, 2: 2, 3: 1}
    small = kl.backbones.resnet18((8, 8, 3), stem="solo_learn", width=8)
    assert sides(pyramid(small)) == {0: 10, 1: 5, 2: 3, 3: 2}


def test_maps_are_those_of_the_backbone_and_weights_are_shared(tmp_path):
    made = kl.backbones.resnet_small((16, 16, 3), widths=(8, 16))
    made.save(tmp_path / "backbone.keras")
    backbone = keras.saving.load_model(tmp_path / "backbone.keras")
    model = pyramid(backbone)
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    last = to_numpy(model(images)["P2"])
    np.testing.assert_allclose(last.mean((1, 2)), to_numpy(backbone(images)), atol=1e-5)
    before = to_numpy(model(images)["P1"])
    backbone.set_weights([0 * w for w in backbone.get_weights()])
    assert before.any() and not to_numpy(model(images)["P1"]).any()


def test_another_size_gets_a_copy_with_the_same_weights():
    backbone = kl.backbones.resnet_small((16, 16, 3), widths=(8, 16))
    model = pyramid(backbone, (32, 48, 3))
    assert model.output["P2"].shape == (None, 8, 12, 16)
    for mine, copied in zip(backbone.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, copied)


@pytest.mark.backend_free
def test_other_networks_are_read_by_the_paths_of_their_graph():
    images = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, 2, "same", name="stem")(layers.Rescaling(1 / 255)(images))
    squeeze = layers.GlobalAveragePooling2D(keepdims=True)(x)  # 1 x 1, and no stage
    x = layers.Multiply(name="excited")([x, layers.Conv2D(8, 1, activation="sigmoid")(squeeze)])
    x = layers.Conv2D(16, 3, 2, "same", name="second")(layers.ZeroPadding2D(4)(x))
    model = pyramid(keras.Model(images, layers.GlobalMaxPooling2D()(x)))
    assert {name: tensor.shape[1:] for name, tensor in model.output.items()} == {
        "P1": (16, 16, 8),
        "P2": (12, 12, 16),
    }
    chain = [layers.Conv2D(4, 3, 2, "same"), layers.ReLU(), layers.MaxPooling2D(2), layers.Flatten()]
    assert sides(pyramid(keras.Sequential([keras.Input((16, 16, 3)), *chain]))) == {1: 8, 2: 4}


@pytest.mark.backend_free
def test_what_has_no_pyramid_is_refused():
    with pytest.raises(ValueError, match="a ViT has one size. Received: backbone 'vit_tiny' with 2 x 2"):
        pyramid(kl.backbones.vit_tiny(image_size=16, patch_size=8))
    with pytest.raises(ValueError, match="`backbone` must be a functional or Sequential"):
        pyramid(keras.Sequential([layers.Conv2D(3, 3)]))
    free = keras.Input((None, None, 3))
    convolution = keras.Model(free, layers.Conv2D(4, 3, 2, "same")(free))
    with pytest.raises(ValueError, match="`input_shape` must be given for a backbone of images of any size"):
        pyramid(convolution)
    with pytest.raises(ValueError, match="`input_shape` must be one that backbone 'vit_tiny' can take"):
        pyramid(kl.backbones.vit_tiny(image_size=16, patch_size=8), (32, 32, 3))


# === What to start from ===


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder like a run's, with its numbers of normalisation."""
    folder = tmp_path_factory.mktemp("run")
    kl.backbones.resnet_small((8, 8, 3), widths=(8, 16)).save(folder / "backbone.keras")
    (folder / "recipe.json").write_text(json.dumps({"mean": [0.2, 0.3, 0.4], "std": [0.1, 0.2, 0.5]}))
    return folder


def test_the_backbone_of_a_run_takes_raw_images(run):
    inner = keras.saving.load_model(run / "backbone.keras")
    outer = starting_backbone(run)
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("float32")
    normalised = ((images / 255 - [0.2, 0.3, 0.4]) / [0.1, 0.2, 0.5]).astype("float32")
    np.testing.assert_allclose(to_numpy(outer(images)), to_numpy(inner(normalised)), atol=1e-4)
    assert sides(pyramid(outer)) == {1: 4, 2: 2}  # its layers are those of two graphs


@pytest.mark.backend_free
def test_a_backbone_that_normalises_is_taken_as_it_is(run, tmp_path):
    made = kl.backbones.resnet_small((8, 8, 3), widths=(8, 16))
    kl.backbones.with_normalization(made, [0.5] * 3, [0.25] * 3).save(tmp_path / "backbone.keras")
    normalising = layers.Normalization(mean=[100.0] * 3, variance=[2500.0] * 3)
    stock = [keras.Input((8, 8, 3)), normalising, layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()]
    keras.Sequential(stock).save(tmp_path / "stock.keras")
    (tmp_path / "recipe.json").write_text((run / "recipe.json").read_text())
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("float32")
    for source, file in ((tmp_path, "backbone.keras"), (tmp_path / "stock.keras", "stock.keras")):
        expected = keras.saving.load_model(tmp_path / file)(images)
        np.testing.assert_allclose(to_numpy(starting_backbone(source)(images)), to_numpy(expected), atol=1e-5)


@pytest.mark.backend_free
def test_the_normalisation_of_a_chain_is_seen_and_taken_off():
    scaling = layers.Rescaling(1 / 127.5, -1.0)
    chain = keras.Sequential([keras.Input((8, 8, 3)), scaling, layers.Conv2D(4, 3), layers.Flatten()])
    assert kl.backbones.normalization_of(chain) == ((0.5,) * 3, (0.5,) * 3)
    bare = kl.backbones.without_normalization(chain)
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(to_numpy(bare(images / 127.5 - 1)), to_numpy(chain(images)), atol=1e-5)


@pytest.mark.backend_free
def test_random_weights_of_the_same_architecture_and_torch_files(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(run.parent))
    same, other = starting_backbone(run), starting_backbone("random", f"~/{run.name}")
    assert [w.shape for w in same.get_weights()] == [w.shape for w in other.get_weights()]
    assert not np.allclose(same.get_weights()[0], other.get_weights()[0])
    network = kl.backbones.resnet18((32, 32, 3), stem="cifar", width=8)
    kl.backbones.to_torch(network, tmp_path / "weights.safetensors")
    read = starting_backbone(tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(read.get_weights()[0], network.get_weights()[0])


@pytest.mark.backend_free
def test_chains_and_vits_become_backbones_of_raw_images(tmp_path):
    chain = [layers.Conv2D(4, 3, 2, "same"), layers.GlobalAveragePooling2D()]
    keras.Sequential([keras.Input((8, 8, 3)), *chain]).save(tmp_path / "chain.keras")
    kl.backbones.vit_tiny(image_size=16, patch_size=8).save(tmp_path / "vit.keras")
    for name, size in (("chain", 8), ("vit", 16)):
        inner = keras.saving.load_model(tmp_path / f"{name}.keras")
        images = np.full((1, size, size, 3), 128.0, "float32")
        normalised = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        outer = starting_backbone(tmp_path / f"{name}.keras")
        expected = to_numpy(inner(normalised.astype("float32")))
        np.testing.assert_allclose(to_numpy(outer(images)), expected, atol=1e-4)


@pytest.mark.backend_free
def test_what_is_no_backbone_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`backbone` must be a .keras file.*nothing, which does not"):
        starting_backbone(tmp_path / "nothing")
    (tmp_path / "bad.keras").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"bad.keras must be a whole .keras file. Received: 10 bytes"):
        starting_backbone(tmp_path / "bad.keras")
    with pytest.raises(ValueError, match="`architecture` must be one of resnet18, .*'vgg'"):
        starting_backbone("random", "vgg")
    kl.backbones.resnet_small((8, 8, 1), widths=(8,)).save(tmp_path / "grey.keras")
    with pytest.raises(ValueError, match="`backbone` must take images of 3 channels"):
        starting_backbone(tmp_path / "grey.keras")
