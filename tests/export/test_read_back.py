"""Mean, deviation and image size of an exported file, where the package reads it back."""

import json
import shutil

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import cli, export
from keras_leoclr.backbones import normalization_of, read_initial_weights, to_torch
from keras_leoclr.backbones.known_numbers import image_numbers
from keras_leoclr.backbones.starting import starting_backbone
from keras_leoclr.backbones.torch_files import read_metadata
from keras_leoclr.evaluation import RunEvaluation
from keras_leoclr.views.settings import IMAGENET_MEAN, IMAGENET_STD
from tests.case import random_images, to_numpy
from tests.export.raw_images import MEAN, STD

NUMBERS = (MEAN, STD)
OTHER = ((0.1, 0.2, 0.3), (0.3, 0.4, 0.5))


@pytest.fixture(scope="module")
def written(raw, tmp_path_factory):
    """A file as `leoclr export --formats safetensors` writes it, of a backbone for 8 x 8 pixels."""
    path = tmp_path_factory.mktemp("written") / "backbone.safetensors"
    return export.write(raw, path, "safetensors", random_images(3, 8, 8)).path


def run_with(numbers, folder):
    """A folder with the recipe of a run, as far as mean and deviation go."""
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(json.dumps({"mean": numbers[0], "std": numbers[1]}))
    return folder


def judged(path, folder, **settings):
    """The preprocessing with which `leoclr evaluate` reads images for a file."""
    return RunEvaluation(folder, backbone=path, **settings).suite(images=False).preprocessing


def test_the_numbers_of_the_file_are_used_wherever_it_is_read(raw, written, tmp_path):
    images = random_images(2, 8, 8).astype("float32")
    expected = to_numpy(raw(images, training=False))
    for read in (starting_backbone(written), kl.backbones.load(written, normalization=True, verbose=False)):
        assert read.input_shape == (None, 8, 8, 3)
        np.testing.assert_allclose(to_numpy(read(images, training=False)), expected, rtol=1e-4, atol=1e-5)
    weights = read_initial_weights(written, image_size=224)
    assert weights.sized and weights.backbone.input_shape == (None, 8, 8, 3)
    assert weights.normalization == NUMBERS
    seen = judged(written, tmp_path / "judged")
    assert (seen.mean, seen.std, seen.image_size) == (*NUMBERS, 8)
    assert judged(written, run_with(OTHER, tmp_path / "run")).mean == MEAN
    given = judged(written, tmp_path / "judged", mean=OTHER[0], std=OTHER[1])
    assert (given.mean, given.std) == OTHER


@pytest.mark.backend_free
def test_metadata_come_before_the_recipe_of_the_run_and_that_before_imagenet(backbone, written, tmp_path):
    run = run_with(OTHER, tmp_path / "run")
    (run / "export").mkdir()
    shutil.copy(written, run / "export" / "named.safetensors")
    to_torch(backbone, run / "export" / "unnamed.safetensors")
    to_torch(backbone, tmp_path / "alone.safetensors")
    assert image_numbers(run / "export" / "named.safetensors") == NUMBERS
    for path in (run, run / "unnamed.pth", run / "export" / "unnamed.safetensors", run / "export" / "x.pth"):
        assert image_numbers(path) == OTHER, path
    assert image_numbers(tmp_path / "alone.safetensors") is None
    found = normalization_of(starting_backbone(run / "export" / "unnamed.safetensors"))
    np.testing.assert_allclose(found, OTHER, rtol=1e-6)
    found = normalization_of(starting_backbone(tmp_path / "alone.safetensors"))
    np.testing.assert_allclose(found, (IMAGENET_MEAN, IMAGENET_STD), rtol=1e-6)
    with pytest.raises(ValueError, match="needs a backbone that normalises, a .safetensors file whose metad"):
        kl.backbones.load(tmp_path / "alone.safetensors", normalization=True, verbose=False)


@pytest.mark.backend_free
def test_the_command_exports_such_a_file_with_its_numbers(written, tmp_path):
    arguments = ["export", written, "--images", 4, "--output", tmp_path]
    assert cli.main(["leoclr", *map(str, [*arguments, "--formats", "keras"])]) == 0
    found = normalization_of(keras.saving.load_model(tmp_path / "backbone.keras"))
    np.testing.assert_allclose(found, NUMBERS, rtol=1e-6)
    plain = [*arguments, "--formats", "safetensors", "--without_normalization"]
    assert cli.main(["leoclr", *map(str, plain)]) == 0
    assert image_numbers(tmp_path / "backbone.safetensors") == NUMBERS


@pytest.mark.backend_free
def test_the_size_of_images_is_named_whether_they_are_square_or_not(backbone, tmp_path):
    for shape, words in (((8, 8, 3), "8"), ((8, 12, 3), "8,12")):
        path = tmp_path / f"{words}.safetensors"
        to_torch(kl.backbones.resnet_small(shape, widths=(8, 16)), path)
        assert read_metadata(path)["image_size"] == words
        assert kl.backbones.from_torch(path, verbose=False).input_shape == (None, *shape)
    again = kl.backbones.from_torch(path, input_shape=(16, 16, 3), verbose=False)
    assert again.input_shape == (None, 16, 16, 3)
