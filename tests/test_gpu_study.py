"""The comparison of the methods without TensorFlow works on a CPU, with a small network."""

import argparse
import pathlib
import subprocess
import sys
import tarfile

import keras
import numpy as np
import pytest
from PIL import Image

import keras_leoclr as kl
from keras_leoclr.report import studies
from keras_leoclr.runs.results import Results
from keras_leoclr.training.build import make_views
from keras_leoclr.training.recipe import Recipe
from keras_leoclr.training.studies import runs_of
from keras_leoclr.views import Preprocessing
from tools.gpu_checks import study
from tools.gpu_checks.pictures import Canvases, pictures_in

ROOT = pathlib.Path(__file__).parent.parent
CLASSES, TRAIN, TEST, SIDE = ("cat", "dog"), 70, 12, 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "pets"
    rng = np.random.default_rng(0)
    for split, count, suffix in (("train", TRAIN, ".webp"), ("val", TEST, ".png")):
        for number, name in enumerate(CLASSES):
            (path / split / name).mkdir(parents=True)
            for picture in range(count):
                pixels = rng.integers(0, 120, (SIDE, SIDE, 3)) + 130 * np.eye(3, dtype=int)[number]
                Image.fromarray(pixels.astype("uint8")).save(path / split / name / f"{picture:02}{suffix}")
    (path / "README.txt").write_text("no picture")
    return path


@pytest.fixture(scope="module")
def archive(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / "pets.tar.xz"
    with tarfile.open(path, "w:xz") as packed:
        packed.add(folder, "pets")
    return path


@pytest.mark.backend_free
def test_a_folder_and_its_archive_hold_the_same_pictures(folder, archive):
    (images, labels), (others, of_others) = pictures_in(folder)
    assert images.shape == (2 * TRAIN, SIDE, SIDE, 3) and images.dtype == np.uint8
    assert labels.tolist() == [0] * TRAIN + [1] * TRAIN and of_others.tolist() == [0] * TEST + [1] * TEST
    with Image.open(folder / "val" / "dog" / "03.png") as expected:
        np.testing.assert_array_equal(others[TEST + 3], np.asarray(expected))
    for (one, of_one), (other, of_other) in zip(pictures_in(folder), pictures_in(archive), strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(of_one, of_other)


@pytest.mark.backend_free
def test_pictures_of_several_sizes_and_sets_without_pictures_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="all of one size .* 0, 'test': 0.* pictures of 0 sizes"):
        pictures_in(tmp_path)
    for name, side in (("train/cat/a.png", 8), ("test/cat/b.png", 9)):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(tmp_path / name)
    with pytest.raises(ValueError, match=r"\{'train': 1, 'test': 1\} pictures of 2 sizes"):
        pictures_in(tmp_path)


@pytest.mark.backend_free
def test_what_cannot_be_studied_is_refused_before_pictures_are_read(tmp_path):
    options = argparse.Namespace(recipe="cifar10", pictures=tmp_path / "none", preset="", epochs=2)
    options = argparse.Namespace(**vars(options), image_size=8, precision="float32", seeds=[0], only="")
    cases = {
        "`preset` must be one of those of cifar10: 800_epochs, small. Rec.*'tiny'": {"preset": "tiny"},
        "`only` must be a part of one of .*LeOCLR, 2 epochs.* Received: only='simclr'": {"only": "simclr"},
        "of those of stl10: none. Received": {"recipe": "stl10", "preset": "small"},
    }
    for words, changes in cases.items():
        with pytest.raises(ValueError, match=words):
            study.study(argparse.Namespace(**{**vars(options), **changes}), "")
    command = [sys.executable, ROOT / "tools" / "gpu_study.py", "cifar", "--pictures", "x", "--workdir", "y"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "invalid choice: 'cifar'" in done.stderr and "cifar10" in done.stderr
    for name in ("train/cat/a.png", "test/cow/b.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name)
    with pytest.raises(ValueError, match="training pictures of each class .* with test pictures of cow"):
        pictures_in(tmp_path)


@pytest.mark.backend_free
def test_batches_hold_each_picture_once_and_keys_are_shuffled_where_groups_need_it(folder):
    (images, _), _ = pictures_in(folder)
    views = kl.LeOCLRViews(8)
    plain = Canvases(images, views, 20, epoch=0)
    batches = [plain[number][0] for number in range(len(plain))]
    seen = np.concatenate([batch["image"] for batch in batches])
    assert len(np.unique(seen.reshape(len(seen), -1), axis=0)) == len(images)
    assert "permutation" not in batches[0]
    shuffled = Canvases(images, views, 20, epoch=0, permute_keys=True)[0][0]
    assert sorted(shuffled["permutation"]) == list(range(20)) != shuffled["permutation"].tolist()
    later = Canvases(images, views, 20, epoch=1)[0][0]
    assert not np.array_equal(later["query_parameters"], batches[0]["query_parameters"])


def test_what_is_judged_is_what_the_library_judges(folder):
    (images, labels), _ = pictures_in(folder)
    recipe = Recipe(dataset="pets", image_size=8, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    inputs = keras.Input((8, 8, 3))
    flat = keras.Model(inputs, keras.layers.Flatten()(inputs))
    found, of_found = study.features_of(recipe, flat, (images, labels))
    np.testing.assert_array_equal(of_found, labels)
    expected = np.asarray(Preprocessing.of(make_views(recipe)).preprocess(images))
    np.testing.assert_allclose(found.reshape(-1, 8, 8, 3), expected, atol=1e-4)


@pytest.fixture(scope="module")
def run(archive, tmp_path_factory):
    """A function that runs the study of some variants, and its folder."""
    workdir = tmp_path_factory.mktemp("study")

    def run(only):
        command = [sys.executable, ROOT / "tools" / "gpu_study.py", "cifar10", "--pictures", archive]
        command += ["--preset", "small", "--epochs", "2", "--seeds", "3", "--only", only, "--image_size", "8"]
        command += ["--precision", "float32", "--workdir", workdir]
        made = subprocess.run(command, cwd=workdir, capture_output=True, text=True, timeout=600)
        assert made.returncode == 0, made.stdout + made.stderr
        return made.stdout

    return run, workdir


@pytest.mark.backend_free
def test_both_methods_are_trained_and_judged_and_finished_runs_are_left_out(run):
    pytest.importorskip("jax")
    run, workdir = run
    assert "MoCo v2, 2 epochs, seed 3: epoch 2, " in run("v2")
    run("LeOCLR, 2")
    lines = (workdir / "results.jsonl").read_text()
    assert run("v2") == "" and (workdir / "results.jsonl").read_text() == lines
    found = studies.read(Results(workdir / "results.jsonl"))["method"]
    assert list(found.values) == ["MoCo v2, 2 epochs", "LeOCLR, 2 epochs", studies.RANDOM]
    for measures in found.values.values():
        assert {*measures} == {"knn/top1", "knn_train/top1", "linear/top1", "linear_few/top1"}
        assert measures["linear/top1"][3] > 0.9  # red and green
    assert {*found.curves["LeOCLR, 2 epochs"]["loss_to_chance"][3]} == {1, 2}
    about = found.runs[0]
    assert about["suite"] == ["knn", "linear", "few"] and about["recipe"]["dataset"] == "pets"
    assert about["environment"]["backend"] == "jax"
    assert about["command"].startswith("python tools/gpu_study.py cifar10 --pictures ")


@pytest.mark.backend_free
def test_fewer_pictures_than_a_batch_are_refused(folder):
    train, test = pictures_in(folder)
    recipe = Recipe(dataset="pets", image_size=8, batch_size=256)
    (run,) = runs_of(recipe, {"MoCo v2": {"method": "moco_v2"}}, [0])
    with pytest.raises(ValueError, match="`batch_size` must be at most .* Received: batch_size=256, 140"):
        next(study.lines_of(run, train, test, ""))
