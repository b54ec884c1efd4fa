"""Runs on arrays that are sorted by class, as many files are."""

import dataclasses
import types

import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import callbacks, data
from keras_leoclr.evaluation.run_evaluation import RunEvaluation
from keras_leoclr.evaluation.suite_options import SuiteOptions
from keras_leoclr.recipes import fashion_mnist
from keras_leoclr.runs.folder import DRAWN, RunFolder
from keras_leoclr.training.monitors import monitors
from keras_leoclr.training.session import RunSession
from keras_leoclr.training.sources import RunSources
from keras_leoclr.views.preprocessing import Preprocessing
from tests.evaluation.test_features import backbone_with
from tests.sources import example, flat, write_records

pytestmark = pytest.mark.backend_free
CLASSES, EACH = 8, 50


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A smoke run on 400 images of a colour for each class, class after class."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), EACH)
    colours = rng.integers(0, 256, (CLASSES, 3))[labels][:, None, None]
    images = np.clip(colours + rng.normal(0, 20, (len(labels), 8, 8, 3)), 0, 255).astype("uint8")
    path = tmp_path_factory.mktemp("arrays") / "sorted.npz"
    parts = {"train_image": images, "train_label": labels, "test_image": images, "test_label": labels}
    np.savez(path, **parts)
    return dataclasses.replace(fashion_mnist.RECIPE, dataset=str(path), image_size=8).smoke()


def knn_of(recipe, sources, folder):
    backbone = kl.backbones.resnet_small((8, 8, 3), widths=(8, 16))
    chosen = monitors(recipe, sources, Preprocessing(8), RunFolder(folder), callbacks.Health(), 2)
    (monitor,) = (each for each in chosen if isinstance(each, callbacks.KNNMonitor))
    assert monitor.k == 20  # of a bank below 2,000
    monitor.set_model(types.SimpleNamespace(backbone=backbone))
    logs = {}
    monitor.on_epoch_end(0, logs)
    return logs["knn_top1"]


def test_knn_is_measured_on_shared_classes(recipe, tmp_path):
    sources = RunSources.load(recipe)
    assert sources.train.count == 320 and len(np.unique(sources.train.labels)) == CLASSES
    bank, queries = sources.knn_parts(recipe.seed)
    assert (bank.count, queries.count) == (200, 100)
    assert set(bank.labels) == set(queries.labels) == set(range(CLASSES))
    assert knn_of(recipe, sources, tmp_path) > 0.3  # chance is 0.125


def test_classes_that_the_bank_lacks_are_said_with_what_they_cost(recipe, tmp_path):
    first = RunSources.load(recipe, drawn=False)
    assert len(np.unique(first.train.labels)) == 7
    with pytest.warns(UserWarning, match="100 of 100 .* are of 2 classes .* no accuracy can be above 0.0%"):
        assert knn_of(recipe, first, tmp_path) == 0.0
    single = dataclasses.replace(recipe, knn_bank=40)
    with pytest.warns(UserWarning, match="kNN is not measured: the 40 images of `bank` that have a label"):
        with pytest.raises(KeyError):
            knn_of(single, RunSources.load(single, drawn=False), tmp_path)


def test_partly_labelled_images_vote_and_are_classified_in_proportion(recipe, tmp_path):
    with np.load(recipe.dataset) as arrays:
        label = arrays["train_label"].copy()
        label[np.arange(len(label)) % 5 > 0] = -1
        np.savez(tmp_path / "partly.npz", image=arrays["train_image"], label=label)
    partly = dataclasses.replace(recipe, dataset=str(tmp_path / "partly.npz"), evaluate=False, max_images=0)
    sources = RunSources.load(partly)
    bank, queries = sources.knn_parts(0)
    assert (bank.count, queries.count) == (53, 26)  # 80 have a label; 200 and 100 are asked for
    assert knn_of(partly, sources, tmp_path) > 0.3  # chance is 0.125


def test_the_parts_of_a_run_are_those_that_it_began_with(recipe, tmp_path):
    with RunSession(tmp_path / "new", recipe) as run:
        run.begin()
        assert run.draws
    assert RunFolder(tmp_path / "new").about()["parts"] == DRAWN
    with RunSession(tmp_path / "new", recipe) as run:
        assert run.draws
    old = RunFolder(tmp_path / "old")
    old.path.mkdir()
    old.write_recipe(dataclasses.asdict(recipe))
    old.write_about({"backend": run.about["backend"], "deterministic": False})
    for _ in range(2):  # also where it is resumed twice
        with RunSession(old.path, recipe) as run:
            assert not run.draws
            run.begin()
    with RunSession(old.path, recipe, overwrite=True) as run:
        assert run.draws
    backbone = backbone_with()
    rows = {}
    for folder in (RunFolder(tmp_path / "new"), old):
        backbone.save(folder.backbone_file)
        suite = RunEvaluation(folder.path).suite(SuiteOptions(k=(1,)), cache=False)
        rows[folder.path.name] = suite.train.labels
        assert suite.about.get("test_part") == (DRAWN if folder.path.name == "new" else None)
    assert rows["old"].tolist() == np.repeat(np.arange(CLASSES), EACH)[:320].tolist()
    assert rows["new"].tolist() == RunSources.load(recipe).train.labels.tolist()
    assert rows["new"].tolist() != rows["old"].tolist()
    assert data.load(recipe.dataset).count == 400


@pytest.mark.parametrize("kind", ["arrays", "records"])
def test_steps_of_the_classifier_alongside_have_many_classes(recipe, tmp_path, kind):
    if kind == "records":
        for label in range(CLASSES):
            pictures = [example(flat(30 * label), label) for _ in range(EACH)]
            write_records(tmp_path / f"{label}.tfrecord", pictures)
        recipe = dataclasses.replace(recipe, dataset=str(tmp_path / "*.tfrecord"), evaluate=False)
    sources = RunSources.load(recipe)
    chosen = monitors(recipe, sources, Preprocessing(8), RunFolder(tmp_path), callbacks.Health(), 1)
    (probe,) = (each for each in chosen if isinstance(each, callbacks.OnlineLinearProbe))
    batches = [np.asarray(labels) for _, labels in probe.images]
    assert sum(map(len, batches)) == 200 and len(np.unique(batches[0])) == CLASSES
    again = [np.asarray(labels) for _, labels in probe.images]
    assert all(map(np.array_equal, batches, again))  # a run goes on with the batch that would have come next
