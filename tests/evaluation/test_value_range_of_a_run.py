"""The range of values of a run's pictures, and its data, where it is judged in another folder."""

import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

import keras_leoclr as kl
from keras_leoclr.evaluation import RunEvaluation
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.runs.results import Results
from keras_leoclr.training.recipe import Recipe


@pytest.fixture
def grey16(tmp_path):
    """A folder of PNGs of 16 bits of grey, which use 12 of them."""
    images = np.random.default_rng(0).integers(0, 4096, (12, 16, 16), dtype=np.uint16)
    for number, image in enumerate(images):
        path = tmp_path / "grey16" / "train" / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "grey16"


@pytest.fixture
def run_on_grey16(tmp_path, grey16):
    """A run on pictures of 12 bits, as far as its evaluation reads it."""
    folder = RunFolder(tmp_path / "run")
    plain = kl.backbones.resnet_small((16, 16, 1), widths=(8, 16))
    folder.path.mkdir()
    kl.backbones.with_normalization(plain, (0.5,), (0.25,)).save(folder.backbone_file)
    ranges = {"channels": 1, "value_range": (0.0, 4095.0), "mean": (0.5,), "std": (0.25,)}
    recipe = Recipe(dataset=str(grey16), test_split="train[50%:]", image_size=16, **ranges)
    folder.write_recipe(dataclasses.asdict(recipe))
    return folder


def test_the_range_of_a_run_goes_with_its_backbone(run_on_grey16, grey16, tmp_path):
    def brightest(workdir, **settings):
        split = "train[50%:]"
        suite = RunEvaluation(workdir, dataset=str(grey16), test_split=split, **settings).suite(cache=False)
        return max(element["image"].max() for element in suite.train.as_numpy_iterator())

    backbone, elsewhere = run_on_grey16.backbone_file, tmp_path / "elsewhere.keras"
    bright = brightest(run_on_grey16.path)
    assert bright > 128 and brightest(tmp_path / "other", backbone=backbone) == bright
    shutil.copy(backbone, elsewhere)
    assert brightest(run_on_grey16.path, backbone=elsewhere) == bright
    assert brightest(tmp_path / "other", backbone=elsewhere) < 16  # 4095 of the 65535 of their type
    given = {"backbone": elsewhere, "value_range": np.array([0, 4095])}
    assert brightest(tmp_path / "other", **given) == bright
    with pytest.raises(ValueError, match="`value_range` must be empty or two numbers"):
        brightest(tmp_path / "other", backbone=backbone, value_range=(3, 1))


def test_a_run_is_judged_on_its_own_data_in_another_folder(run_on_grey16, tmp_path):
    options = {"suite": "knn", "k": 3, "verbose": False, "cache": False}
    values = [kl.evaluate(run_on_grey16.path, workdir=tmp_path / at, **options) for at in ("run", "other")]
    assert values[0] == values[1] and len(values[0]) == 2
    own, other = (Results(tmp_path / at / "results.jsonl").read()[0] for at in ("run", "other"))
    assert own == other and other["test_split"] == "train[50%:]" and other["subject"] == "pretrained"
